"""Which bugs are tried, and combined ones: two to four places, each with a failing test of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from forager.forage.evidence import Mutants
from forager.forage.mutate import Mutant, apply_all, overlap
from forager.forage.mutations import (
    COMBINED,
    TRIES,
    Accept,
    Trials,
    combined_bugs,
    in_order,
    key_of,
    operator_of,
    owned,
)
from forager.forage.validate import Verdict

SOURCE = b"0123456789" * 100


def bug(number: int) -> Mutants:
    return (
        Mutant(operator="x", file="m.py", function="f", line=1, start=10 * number, end=10 * number + 1, text="x"),
    )


def valid(*tests: str, unstable: tuple[str, ...] = ()) -> Verdict:
    return Verdict(reason="valid", fail_to_pass=tests, pass_to_pass=("good",), unstable=unstable)


class Oracle:
    """A judge that knows: every third mutant survives, the others fail a test of their own and one that all share."""

    def __init__(self) -> None:
        self.asked: list[Mutants] = []

    async def verdicts(self, bugs: Sequence[Mutants], tell: Callable[[Mutants, Verdict], None]) -> None:
        for mutants in reversed(bugs):
            self.asked.append(mutants)
            numbers = [m.start // 10 for m in mutants]
            if numbers[0] % 3 == 2:
                tell(mutants, Verdict(reason="survived"))
            else:
                tell(mutants, valid("shared", *(f"own{number}" for number in numbers)))


def trials(
    oracle: Oracle, kept: dict[str, Verdict], order: Iterator[Mutants], accept: Accept = lambda *_: True
) -> Trials:
    singles = in_order(mutants[0] for mutants in order)
    return Trials(oracle, singles, "seed", kept.get, kept.__setitem__, lambda *_: None, accept)  # type: ignore[arg-type]


def run(wanted: int, kept: dict[str, Verdict], accept: Accept = lambda *_: True) -> tuple[list[Mutants], Oracle]:
    oracle = Oracle()
    work = trials(oracle, kept, map(bug, range(100)), accept)
    asyncio.run(work.run(wanted))
    return [mutants for mutants, _ in work.good], oracle


def test_one_task_in_eight_is_a_combined_bug() -> None:
    found, _ = run(2 * COMBINED, {})
    combined = [mutants for mutants in found if operator_of(mutants) == "combined"]
    assert (len(found), len(combined)) == (2 * COMBINED, 2)
    assert all(2 <= len(mutants) <= 4 for mutants in combined)
    assert not set(combined[0]) & set(combined[1]), "each is made of bugs of its own"
    few, _ = run(COMBINED - 1, {})
    assert all(len(mutants) == 1 for mutants in few)


def test_wanting_more_asks_nothing_again() -> None:
    kept: dict[str, Verdict] = {}
    before, first = run(COMBINED, kept)
    after, second = run(2 * COMBINED, kept)
    assert set(before) <= set(after)
    assert len(after) == 2 * COMBINED
    assert not set(first.asked) & set(second.asked)
    assert run(2 * COMBINED, {})[0] == after


def test_a_valid_bug_that_makes_no_task_is_replaced_and_is_no_part_of_a_combined_one() -> None:
    def accept(mutants: Mutants, _: Verdict) -> bool:
        return not any(mutant.start % 40 == 0 for mutant in mutants)

    kept: dict[str, Verdict] = {}
    found, _ = run(COMBINED, kept, accept)
    assert len(found) == COMBINED
    assert not any(mutant.start % 40 == 0 for mutants in found for mutant in mutants)
    again, second = run(COMBINED, kept, accept)
    assert (again, second.asked) == (found, []), "what makes no task is known from the verdicts, too"
    none, oracle = run(COMBINED, {}, lambda *_: False)
    assert (none, len(oracle.asked)) == ([], TRIES)


def test_a_package_whose_bugs_all_survive_is_given_up() -> None:
    oracle = Oracle()
    tried = asyncio.run(trials(oracle, {}, (bug(3 * number + 2) for number in range(33))).run(20))
    assert len(tried) == TRIES


def test_each_place_of_a_combined_bug_owns_a_failing_test() -> None:
    singles = [
        (bug(1), valid("a", "b")),
        (bug(2), valid("b", "c")),
        (bug(3), valid("b")),
        (bug(4), valid("d", unstable=("c",))),
    ]
    assert owned(singles[:2]) == [{"a"}, {"c"}]
    assert owned([singles[1], singles[3]]) == [{"b"}, {"d"}]
    for number in range(20):
        for chosen in combined_bugs(singles, str(number)):
            assert all(owned(chosen))
            assert not ((bug(3) in [m for m, _ in chosen]) and (bug(1) in [m for m, _ in chosen]))


def test_places_that_touch_are_never_combined() -> None:
    near = (
        Mutant(operator="x", file="m.py", function="f", line=1, start=11, end=15, text=""),
        Mutant(operator="x", file="n.py", function="f", line=1, start=11, end=15, text=""),
    )
    singles = [(bug(1), valid("a")), ((near[0],), valid("b")), ((near[1],), valid("c"))]
    seen = [tuple(m for m, _ in chosen) for number in range(20) for chosen in combined_bugs(singles, str(number))]
    assert seen
    assert not any(overlap(a, b) for chosen in seen for a, b in combinations(chosen, 2))


def test_a_combination_in_which_a_place_shows_nothing_of_its_own_is_no_task() -> None:
    class Masked(Oracle):
        async def verdicts(self, bugs: Sequence[Mutants], tell: Callable[[Mutants, Verdict], None]) -> None:
            def told(mutants: Mutants, verdict: Verdict) -> None:
                tell(mutants, verdict if len(mutants) == 1 else valid("shared"))

            await super().verdicts(bugs, told)

    kept: dict[str, Verdict] = {}
    tried = asyncio.run(trials(Masked(), kept, map(bug, range(100))).run(COMBINED))
    combined = [(mutants, verdict) for mutants, verdict in tried if len(mutants) > 1]
    assert combined
    assert {verdict.reason for _, verdict in combined} == {"unowned"}
    assert all(kept[key_of(mutants)] == verdict for mutants, verdict in combined)
    assert sum(verdict.reason == "valid" for _, verdict in tried) == COMBINED, "a single bug takes its place"


def test_all_places_are_changed_at_once() -> None:
    changed = apply_all((*bug(3), *bug(1), *bug(2)), {"m.py": SOURCE})
    assert changed["m.py"][:40] == b"0123456789x123456789x123456789x123456789"
