"""Which tests a change needs: mapped by coverage on a real package, and read off for real changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from forager.errors import BuildError, ForageError, SandboxError
from forager.forage.baseline import Baseline
from forager.forage.reach import Reach, checked, kept_reach, make_reach, select, spread
from forager.forage.reach import _Recorded as Recorded
from forager.images.layer import LABEL
from forager.sandbox.engine import Engine
from tests.forage.conftest import Package


@pytest.mark.docker
async def test_a_real_suite_is_mapped_and_leaves_no_image(engine: Engine, inflection: Package) -> None:
    suite, baseline, sources = inflection
    (file,) = (path for path in sources if path.endswith("__init__.py"))
    source = sources[file]
    reach = await make_reach(engine, suite, baseline, sources)
    assert len(reach.tests) == len(baseline.passing) == 455

    def functions(text: bytes) -> tuple[set[str], bool]:
        at = source.index(text)
        found = select(reach, frozenset(baseline.passing), file, source, at, at + len(text))
        return {test.partition("::")[2].partition("[")[0] for test in found.tests}, found.shared

    assert functions(b"number % 100") == ({"test_ordinal", "test_ordinalize"}, False)
    assert functions(b"separator: str = '-'")[0] == functions(b"re.escape(separator)")[0] | {
        "test_parameterize_with_no_separator"
    }
    assert functions(b"def _irregular") == (set(), True)
    images = engine.api.images(filters={"label": f"{LABEL}=coverage"})
    layers = [image["ParentId"] for image in images if time.time() - image["Created"] < 10]
    found: dict[str, Any] = engine.api.inspect_image(suite.image)  # type: ignore[no-untyped-call]
    assert found["Id"] not in layers


SOURCE = b'''\
import a

X = {
    1: 2,
}


@deco(3)
def f(x=1,
      y=2):
    """Doc."""
    if x:
        return (x +
                y)
    elif y:
        return 2
    else:
        x = 3
    for z in x:
        try:
            g(z)
        except E:
            h()


class A:
    b = 1

    def m(self): return 1
'''


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"import a", (1, 1, None)),
        (b"2,\n}", (3, 5, None)),
        (b"deco(3)", (8, 10, (11, 23))),
        (b"2):", (8, 10, (11, 23))),
        (b"if x", (12, 12, None)),
        (b"y)\n    elif", (13, 15, None)),
        (b"y:\n", (12, 15, None)),
        (b"return 2", (16, 16, None)),
        (b"z in x", (19, 19, None)),
        (b"E:", (22, 22, None)),
        (b"h()", (23, 23, None)),
        (b"b = 1", (27, 27, None)),
        (b"def m", None),
    ],
)
def test_a_change_runs_where_its_statement_runs(
    text: bytes, lines: tuple[int, int, tuple[int, int] | None] | None
) -> None:
    if lines is None:  # a body on the line of the header
        at = SOURCE.rindex(b"return 1") + 7
        assert spread(SOURCE, at, at + 1) == (29, 29, None)
        return
    at = SOURCE.index(text)
    assert spread(SOURCE, at, at + len(text)) == lines


def test_lines_of_imports_are_shared_and_defaults_belong_to_their_function() -> None:
    reach = Reach(
        tests=("t::a", "t::b", "t::c"),
        seconds=(1.0, 2.0, 4.0),
        sets=((-1,), (0,), (-1, 1)),
        files={"m.py": {1: 0, 3: 0, 8: 0, 9: 0, 12: 1, 16: 2}},
        always=(2,),
    )
    passing = frozenset(reach.tests)

    def chosen(text: bytes) -> tuple[tuple[str, ...], bool]:
        at = SOURCE.index(text)
        found = select(reach, passing, "m.py", SOURCE, at, at + 1)
        return found.tests, found.shared

    assert chosen(b"import a") == (("t::c",), True)
    assert chosen(b"1,\n      y") == (("t::a", "t::b", "t::c"), False)
    assert chosen(b"return 2") == (("t::b", "t::c"), True)
    assert chosen(b"h()") == (("t::c",), False)
    assert select(reach, frozenset(["t::a"]), "m.py", SOURCE, SOURCE.index(b"h()"), 5).tests == ()


def recorded(**fields: object) -> Recorded:
    usual = {"tests": ("a", "b"), "sets": ((0, -1),), "files": {"m.py": {1: 0}}, "starting": (1,), "blind": False}
    return Recorded(**{**usual, **fields})  # type: ignore[arg-type]


def test_tests_that_start_processes_or_do_not_pass_run_always() -> None:
    baseline = Baseline(passing=("a", "b", "c", "d", "e", "f"), seconds=1.0)
    everything = recorded(tests=("a", "b", "c", "d", "e"))
    outcomes = dict.fromkeys(everything.tests, "passed")
    reach = checked(everything, outcomes, {"a": 0.5}, 2.0, baseline)
    assert reach.tests == ("a", "b", "c", "d", "e", "f")
    assert (reach.always, reach.overhead) == ((1, 5), 1.5)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (recorded(blind=True), "start other processes"),
        (recorded(sets=((7,),)), "did not run"),
        (recorded(files={"m.py": {1: 4}}), "did not run"),
        (recorded(tests=("b",), sets=(), files={}, starting=()), "1 of 2 tests do not pass under coverage"),
    ],
)
def test_a_map_that_cannot_be_trusted_is_refused(found: Recorded, said: str) -> None:
    with pytest.raises(ForageError, match=said):
        checked(found, {"a": "passed", "b": "passed"}, {}, 1.0, Baseline(passing=("a", "b"), seconds=1.0))


async def test_a_map_is_made_once_for_the_same_content(tmp_path: Path) -> None:
    made: list[str] = []
    notes: list[str] = []

    async def make() -> Reach:
        made.append("made")
        return Reach(tests=("a",), seconds=(1.0,), sets=((0,),), files={"m.py": {3: 0}})

    async def fail() -> Reach:
        raise BuildError("no coverage for this Python")

    async def broken() -> Reach:
        raise SandboxError("the engine is gone")

    path = tmp_path / "reach.json"
    first = await kept_reach(path, "key", make, notes.append, 60.0)
    assert await kept_reach(path, "key", make, notes.append, 60.0) == first
    assert await kept_reach(path, "other", make, notes.append, 60.0) == first
    assert (made, notes) == (["made", "made"], [])
    assert await kept_reach(path, "third", broken, notes.append, 60.0) is None
    assert await kept_reach(path, "other", fail, notes.append, 60.0) == first, (
        "a broken engine is no reason to forget"
    )
    assert await kept_reach(path, "third", fail, notes.append, 60.0) is None
    assert await kept_reach(path, "third", make, notes.append, 60.0) is None, (
        "what cannot be mapped is not tried again"
    )
    assert await kept_reach(path, "third", make, notes.append, 90.0) == first, "in more time it may be"
    assert "every mutant runs the whole suite" in notes[-1]
