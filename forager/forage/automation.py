"""How a project's own automation installs it and runs its tests: tox, nox and CI workflows, taken together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from forager.forage.literals import nox_session
from forager.forage.said import UNKNOWN, Said, merged, read, read_words
from forager.forage.tables import items_of
from forager.forage.workflows import testing_job
from forager.records import Record

_NOT_TAKEN = re.compile(
    r"(CI|PATH|HOME|PWD|SHELL|TERM|LANG|USER|.*COLOR.*|TOX.*|NOX.*|GITHUB.*|PIP_.*|UV_.*|COV.*|CODECOV.*|.*TOKEN.*"
    r"|.*SECRET.*|.*PASSWORD.*|.*_KEY|LD_.*|PYTHON(HASHSEED|UNBUFFERED|DONTWRITEBYTECODE|HOME|STARTUP|WARNINGS)"
    r"|PYTEST_ADDOPTS|VIRTUAL_ENV|CONDA.*|POETRY.*|PDM.*|SETUPTOOLS_.*|CIBW.*|DEBIAN_FRONTEND|.*CACHE.*)"
)
"""Variables that are about the automation itself, or that an image has to keep."""


class Automation(Record, frozen=True):
    """What the automation says."""

    said: Said = Said()
    pythons: tuple[str, ...] = ()
    """Versions of CPython 3 that the tests run with."""
    env: dict[str, str] = msgspec.field(default_factory=dict)
    """Variables of the tests."""
    places: tuple[str, ...] = ()
    """Where that is said, for people."""


def automation(
    tree: Mapping[str, bytes], tox: Mapping[str, str], envlist: str, tox_table: Mapping[str, Any]
) -> Automation:
    """`tox` is the plain test section of an ini file, `tox_table` that of a TOML file, `envlist` tox's list."""
    said: list[Said] = []
    places: list[str] = []
    pythons: list[str] = []
    env: dict[str, str] = {}
    job = testing_job(tree)
    if job is not None:
        said.append(job.said)
        places.append(job.name)
        pythons += job.pythons
        env |= job.env
    found = merged([_tox_lines(tox), _tox_words(tox_table)])
    if found.tests:
        said.append(found)
        places.append("tox")
    pythons += [f"3.{minor}" for minor in re.findall(r"\bpy3(\d{1,2})\b", envlist)]
    pythons += re.findall(r"\bpy(3\.\d{1,2})\b", envlist)
    for factors in re.findall(r"\bpy\{([\d.,\s]+)\}", envlist):
        pythons += [f"3.{minor}" for minor in re.findall(r"\b3\.?(\d{1,2})\b", factors)]
    for line in tox.get("setenv", tox.get("set_env", "")).splitlines():
        name, _, value = line.partition("=")
        env[name.strip()] = value.strip()
    given = tox_table.get("set_env")
    env |= {str(k): v for k, v in (given if isinstance(given, dict) else {}).items() if isinstance(v, str)}
    session = nox_session(tree.get("noxfile.py", b""))
    if session is not None:
        said.append(session.said)
        places.append(f"noxfile.py, session {session.name}")
        pythons += session.pythons
    return Automation(
        said=merged(said),
        pythons=tuple(dict.fromkeys(pythons)),
        env={name: plain for name, text in env.items() if (plain := _plain(name, text)) is not None},
        places=tuple(places),
    )


def _tox_lines(section: Mapping[str, str]) -> Said:
    lines = "\n".join(section.get(key, "") for key in ("commands_pre", "commands"))
    lines = re.sub(r"\\\r?\n", " ", lines)
    plain = [line.lstrip("-! ") for line in lines.splitlines() if not re.match(r"\s*[\w.,{}!-]+:\s", line)]
    return read(_substituted("\n".join(plain)))


def _tox_words(table: Mapping[str, Any]) -> Said:
    commands = [c for key in ("commands_pre", "commands") for c in items_of(table.get(key)) if isinstance(c, list)]
    said = []
    for command in commands:
        words: list[str] = []
        for word in command:
            if isinstance(word, dict) and word.get("replace") == "posargs":
                words += [text for text in items_of(word.get("default")) if isinstance(text, str)]
            elif isinstance(word, str):
                words += _substituted(word).split() if word.startswith("{posargs") else [_substituted(word)]
        said.append(read_words([word for word in words if word]))
    return merged(said)


def _substituted(text: str) -> str:
    """tox's own words in a command: the default of `posargs`, the top folder; what is left is not known."""
    text = re.sub(r"\{posargs(?::([^{}]*))?\}", lambda match: match[1] or "", text)
    text = re.sub(r"\{(?:toxinidir|tox_root)\}", ".", text)
    return re.sub(r"\{[^{}\s]*\}", lambda _: UNKNOWN, text)


def _plain(name: str, text: str) -> str | None:
    """A variable's value, if it can be one in any container; None if not."""
    value = re.sub(r"\{(?:toxinidir|tox_root)\}", "/testbed", text.strip().strip("\"'"))
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or _NOT_TAKEN.fullmatch(name.upper()):
        return None
    return value if re.fullmatch(r"[\w./:,=+@ -]{1,200}", value) else None
