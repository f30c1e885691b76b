"""Reads what the tools answered: exit codes, pytest's summary, tracebacks, the localiser's table, source lines."""

from __future__ import annotations

import re
from typing import NamedTuple

_EXIT = re.compile(r"\n?\[exit code (-?\d+)\]\s*$")
_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|subtests passed|subtests failed)\b")
_FRAME = re.compile(r"^([^\s:][^:\n]*\.py):(\d+): ", re.MULTILINE)
_SUSPECT = re.compile(r"^(\d\.\d\d) ([^\n:]+\.py):(\d+)-(\d+) (\S*) \| ?(.*)$", re.MULTILINE)


class Report(NamedTuple):
    """What pytest's short summary says."""

    exit_code: int | None
    failing: tuple[str, ...]
    """Node ids of failed tests and of tests or files with errors, as far as the output shows them."""
    messages: dict[str, str]
    passed: int
    failed: int
    """Failures and errors."""

    @property
    def good(self) -> bool:
        return self.exit_code == 0 and self.passed > 0 and not self.failed


class Suspect(NamedTuple):
    """A function, or a statement outside of one (its name begins with a slash), and the scores of its lines."""

    score: float
    path: str
    first: int
    last: int
    name: str
    lines: dict[int, float]


def split_output(observation: str) -> tuple[str, int | None]:
    """A bash observation's output and its exit code (None if the command was killed or its shell lost)."""
    match = _EXIT.search(observation)
    if not match:
        return observation, None
    return observation[: match.start()], int(match.group(1))


def read_report(observation: str) -> Report:
    """Reads the output of a pytest run that was asked for `-rfE`."""
    output, exit_code = split_output(observation)
    messages: dict[str, str] = {}
    for line in output.splitlines():
        match = re.match(r"(FAILED|ERROR|SUBFAIL\S*)(?:\[[^\]]*\]|\([^)]*\))* (\S.*)", line)
        if match and (".py" in line):
            test, message = _split_id(match.group(2))
            messages.setdefault(test, message)
    passed = failed = 0
    for line in reversed(output.splitlines()):
        counts = _COUNT.findall(line)
        if counts and (" in " in line):
            passed = sum(int(n) for n, what in counts if what in ("passed", "xfailed", "xpassed"))
            failed = sum(int(n) for n, what in counts if what in ("failed", "error", "errors", "subtests failed"))
            break
    return Report(exit_code, tuple(messages), messages, passed, max(failed, 0))


def _split_id(text: str) -> tuple[str, str]:
    """A node id and the message after ` - `; the id's own brackets may hold anything."""
    head = text.partition(" - ")[0]
    if "[" in head and not head.endswith("]"):
        end = text.find("] - ")
        head = text[: end + 1] if end >= 0 else text
    return head, text[len(head) + 3 :]


def frames(output: str) -> list[tuple[str, int]]:
    """Places in tracebacks, relative paths only (files of the project), in order."""
    found = [(path, int(line)) for path, line in _FRAME.findall(output)]
    return [(path, line) for path, line in dict.fromkeys(found) if not path.startswith(("/", "..", "<"))]


def suspects(output: str) -> list[Suspect]:
    """The localiser's table."""
    found = []
    for score, path, first, last, name, scores in _SUSPECT.findall(output):
        if 0 < int(last) - int(first) + 1 <= 2000:
            lines = {int(n): float(s) for n, s in re.findall(r"(\d+):(\d\.\d+)", scores)}
            found.append(Suspect(float(score), path, int(first), int(last), name, lines))
    return found


def file_sizes(output: str) -> dict[str, tuple[int, int]]:
    """Lines and bytes of the files that the localiser names."""
    found = re.findall(r"^file ([^\n:]+\.py): (\d+) lines, (\d+) bytes$", output, re.MULTILINE)
    return {path: (int(lines), int(size)) for path, lines, size in found}


def source_lines(observation: str, count: int) -> list[str] | None:
    """Exactly the lines a `cat` or `sed -n` printed; None if some are missing or are not plain UTF-8."""
    output, exit_code = split_output(observation)
    lines = output.split("\n")
    if exit_code != 0 or len(lines) != count or "\ufffd" in output or "\r" in output:
        return None
    return lines
