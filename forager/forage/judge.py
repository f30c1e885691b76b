"""Verdicts on many mutants of one package, with as few and as short test runs as will do.

With a map of which test runs which lines (`reach.py`), a mutant first runs only the tests that reach it. Most are
settled by that. For the others the whole suite has to show that nothing else breaks, and it does so for several at
once: up to `TOGETHER` mutants, all in one tree. A test that passes there passes with each, unless two make up for
each other. Where others fail than those that were foreseen, they run with the mutants of lines that run at import and
with the rest, then with each half of those, and so on, until it is known whose fault it is. Where that does not tell,
or the suite does not reach its end, the mutants are parted and each half gets the whole suite again.

Every mutant that a test tells also runs its own tests a second time, alone, under another `PYTHONHASHSEED`, and with
them those that others break. So a test in FAIL_TO_PASS failed twice with the mutant alone and did not pass in the
whole suite with others, and one in PASS_TO_PASS passed with the mutant in the tree. Tests that fail alone on the
clean code, for want of others, tell nothing.

On a mutant of lines that run at import any test may depend: one of each module is tried. Mutants that break much,
that most of the suite reaches or with which it breaks off run the whole suite alone, as every mutant does without a
map: see `validate.py`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import tenacity

from forager.errors import CapExceeded, SandboxError
from forager.evaluate.testrun import TestRun, file_of
from forager.forage.baseline import Baseline
from forager.forage.mutate import Mutant, apply_all, overlap
from forager.forage.reach import Reach, Selection, select
from forager.forage.trying import Turns, at_once
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
MUCH = 0.25
"""Share of tests from which failing is no matter of a few tests."""
PROBES = 40
"""Tests that show whether anything works with a bug in code that all tests may depend on."""
TEXTS = 20
"""Failures whose texts are kept for the statement; with local variables in them each may take a tenth of a second."""

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
    """A bug on its way to a verdict, beside others."""

    def __init__(self, mutants: Mutants, *, shared: bool) -> None:
        self.mutants = mutants
        self.shared = shared
        """Whether any test may depend on it."""
        self.own: frozenset[str] = frozenset()
        """The tests that reach it, or stand for those that may depend on it."""
        self.failing: frozenset[str] = frozenset()
        """Those of its own that failed in the first run."""
        self.evidence: list[tuple[frozenset[str], TestRun]] = []
        """Runs, and the tests that each tells something about."""
        self.alone: list[TestRun] = []
        """Runs with no other bug in the tree."""
        self.seconds = 0.0
        self.unfit: Verdict | None = None
        """Set where the whole suite shows that no task comes of it."""

    def first(self, tests: Collection[str], run: TestRun) -> bool:
        """Note a first run of tests of its own; returns whether one passed."""
        self.own |= frozenset(tests)
        self.failing |= frozenset(test for test in tests if failed(run, test))
        return bool(_note([self], run, frozenset(tests)))


class _Part(NamedTuple):
    """A run of some tests with some bugs in the tree."""

    group: Sequence[_Open]
    tests: frozenset[str]
    run: TestRun


def grouped(bugs: Sequence[_Open]) -> list[list[_Open]]:
    """Few groups, none with two bugs in one place.

    Bugs that break much are in one group: the tests that they break run with each of the others of their group.
    """
    count = math.ceil(len(bugs) / TOGETHER)
    groups: list[list[_Open]] = []
    most = math.ceil(len(bugs) / max(1, count))
    for bug in sorted(bugs, key=lambda bug: len(bug.failing)):
        fitting = (g for g in groups if len(g) < most and not any(overlap(bug.mutants, o.mutants) for o in g))
        group = next(fitting, None)
        if group is None:
            groups.append([bug])
        else:
            group.append(bug)
    return groups


def _halves(group: Sequence[_Open]) -> list[Sequence[_Open]]:
    half = len(group) // 2
    return [group[:half], group[half:]]


def _suspects(group: Sequence[_Open]) -> list[Sequence[_Open]]:
    """Two parts of a group: the bugs that most likely break what nobody foresaw, and the others; or halves."""
    parts = [[bug for bug in group if bug.shared is shared] for shared in (True, False)]
    return list(parts) if all(parts) else _halves(group)


def _places(group: Sequence[_Open]) -> Mutants:
    return tuple(mutant for bug in group for mutant in bug.mutants)


def _foreseen(group: Sequence[_Open]) -> frozenset[str]:
    return _union(bug.failing for bug in group)


def _passed(run: TestRun, tests: Collection[str]) -> frozenset[str]:
    return frozenset(test for test in tests if run.outcomes.get(test) == "passed")


def _note(group: Sequence[_Open], run: TestRun, tests: frozenset[str]) -> frozenset[str]:
    """Note what a run of `tests` with these bugs in the tree tells of each; returns those that passed."""
    passed = _passed(run, tests)
    for bug in group:
        bug.seconds += run.seconds / len(group)
        if len(group) == 1:
            bug.evidence.append((tests, run))
            bug.alone.append(run)
        else:  # a failure tells nothing of one of them
            bug.evidence.append((passed, run))
    return passed


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


class Judge:
    """Judges mutants of one package. Runs wait for `slots`."""

    def __init__(
        self,
        engine: Engine,
        suite: Suite,
        baseline: Baseline,
        sources: Mapping[str, bytes],
        reach: Reach | None,
        slots: Turns,
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
        found = await at_once(self._open(mutants, tell) for mutants in bugs)
        groups = grouped([bug for bug in found if isinstance(bug, _Open)])
        confirmed = [asyncio.ensure_future(self._confirm(group)) for group in groups]
        lonely = [asyncio.ensure_future(self._lonely(_foreseen(group))) for group in groups]

        async def finish(bug: _Open, n: int) -> None:
            tell(bug.mutants, await self._finish(bug, _foreseen(groups[n]), confirmed[n], lonely[n]))

        await at_once([  # what others wait for comes first
            *confirmed,
            *lonely,
            *(self._alone(mutants, tell) for mutants, bug in zip(bugs, found, strict=True) if bug is None),
            *(finish(bug, n) for n, group in enumerate(groups) for bug in group),
        ])  # fmt: skip

    async def _open(self, mutants: Mutants, tell: Callable[[Mutants, Verdict], None]) -> _Open | Verdict | None:
        """As `_first`; a verdict is told."""
        found = await self._first(mutants)
        if isinstance(found, Verdict):
            tell(mutants, found)
        return found

    async def _first(self, mutants: Mutants) -> _Open | Verdict | None:
        """What the tests that reach a bug say of it; None where the whole suite has to judge it with no other bug
        beside it."""
        selection = self._select(mutants)
        if selection is None:
            return None
        bug, passes = _Open(mutants, shared=selection.shared), False
        if selection.tests:
            run = await self._run(mutants, selection.tests, self._limit(selection.tests))
            if isinstance(run, Verdict):
                return run
            passes = bug.first(selection.tests, run)
            if not run.complete and not bug.failing:
                return None
        if selection.shared and not passes:
            works = await self._works(bug)
            if isinstance(works, Verdict):
                return works
            if not works:
                return None
        if selection.shared or bug.failing:
            return bug
        return Verdict(
            reason="survived" if selection.tests else "unreached", runs=len(bug.alone), seconds=bug.seconds
        )

    async def _works(self, bug: _Open) -> bool | Verdict:
        """Whether tests pass with a bug in code that all may depend on: one of each module is tried, of `PROBES` at
        most. A bug that breaks much cannot be judged beside others."""
        modules = {file_of(test): test for test in reversed(self._baseline.passing) if test not in bug.own}
        tests = self._ordered(frozenset(modules.values()))
        tests = tests[:: math.ceil(len(tests) / PROBES) or 1]
        if not tests:
            return False
        run = await self._run(bug.mutants, tests, self._limit(tests))
        if isinstance(run, Verdict):
            return run
        bug.first(tests, run)
        return len(_passed(run, tests)) > (1 - MUCH) * len(tests)

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

    def _limit(self, tests: Collection[str]) -> float:
        assert self._reach is not None
        return min(self._baseline.limit, 5 * (self._spent(tests) + self._reach.overhead) + 10)

    async def _alone(self, mutants: Mutants, tell: Callable[[Mutants, Verdict], None]) -> None:
        async with self._slots:
            verdict = await steady(validate)(
                self._engine,
                self._suite,
                self._baseline,
                apply_all(mutants, self._sources),
                whole=self._whole,
                attempt=self._attempt,
            )
        tell(mutants, verdict)

    async def _lonely(self, tests: frozenset[str]) -> frozenset[str]:
        """Which of some tests fail on the clean code, too, where they run without the others: that they fail alone
        tells of no bug. None, where that cannot be told."""
        run = await self._run((), self._ordered(tests), self._baseline.limit) if tests else None
        return tests - _passed(run, tests) if isinstance(run, TestRun) else frozenset()

    async def _confirm(self, group: Sequence[_Open]) -> None:
        """Note what the whole suite tells of a group, and of each half of it where that does not reach its end or
        fails twice in a way that no bug explains."""
        most = MOST_FAILING * len(group) + self._baseline.not_passing
        run = await self._run(_places(group), self._whole, self._baseline.limit, most=most)
        if len(group) == 1:
            if isinstance(run, Verdict):
                group[0].unfit = run
            else:
                _note(group, run, self._passing)
            return
        if not isinstance(run, Verdict):
            odd = self._passing - _note(group, run, self._passing) - _foreseen(group)
            for own in (False, True):  # what one test leaves behind may break another
                if 0 < len(odd) < MUCH * len(self._passing):
                    odd -= await self._blame(group, odd, own=own)
            if odd:
                again = await self._run(_places(group), self._whole, self._baseline.limit, most=most)
                odd -= frozenset() if isinstance(again, Verdict) else _note(group, again, odd)
            if not odd:
                return
        await at_once(self._confirm(half) for half in _halves(group))

    async def _blame(self, group: Sequence[_Open], odd: frozenset[str], *, own: bool) -> frozenset[str]:
        """Which of the `odd` tests, which nobody foresaw to fail, a bug of the group breaks alone; what is told of
        these is noted. `own`: they run after the tests that reach the bugs, as in the whole suite."""
        told = await self._try_parts(group, odd, own=own)
        broken = _union(part.tests - _passed(part.run, part.tests) for part in told if len(part.group) == 1)
        for part in told:
            _note(part.group, part.run, part.tests & broken)
        return broken

    async def _try(self, group: Sequence[_Open], odd: frozenset[str], *, own: bool) -> list[_Part]:
        """Runs of the `odd` tests: with all of a group, and while some fail with each part of it, and so on."""
        tests = odd | _union(bug.own for bug in group) if own else odd
        run = await self._run(
            _places(group), self._ordered(tests), self._baseline.limit, most=MOST_FAILING * len(group)
        )
        if isinstance(run, Verdict):
            run = TestRun()
        told = [_Part(group, odd, run)]
        if len(group) > 1 and (left := odd - _passed(run, odd)):
            told += await self._try_parts(group, left, own=own)
        return told

    async def _try_parts(self, group: Sequence[_Open], odd: frozenset[str], *, own: bool) -> list[_Part]:
        parts = await at_once(self._try(part, odd, own=own) for part in _suspects(group))
        return [part for told in parts for part in told]

    async def _finish(
        self,
        bug: _Open,
        foreseen: frozenset[str],
        confirmed: asyncio.Future[None],
        lonely: asyncio.Future[frozenset[str]],
    ) -> Verdict:
        """The verdict, after a second run of the bug's own tests, alone, with those that others of its group break:
        these, the `foreseen`, are not expected to pass in the whole suite. Tests that pass in none of these run once
        more."""
        if not bug.failing and not self._missed(bug) & foreseen:
            await confirmed  # most likely it survives, and nothing is to be seen twice
            if bug.unfit is None and self._passing == self._seen_passing(bug):
                return Verdict(reason="survived", runs=len(bug.evidence), seconds=bug.seconds)
        second = await self._again(bug, bug.own | foreseen)
        await confirmed
        if bug.unfit is not None:
            return bug.unfit
        if isinstance(second, Verdict):
            return second
        told = _union(tests for tests, _ in bug.evidence)
        missed = self._missed(bug)
        others = (missed & foreseen) - told
        _note([bug], second, bug.own | others)
        odd = missed - _passed(second, others)
        if odd:
            last = await self._again(bug, bug.own | missed)
            if isinstance(last, Verdict):
                return last
            _note([bug], last, bug.own | missed)
        return self._verdict(bug, (bug.own | odd) - await lonely)

    def _missed(self, bug: _Open) -> frozenset[str]:
        """Tests, none of its own, that were not seen to pass with a bug."""
        return self._passing - self._seen_passing(bug) - bug.own

    def _seen_passing(self, bug: _Open) -> frozenset[str]:
        return _union(_passed(run, tests) for tests, run in bug.evidence) & self._passing

    async def _again(self, bug: _Open, tests: frozenset[str]) -> TestRun | Verdict:
        """Some tests alone, in a run that differs from the first."""
        return await self._run(bug.mutants, self._ordered(tests), self._baseline.limit, second=True)

    def _ordered(self, tests: frozenset[str]) -> list[str]:
        return [test for test in self._baseline.passing if test in tests]

    def _verdict(self, bug: _Open, telling: frozenset[str]) -> Verdict:
        """From all that was noted. Only `telling` tests can be in FAIL_TO_PASS."""
        seen: dict[str, set[str]] = {test: set() for test in self._baseline.passing}
        for tests, run in bug.evidence:
            for test in tests & self._passing:
                seen[test].add("fail" if failed(run, test) else run.outcomes.get(test, "missing"))
        if not any("fail" in outcomes for outcomes in seen.values()):
            return Verdict(reason="survived", runs=len(bug.evidence), seconds=bug.seconds)
        fail = {test for test, outcomes in seen.items() if outcomes == {"fail"} and test in telling}
        keep = {test for test, outcomes in seen.items() if outcomes == {"passed"}}
        return settled(self._baseline.passing, fail, keep, bug.alone, len(bug.evidence), bug.seconds)

    async def _run(
        self, mutants: Mutants, tests: Sequence[str], limit: float, *, second: bool = False, most: int = MOST_FAILING
    ) -> TestRun | Verdict:
        """One run with these mutants in the tree; a verdict where it shows that no task comes of them."""
        async with self._slots.patiently() if second else self._slots:
            try:
                run = await steady(run_suite)(
                    self._engine,
                    self._suite,
                    timeout=limit,
                    hash_seed=HASH_SEEDS[second],
                    files=apply_all(mutants, self._sources),
                    tests=tests,
                    texts=TEXTS if second else 0,
                    locals_shown=second,
                    most_failing=most,
                    attempt=self._attempt,
                )
            except CapExceeded:
                return Verdict(reason="broke_container")
        reason: Reason | None = fault(run, most)
        return run if reason is None else Verdict(reason=reason, runs=1, seconds=run.seconds)
