"""What a test run inside an agent's own command reported, read from what it printed.

This feeds the `tests` field of a step and nothing else; grades never come from printed text. The text may be
hostile or cut in the middle: only the runners' own closing lines count, and each pattern meets one bounded line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from forager.records import TestFeedback

LINE_LIMIT = 2000
"""Characters of a line that is looked at."""
FAILING_LIMIT = 50
"""Ids of failing tests that are kept."""
TEXT_LIMIT = 256 * 1024
"""Characters of output that are looked at, the last ones."""

_VIEWERS = frozenset(
    {"cat", "less", "more", "head", "tail", "grep", "rg", "sed", "awk", "echo", "printf", "git", "diff"}
)
"""Commands that show text and run nothing: a summary they print is from another time."""
_HARMLESS = frozenset({"cd", "export", "set", "source", ".", "ls", "pwd", "true", "wc", "sort", "uniq"})

_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


def test_feedback(command: str, output: str, exit_code: int | None) -> TestFeedback | None:
    """The counts and failing ids of the last test run in `output`; None where no runner certainly reported.

    Knows pytest, unittest (and Django), cargo test, jest and go test. Expected failures count as skipped, unexpected
    passes as passed. `exit_code` is the command's; a zero with failures means that a pipe or `|| true` hid it.
    """
    if (exit_code is None and not output) or _only_shows(command):
        return None
    text = _ANSI.sub("", output[-TEXT_LIMIT:])
    lines = [line.rstrip() for line in text.split("\n") if len(line) <= LINE_LIMIT]
    for read in _READERS:
        if found := read(lines):
            return found
    return None


test_feedback.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name says


def _only_shows(command: str) -> bool:
    """Whether every part of a command only shows files."""
    parts = [part.split() for part in re.split(r"&&|\|\||[;|\n]", command[:LINE_LIMIT])]
    programs = [words[0].rpartition("/")[2] for words in parts if words]
    return bool(programs) and set(programs) <= _VIEWERS | _HARMLESS


# ------------------------------------------------------------------------------------------------ pytest

_PYTEST_COUNT = re.compile(r"(\d{1,9}) (passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?|rerun)")
_PYTEST_OTHER = re.compile(r"\d{1,9} [a-z][a-z ]{0,40}")
_PYTEST_TIME = re.compile(r"\d{1,9}(\.\d{1,6})?(s| seconds)( \(\d{1,4}( days?, \d{1,2})?:\d\d:\d\d\))?")
_PYTEST_FAILED = re.compile(r"(?:FAILED|ERROR) (\S.*)")
_PYTEST_VERBOSE = re.compile(r"(\S+::.+) (?:FAILED|ERROR)(?: +\[ *\d{1,3}%\])?")


def _pytest(lines: Sequence[str]) -> TestFeedback | None:
    for number in range(len(lines) - 1, -1, -1):
        counts = _pytest_counts(lines[number])
        if counts is not None:
            break
    else:
        return None
    begin = next((n for n in range(number - 1, -1, -1) if _pytest_counts(lines[n]) is not None), -1)
    own = lines[begin + 1 : number]
    failing = [_pytest_id(match[1]) for line in own if (match := _PYTEST_FAILED.fullmatch(line))]
    if not failing:
        failing = [match[1] for line in own if (match := _PYTEST_VERBOSE.fullmatch(line))]
    return TestFeedback(
        runner="pytest",
        passed=counts.get("passed", 0) + counts.get("xpassed", 0),
        failed=counts.get("failed", 0),
        errors=counts.get("error", 0) + counts.get("errors", 0),
        skipped=counts.get("skipped", 0) + counts.get("xfailed", 0),
        failing=_first(failing),
    )


def _pytest_counts(line: str) -> dict[str, int] | None:
    """The counts of a closing line: `=== 1 failed, 2 passed in 0.12s ===`, with `=` or without; or no tests ran."""
    body, _, took = line.strip("= ").rpartition(" in ")
    if not body or not _PYTEST_TIME.fullmatch(took):
        return None
    if body == "no tests ran":
        return {}
    counts: dict[str, int] = {}
    for part in body.split(", "):
        if match := _PYTEST_COUNT.fullmatch(part):
            counts[match[2]] = int(match[1])
        elif not _PYTEST_OTHER.fullmatch(part):  # plugins count in words of their own
            return None
    return counts or None


def _pytest_id(text: str) -> str:
    """The node id of a line of the short summary: what stands before ` - reason`; parameters may hold ` - ` too."""
    start = text.find("[")
    end = text.find("] - ", start) if start >= 0 and " - " not in text[:start] else -1
    if end >= 0:
        return text[: end + 1]
    return text.partition(" - ")[0].rstrip()


# ---------------------------------------------------------------------------------------------- unittest

_UNITTEST_RAN = re.compile(r"Ran (\d{1,9}) tests? in \d{1,9}\.\d{1,6}s")
_UNITTEST_END = re.compile(r"(?:OK|FAILED|NO TESTS RAN)(?: \(([a-z0-9=, ]{1,200})\))?")
_UNITTEST_FAILING = re.compile(r"(?:FAIL|ERROR): (\w+) \(([\w.]+)\)(?: .*)?")


def _unittest(lines: Sequence[str]) -> TestFeedback | None:
    for number in range(len(lines) - 1, -1, -1):
        if ran := _UNITTEST_RAN.fullmatch(lines[number]):
            break
    else:
        return None
    end = next((m for line in lines[number + 1 : number + 4] if (m := _UNITTEST_END.fullmatch(line))), None)
    if end is None:
        return None
    counts = {}
    for part in (end[1] or "").split(", "):
        name, _, count = part.partition("=")
        if count.isdigit():
            counts[name] = int(count)
    failed = counts.get("failures", 0) + counts.get("unexpected successes", 0)
    errors = counts.get("errors", 0)
    skipped = counts.get("skipped", 0) + counts.get("expected failures", 0)
    begin = next((n for n in range(number - 1, -1, -1) if _UNITTEST_RAN.fullmatch(lines[n])), -1)
    failing = []
    for line in lines[begin + 1 : number]:
        if match := _UNITTEST_FAILING.fullmatch(line):
            name, place = match[1], match[2]
            failing.append(place if place.endswith(f".{name}") else f"{place}.{name}")
    return TestFeedback(
        runner="unittest",
        # Errors in a class's or module's set-up are counted, but are not among the tests that ran.
        passed=max(0, int(ran[1]) - failed - errors - skipped),
        failed=failed,
        errors=errors,
        skipped=skipped,
        failing=_first(failing),
    )


# ------------------------------------------------------------------------------------------ cargo, jest, go

_CARGO = re.compile(r"test result: (?:ok|FAILED)\. (\d{1,9}) passed; (\d{1,9}) failed; (\d{1,9}) ignored; .{0,100}")
_CARGO_FAILING = re.compile(r"test (\S+) \.\.\. FAILED")
_JEST = re.compile(r"Tests: +((?:\d{1,9} (?:failed|skipped|todo|passed), ){1,4})\d{1,9} total")
_JEST_FAILING = re.compile(r" {2}● (.+)")
_GO = re.compile(r" *--- (PASS|FAIL|SKIP): (\S+) \(\d{1,9}\.\d{1,3}s\)")


def _cargo(lines: Sequence[str]) -> TestFeedback | None:
    found = [match for line in lines if (match := _CARGO.fullmatch(line))]
    if not found:
        return None
    passed, failed, ignored = (sum(int(match[n]) for match in found) for n in (1, 2, 3))
    failing = [match[1] for line in lines if (match := _CARGO_FAILING.fullmatch(line))]
    return TestFeedback(runner="cargo", passed=passed, failed=failed, skipped=ignored, failing=_first(failing))


def _jest(lines: Sequence[str]) -> TestFeedback | None:
    found = next((match for line in reversed(lines) if (match := _JEST.fullmatch(line))), None)
    if found is None:
        return None
    counts = {name: int(count) for count, name in (part.split() for part in found[1].split(", ") if part)}
    failing = [match[1] for line in lines if (match := _JEST_FAILING.fullmatch(line))]
    return TestFeedback(
        runner="jest",
        passed=counts.get("passed", 0),
        failed=counts.get("failed", 0),
        skipped=counts.get("skipped", 0) + counts.get("todo", 0),
        failing=_first(failing),
    )


def _go(lines: Sequence[str]) -> TestFeedback | None:
    """Only with `-v`, or for the failures: without it go does not say how many passed."""
    found = [match for line in lines if (match := _GO.fullmatch(line))]
    if not found or not any(line.startswith(("ok  \t", "FAIL", "PASS")) for line in lines):
        return None
    counts = {name: sum(match[1] == name for match in found) for name in ("PASS", "FAIL", "SKIP")}
    return TestFeedback(
        runner="go",
        passed=counts["PASS"],
        failed=counts["FAIL"],
        skipped=counts["SKIP"],
        failing=_first([match[2] for match in found if match[1] == "FAIL"]),
    )


_READERS: tuple[Callable[[Sequence[str]], TestFeedback | None], ...] = (_pytest, _unittest, _cargo, _jest, _go)


def _first(names: Sequence[str]) -> tuple[str, ...]:
    """The first names, each once."""

    def each() -> Iterator[str]:
        for count, name in enumerate(dict.fromkeys(names)):
            if count == FAILING_LIMIT:
                return
            yield name.encode("utf-8", "backslashreplace").decode()

    return tuple(each())
