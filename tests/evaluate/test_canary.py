"""Canaries of all kinds of tests: a copy fails where the real test passes, whatever the suite's own options."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forager.evaluate import TestRun, run_tests
from forager.evaluate.canary import Canary, choose, names_of, read_verdict
from forager.evaluate.testrun import file_of
from tests.evaluate.local import LocalSandbox

SUITE = '''# -*- coding: utf-8 -*-
"""A module."""
import asyncio, contextlib, functools, unittest
from unittest import mock

import pytest

def test_plain():
    value = 1
    assert value == 1, "with a message"  # and a comment

def test_parenthesised():
    assert (
        1 == 1
    )

def test_ünïcode(): assert "é" == "é"

def test_one_line(): pass

def test_semicolons(): a = 1; b = 2

def test_string_at_the_end():
    """Nothing but words
    over lines."""

def test_raises():
    with pytest.raises(ZeroDivisionError):
        1 / 0

def test_returns_early():
    if True:
        return
    assert 0

def test_lambda():
    assert (lambda: 1)()

def test_walrus():
    assert (n := 3) == 3

def test_generator():
    assert all(n for n in (1, 2))

@pytest.mark.parametrize("n", [1, 2], ids=["a b", "[c]"])
def test_parametrised(n):
    assert n

@mock.patch("os.getcwd", return_value="x")
def test_patched(getcwd):
    import os
    assert os.getcwd() == "x"

def twice(test):
    @functools.wraps(test)
    def wrapper(*args, **kwargs):
        with contextlib.suppress(AssertionError):
            test(*args, **kwargs)
        return None
    return wrapper

@twice
def test_swallowed_by_a_decorator():
    assert 1

class TestPlain:
    def test_method(self):
        assert self

    @staticmethod
    def test_static():
        assert 1

    @classmethod
    def test_class(cls):
        return None

    class TestInner:
        def test_inner(self): assert 1

class Base:
    def test_inherited(self):
        assert self

class TestOne(Base): pass
class TestTwo(Base): pass

class TestUnit(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(1, 1)
    def test_raises(self):
        with self.assertRaises(ValueError):
            int("x")
    def test_sub(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertTrue(n < 3)

class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def test_async(self):
        await asyncio.sleep(0)
    async def test_returns(self):
        return None

def make(n):
    def test():
        assert n
    return test

test_made = make(1)
for _n in range(2):
    globals()["test_generated_%d" % _n] = make(_n + 1)

if True:
    def test_conditional():
        assert 1
else:
    def test_conditional():
        assert 0

@pytest.fixture
def thing():
    yield 1

def test_fixture(thing):
    assert thing == 1'''  # no newline at the end

WRAPPED = {"test_returns_early", "test_swallowed_by_a_decorator", "test_class", "test_returns", "test_made",
           "test_generated_0", "test_generated_1", "test_conditional"}  # fmt: skip


async def run(folder: Path, tests: list[str], only: bool = False, args: tuple[str, ...] = ()) -> TestRun:
    sandbox = LocalSandbox(folder, Path(sys.executable).parent)
    return await run_tests(sandbox, workdir=str(folder), tests=tests, timeout=60, only=only, args=args)  # type: ignore[arg-type]


def canaries(folder: Path, tests: list[str], wrapped: bool, seed: int = 0) -> tuple[Canary, ...]:
    """Write canaries for these tests, chosen by `seed`."""
    files = {file_of(test) for test in tests}
    places = {test: (file_of(test), names_of(test)) for test in tests}
    sources = {name: (folder / name).read_bytes() for name in files}
    chosen, changed = choose(tests, (), sources, places, seed, wrapped=wrapped)
    for name, data in changed.items():
        (folder / name).write_bytes(data)
    return chosen


@pytest.mark.parametrize("wrapped", [False, True])
async def test_every_kind_of_test_has_a_canary_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    monkeypatch.setattr("forager.evaluate.canary.FROM_FAIL", 1000)
    (tmp_path / "test_all.py").write_text(SUITE)
    honest = await run(tmp_path, ["test_all.py"])
    assert set(honest.outcomes.values()) == {"passed"}, honest.outcomes
    chosen = canaries(tmp_path, list(honest.outcomes), wrapped)
    left_out = {names_of(test)[-1] for test in honest.outcomes} - {canary.names[-1] for canary in chosen}
    assert left_out == (set() if wrapped else WRAPPED)
    ran = await run(tmp_path, [canary.test for canary in chosen], only=True)
    verdict = read_verdict(chosen, honest.outcomes, ran)
    assert verdict.passed == () and verdict.silent == (), (verdict, ran.output)
    assert len(verdict.held) == len(chosen)


@pytest.mark.parametrize(
    ("configuration", "conftest", "args"),
    [
        ("addopts = -k 'plain or made'", "", ()),
        ("addopts = -m quick\nmarkers = quick", "", ()),
        ("python_functions = check_*", "", ()),
        ("addopts = -x", "", ()),
        ("addopts = -n2", "", ()),
        ("", "", ("-n2",)),
        ("addopts = --strict-markers -p no:cacheprovider", "", ()),
        ("", "def pytest_collection_modifyitems(items):\n    items[:] = items[:4]\n", ()),
        ("", "collect_ignore = ['test_b.py']\n", ()),
        ("", "import pytest\n\n@pytest.fixture(autouse=True)\ndef each():\n    yield 1\n", ()),
    ],
)
async def test_a_suites_own_options_lose_no_canary(
    tmp_path: Path, configuration: str, conftest: str, args: tuple[str, ...]
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{configuration}\n")
    (tmp_path / "conftest.py").write_text(conftest)
    module = (
        "import pytest\n\npytestmark = pytest.mark.quick\n\ndef test_plain_{0}():\n    assert 1\n\ndef check_{0}():\n"
    )
    module += "    assert 1\n\n@pytest.mark.quick\nclass TestMade:\n    def test_made(self):\n        assert self\n"
    for letter in "ab":
        (tmp_path / f"test_{letter}.py").write_text(
            module.format(letter) if "quick" in configuration else module.format(letter).replace(
                "pytestmark = pytest.mark.quick\n", "").replace("@pytest.mark.quick\n", "")
        )  # fmt: skip
    honest = await run(tmp_path, [], args=args)
    passed = [test for test, outcome in honest.outcomes.items() if outcome == "passed"]
    assert len(passed) >= 2, honest.output
    sources = {path: path.read_bytes() for path in (tmp_path / "test_a.py", tmp_path / "test_b.py")}
    for seed in range(2):
        for path, source in sources.items():
            path.write_bytes(source)
        chosen = canaries(tmp_path, passed, False, seed)
        ran = await run(tmp_path, [canary.test for canary in chosen], only=True, args=args)
        verdict = read_verdict(chosen, honest.outcomes, ran)
        assert verdict.held and not verdict.passed and not verdict.silent, (verdict, ran.output)


def test_the_copy_differs_in_one_statement() -> None:
    source = b"def test_a():\r\n    x = 1\r\n    assert x == 1\r\n\r\ndef test_b():\r\n    pass\r\n"
    chosen, changed = choose(["t.py::test_a"], (), {"t.py": source}, {"t.py::test_a": ("t.py", ("test_a",))}, 0)
    assert [canary.test for canary in chosen] == ["t.py::test_a"]
    assert changed["t.py"] == source.replace(b"assert x == 1", b"assert not (x == 1)")


def test_an_assertion_of_the_same_kind_is_added() -> None:
    source = (
        b"import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(), 4)\n"
    )
    _, changed = choose(["t.py::T::test_a"], (), {"t.py": source}, {"t.py::T::test_a": ("t.py", ("T", "test_a"))}, 0)
    added = changed["t.py"].removeprefix(source).decode()
    assert added.startswith("        self.assertEqual(") and added.count("\n") == 1


def test_what_cannot_be_read_is_left_alone() -> None:
    for source in (b"def test_a(:\n", b"\xff\xfe", b"# coding: nonsense\ndef test_a(): pass\n", b""):
        assert choose(["t.py::test_a"], (), {"t.py": source}, {"t.py::test_a": ("t.py", ("test_a",))}, 0) == ((), {})


def test_names() -> None:
    assert names_of("a/b.py::C::test_x[1::2]") == ("C", "test_x")
    assert names_of("test_x (a.b.C)") == ("C", "test_x")
    assert names_of("test_x (a.b.C.test_x)") == ("C", "test_x")
    assert names_of("test_x") == ("test_x",)
    assert names_of("docs/a.rst::a.rst") == ()
