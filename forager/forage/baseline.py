"""What a suite gives on the clean code: which tests pass for certain, and which are left out and why.

The suite runs several times: first in its own order, later shuffled and under another `PYTHONHASHSEED`. A test that
does not pass every time can't tell a bug from chance, so it is in no task's lists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from forager.evaluate.testrun import TestRun, file_of
from forager.forage.classify import Classified
from forager.records import Record

RUNS = 3
"""Of the clean code, by default."""
SLOW = 5.0
"""Seconds from which a single test is slow: it would be most of what every mutant costs."""


class Baseline(Record, frozen=True):
    """What the clean side gave."""

    passing: tuple[str, ...]
    """Node ids that passed in every run, without slow ones and those in the package's own code (doctests): the
    mutated file has to be free to change."""
    seconds: float
    """Wall time of the slowest run."""
    not_passing: int = 0
    """Failed, skipped, ... in every run."""
    flaky: tuple[str, ...] = ()
    """Passed in some runs only, of those in the suite's own order too."""
    order_dependent: tuple[str, ...] = ()
    """Passed whenever the order was the suite's own, and failed in another."""
    slow: tuple[str, ...] = ()
    """Passed, and take longer than `SLOW` seconds."""
    pass_rates: dict[str, float] = msgspec.field(default_factory=dict)
    """Node ids to the share of runs that passed, for all that is not 1."""
    runs: int = 2

    @property
    def unstable(self) -> tuple[str, ...]:
        return (*self.flaky, *self.order_dependent)

    @property
    def excluded(self) -> dict[str, list[str]]:
        """Tests that would count but for a fault of theirs, by fault."""
        found = {"flaky": self.flaky, "order_dependent": self.order_dependent, "slow": self.slow}
        return {fault: list(tests) for fault, tests in found.items() if tests}

    @property
    def limit(self) -> float:
        """Seconds that a mutant's run may take; longer, and it hangs."""
        return 5 * self.seconds + 10


CleanRun = Callable[[int, int | None], Awaitable[TestRun]]
"""Runs the suite on clean code: the number of the run (from 0), and the seed of another order or None."""


async def measure(run: CleanRun, first: TestRun, own: Collection[str], runs: int = RUNS) -> Baseline:
    """The baseline from `first` (run 0, in the suite's own order) and `runs` - 1 more, those in other orders.

    Where tests disagree, one more run in the suite's own order tells flaky tests from order-dependent ones. `own` are
    the paths of the package's own code. Raises `ForageError` for a suite that cannot tell a bug from none.
    """
    ordered, shuffled = [first], []
    for number in range(1, runs):
        other = await run(number, number)
        if other.complete and not other.timed_out and other.outcomes:
            shuffled.append(other)
        else:  # another order brings the whole suite down; the tests may still be good in their own
            ordered.append(await run(number, None))
    if shuffled and _disagree([*ordered, *shuffled]):
        ordered.append(await run(1, None))
    return compare_clean(ordered, shuffled, own)


def compare_clean(ordered: Sequence[TestRun], shuffled: Sequence[TestRun], own: Collection[str]) -> Baseline:
    """The baseline from runs of the clean code in the suite's own order (one at least) and in others.

    Raises `Classified` saying what is wrong with a suite that cannot tell a bug from none.
    """
    for run in ordered:
        check_clean(run)
    runs = [*ordered, *shuffled]
    passed = {test: sum(run.outcomes.get(test) == "passed" for run in runs) for run in runs for test in run.outcomes}
    constant = [test for test in ordered[0].outcomes if passed[test] == len(runs) and file_of(test) not in own]
    seconds = {test: max(run.durations.get(test, 0.0) for run in runs) for test in constant}
    slow = tuple(test for test in constant if seconds[test] > SLOW)
    if len(slow) == len(constant):
        slow = ()
    some = sorted(test for test, count in passed.items() if 0 < count < len(runs) and file_of(test) not in own)
    by_order = {test for test in some if shuffled and all(run.outcomes.get(test) == "passed" for run in ordered)}
    if not constant:
        what = "no test passes in every order" if by_order else f"no test passes in all {len(runs)} runs"
        raise Classified(f"{what} of the clean code", "unstable")
    return Baseline(
        passing=tuple(test for test in constant if test not in set(slow)),
        seconds=max(run.seconds for run in runs),
        not_passing=sum(count == 0 for count in passed.values()),
        flaky=tuple(test for test in some if test not in by_order),
        order_dependent=tuple(test for test in some if test in by_order),
        slow=slow,
        pass_rates={test: round(count / len(runs), 3) for test, count in passed.items() if count < len(runs)},
        runs=len(runs),
    )


def _disagree(runs: Sequence[TestRun]) -> bool:
    passed = [{test for test, outcome in run.outcomes.items() if outcome == "passed"} for run in runs]
    return any(found != passed[0] for found in passed)


def check_clean(run: TestRun) -> None:
    """Raise `Classified`, one line, where a run of the clean code shows that the suite is of no use."""
    if run.timed_out:
        raise Classified(f"the suite of the clean code does not end within {run.seconds:.0f} s", "hangs")
    if not run.outcomes and run.collect_errors:
        raise Classified(f"no test can be collected: {_first_error(run)}", "not_collected")
    if not run.complete and not run.outcomes:
        raise Classified(f"the tests do not start: {_last_line(run.output)}", "not_started")
    if not run.outcomes:
        raise Classified("the package has no tests", "no_tests")
    modules, broken = len({file_of(test) for test in run.outcomes}), len(run.collect_errors)
    if broken > modules:
        what = f"{broken} of {modules + broken} test modules cannot be collected"
        raise Classified(f"{what}: {_first_error(run)}", "not_collected")
    if not run.complete:
        what = f"the suite breaks off after {len(run.outcomes)} tests"
        raise Classified(f"{what}: {_last_line(run.output)}", "breaks_off")
    passed = sum(outcome == "passed" for outcome in run.outcomes.values())
    failed = sum(outcome in ("failed", "error") for outcome in run.outcomes.values())
    if not passed and not failed:
        raise Classified(f"no test of the clean code passes: all {len(run.outcomes)} are skipped", "no_tests")
    if not passed:
        raise Classified(f"no test of the clean code passes ({failed} fail): {_first_error(run)}", "fails")
    if failed > passed:
        what = f"the suite does not pass: {failed} of {passed + failed} tests fail"
        raise Classified(f"{what}: {_first_error(run)}", "fails")


def _first_error(run: TestRun) -> str:
    """The most telling line of a run's failures."""
    for text in (*run.failures.values(), run.output):
        for line in text.splitlines():
            if line.startswith("E  ") and line[1:].strip():
                return line[1:].strip()[:200]
    return _last_line(run.output)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it prints nothing"
