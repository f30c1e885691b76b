"""The repair session: look around, run the tests, localise, read, then edit, test and undo until the suite passes.

A generator: it yields actions, gets observations, and returns the sentence with which it gives up (a session that
ends well ends with `submit`). It knows only what it was told in the conversation.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Generator
from importlib.resources import files
from typing import NamedTuple, TypeVar

from forager.models.search import observations as seen
from forager.models.search.candidates import candidates
from forager.models.search.editing import can_join, search_replace, with_change
from forager.models.search.hints import Hints, read_hints
from forager.models.search.ranking import rank
from forager.models.search.source import Candidate, Fragment
from forager.records import Limits

T = TypeVar("T")


class Action(NamedTuple):
    """One tool call, and a sentence on what it does and why."""

    tool: str
    arguments: dict[str, str]
    remark: str


Steps = Generator[Action, str, T]

FUNCTIONS_READ = 10
LINES_READ = 2500
WHOLE_FILE = 24_000
"""Bytes up to which a file is read as a whole."""
FAILING_TRACED = 12
FAILING_RUN = 5
"""Failing tests that a try has to pass before the whole suite is run."""
TIMED = "TIMEFORMAT='took %R s'; time "
SUITE_SECONDS = 80.0
HANG_SECONDS = 4.0
"""What a test that may not end is given."""
NEIGHBOURS = 8
"""Changes to the same line that are tried next when one makes some tests pass."""
RESERVE = 8
"""Steps kept for the end: check, review, submit, or take the last try back."""
_ENVIRONMENT = re.compile(
    r"fixture .* not found|ModuleNotFoundError|No module named|name resolution|ConnectionError|Network is unreachable"
)


class Repair:
    """One session. `scratch` is a folder outside the repository for the localiser."""

    def __init__(
        self,
        test_command: str,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        scratch: str = "/tmp/localise",
    ) -> None:
        self.pytest = test_command if "pytest" in test_command else "python -m pytest"
        self.limits = limits
        self.clock = clock
        self.scratch = scratch
        self.started = clock()
        self.used = 0
        self.characters = 0
        self.seconds = 0.0
        """What one run of the chosen failing tests takes."""
        self.applied: Candidate | None = None
        self.fragments: list[Fragment] = []
        self.order: list[Candidate] = []
        self.tried = 0

    # -- acting ------------------------------------------------------------------------------------------

    def act(self, tool: str, remark: str, **arguments: str) -> Steps[str]:
        self.used += 1
        observation = yield Action(tool, arguments, remark)
        self.characters += len(observation) + len(remark) + sum(map(len, arguments.values())) + 40
        return observation

    def bash(self, command: str, remark: str) -> Steps[str]:
        return (yield from self.act("bash", remark, command=command))

    def may_go_on(self, steps: int = RESERVE) -> bool:
        """Whether there is room for another try: steps, time, and what a conversation may hold."""
        time_left = self.limits.seconds - (self.clock() - self.started)
        room = not self.limits.context or self.characters / 3 < self.limits.context * 0.95
        enough = time_left > min(60.0, 0.1 * self.limits.seconds) + 3 * self.seconds
        return self.used + steps <= self.limits.steps and enough and room

    def test(self, ids: tuple[str, ...], options: str, remark: str, seconds: float, prefix: str = "") -> Steps[str]:
        seconds = max(1.0, min(seconds, self.limits.command_seconds - 10))
        words = [prefix + f"timeout -s INT -k 3 {seconds:.0f}", self.pytest, options]
        words += ["--verbosity=-1 --no-header --color=no -rfE -p no:cacheprovider"]
        return (yield from self.bash(" ".join([*words, *map(shlex.quote, ids)]), remark))

    # -- the session -------------------------------------------------------------------------------------

    def play(self, statement: str) -> Steps[str]:
        yield from self.bash(
            f"mkdir -p {self.scratch}; export PYTHONDONTWRITEBYTECODE=1 COLUMNS=160; pwd; git status -sb; ls",
            "Look around first. No compiled files: they would litter the repository and could be out of date.",
        )
        observation = yield from self.test(
            (), "--tb=no", "Run the whole test suite to see what fails.", SUITE_SECONDS
        )
        report = seen.read_report(observation)
        if report.good:
            return "All tests pass, so no test tells whether a change would be right. I stop without a change."
        plugin = ""
        if not report.failing and report.exit_code in (None, 124, 130, 137, 2):
            plugin = yield from self.localise((), [], HANG_SECONDS, "The suite does not end. Find what hangs.")
            report = seen.read_report(plugin)
        failing = _worth_fixing(report)
        if not failing:
            return "No failing test can be seen in the output of the test suite, so there is nothing to go by."

        chosen = _choose(failing)
        details = yield from self.test(
            chosen,
            "--tb=auto",
            "See in detail how the tests fail, and how long that takes.",
            12 if plugin else 60,
            TIMED,
        )
        self.seconds = 1.0 if plugin else _duration(details)
        where = [frame for frame in seen.frames(details) if not _is_test(frame[0])]
        hints = read_hints(statement, details, " ".join(failing))
        table = plugin or (
            yield from self.localise(failing, where, 10, "Find the lines that failing tests run most.")
        )
        suspects = seen.suspects(seen.split_output(table)[0])
        yield from self.read(suspects, seen.file_sizes(table))
        if not self.fragments:
            return "The failing tests lead to no source line that I could read, so I have nothing to change."
        self.order = self.rank(suspects, hints, where)
        return (yield from self.try_all(failing, chosen, report))

    def localise(
        self, failing: tuple[str, ...], points: list[tuple[str, int]], seconds: float, remark: str
    ) -> Steps[str]:
        source = files("forager.models.search").joinpath("ochiai_plugin.py").read_text(encoding="utf-8")
        settings = {
            "FAILING: tuple[str, ...] = ()": f"FAILING = {failing[:FAILING_TRACED]!r}",
            "POINTS: tuple[tuple[str, int], ...] = ()": f"POINTS = {tuple(points[:20])!r}",
            "TEST_SECONDS = 10.0": f"TEST_SECONDS = {float(seconds)}",
            **({} if failing else {"PASSING_TESTS = 250": "PASSING_TESTS = 100_000"}),
        }
        for old, new in settings.items():
            source = source.replace(old, new)
        yield from self.act(
            "create",
            "Write a small pytest plugin that compares the lines which failing and passing tests run.",
            path=f"{self.scratch}/ochiai.py",
            content=source,
        )
        path = f"PYTHONPATH={self.scratch}${{PYTHONPATH:+:$PYTHONPATH}} "
        return (yield from self.test((), "-p ochiai --tb=no", remark, 100, prefix=path))

    def read(self, suspects: list[seen.Suspect], sizes: dict[str, tuple[int, int]]) -> Steps[None]:
        """Read the likeliest functions: their files if these are small, as what stands around them helps too."""
        lines = 0
        top = max((s.score for s in suspects), default=0.0)
        for suspect in suspects[:FUNCTIONS_READ]:
            count = suspect.last - suspect.first + 1
            known = any(f.path == suspect.path and f.first <= suspect.first <= f.last for f in self.fragments)
            if known or (lines and (suspect.score < 0.3 * top or lines + count > LINES_READ)):
                continue
            if not self.may_go_on(40) and self.fragments:
                break
            whole, size = sizes.get(suspect.path, (0, 0))
            path, name = shlex.quote(suspect.path), suspect.name.lstrip("/") or "a statement"
            first, command = suspect.first, f"sed -n '{suspect.first},{suspect.last}p' {path}"
            if 0 < size < min(WHOLE_FILE, 0.7 * self.limits.observation_bytes):
                first, count, command = 1, whole, f"cat {path}"
            lines += count
            observation = yield from self.bash(command, f"Read `{name}`, whose score is {suspect.score:.2f}.")
            text = seen.source_lines(observation, count)
            if text is not None:
                self.fragments.append(Fragment(suspect.path, first, text))

    def rank(self, suspects: list[seen.Suspect], hints: Hints, where: list[tuple[str, int]]) -> list[Candidate]:
        def wanted(path: str, first: int, last: int) -> bool:
            return any(s.path == path and s.first <= last and first <= s.last for s in suspects)

        return rank(candidates(self.fragments, hints, wanted), suspects, self.fragments, hints, where)

    # -- trying ------------------------------------------------------------------------------------------

    def try_all(self, failing: tuple[str, ...], chosen: tuple[str, ...], first: seen.Report) -> Steps[str]:
        """Try the candidates in order. `first` is the suite's report before any change."""
        unfixable = set(first.failing) - set(failing)
        best: tuple[int, Candidate] | None = None
        pending = list(self.order)
        while pending and self.may_go_on():
            candidate = pending.pop(0)
            if not self.parses(candidate) or not (yield from self.change_to(candidate)):
                continue
            self.tried += 1
            limit = HANG_SECONDS + 4 * self.seconds
            observation = yield from self.test(chosen, "--tb=no", "Do the failing tests pass now?", limit)
            report = seen.read_report(observation)
            if report.good:
                rest = yield from self.whole_suite("They pass. Check the whole suite.")
                if rest.passed and set(rest.failing) <= unfixable and rest.failed <= len(unfixable):
                    return (yield from self.submit("The suite passes. Look at the change once more."))
            elif report.exit_code == 1 and report.passed and (best is None or report.failed < best[0]):
                rest = yield from self.whole_suite("Some of them pass. Does anything else break?")
                if rest.passed > first.passed and set(rest.failing) < set(first.failing):
                    best = (report.failed, candidate)
                    near = [c for c in pending if c.path == candidate.path and c.line == candidate.line][:NEIGHBOURS]
                    pending = near + [c for c in pending if c not in near]
        if best and best[0] <= len(chosen) / 2 and (yield from self.change_to(best[1])):
            return (
                yield from self.submit(
                    "I found nothing that makes all pass; with this most of the failing tests pass, and none broke."
                )
            )
        yield from self.change_to(None)
        return f"I tried {self.tried} changes and none made the failing tests pass. I took them back and give up."

    def whole_suite(self, remark: str) -> Steps[seen.Report]:
        return seen.read_report((yield from self.test((), "--tb=no", remark, SUITE_SECONDS)))

    def submit(self, remark: str) -> Steps[str]:
        yield from self.bash("git diff", remark)
        yield from self.act("submit", "The change is small and does what I meant. Submit.")
        return "The change is submitted."

    def parses(self, candidate: Candidate) -> bool:
        fragment = self.fragment(candidate)
        changed = Fragment(fragment.path, fragment.first, with_change(fragment, candidate))
        return changed.parse() is not None

    def fragment(self, candidate: Candidate) -> Fragment:
        return next(
            f for f in self.fragments
            if f.path == candidate.path and f.first <= candidate.first and candidate.last <= f.last
        )  # fmt: skip

    def change_to(self, candidate: Candidate | None) -> Steps[bool]:
        """Take back the last try and make this one, in one edit if they are near. False if it could not be made."""
        old = self.applied
        if old is not None and (candidate is None or not can_join(self.fragment(candidate), old, candidate)):
            if not (yield from self.edit(self.fragment(old), old, None, "That did not help. Take it back.")):
                return False
            old = None
        if candidate is None:
            return True
        remark = f"Line {candidate.line} of {candidate.path} is suspicious: {candidate.remark}."
        if old is not None:
            remark = "That did not help. " + remark
        return (yield from self.edit(self.fragment(candidate), old, candidate, remark))

    def edit(self, fragment: Fragment, old: Candidate | None, new: Candidate | None, remark: str) -> Steps[bool]:
        for extra in (0, 2, 5):
            texts = search_replace(fragment, self.fragments, old, new, extra)
            if texts is None:
                return False
            observation = yield from self.act("edit", remark, path=fragment.path, search=texts[0], replace=texts[1])
            if not observation.startswith("Error"):
                self.applied = new
                return True
            remark = "Name more lines, so that there is only one such place."
        return False


def _worth_fixing(report: seen.Report) -> tuple[str, ...]:
    """The failing tests without those that fail for want of a network, a module or a fixture, if any are left."""
    able = tuple(test for test in report.failing if not _ENVIRONMENT.search(report.messages[test]))
    return able or report.failing


def _choose(failing: tuple[str, ...]) -> tuple[str, ...]:
    """A few failing tests that differ: one of each function first."""
    by_function: dict[str, list[str]] = {}
    for test in failing:
        by_function.setdefault(test.partition("[")[0], []).append(test)
    groups = list(by_function.values())
    spread = [group[depth] for depth in range(FAILING_RUN) for group in groups if depth < len(group)]
    return tuple(spread[:FAILING_RUN])


def _duration(observation: str) -> float:
    """Seconds that a timed command took, starting Python included; a busy machine makes them many."""
    times = re.findall(r"^took (\d+\.\d+) s$", observation, re.MULTILINE)
    return float(times[-1]) if times else 10.0


def _is_test(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py" or "/tests/" in "/" + path
