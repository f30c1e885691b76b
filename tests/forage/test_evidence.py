"""Which second runs are worth while."""

from __future__ import annotations

from collections.abc import Collection

from forager.forage.evidence import OpenBug, rest


def bug(*failing: str, shared: bool = False) -> OpenBug:
    found = OpenBug((), shared=shared)
    found.own = found.failing = frozenset(failing)
    return found


def spent(tests: Collection[str]) -> float:
    return 0.1 * len(tests)


def test_many_tests_of_one_bug_run_once_with_all_others() -> None:
    many = [f"t{n}" for n in range(10)]
    breaking, one, two = bug(*many), bug("a"), bug("b")
    along, together = rest([breaking, one, two], spent)
    assert together == [([one, two], frozenset(many))]
    assert along == [{"a", "b"}, {"b"}, {"a"}]


def test_a_bug_that_any_test_may_depend_on_is_not_among_the_others() -> None:
    many = [f"t{n}" for n in range(10)]
    breaking, one, two, anywhere = bug(*many), bug("a"), bug("b"), bug("c", shared=True)
    along, together = rest([breaking, one, two, anywhere], spent)
    assert together == [([one, two], frozenset(many))]
    assert along[3] == {*many, "a", "b"}


def test_what_a_bug_reaches_itself_needs_no_other_run() -> None:
    reaching = bug("a")
    reaching.own = frozenset(("a", "b", "c"))
    along, together = rest([bug("b", "c"), reaching], spent)
    assert not together
    assert along == [{"a"}, frozenset()]


def test_a_bug_of_which_no_test_tells_yet_runs_what_others_break() -> None:
    along, together = rest([bug("a"), bug(shared=True)], spent)
    assert (along, together) == ([frozenset(), {"a"}], [])


def test_bugs_of_which_no_test_tells_yet_run_together() -> None:
    quiet = [bug(shared=True), bug(shared=True)]
    quiet[0].own = frozenset(("a", "b"))
    along, together = rest([bug("a", "c"), *quiet], spent)
    assert along == [frozenset()] * 3
    assert together == [(quiet, frozenset(("a", "c")))]
