"""The repair session: look around, run the tests, localise, read, then try changes until the suite passes.

A generator: it yields actions, gets observations, and returns the sentence with which it gives up (a session that
ends well ends with `submit`). It knows only what it was told in the conversation.
"""

from __future__ import annotations

import re
import shlex

from forager.models.search import observations as seen
from forager.models.search.candidates import candidates
from forager.models.search.hints import Hints, read_hints
from forager.models.search.ranking import rank
from forager.models.search.session import SUITE_SECONDS, Steps
from forager.models.search.source import Candidate, Fragment
from forager.models.search.trying import HANG_SECONDS, Trying

FUNCTIONS_READ = 10
LINES_READ = 2500
WHOLE_FILE = 24_000
"""Bytes up to which a file is read as a whole."""
FAILING_TRACED = 12
FAILING_RUN = 5
"""Failing tests that a try has to pass before the whole suite is run."""
TIMED = "TIMEFORMAT='took %R s'; time "
_ENVIRONMENT = re.compile(
    r"fixture .* not found|ModuleNotFoundError|No module named|name resolution|ConnectionError|Network is unreachable"
)


class Repair(Trying):
    """One session."""

    order: list[Candidate]
    """The candidates, likeliest first, once they are known."""

    def play(self, statement: str) -> Steps[str]:
        self.fragments, self.order = [], []
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
            plugin = yield from self.localise((), [], (), HANG_SECONDS, "The suite does not end. Find what hangs.")
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
            yield from self.localise(
                failing, where, tuple(sorted(hints.called)), 10, "Find the lines that failing tests run most."
            )
        )
        suspects = seen.suspects(seen.split_output(table)[0])
        yield from self.read(suspects, seen.file_sizes(table))
        if not self.fragments:
            return "The failing tests lead to no source line that I could read, so I have nothing to change."
        self.first, self.failing, self.chosen = report, failing, chosen
        self.order = self.rank(suspects, hints, where)
        return (yield from self.try_all(self.order))

    def localise(
        self,
        failing: tuple[str, ...],
        points: list[tuple[str, int]],
        names: tuple[str, ...],
        seconds: float,
        remark: str,
    ) -> Steps[str]:
        settings = {
            "FAILING: tuple[str, ...] = ()": f"FAILING = {failing[:FAILING_TRACED]!r}",
            "POINTS: tuple[tuple[str, int], ...] = ()": f"POINTS = {tuple(points[:20])!r}",
            "NAMES: tuple[str, ...] = ()": f"NAMES = {names[:10]!r}",
            "TEST_SECONDS = 10.0": f"TEST_SECONDS = {float(seconds)}",
            **({} if failing else {"PASSING_TESTS = 250": "PASSING_TESTS = 100_000"}),
        }
        compares = "Write a small pytest plugin that compares the lines which failing and passing tests run."
        yield from self.script("ochiai_plugin.py", compares, settings)
        path = f"PYTHONPATH={self.scratch}${{PYTHONPATH:+:$PYTHONPATH}} "
        return (yield from self.test((), "-p ochiai_plugin --tb=no", remark, 100, prefix=path))

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
