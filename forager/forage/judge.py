"""Verdicts on many mutants of one package, with as few and as short test runs as will do.

With a map of which test runs which lines (`reach.py`), a mutant first runs only the tests that reach it. Most are
settled by that. For the others the whole suite has to show that nothing else breaks, and it does so for several at
once: up to `TOGETHER` mutants, all in one tree. A test that passes there passes with each, unless two make up for
each other. Where others fail than those that were foreseen, they run with the mutants of lines that run at import and
with the rest, then with each half of those, and so on, until it is known whose fault it is. Where that does not tell,
or the suite does not reach its end, the mutants are parted and each half gets the whole suite again.

Every mutant that a test tells also runs the tests that reach it a second time, alone, under another
`PYTHONHASHSEED`; where these are many, only those that failed. The tests that others of its group break run with it,
too, or, where they are many, with all the others at once. So a test in FAIL_TO_PASS failed twice with the mutant
alone and did not pass in the whole suite with others, and one in PASS_TO_PASS passed with the mutant in the tree.
Tests that fail on the clean code where they run without the others tell nothing.

First and second runs are series, some in one container each (`evaluate/series.py`), in another order the second time;
each series of second runs ends with the clean code, so what one mutant leaves behind makes no test tell of another.
The whole suite runs in a container of its own, and so does what a series does not get done.

On a mutant of lines that run at import any test may depend: a sample of the suite runs with it, and the rest, too,
where some of that fail and the suite is short. With a mutant that most of the suite reaches all of it runs at first.
Mutants that break much run the whole suite with no other beside them, as every mutant does without a map: see
`validate.py`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import tenacity

from forager.errors import CapExceeded, SandboxError
from forager.evaluate.series import Round
from forager.evaluate.testrun import USAGE_ERROR, TestRun, file_of
from forager.forage.baseline import Baseline
from forager.forage.evidence import (
    ROUND,
    Mutants,
    OpenBug,
    foreseen,
    grouped,
    halves,
    note,
    passed,
    places,
    rest,
    suspects,
    union,
)
from forager.forage.mutate import Mutant, apply_all
from forager.forage.reach import Reach, select
from forager.forage.trying import Turns, at_once
from forager.forage.validate import (
    HASH_SEEDS,
    MOST_FAILING,
    Reason,
    Suite,
    Verdict,
    failed,
    fault,
    run_rounds,
    run_suite,
    settled,
    validate,
)
from forager.sandbox.engine import Engine

MOST = 0.6
"""Share of the suite's time from which running a selection of it is not worth while."""
MUCH = 0.25
"""Share of tests from which failing is no matter of a few tests."""
SAMPLE = 3.0
"""Seconds of tests that show whether a bug on which any test may depend breaks anything, about."""
SHORT = 20.0
"""Seconds of tests that run with such a bug, too, when it does; longer suites only run with several."""
TEXTS = 20
"""Failures whose texts are kept for the statement."""
TEXT = 0.05
"""Seconds that a text takes, with local variables in it."""
SERIES = 10
"""Runs of some tests in one container, about."""
TEST = 0.002
"""Seconds that a test takes besides its own."""

steady = tenacity.retry(
    retry=tenacity.retry_if_exception_type(SandboxError),
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_exponential(min=0.5, max=5),
    reraise=True,
)
"""A broken container is replaced; an engine that breaks every one is not waited for."""


class _Part(NamedTuple):
    """A run of some tests with some bugs in the tree."""

    group: Sequence[OpenBug]
    tests: frozenset[str]
    run: TestRun


class _Job(NamedTuple):
    """A run to be had, of some tests with some bugs in the tree."""

    bugs: Sequence[OpenBug]
    tests: Sequence[str]


class _Selected(NamedTuple):
    """What runs with a bug at first."""

    tests: Sequence[str]
    reached: frozenset[str]
    """Those that run its lines."""
    shared: bool
    """Whether any other test may depend on it."""


class _Second(NamedTuple):
    """What second runs gave."""

    runs: dict[OpenBug, TestRun | Verdict]
    along: dict[OpenBug, frozenset[str]]
    """Tests that others break, which ran with a bug."""
    lonely: frozenset[str]
    """Tests that fail on the clean code, too, where they run without the others."""


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
        self._in_series = True
        """Whether a series of runs works, as far as is known."""
        self._passing = frozenset(baseline.passing)
        self._most = MOST_FAILING + baseline.not_passing
        self._whole = baseline.passing if baseline.slow else ()
        """What the whole suite is: everything, but for tests that are left out because they are slow."""

    def reaches(self, mutant: Mutant) -> bool:
        """Whether any test may tell a mutant; False only where the map shows that none runs its lines."""
        selection = self._select((mutant,))
        return selection is None or bool(selection.tests)

    async def verdicts(self, bugs: Sequence[Mutants], tell: Callable[[Mutants, Verdict], None]) -> None:
        """Call `tell` with the verdict on each, in no certain order, as soon as it is known.

        Raises `SandboxError` and `UnfitError` when the engine fails; what was told by then stands.
        """
        found = await self._first(bugs)
        opened: list[OpenBug] = []
        alone: list[Awaitable[None]] = []
        for mutants, first in zip(bugs, found, strict=True):
            if isinstance(first, Verdict):
                tell(mutants, first)
            elif first is None:
                alone.append(self._alone(mutants, tell))
            elif first.own == self._passing and len(first.failing) > MUCH * len(first.own):
                alone.append(self._apart(first, tell))
            else:
                opened.append(first)
        # what others wait for comes first
        await at_once([*(self._settle(group, tell) for group in grouped(opened)), *alone])

    async def _first(self, bugs: Sequence[Mutants]) -> list[OpenBug | Verdict | None]:
        """What first runs say of each bug; None where that does not tell what the suite is like with it."""
        found: list[OpenBug | Verdict | None] = [None] * len(bugs)
        numbers: dict[OpenBug, int] = {}
        jobs: list[_Job] = []
        for n, mutants in enumerate(bugs):
            selection = self._select(mutants)
            if selection is None:
                continue
            if not selection.tests:
                found[n] = Verdict(reason="unreached")
                continue
            bug = OpenBug(mutants, shared=selection.shared, reached=selection.reached)
            numbers[bug] = n
            jobs.append(_Job([bug], selection.tests))

        async def do(jobs: Sequence[_Job]) -> None:
            for job, run in zip(jobs, await self._runs(jobs), strict=True):
                (bug,) = job.bugs
                found[numbers[bug]] = run if isinstance(run, Verdict) else self._told(bug, job.tests, run)

        await do(jobs)
        if self._short:
            opened = [bug for bug in found if isinstance(bug, OpenBug) and bug.shared]
            breaking = [bug for bug in opened if not bug.own <= bug.seen_passing()]
            await do([_Job([bug], self._ordered(self._passing - bug.own)) for bug in breaking])
        return found

    def _told(self, bug: OpenBug, tests: Collection[str], run: TestRun) -> OpenBug | Verdict | None:
        """What a first run says of a bug; None where that is not what the whole suite will say."""
        good = bug.first(tests, run)
        # One module that cannot be imported keeps pytest from running any test by name.
        kept_from_running = run.exit_code == USAGE_ERROR and bool(frozenset(tests) - good - bug.failing)
        if bug.own == self._passing:
            bug.shared = False
        if bug.own == bug.failing == self._passing:
            reason: Reason = "nothing_passes"
        elif kept_from_running or not (good or bug.failing) or self._unbounded(bug, good):
            return None
        elif bug.shared or bug.failing:
            return bug
        else:
            reason = "survived"
        return Verdict(reason=reason, runs=len(bug.alone), seconds=bug.seconds)

    def _unbounded(self, bug: OpenBug, good: Collection[str]) -> bool:
        """Whether a bug breaks so much of a sample that the rest of a long suite is needed."""
        return bug.shared and not self._short and len(good) <= (1 - MUCH) * len(bug.own)

    def _select(self, mutants: Mutants) -> _Selected | None:
        """The tests of a bug's first run; None where it is not known which reach it."""
        if self._reach is None:
            return None
        found = [select(self._reach, self._passing, m.file, self._sources[m.file], m.start, m.end) for m in mutants]
        reached = union(frozenset(selection.tests) for selection in found)
        shared = any(selection.shared for selection in found)
        chosen = reached | self._sample if shared else reached
        if self._takes(chosen) > MOST * self._takes_all:
            chosen = self._passing
        return _Selected(self._ordered(chosen), reached, shared and chosen != self._passing)

    @cached_property
    def _takes_all(self) -> float:
        return self._takes(self._passing)

    @property
    def _short(self) -> bool:
        return self._takes_all <= SHORT

    @cached_property
    def _sample(self) -> frozenset[str]:
        """All tests, or some of them, one of each module among these."""
        every = max(1, math.ceil(self._takes_all / SAMPLE))
        modules = {file_of(test): test for test in reversed(self._baseline.passing)}
        return frozenset((*self._baseline.passing[::every], *modules.values()))

    def _spent(self, tests: Collection[str]) -> float:
        """Seconds of some tests while they were mapped; tests that were not count for nothing."""
        return sum(self._seconds.get(test, 0.0) for test in tests)

    def _takes(self, tests: Collection[str]) -> float:
        return self._spent(tests) + TEST * len(tests)

    def _limit(self, tests: Collection[str]) -> float:
        if len(tests) == len(self._passing):
            return self._baseline.limit
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

    async def _apart(self, bug: OpenBug, tell: Callable[[Mutants, Verdict], None]) -> None:
        """Tell the verdict on a bug that the whole suite has run with, after another run of that."""
        run = await self._again(bug, self._passing)
        if isinstance(run, TestRun):
            note([bug], run, self._passing)
        tell(bug.mutants, run if isinstance(run, Verdict) else self._verdict(bug, self._passing))

    async def _settle(self, group: Sequence[OpenBug], tell: Callable[[Mutants, Verdict], None]) -> None:
        """Tell the verdicts on a group, after the whole suite with all of it and the second runs of each."""
        _, second = await at_once([self._confirm(group), self._second(group)])
        assert second is not None

        async def finish(bug: OpenBug) -> None:
            tell(bug.mutants, await self._finish(bug, second))

        await at_once(finish(bug) for bug in group)

    async def _second(self, group: Sequence[OpenBug]) -> _Second:
        """Run the tests that tell of each bug again, with it alone; show whether they pass with the others."""
        along, together = rest(group, self._takes)
        beside = dict(zip(group, along, strict=True))
        jobs = [_Job([bug], self._ordered(self._twice(bug) | tests)) for bug, tests in beside.items()]
        jobs = [job for job in jobs if job.tests]
        more = [_Job(others, self._ordered(tests)) for others, tests in together]
        runs: dict[OpenBug, TestRun | Verdict] = {}
        lonely: set[str] = set()

        async def one(jobs: Sequence[_Job]) -> None:
            clean = _Job([], self._ordered(union(self._telling(job) for job in jobs)))
            *alone, last = await self._series([*reversed(jobs), clean], second=True)
            runs.update((job.bugs[0], run) for job, run in zip(reversed(jobs), alone, strict=True))
            if isinstance(last, TestRun):
                lonely.update(frozenset(clean.tests) - passed(last, clean.tests))

        async def others(jobs: Sequence[_Job]) -> None:
            for job, run in zip(jobs, await self._series(jobs, second=True), strict=True):
                if isinstance(run, TestRun):
                    note(job.bugs, run, passed(run, job.tests))

        await at_once([*map(one, self._parts(jobs)), *map(others, self._parts(more))])
        return _Second(runs, beside, frozenset(lonely))

    def _twice(self, bug: OpenBug) -> frozenset[str]:
        """Tests of a bug's first run that run again: all that reach it, if that takes no long time."""
        if not bug.failing or self._takes(bug.reached) > SAMPLE:
            return bug.failing
        return bug.failing | bug.reached

    @staticmethod
    def _telling(job: _Job) -> frozenset[str]:
        """Tests of a second run that may tell of its bug: those that failed at first, or any where none did."""
        return job.bugs[0].failing or frozenset(job.tests)

    async def _confirm(self, group: Sequence[OpenBug]) -> None:
        """Note what the whole suite tells of a group, and of each half of it where that does not reach its end or
        fails twice in a way that no bug explains."""
        most = MOST_FAILING * len(group) + self._baseline.not_passing
        run = await self._run(places(group), self._baseline.passing, most=most)
        if len(group) == 1:
            if isinstance(run, Verdict):
                group[0].unfit = run
            else:
                note(group, run, self._passing)
            return
        if not isinstance(run, Verdict):
            odd = self._passing - note(group, run, self._passing) - foreseen(group)
            for own in (False, True):  # what one test leaves behind may break another
                if 0 < len(odd) < MUCH * len(self._passing):
                    odd -= await self._blame(group, odd, own=own)
            if odd:
                again = await self._run(places(group), self._baseline.passing, most=most)
                odd -= frozenset() if isinstance(again, Verdict) else note(group, again, odd)
            if not odd:
                return
        await at_once(self._confirm(half) for half in halves(group))

    async def _blame(self, group: Sequence[OpenBug], odd: frozenset[str], *, own: bool) -> frozenset[str]:
        """Which of the `odd` tests, which nobody foresaw to fail, a bug of the group breaks alone; what is told of
        these is noted. `own`: they run after the tests that reach the bugs, as in the whole suite."""
        told = await self._try_parts(group, odd, own=own)
        broken = union(part.tests - passed(part.run, part.tests) for part in told if len(part.group) == 1)
        for part in told:
            note(part.group, part.run, part.tests & broken)
        return broken

    async def _try(self, group: Sequence[OpenBug], odd: frozenset[str], *, own: bool) -> list[_Part]:
        """Runs of the `odd` tests: with all of a group, and while some fail with each part of it, and so on."""
        tests = odd | union(bug.own for bug in group) if own else odd
        most = MOST_FAILING * len(group) + self._baseline.not_passing
        run = await self._run(places(group), self._ordered(tests), most=most)
        if isinstance(run, Verdict):
            run = TestRun()
        told = [_Part(group, odd, run)]
        if len(group) > 1 and (left := odd - passed(run, odd)):
            told += await self._try_parts(group, left, own=own)
        return told

    async def _try_parts(self, group: Sequence[OpenBug], odd: frozenset[str], *, own: bool) -> list[_Part]:
        parts = await at_once(self._try(part, odd, own=own) for part in suspects(group))
        return [part for told in parts for part in told]

    async def _finish(self, bug: OpenBug, second: _Second) -> Verdict:
        """The verdict, after the second run of the tests that tell of the bug, with it alone, and of those that
        others of its group break and that are not expected to pass in the whole suite. Tests that pass in none of
        these run once more."""
        if bug.unfit is not None:
            return bug.unfit
        run, along = second.runs.get(bug), second.along[bug]
        if isinstance(run, Verdict):
            return run
        missed = odd = self._missed(bug)
        if run is not None:
            others = (missed & along) - union(tests for tests, _ in bug.evidence)
            note([bug], run, self._twice(bug) | others)
            odd -= passed(run, others)
        for _ in range(1 if run is not None else 2):
            if odd:
                last = await self._again(bug, bug.failing | odd)
                if isinstance(last, Verdict):
                    return last
                note([bug], last, bug.failing | odd)
                odd -= passed(last, odd)
        return self._verdict(bug, (bug.own | missed) - second.lonely)

    def _missed(self, bug: OpenBug) -> frozenset[str]:
        """Tests, none of its own, that were not seen to pass with a bug."""
        return self._passing - bug.seen_passing() - bug.own

    async def _again(self, bug: OpenBug, tests: frozenset[str]) -> TestRun | Verdict:
        """Some tests alone, in a run that differs from the first."""
        return await self._run(bug.mutants, self._ordered(tests), second=True)

    def _ordered(self, tests: frozenset[str]) -> list[str]:
        return [test for test in self._baseline.passing if test in tests]

    def _verdict(self, bug: OpenBug, telling: frozenset[str]) -> Verdict:
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

    def _parts(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """Runs by series, each about as long."""
        series = math.ceil(len(jobs) / (SERIES * self._slots.value)) * self._slots.value
        parts: list[list[_Job]] = [[] for _ in range(min(series, len(jobs)))]
        times = [0.0] * len(parts)
        for cost, job in sorted(((self._costs(job), job) for job in jobs), key=itemgetter(0), reverse=True):
            shortest = times.index(min(times))
            parts[shortest].append(job)
            times[shortest] += cost
        return parts

    def _costs(self, job: _Job) -> float:
        """Seconds of a round, about."""
        failing = len(job.bugs[0].failing.intersection(job.tests)) if len(job.bugs) == 1 else 0
        return ROUND + self._takes(job.tests) + TEXT * min(failing, TEXTS)

    async def _runs(self, jobs: Sequence[_Job]) -> list[TestRun | Verdict]:
        """First runs."""
        parts = self._parts(jobs)
        found = await at_once(self._series(part, second=False) for part in parts)
        runs = {
            id(job): run for part, told in zip(parts, found, strict=True) for job, run in zip(part, told, strict=True)
        }
        return [runs[id(job)] for job in jobs]

    async def _series(self, jobs: Sequence[_Job], *, second: bool) -> list[TestRun | Verdict]:
        """Runs one after the other in one container, as far as that can be; others in containers of their own."""
        found: list[TestRun | Verdict] = []
        fits = True
        while len(found) < len(jobs):
            left, runs = jobs[len(found) :], list[TestRun]()
            fits = fits and self._in_series and len(left) > 1
            if fits:
                try:
                    runs = await self._rounds(left, second=second)
                except CapExceeded:  # one of them; it cannot be told which
                    fits = False
            found += [self._sound(run, self._most) for run in runs]
            if len(runs) < len(left):
                job = left[len(runs)]
                run = await self._run(places(job.bugs), job.tests, second=second)
                if fits and not runs and isinstance(run, TestRun) and run.complete:
                    self._in_series = False  # pytest runs on what is tested, say
                found.append(run)
        return found

    async def _rounds(self, jobs: Sequence[_Job], *, second: bool) -> list[TestRun]:
        rounds = [
            Round(
                tests=self._asked(job.tests),
                files=apply_all(places(job.bugs), self._sources),
                limit=self._limit(job.tests),
            )
            for job in jobs
        ]
        async with self._slots.patiently() if second else self._slots:
            return await steady(run_rounds)(
                self._engine,
                self._suite,
                rounds,
                hash_seed=HASH_SEEDS[second],
                texts=TEXTS if second else 0,
                most_failing=self._most,
                attempt=self._attempt,
            )

    async def _run(
        self,
        mutants: Mutants,
        tests: Sequence[str],
        *,
        second: bool = False,
        most: int = 0,
    ) -> TestRun | Verdict:
        """One run with these mutants in the tree; a verdict where it shows that no task comes of them."""
        most = most or self._most
        async with self._slots.patiently() if second else self._slots:
            try:
                run = await steady(run_suite)(
                    self._engine,
                    self._suite,
                    timeout=self._limit(tests),
                    hash_seed=HASH_SEEDS[second],
                    files=apply_all(mutants, self._sources),
                    tests=self._asked(tests),
                    texts=TEXTS if second else 0,
                    locals_shown=second,
                    most_failing=most,
                    attempt=self._attempt,
                )
            except CapExceeded:
                return Verdict(reason="broke_container")
        return self._sound(run, most)

    def _asked(self, tests: Sequence[str]) -> tuple[str, ...]:
        """What a run is told of the tests that it is to run."""
        return tuple(self._whole if len(tests) == len(self._passing) else tests)

    def _sound(self, run: TestRun, most: int) -> TestRun | Verdict:
        reason = fault(run, most)
        return run if reason is None else Verdict(reason=reason, runs=1, seconds=run.seconds)
