"""What is told of a function to write, at each level of detail."""

from __future__ import annotations

import pytest

from forager.forage.diffs import unified
from forager.forage.implement_statement import implement_statement
from forager.forage.mutate import sites
from forager.forage.operators.functions import IMPLEMENT
from forager.forage.statement import Detail

SOURCE = b'''class Range:
    def clamp(self, n, low: int = 0) -> int:
        """The nearest number that is not below low.

        >>> Range().clamp(-1)
        0
        """
        if n < low:
            return low
        return n
'''
TESTS = b"from range import Range\n\n\ndef test_clamp():\n    assert Range().clamp(-1) == 0\n"
FAILURES = {
    "tests/test_range.py::test_clamp": (
        "tests/test_range.py:5: in test_clamp\n    assert Range().clamp(-1) == 0\n"
        "range.py:8: in clamp\n    raise NotImplementedError\nE   NotImplementedError"
    )
}


def statement(detail: Detail, hidden: bool = False) -> str:
    (mutant,) = sites("range.py", SOURCE, IMPLEMENT)
    return implement_statement(
        "range",
        "1.0",
        FAILURES,
        {"tests/test_range.py": TESTS},
        mutant=mutant,
        source=SOURCE,
        diff=unified("range.py", SOURCE, mutant.apply(SOURCE)),
        count=1,
        detail=detail,
        hidden=hidden,
    )


def test_its_documentation_and_what_tests_expect_are_told() -> None:
    said = statement("full")
    assert said.startswith("# Write `Range.clamp` of range\n")
    for part in (
        "def clamp(self, n, low: int=0) -> int",
        "not below low",
        "assert Range().clamp(-1) == 0",
        "One test",
    ):
        assert part in said


@pytest.mark.parametrize("detail", ["full", "symptom", "terse"])
def test_no_level_tells_the_code_or_the_file(detail: Detail) -> None:
    said = statement(detail)
    assert "return low" not in said
    assert "range.py" not in said
    assert ("not below low" in said) == (detail != "terse")
    assert ("assert Range()" in said) == (detail == "full")
    assert "find the cause" not in said
    assert "write the function" in said


def test_hidden_tests_are_not_promised() -> None:
    assert "One test" not in statement("full", hidden=True)
