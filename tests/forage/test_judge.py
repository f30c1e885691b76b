"""Verdicts with a map of which test runs which lines are those of the whole suite, for fewer and shorter runs."""

from __future__ import annotations

import asyncio
import shlex

import pytest

from forager.evaluate.attacks import FIXED
from forager.forage.baseline import Baseline
from forager.forage.evidence import Mutants
from forager.forage.judge import Judge
from forager.forage.mutate import Mutant
from forager.forage.reach import Reach, make_reach
from forager.forage.trying import Turns
from forager.forage.validate import Suite, Verdict
from forager.images.layer import add_layer
from forager.images.task import TaskImage
from forager.records import Task, digest
from forager.sandbox.engine import Engine
from tests.forage.conftest import Package

pytestmark = pytest.mark.docker

FILE = "inflection/__init__.py"


@pytest.fixture(scope="module")
def reach(engine: Engine, inflection: Package) -> Reach:
    return asyncio.run(make_reach(engine, inflection.suite, inflection.baseline, inflection.sources))


def mutant(package: Package, before: bytes, after: str) -> Mutant:
    source = package.sources[FILE]
    start = source.rindex(before)
    return Mutant(operator="x", file=FILE, function="", line=1, start=start, end=start + len(before), text=after)


async def judged(engine: Engine, package: Package, reach: Reach | None, bugs: list[Mutants]) -> list[Verdict]:
    found: dict[Mutants, Verdict] = {}
    judge = Judge(engine, package.suite, package.baseline, package.sources, reach, Turns(2))
    await judge.verdicts(bugs, found.__setitem__)
    return [found[bug] for bug in bugs]


async def test_verdicts_are_those_of_the_whole_suite(engine: Engine, inflection: Package, reach: Reach) -> None:
    ordinal = (mutant(inflection, b"number % 100", "number % 101"),)
    dashes = (mutant(inflection, b"return word.replace('_', '-')", "return word"),)
    same = (mutant(inflection, b"re.escape(separator)", "re.escape((separator))"),)
    table = (mutant(inflection, b"(matr|vert|ind)", "(matr|ind)"),)
    # in no function: any test may depend on it
    far = (mutant(inflection, b"return normalized.encode", 'PLURALS.clear(); return "x" + normalized.encode'),)
    # breaks tests that never run its line, beside innocent ones
    bugs = [ordinal, dashes, same, table, far, (*ordinal, *dashes)]
    found = await judged(engine, inflection, reach, bugs)
    wanted = await judged(engine, inflection, None, bugs)
    assert [v.reason for v in wanted] == ["valid", "valid", "survived", "valid", "valid", "valid"]
    for ours, whole in zip(found, wanted, strict=True):
        assert (ours.reason, ours.fail_to_pass, ours.pass_to_pass) == (
            whole.reason,
            whole.fail_to_pass,
            whole.pass_to_pass,
        )
        assert set(ours.failures) <= set(whole.failures)
        assert len(ours.failures) == min(20, len(whole.failures))
    assert any("test_tableize" in test for test in found[4].fail_to_pass)
    assert set(found[5].fail_to_pass) == {*found[0].fail_to_pass, *found[1].fail_to_pass}


async def test_lines_that_no_test_runs_need_no_run(engine: Engine, inflection: Package, reach: Reach) -> None:
    nothing = Reach(tests=reach.tests, seconds=reach.seconds, sets=(), files={})
    (found,) = await judged(engine, inflection, nothing, [(mutant(inflection, b"number % 100", "number"),)])
    assert (found.reason, found.runs) == ("unreached", 0)


LONELY = """
import os
from calc import add

def test_lonely():
    assert add(1, 2) and "LOADED" in os.environ
"""
AVERAGE = """
import pytest
from calc import mean

@pytest.fixture(scope="module")
def average():
    return mean([1, 2, 3])

def test_average(average):
    assert average == 2
"""

CORE = "tests/test_core.py"
OTHER = "tests/test_other.py::test_other"
ADDED = (f"{CORE}::test_add[one two]", f"{CORE}::test_add[zeros]")
MEANT = (f"{CORE}::test_mean", f"{CORE}::TestUnit::test_unit")


async def judged_together(
    engine: Engine, image: str, script: str, tests: tuple[str, ...], sets: tuple[tuple[int, ...], tuple[int, ...]]
) -> tuple[Verdict, Verdict]:
    """Verdicts on a bug of `add` and one of `mean`, after `script`. `sets`: the tests that run their lines."""
    tag = f"forager/tests-judge:{digest(script)[:12]}"
    await add_layer(engine, parent=image, tag=tag, kind="test", script=script)
    try:
        reach = Reach(
            tests=tests,
            seconds=(*(0.1,) * (len(tests) - 2), 0.2, 0.2),  # no bug reaches most of the suite
            sets=sets,
            files={"calc/core.py": {2: 0, 6: 1, 7: 1}},
            overhead=0.5,
        )
        clean = FIXED.encode()
        bugs = [
            (Mutant(operator="x", file="calc/core.py", function="", line=1, start=at, end=at + len(old), text=new),)
            for old, new in ((b"a + b", "a + b + 1"), (b"/ len(values)", "/ 7"))
            for at in [clean.index(old)]
        ]
        found: dict[Mutants, Verdict] = {}
        baseline = Baseline(passing=tests, seconds=1.0)
        judge = Judge(engine, Suite(image=tag), baseline, {"calc/core.py": clean}, reach, Turns(2))
        await judge.verdicts(bugs, found.__setitem__)
    finally:
        engine.client.images.remove(tag, force=True)
    return found[bugs[0]], found[bugs[1]]


async def test_a_test_that_fails_only_for_want_of_another_module_tells_of_no_bug(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    """Those that reach a bug run without the others; what fails only because of that is seen in the whole suite."""
    script = f"cd /testbed/tests; echo {shlex.quote(LONELY)} >test_lonely.py; "
    script += 'echo \'import os; os.environ["LOADED"] = "1"\' >test_a.py'
    lonely = "tests/test_lonely.py::test_lonely"
    added = (*ADDED, lonely, OTHER)
    sets = ((0, 1, 2, 3), (4, 5))
    add, mean = await judged_together(engine, calc[0].image, script, (*added, *MEANT), sets)
    assert add.fail_to_pass == (*ADDED, OTHER)
    assert (add.pass_to_pass, add.unstable) == (MEANT, (lonely,))
    assert (mean.fail_to_pass, mean.pass_to_pass) == (MEANT, added)


async def test_a_test_that_a_fixture_of_its_module_breaks_is_told_of_the_bug_to_blame(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    script = f"cd /testbed/tests; echo {shlex.quote(AVERAGE)} >test_average.py"
    average = "tests/test_average.py::test_average"
    sets = ((1, 2, 3), (-1, 4, 5))
    add, mean = await judged_together(engine, calc[0].image, script, (average, *ADDED, OTHER, *MEANT), sets)
    assert (add.fail_to_pass, add.pass_to_pass) == ((*ADDED, OTHER), (average, *MEANT))
    assert (mean.fail_to_pass, mean.pass_to_pass) == ((average, *MEANT), (*ADDED, OTHER))
