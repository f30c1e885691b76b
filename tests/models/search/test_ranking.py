"""Ranking: suspicious lines first, and what the failures hint at before what they do not."""

from __future__ import annotations

from forager.models.search.candidates import candidates
from forager.models.search.hints import Hints, read_hints
from forager.models.search.observations import Suspect
from forager.models.search.ranking import rank
from forager.models.search.source import Candidate, Fragment

LINES = [
    "def f(a, b):",
    "    if a < b:",
    "        a = a + 1",
    "    return g(a)",
    "",
    "def k(a):",
    "    return a == 2",
]
FRAGMENTS = [Fragment("m.py", 1, LINES[:4]), Fragment("m.py", 6, LINES[5:])]


def order(scores: dict[int, float], hints: Hints | None = None) -> list[Candidate]:
    suspects = [
        Suspect(max(scores.values()), "m.py", f.first, f.last, "f", {n: s for n, s in scores.items()
                                                                        if f.first <= n <= f.last})
        for f in FRAGMENTS
    ]  # fmt: skip
    hints = hints or Hints()
    return rank(candidates(FRAGMENTS, hints), suspects, FRAGMENTS, hints, [])


def test_the_most_suspicious_line_comes_first() -> None:
    assert order({2: 0.3, 3: 0.2, 4: 0.3, 7: 1.0})[0].line == 7
    assert order({2: 1.0, 3: 0.2, 4: 0.3, 7: 0.3})[0].line == 2


def test_a_condition_is_suspected_for_what_it_lets_run() -> None:
    first = [c.line for c in order({2: 0.4, 3: 1.0, 4: 0.4, 7: 0.4})[:12]]
    assert 2 in first and 3 in first


def test_hints_move_candidates_up() -> None:
    scores = {2: 0.5, 3: 0.5, 4: 0.5, 7: 0.5}
    plain = [c.kind for c in order(scores)]
    hinted = [c.kind for c in order(scores, read_hints("", "E   AssertionError: assert 4 == 5\n"))]
    assert hinted.index("number") < plain.index("number")


def test_the_order_is_always_the_same() -> None:
    scores = {2: 0.5, 3: 0.5, 4: 0.5, 7: 0.5}
    assert order(scores) == order(scores)
