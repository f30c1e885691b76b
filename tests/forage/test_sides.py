"""Which side of a comparison is what was expected, in the ways tests are written."""

from __future__ import annotations

import ast
import textwrap

import pytest

from forager.forage.sides import is_reversed

LAST = """
f() == 3
f() == expected
f(expected) == 3
result.expected == 3
out == Foo(1)
a + 1 == Fraction(5, 3)
seen == list(range(3))
m.mock_calls == [mock.call(8)]
response.status == HTTPStatus.OK
len(f(x)) == len(x)
a + b == str(a) + str(b)
x.copy() == x
x = f(); x == g(1)
a == b
f(x) == g(y)
got == EXPECTED
Foo(1).name == f(x)
"""
FIRST = """
3 == f()
expected == f()
expected = make(1); expected == f()
expected == result
EXPECTED == result.text
self.expected == result
expected.strip() == out.strip()
Color.RED == f()
DATA == load(dump(DATA))
x = Foo(1); x == load(dump(x))
(1, 2) == f()
[Tok("a")] == f()
x - 1 == f(x)
text == parse(other)
"""


@pytest.mark.parametrize(
    ("body", "first"),
    [(line, where == FIRST) for where in (LAST, FIRST) for line in where.strip().split("\n")],
)
def test_side(body: str, first: bool) -> None:
    *before, compared = body.split("; ")
    function = ast.parse(
        "def test(a, b, x, y):\n" + textwrap.indent("\n".join([*before, f"assert {compared}"]), "    ")
    )
    (compare,) = [node for node in ast.walk(function) if isinstance(node, ast.Compare)]
    assert is_reversed(compare.left, compare.comparators[0], function) == first
