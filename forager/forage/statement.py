"""The problem statement of a task: a user's bug report, from what the failing tests show.

It tells the behaviour, never the place or the kind of the change; `gives_away` is the check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from forager.forage.diffs import changed_lines
from forager.forage.failures import Failure, read_failure

Detail = Literal["full", "symptom", "terse"]

CASES = 3
"""Failing tests that a statement shows at most."""
SHORTEST = 12
"""Characters; a shorter line of code (`return None`, `else:`) tells nothing about its place."""


def make_statement(
    name: str,
    version: str,
    failures: Mapping[str, str],
    sources: Mapping[str, bytes],
    *,
    file: str,
    diff: str,
    count: int = 0,
    detail: Detail = "full",
    hidden: bool = False,
) -> str:
    """A bug report on `name` (a package) for failing tests: node id to pytest's failure text.

    `sources` holds the test files by path. `count` tests fail in all, if that is more than have a text. `file` and
    `diff` are the changed file and its change: where a report at the wanted `detail` would give the change away, one
    with less detail is made. `hidden` says that the failing tests are not in the agent's tree.
    """
    shown = shown_failures(failures, sources)
    count = max(count, len(failures))
    levels: list[Detail] = ["full", "symptom", "terse"]
    for level in levels[levels.index(detail) :]:
        statement = _write(name, version, shown, count, level, hidden)
        if not gives_away(statement, file, diff):
            return statement
    return _write(name, version, [], count, "terse", hidden)


def behaviour(failures: Mapping[str, str], sources: Mapping[str, bytes], detail: Detail) -> list[str]:
    """Paragraphs on what failing tests show, at the wanted detail; none for `terse`."""
    if detail == "terse":
        return []
    return _cases(shown_failures(failures, sources), detail)


def shown_failures(failures: Mapping[str, str], sources: Mapping[str, bytes]) -> list[Failure]:
    """The few of some failures that tell most."""
    return _choose([read_failure(test, text, sources) for test, text in sorted(failures.items())])


def gives_away(statement: str, file: str, diff: str) -> bool:
    """Whether a statement tells where or what the change is: a changed line's text, the path of the changed file, or
    a line number in it."""
    told = _squeeze(statement)
    old, new = changed_lines(diff)
    for line in {*old, *new}:
        code = _squeeze(line.split("#")[0])
        if len(code) >= SHORTEST and re.search(r"[A-Za-z_]{3}", code) and code in told:
            return True
    if re.search(rf"(?<![\w/]){re.escape(file)}(?!\w)", statement):
        return True
    base = re.escape(PurePosixPath(file).name)
    return re.search(rf"{base}\W{{0,4}}(on |at )?(line\W*)?\d", statement) is not None


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _choose(failures: Sequence[Failure]) -> list[Failure]:
    """A few that tell most: understood ones first, short ones first, one a test function."""
    ranks = {"wrong": 0, "not_raised": 0, "raised": 1, "unknown": 2}
    chosen: dict[str, Failure] = {}
    for failure in sorted(
        failures,
        key=lambda f: (
            not f.code,
            f.message in ("AssertionError", "") and not f.expected,
            ranks[f.kind],
            not f.subject,
            len(f.code + f.message),
            f.test,
        ),
    ):
        # the same code under other parameters, or inherited by another class of tests, tells nothing new
        chosen.setdefault(failure.code or failure.test.split("[")[0], failure)
    best = list(chosen.values())[:CASES]
    return [failure for failure in best if failure.code] or best[:1]


def _write(name: str, version: str, shown: Sequence[Failure], count: int, detail: Detail, hidden: bool) -> str:
    title = _title(shown[0], name) if shown else f"{name}: wrong behaviour"
    if detail == "terse":
        title = f"{name}: wrong behaviour" + (f" of `{shown[0].subject}`" if shown and shown[0].subject else "")
    parts = [f"# {title}", f"I use {name} {version}, and it no longer behaves as documented and tested."]
    if detail != "terse":
        parts += _cases(shown, detail)
    parts.append(closing(count, hidden))
    return "\n\n".join(parts) + "\n"


FIX = "find the cause in the package's code and fix it there"


def closing(count: int, hidden: bool, wanted: str = FIX) -> str:
    """The last paragraph: what is asked for, and what of the suite shows it."""
    if hidden:
        told = "No test here shows this: please reproduce it first. Then"
    else:
        told = (
            f"{'One test' if count == 1 else f'{count} tests'} of the package's own suite "
            f"{'fails' if count == 1 else 'fail'} because of this; the tests are right. Please"
        )
    return f"{told} {wanted}, without breaking what works."


def _title(failure: Failure, name: str) -> str:
    subject = f"`{failure.subject}`" if failure.subject else name
    if failure.kind == "wrong" and failure.call and _short(failure.call + failure.got + failure.expected):
        return f"`{failure.call}` gives `{failure.got}` instead of `{failure.expected}`"
    if failure.kind == "wrong":
        return f"{subject}: wrong result"
    if failure.kind == "raised":
        error = failure.got if _short(failure.got) else failure.got.split(":")[0]
        return f"{subject} fails with `{error.splitlines()[0]}`"
    if failure.kind == "not_raised":
        return f"{subject} does not raise `{failure.expected}`"
    return f"{subject}: wrong behaviour"


def _short(text: str) -> bool:
    return len(text) <= 80 and "\n" not in text and "`" not in text


def _cases(shown: Sequence[Failure], detail: Detail) -> list[str]:
    """What each shows, those that come to the same once."""
    cases = {_case(failure, first=True, with_code=detail == "full"): failure for failure in reversed(shown)}
    different = [failure for failure in shown if failure in cases.values()]
    return [case for n, f in enumerate(different) if (case := _case(f, first=n == 0, with_code=detail == "full"))]


def _case(failure: Failure, *, first: bool, with_code: bool) -> str:
    """One failing behaviour: what was called, what was expected, what came."""
    parts = []
    if with_code and failure.code:
        parts += ["This is what I run:" if first else "It also shows here:", f"```python\n{failure.code}\n```"]
        if failure.values:
            parts.append(
                f"with `{failure.values}`" if _short(failure.values) else f"with\n\n```\n{failure.values}\n```"
            )
    elif failure.subject:
        called = failure.call if failure.call and _short(failure.call) else failure.subject
        parts.append(f"{'I call' if first else 'It also shows when I call'} `{called}`.")
    if failure.kind == "not_raised":
        parts.append(f"I expect `{failure.expected}` to be raised. Nothing is raised.")
    elif failure.kind == "raised":
        parts += ["I expect this to work. What comes instead:", _block(failure.message or failure.got)]
    elif failure.kind == "wrong" and failure.expected and failure.got:
        parts += ["Expected:", _block(failure.expected), "Got:", _block(failure.got)]
    elif failure.message:
        parts += ["What comes:", _block(failure.message)]
    return "\n\n".join(parts)


def _block(text: str) -> str:
    return f"```\n{text}\n```"
