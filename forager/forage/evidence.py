"""What runs have told of bugs that are judged side by side, and which runs are still worth while."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from typing import NamedTuple

from forager.evaluate.testrun import TestRun
from forager.forage.mutate import Mutant, overlap
from forager.forage.validate import Verdict, failed

TOGETHER = 20
"""Mutants that the whole suite confirms in one run."""
ROUND = 0.3
"""Seconds that a round of a series takes besides its tests, about."""

Mutants = tuple[Mutant, ...]
"""The places of one bug: one, or several for a combined one."""


class OpenBug:
    """A bug on its way to a verdict, beside others."""

    def __init__(self, mutants: Mutants, *, shared: bool, reached: frozenset[str] = frozenset()) -> None:
        self.mutants = mutants
        self.shared = shared
        """Whether any test may depend on it that has not run with it alone."""
        self.reached = reached
        """The tests that run its lines."""
        self.own: frozenset[str] = frozenset()
        """The tests of its first runs: those that reach it, and any that stand for others that may depend on it."""
        self.failing: frozenset[str] = frozenset()
        """Those of its own that failed in the first run."""
        self.evidence: list[tuple[frozenset[str], TestRun]] = []
        """Runs, and the tests that each tells something about."""
        self.alone: list[TestRun] = []
        """Runs with no other bug in the tree."""
        self.seconds = 0.0
        self.unfit: Verdict | None = None
        """Set where the whole suite shows that no task comes of it."""

    def first(self, tests: Collection[str], run: TestRun) -> frozenset[str]:
        """Note a first run of tests of its own; returns those that passed."""
        self.own |= frozenset(tests)
        self.failing |= frozenset(test for test in tests if failed(run, test))
        return note([self], run, frozenset(tests))

    def seen_passing(self) -> frozenset[str]:
        """Tests that passed with it in the tree."""
        return union(passed(run, tests) for tests, run in self.evidence)


def note(group: Sequence[OpenBug], run: TestRun, tests: frozenset[str]) -> frozenset[str]:
    """Note what a run of `tests` with these bugs in the tree tells of each; returns those that passed."""
    good = passed(run, tests)
    for bug in group:
        bug.seconds += run.seconds / len(group)
        if len(group) == 1:
            bug.evidence.append((tests, run))
            bug.alone.append(run)
        else:  # a failure tells nothing of one of them
            bug.evidence.append((good, run))
    return good


def passed(run: TestRun, tests: Collection[str]) -> frozenset[str]:
    """Those of some tests that passed."""
    return frozenset(test for test in tests if run.outcomes.get(test) == "passed")


def foreseen(group: Iterable[OpenBug]) -> frozenset[str]:
    """Tests that a bug of the group breaks, as far as first runs told."""
    return union(bug.failing for bug in group)


def places(group: Sequence[OpenBug]) -> Mutants:
    """All that these bugs change."""
    return tuple(mutant for bug in group for mutant in bug.mutants)


def union(sets: Iterable[Set[str]]) -> frozenset[str]:
    """All that is in any."""
    return frozenset().union(*sets)


def grouped(bugs: Sequence[OpenBug]) -> list[list[OpenBug]]:
    """Few groups, none with two bugs in one place.

    Bugs that break much are in one group: the tests that they break run with each of the others of their group.
    """
    count = math.ceil(len(bugs) / TOGETHER)
    groups: list[list[OpenBug]] = []
    most = math.ceil(len(bugs) / max(1, count))
    for bug in sorted(bugs, key=lambda bug: len(bug.failing)):
        fitting = (g for g in groups if len(g) < most and not any(overlap(bug.mutants, o.mutants) for o in g))
        group = next(fitting, None)
        if group is None:
            groups.append([bug])
        else:
            group.append(bug)
    return groups


def halves(group: Sequence[OpenBug]) -> list[Sequence[OpenBug]]:
    """Two parts of a group."""
    half = len(group) // 2
    return [group[:half], group[half:]]


def suspects(group: Sequence[OpenBug]) -> list[Sequence[OpenBug]]:
    """Two parts of a group: the bugs that most likely break what nobody foresaw, and the others; or halves."""
    parts = [[bug for bug in group if bug.shared is shared] for shared in (True, False)]
    return list(parts) if all(parts) else halves(group)


class Rest(NamedTuple):
    """Runs that show whether the tests that a bug breaks pass with the others of its group."""

    along: list[frozenset[str]]
    """Tests of others that run with each bug of the group when its own run a second time."""
    together: list[tuple[list[OpenBug], frozenset[str]]]
    """Runs with several bugs in the tree, and of which tests: no bug in it is known to break one."""


def rest(group: Sequence[OpenBug], spent: Callable[[Collection[str]], float]) -> Rest:
    """The quicker way for each set of tests that the same bugs break: with each other bug, or once with all others.

    A bug that any test may depend on may break tests of which that is not known yet. It is among others here only
    where none of them has broken anything so far. `spent` is the seconds that some tests take.
    """
    breaking: defaultdict[str, set[int]] = defaultdict(set)
    for n, bug in enumerate(group):
        for test in bug.failing:
            breaking[test].add(n)
    alike: defaultdict[frozenset[int], set[str]] = defaultdict(set)
    for test, numbers in breaking.items():
        alike[frozenset(numbers)].add(test)
    along: list[set[str]] = [set() for _ in group]
    together: list[tuple[list[OpenBug], frozenset[str]]] = []
    for known, tests in alike.items():
        lacking = {n: tests - bug.own for n, bug in enumerate(group) if n not in known}
        plain = [n for n, bug in enumerate(group) if n not in known and not bug.shared]
        if sum(spent(lacking[n]) for n in plain) > ROUND + spent(tests):
            together.append(([group[n] for n in plain], frozenset(tests)))
            lacking = {n: others for n, others in lacking.items() if n not in plain}
        for n, others in lacking.items():
            along[n] |= others
    quiet = [n for n, bug in enumerate(group) if not bug.failing]
    told = union(along[n] for n in quiet)
    if len(quiet) > 1 and told:
        together.append(([group[n] for n in quiet], told))
        for n in quiet:
            along[n].clear()
    return Rest([frozenset(tests) for tests in along], together)
