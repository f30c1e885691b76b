"""The job that runs a project's tests, in its GitHub workflows or .travis.yml, with its matrix reduced to one entry.

Read as YAML without types (`3.10` stays what it is); nothing of it is run, no action is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from forager.forage.said import UNKNOWN, Said, merged, read
from forager.forage.tables import items_of, table_of
from forager.records import Record

LARGEST = 200_000
"""Bytes of one workflow."""
MOST = 40
"""Workflows that are read."""

_WORKFLOW = re.compile(r"\.github/workflows/[^/]+\.ya?ml")
_ELSEWHERE = re.compile(r"windows|macos|darwin|win32", re.IGNORECASE)
_VERSION = re.compile(r"(?<![\w.])3\.\d{1,2}(?![\w])")
_NAMED_TEST = re.compile(r"test|pytest|unit|(^|\W)ci(\W|$)|build|tox|check|python", re.IGNORECASE)
_NAMED_OTHER = re.compile(r"lint|doc|style|format|mypy|typing|release|publish|deploy|bench|wheel", re.IGNORECASE)


class Job(Record, frozen=True):
    """One job that runs tests."""

    name: str
    """`.github/workflows/ci.yml, job test`"""
    said: Said
    pythons: tuple[str, ...] = ()
    """Versions of CPython 3 that it runs with, as in its matrix."""
    env: dict[str, str] = msgspec.field(default_factory=dict)
    """Variables of its tests whose values are plain."""


def testing_job(tree: Mapping[str, bytes]) -> Job | None:
    """The job that says most plainly how the tests are run; None if none runs any."""
    jobs = [*_github(tree), *_travis(tree)]
    return max(jobs, key=_worth, default=None)  # the first of equals


def _worth(job: Job) -> tuple[bool, bool, bool, int]:
    said = job.said
    plain = bool(said.whole or said.paths)
    installs = len(said.requirements) + len(said.files) + len(said.extras) + len(said.groups)
    return (not _NAMED_OTHER.search(job.name), plain, bool(_NAMED_TEST.search(job.name)), min(installs, 1))


# --------------------------------------------------------------------------------------------- GitHub


def _github(tree: Mapping[str, bytes]) -> Iterator[Job]:
    for path in sorted(path for path in tree if _WORKFLOW.fullmatch(path))[:MOST]:
        workflow = _yaml(tree[path])
        for key, job in list(table_of(workflow.get("jobs")).items())[:MOST]:
            if isinstance(job, dict) and (found := _job(f"{path}, job {key}", job, table_of(workflow.get("env")))):
                yield found


def _job(name: str, job: dict[str, Any], env: dict[str, Any]) -> Job | None:
    matrix = table_of(table_of(job.get("strategy")).get("matrix"))
    chosen = _reduced(matrix)
    env = {**env, **table_of(job.get("env"))}
    if _ELSEWHERE.search(_filled(job.get("runs-on"), chosen, env)):
        return None
    pythons = _versions(matrix)
    said: list[Said] = []
    for step in items_of(job.get("steps")):
        if not isinstance(step, dict) or _skipped(step, chosen, env):
            continue
        given = table_of(step.get("with"))
        pythons += _VERSION.findall(_filled(given.get("python-version"), chosen, env))
        if isinstance(run := step.get("run"), str):
            folder = _filled(step.get("working-directory"), chosen, env)
            found = read(_filled(run, chosen, {**env, **table_of(step.get("env"))}))
            said.append(found if folder in ("", ".", "./") else Said(tests=found.tests, whole=found.tests))
            if found.tests:
                env = {**env, **table_of(step.get("env"))}
    total = merged(said)
    if not total.tests:
        return None
    plain = {key: _filled(value, chosen, {}) for key, value in env.items() if isinstance(value, str)}
    return Job(name=name, said=total, pythons=tuple(dict.fromkeys(pythons)), env=plain)


def _reduced(matrix: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of a matrix: on Linux, with a Python near the middle, the first of everything else."""
    chosen: dict[str, Any] = {}
    for key, values in matrix.items():
        if key in ("include", "exclude") or not isinstance(values, list) or not values:
            continue
        here = [value for value in values if not _elsewhere(value)] or values
        chosen[key] = next((value for value in here if value == "3.11"), here[0])
    included = [entry for entry in items_of(matrix.get("include")) if isinstance(entry, dict)]
    for entry in included:
        if set(entry) & set(chosen) and all(_same(entry[key], chosen[key]) for key in entry if key in chosen):
            chosen |= {key: value for key, value in entry.items() if key not in chosen}
    if not chosen and included:
        here = [e for e in included if not any(map(_elsewhere, e.values()))] or included
        chosen = dict(next((e for e in here if any(value == "3.11" for value in e.values())), here[0]))
    return chosen


def _elsewhere(value: Any) -> bool:
    return isinstance(value, str) and _ELSEWHERE.search(value) is not None


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same text. (What aliases make of a small file can be too large to look at.)"""
    return isinstance(one, str) and isinstance(other, str) and one == other


def _versions(matrix: Mapping[str, Any]) -> list[str]:
    entries = [entry for entry in items_of(matrix.get("include")) if isinstance(entry, dict)]
    values = [value for key, found in matrix.items() if "py" in str(key).lower() for value in items_of(found)]
    values += [value for entry in entries for key, value in entry.items() if "py" in str(key).lower()]
    return [
        version
        for value in values
        if isinstance(value, str) and "pypy" not in value
        for version in _VERSION.findall(_dotted(value))
    ]


def _dotted(value: str) -> str:
    """`py310` as `3.10`."""
    return re.sub(r"(?<!\w)(?:py|cp)3(\d{1,2})(?!\d)", r"3.\1", value)


_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")


def _filled(value: Any, chosen: Mapping[str, Any], env: Mapping[str, Any]) -> str:
    """A text with `${{ matrix.X }}` and `${{ env.X }}` put in; what else is computed becomes `UNKNOWN`."""

    def put(match: re.Match[str]) -> str:
        expression = match[1].strip()
        found = re.fullmatch(r"(matrix|env)(?:\.([\w-]+)|\[['\"]([\w-]+)['\"]\])(?:\.([\w-]+))?", expression)
        if found is None:
            return UNKNOWN
        value = (chosen if found[1] == "matrix" else env).get(found[2] or found[3])
        if found[4]:
            value = table_of(value).get(found[4])
        return value if isinstance(value, str) else ""

    if isinstance(value, list):
        value = "\n".join(item for item in value if isinstance(item, str))
    return _EXPRESSION.sub(put, value) if isinstance(value, str) else ""


def _skipped(step: dict[str, Any], chosen: Mapping[str, Any], env: Mapping[str, Any]) -> bool:
    """Whether a step is for another system only."""
    condition = step.get("if")
    if not isinstance(condition, str):
        return False
    return bool(_ELSEWHERE.search(condition)) and "!=" not in condition and "!" not in condition


# --------------------------------------------------------------------------------------------- Travis


def _travis(tree: Mapping[str, bytes]) -> Iterator[Job]:
    table = _yaml(tree.get(".travis.yml", b""))
    parts = [table.get(key) for key in ("before_install", "install", "before_script", "script")]
    said = merged(read(_filled(part, {}, {})) for part in parts)
    if said.tests:
        listed = [value for value in [*items_of(table.get("python")), table.get("python")] if isinstance(value, str)]
        pythons = [version for value in listed for version in _VERSION.findall(value)]
        yield Job(name=".travis.yml", said=said, pythons=tuple(dict.fromkeys(pythons)))


# ----------------------------------------------------------------------------------------------- YAML


def _yaml(data: bytes) -> dict[str, Any]:
    if not data or len(data) > LARGEST:
        return {}
    try:
        return table_of(yaml.load(data.decode("utf-8", "replace"), Loader=yaml.BaseLoader))
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
