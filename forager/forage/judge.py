"""Verdicts on many mutants of one package, with as few and as short test runs as will do.

With a map of which test runs which lines (`reach.py`), a mutant first runs only the tests that reach it. Most are
settled by that. For the others the whole suite has to show that nothing else breaks, and it does so for several at
once: up to `TOGETHER` mutants, all in one tree. A test that passes there passes with each; one that fails there runs
again with each of them alone. Where that is much of the suite, or the suite does not reach its end, the mutants are
parted and each half gets the whole suite again. Every mutant then runs its own tests a second time, alone, under
another `PYTHONHASHSEED`. So a test in FAIL_TO_PASS failed twice, and did not pass in the whole suite.

A mutant of lines that run at import, so that any test may depend on them, and that no test which reaches it tells,
runs the whole suite alone, as every mutant does without a map: see `validate.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import tenacity

from forager.errors import CapExceeded, SandboxError
from forager.evaluate.testrun import TestRun
from forager.forage.baseline import Baseline
from forager.forage.mutate import Mutant, apply_all, overlap
from forager.forage.reach import Reach, Selection, select
from forager.forage.trying import at_once
from forager.forage.validate import (
    HASH_SEEDS,
    MOST_FAILING,
    Reason,
    Suite,
    Verdict,
    failed,
    fault,
    run_suite,
    settled,
    validate,
)
from forager.sandbox.engine import Engine

TOGETHER = 16
"""Mutants that the whole suite confirms in one run."""
MOST = 0.6
"""Share of the suite's time from which running a selection of it is not worth while."""
MUCH = 0.2
"""Share of the suite's time up to which the tests that several mutants break run again with each of them."""

Mutants = tuple[Mutant, ...]
"""The places of one bug: one, or several for a combined one."""

steady = tenacity.retry(
    retry=tenacity.retry_if_exception_type(SandboxError),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_exponential(min=0.5, max=5),
    reraise=True,
)
"""A broken container is replaced; an engine that breaks every one is not waited for."""


class _Open:
    """A bug that some of its own tests see, on its way to a verdict."""

    def __init__(self, mutants: Mutants, own: frozenset[str], first: TestRun) -> None:
        self.mutants = mutants
        self.own = own
        """The tests that reach it."""
        self.failing = frozenset(test for test in own if failed(first, test))
        self.evidence: list[tuple[frozenset[str], TestRun]] = [(own, first)]
        """Runs, and the tests that each tells something about."""
        self.alone = [first]
        """Runs with no other bug in the tree."""
        self.seconds = first.seconds


class _Lone(NamedTuple):
    """A bug that the whole suite has to judge, with no other beside it."""

    mutants: Mutants
    known: Sequence[str] | None
    """Tests that the second run is of, beside those that failed in the first; None for the whole suite again."""


class Judge:
    """Judges mutants of one package. Runs wait for `slots`."""

    def __init__(
        self,
        engine: Engine,
        suite: Suite,
        baseline: Baseline,
        sources: Mapping[str, bytes],
        reach: Reach | None,
        slots: asyncio.Semaphore,
        attempt: str = "",
    ) -> None:
        self._engine = engine
        self._suite = suite
        self._baseline = baseline
        self._sources = sources
        self._reach = reach
        self._seconds = dict(zip(reach.tests, reach.seconds, strict=True)) if reach is not None else {}
        self._slots = slots
        self._attempt = attempt
        self._passing = frozenset(baseline.passing)
        self._whole = baseline.passing if baseline.slow else ()
        """What the whole suite is: everything, but for tests that are left out because they are slow."""

    def reaches(self, mutant: Mutant) -> bool:
        """Whether any test may tell a mutant; False only where the map shows that none runs its lines."""
        selection = self._select((mutant,))
        return selection is None or selection.shared or bool(selection.tests)

    async def verdicts(self, bugs: Sequence[Mutants], tell: Callable[[Mutants, Verdict], None]) -> None:
        """Call `tell` with the verdict on each, in no certain order, as soon as it is known.

        Raises `SandboxError` and `UnfitError` when the engine fails; what was told by then stands.
        """
        opened = await at_once(self._open(mutants, tell) for mutants in bugs)
        groups: list[list[_Open]] = []
        for bug in opened:
            if not isinstance(bug, _Open):
                continue
            fitting = (g for g in groups if len(g) < TOGETHER and not any(overlap(bug.mutants, o.mutants) for o in g))
            group = next(fitting, None)
            if group is None:
                groups.append([bug])
            else:
                group.append(bug)
        alone = [bug for bug in opened if isinstance(bug, _Lone)]
        await at_once([*(self._confirm(group, tell) for group in groups), *(self._alone(bug, tell) for bug in alone)])

    async def _open(self, mutants: Mutants, tell: Callable[[Mutants, Verdict], None]) -> _Open | _Lone | None:
        """A bug that is not settled by the tests that reach it; None where it is settled, and told."""
        found = await self._first(mutants)
        if isinstance(found, Verdict):
            tell(mutants, found)
            return None
        return found

    async def _first(self, mutants: Mutants) -> _Open | _Lone | Verdict:
        """What the tests that reach a bug say of it."""
        selection = self._select(mutants)
        if selection is None:
            return _Lone(mutants, None)
        if not selection.tests:
            return _Lone(mutants, ()) if selection.shared else Verdict(reason="unreached")
        run = await self._run(mutants, selection.tests, self._limit(selection))
        if isinstance(run, Verdict):
            return run
        if selection.shared and not any(run.outcomes.get(test) == "passed" for test in selection.tests):
            return _Lone(mutants, None)  # nothing may pass: not beside others
        if any(failed(run, test) for test in selection.tests):
            return _Open(mutants, frozenset(selection.tests), run)
        if not run.complete:
            return _Lone(mutants, None)
        if selection.shared:
            return _Lone(mutants, selection.tests)
        return Verdict(reason="survived", runs=1, seconds=run.seconds)

    def _select(self, mutants: Mutants) -> Selection | None:
        """The tests that reach a bug; None where that is not known, or not worth knowing."""
        if self._reach is None:
            return None
        found = [select(self._reach, self._passing, m.file, self._sources[m.file], m.start, m.end) for m in mutants]
        chosen = {test for selection in found for test in selection.tests}
        tests = tuple(test for test in self._reach.tests if test in chosen)
        seconds = self._spent(tests)
        if tests and seconds > MOST * sum(self._reach.seconds):
            return None
        return Selection(tests=tests, shared=any(selection.shared for selection in found), seconds=seconds)

    def _spent(self, tests: Collection[str]) -> float:
        """Seconds of some tests while they were mapped; tests that were not count for nothing."""
        return sum(self._seconds.get(test, 0.0) for test in tests)

    def _limit(self, selection: Selection) -> float:
        assert self._reach is not None
        return min(self._baseline.limit, 5 * (selection.seconds + self._reach.overhead) + 10)

    async def _alone(self, bug: _Lone, tell: Callable[[Mutants, Verdict], None]) -> None:
        async with self._slots:
            verdict = await steady(validate)(
                self._engine,
                self._suite,
                self._baseline,
                apply_all(bug.mutants, self._sources),
                whole=self._whole,
                known=bug.known,
                attempt=self._attempt,
            )
        tell(bug.mutants, verdict)

    async def _confirm(self, group: list[_Open], tell: Callable[[Mutants, Verdict], None]) -> None:
        """The whole suite for a group; for each half of it where it shows too much that was not foreseen."""
        together = tuple(mutant for bug in group for mutant in bug.mutants)
        most = MOST_FAILING * len(group) + self._baseline.not_passing
        run = await self._run(together, self._whole, self._baseline.limit, most=most)
        if isinstance(run, Verdict) and len(group) == 1:
            tell(group[0].mutants, run)
            return
        foreseen = frozenset(test for bug in group for test in bug.failing)
        outcomes = {} if isinstance(run, Verdict) else run.outcomes
        passed = frozenset(test for test in self._passing if outcomes.get(test) == "passed")
        odd = self._passing - passed - foreseen
        if isinstance(run, Verdict) or (len(group) > 1 and self._spent(odd) > MUCH * self._spent(self._passing)):
            half = len(group) // 2
            await at_once(self._confirm(part, tell) for part in (group[:half], group[half:]))
            return
        for bug in group:
            if len(group) > 1:  # with others in the tree a failure tells nothing of one of them
                bug.evidence.append((passed, run))
            else:
                bug.evidence.append((self._passing, run))
                bug.alone.append(run)
            bug.seconds += run.seconds / len(group)
        await at_once(self._second(bug, self._passing - passed, odd, tell) for bug in group)

    async def _second(
        self,
        bug: _Open,
        missed: frozenset[str],
        odd: frozenset[str],
        tell: Callable[[Mutants, Verdict], None],
    ) -> None:
        """The verdict, after a bug's own tests once more, alone, and those `missed`, which did not pass in the whole
        suite. The `odd` ones of these nobody foresaw."""
        tests = [test for test in self._baseline.passing if test in bug.own or test in missed]
        run = await self._run(bug.mutants, tests, self._baseline.limit, second=True)
        if isinstance(run, Verdict):
            tell(bug.mutants, run)
            return
        bug.evidence.append((frozenset(tests), run))
        bug.alone.append(run)
        bug.seconds += run.seconds
        tell(bug.mutants, self._verdict(bug, odd))

    def _verdict(self, bug: _Open, odd: frozenset[str]) -> Verdict:
        seen: dict[str, set[str]] = {test: set() for test in self._baseline.passing}
        for tests, run in bug.evidence:
            for test in tests & self._passing:
                seen[test].add("fail" if failed(run, test) else run.outcomes.get(test, "missing"))
        # of a test that fails because of another and does not reach this one, one failure is not enough
        telling = bug.own | odd
        fail = {test for test, outcomes in seen.items() if outcomes == {"fail"} and test in telling}
        keep = {test for test, outcomes in seen.items() if outcomes == {"passed"}}
        return settled(self._baseline.passing, fail, keep, bug.alone, len(bug.evidence), bug.seconds)

    async def _run(
        self, mutants: Mutants, tests: Sequence[str], limit: float, *, second: bool = False, most: int = MOST_FAILING
    ) -> TestRun | Verdict:
        """One run with these mutants in the tree; a verdict where it shows that no task comes of them."""
        async with self._slots:
            try:
                run = await steady(run_suite)(
                    self._engine,
                    self._suite,
                    timeout=limit,
                    hash_seed=HASH_SEEDS[second],
                    files=apply_all(mutants, self._sources),
                    tests=tests,
                    locals_shown=second,
                    most_failing=most,
                    attempt=self._attempt,
                )
            except CapExceeded:
                return Verdict(reason="broke_container")
        reason: Reason | None = fault(run, most)
        return run if reason is None else Verdict(reason=reason, runs=1, seconds=run.seconds)
