"""Problem statements from real failures of a real pytest run: what they tell, and what they must not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from forager.forage.failures import clean, read_failure
from forager.forage.statement import gives_away, make_statement

PACKAGE = '''
class Bad(ValueError):
    pass

def add(x, y=2):
    """Doc.

    >>> add(1)
    4
    """
    if x == 7:
        return fail(x)
    return x + y

def fail(x):
    raise Bad(f"bad {x}")

def chain(x):
    try:
        return fail(x)
    except Bad as error:
        raise KeyError("k") from error

def same(x):
    return object()

class Text(str):
    pass

def format(x):
    return "y"

class Thing:
    y = 2
'''
TESTS = """
import unittest

import pytest

import pkg
from checks import assert_equal
from pkg import Text, add, chain, fail, format, same

@pytest.mark.parametrize("value, expected", [(1, 4), (2, [1, 2])])
def test_param(value, expected):
    assert pkg.add(value) == expected

def test_not_raised():
    with pytest.raises(ValueError):
        add(1)

def test_raised():
    a = 7
    assert add(a) == 3

def test_chained():
    chain(1)

def test_bound_name():
    result = add(1, y=2)
    assert result == {
        "a": 1,
    }

def test_expected_first():
    assert 5 == add(1)

def test_own_operator():
    a, b = Text("a"), Text("b")
    assert a + b == str(a) + " " + str(b)

def test_both_called():
    result = add(1)
    assert result == Text("b")

def test_expected_called():
    expected = Text("b")
    assert expected == add(1)

def test_expected_bound():
    expected, result = 5, add(1)
    assert expected == result

def test_expected_given():
    expected, text = 2, 5
    assert add(expected) == text

def test_helpers_called():
    result = add(1)
    assert str(result).strip() == "4"

def test_class_of_the_expected():
    result = add(1)
    assert result == Text("b")

def test_named_like_a_builtin():
    assert format(1) == "x"

class TestUnit(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(add(1), 4)

    def test_not_raised(self):
        with self.assertRaises(TypeError):
            add(1)

@pytest.fixture
def broken():
    return fail(1)

def test_fixture(broken):
    pass

def test_address():
    assert same(1) == 1

def test_loop():
    for number in (5, 6):
        assert add(number) == 8

class TestAgain(TestUnit):
    pass

def test_compared_by_a_helper():
    result = add(1)
    assert_equal(4, result)

def test_compared_by_a_helper_the_other_way():
    result, expected = add(1), 4
    assert_equal(result, expected)

class TestMethods:
    def same(self, one, other):
        assert one == other

    def hand_on(self, other, one):
        self.same(one, other)

    def test_compared_by_a_method(self):
        self.hand_on(4, one=add(1))

    def check(self, text, expected):
        text = add(text)
        assert text == expected

    def test_compared_with_what_a_helper_calls(self):
        self.check(1, 4)

    def test_compared_by_a_helper_that_knows_which(self):
        a, b = 4, add(1)
        assert_equal(a, b)

    def tell(self, thing):
        assert thing.y == 3

    def test_compared_where_it_is_looked_up(self):
        self.tell(pkg.Thing())
"""
CHECKS = """
def assert_equal(expected, result):
    print("Expected:", expected)
    assert expected == result
"""
SOURCES = {"tests/test_pkg.py": TESTS.encode(), "tests/checks.py": CHECKS.encode()}
FIX = "--- a/pkg.py\n+++ b/pkg.py\n-    return x * y\n+    return x + y\n"
REPORTER = """
import json, sys, pytest
class Reporter:
    texts = {}
    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.texts[report.nodeid] = report.longreprtext
pytest.main(["-q", "-p", "no:cacheprovider", "--doctest-modules", *sys.argv[2:], "."], plugins=[Reporter()])
open(f"texts-{sys.argv[1]}.json", "w").write(json.dumps(Reporter.texts))
"""


@pytest.fixture(scope="module", params=["long", "short"])
def texts(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Failure texts by node id, from a pytest run in its own process, in both styles of traceback."""
    style: str = request.param
    folder = tmp_path_factory.mktemp("suite")
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (folder / "pkg.py").write_text(PACKAGE)
    (folder / "tests").mkdir()
    for path, text in SOURCES.items():
        (folder / path).write_bytes(text)
    subprocess.run(
        [sys.executable, "-c", REPORTER, style, f"--tb={style}", "--showlocals"],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    found: dict[str, str] = json.loads((folder / f"texts-{style}.json").read_text())
    return found


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("test_param[1-4]", {"kind": "wrong", "subject": "pkg.add", "call": "", "expected": "4", "got": "3"}),
        ("test_param[2-expected1]", {"expected": "[1, 2]", "values": "expected = [1, 2], value = 2"}),
        ("test_not_raised", {"kind": "not_raised", "subject": "add", "expected": "ValueError"}),
        ("test_raised", {"kind": "raised", "got": "Bad: bad 7", "code": "a = 7\nassert add(a) == 3"}),
        ("test_chained", {"kind": "raised", "subject": "chain", "got": "KeyError: 'k'"}),
        ("test_bound_name", {"subject": "add", "expected": "{'a': 1}", "got": "3"}),
        ("test_expected_first", {"kind": "wrong", "expected": "5", "got": "3", "call": "add(1)"}),
        ("test_own_operator", {"expected": "'a b'", "got": "'ab'"}),
        ("test_both_called", {"expected": "'b'", "got": "3"}),
        ("test_expected_called", {"expected": "'b'", "got": "3"}),
        ("test_expected_bound", {"expected": "5", "got": "3"}),
        ("test_expected_given", {"expected": "5", "got": "4"}),
        ("test_helpers_called", {"subject": "add", "expected": "'4'", "got": "'3'"}),
        ("test_class_of_the_expected", {"subject": "add"}),
        ("test_named_like_a_builtin", {"subject": "format"}),
        ("TestUnit::test_equal", {"kind": "wrong", "message": "AssertionError: 3 != 4"}),
        ("TestUnit::test_not_raised", {"kind": "not_raised", "expected": "TypeError"}),
        ("test_loop", {"values": "number = 5", "expected": "8", "got": "7"}),
        ("TestAgain::test_equal", {"code": "self.assertEqual(add(1), 4)"}),
        ("test_fixture", {"kind": "raised", "got": "Bad: bad 1"}),
        (
            "test_compared_by_a_helper",
            {"code": "result = add(1)\nassert_equal(4, result)", "subject": "add", "expected": "4", "got": "3"},
        ),
        ("test_compared_by_a_helper_the_other_way", {"kind": "wrong", "expected": "4", "got": "3", "values": ""}),
        ("TestMethods::test_compared_by_a_method", {"subject": "add", "expected": "4", "got": "3"}),
        (
            "TestMethods::test_compared_with_what_a_helper_calls",
            {"code": "text = add(text)\nassert text == expected", "subject": "add", "expected": "4", "got": "3"},
        ),
        ("TestMethods::test_compared_by_a_helper_that_knows_which", {"expected": "4", "got": "3"}),
        ("TestMethods::test_compared_where_it_is_looked_up", {"code": "assert thing.y == 3", "got": "2"}),
    ],
)
def test_failures_are_read(texts: Mapping[str, str], test: str, expected: dict[str, str]) -> None:
    node = f"tests/test_pkg.py::{test}"
    failure = read_failure(node, texts[node], SOURCES)
    found = {key: getattr(failure, key) for key in expected}
    if "call" in expected and not expected["call"]:
        found["call"] = ""  # how pytest shows the call differs between its versions
    assert found == expected


def test_code_of_a_block_that_did_not_raise_is_whole(texts: Mapping[str, str]) -> None:
    node = "tests/test_pkg.py::test_not_raised"
    assert read_failure(node, texts[node], SOURCES).code == "with pytest.raises(ValueError):\n    add(1)"


def test_a_doctest_is_read(texts: Mapping[str, str]) -> None:
    failure = read_failure("pkg.py::pkg.add", texts["pkg.py::pkg.add"], {})
    assert (failure.code, failure.expected, failure.got, failure.subject) == ("add(1)", "4", "3", "add")


def test_statement_tells_call_expectation_and_result(texts: Mapping[str, str]) -> None:
    node = "tests/test_pkg.py::test_expected_first"
    statement = make_statement("pkg", "1.0", {node: texts[node]}, SOURCES, file="pkg.py", diff=FIX)
    assert statement.startswith("# `add(1)` gives `3` instead of `5`\n")
    assert "pkg 1.0" in statement
    assert "assert 5 == add(1)" in statement


def test_no_statement_shows_the_packages_code_or_a_place_in_it(texts: Mapping[str, str]) -> None:
    for node, text in texts.items():
        for detail in ("full", "symptom", "terse"):
            statement = make_statement(
                "pkg",
                "1.0",
                {node: text},
                SOURCES,
                file="pkg.py",
                diff=FIX,
                detail=detail,
            )
            assert "return fail(x)" not in statement
            assert "pkg.py:" not in statement
            assert not gives_away(statement, "pkg.py", FIX)
            assert "mutat" not in statement.lower()


def test_statement_is_the_same_whatever_address_an_object_has(texts: Mapping[str, str]) -> None:
    node = "tests/test_pkg.py::test_address"
    assert "object at 0x" in texts[node]
    assert "object at 0x..." in make_statement("pkg", "1", {node: texts[node]}, SOURCES, file="pkg.py", diff=FIX)


def test_a_statement_that_would_give_the_change_away_has_less_detail(texts: Mapping[str, str]) -> None:
    node = "tests/test_pkg.py::test_raised"
    diff = "--- a/x.py\n+++ b/x.py\n-    assert add(a) == 3\n+    assert add(a) == 4\n"
    statement = make_statement("pkg", "1.0", {node: texts[node]}, SOURCES, file="x.py", diff=diff)
    assert "assert add(a)" not in statement
    assert "Bad: bad 7" in statement


@pytest.mark.parametrize(
    "statement",
    [
        "it says return  x + y\nsomewhere",
        "see pkg.py:12",
        'File "pkg.py", line 12',
        "in pkg.py on line 3",
        "in `pkg.py`: 3",
    ],
)
def test_gives_away(statement: str) -> None:
    assert gives_away(statement, "src/pkg.py", FIX)


def test_hostile_text_is_cleaned_and_bounded() -> None:
    text = clean("\x1b[31mred\x1b[0m\x00\n```\n" + "a" * 10_000 + "\n" + "line\n" * 1000)
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "```" not in text
    assert len(text) < 5000
    assert read_failure("t.py::t", "E   " * 10_000 + "\n_ " * 10_000, {"t.py": b"\xff\x00"}).kind == "unknown"
