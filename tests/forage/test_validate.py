"""Verdicts on real mutants in real containers."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from forager.forage.baseline import Baseline
from forager.forage.validate import Reason, Suite, validate
from forager.images.task import TaskImage
from forager.records import Task
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

Calc = tuple[Task, TaskImage]
CORE = "tests/test_core.py"
MEAN = (f"{CORE}::test_mean", f"{CORE}::TestUnit::test_unit")


@pytest.fixture
def suite(calc: Calc) -> Suite:
    return Suite(image=calc[0].image)


@pytest.fixture(scope="module")
def clean(engine: Engine, calc: Calc) -> str:
    """The module that gets the bugs, as it is in the image."""

    async def read() -> bytes:
        async with await open_sandbox(engine, calc[0].image, workdir="/testbed", run="tests") as sandbox:
            return await sandbox.read_file("/testbed/calc/core.py")

    return asyncio.run(read()).decode()


BASELINE = Baseline(
    passing=(
        f"{CORE}::test_add[one two]",
        f"{CORE}::test_add[zeros]",
        *MEAN,
        "tests/test_other.py::test_other",
    ),
    not_passing=1,
    seconds=2.0,
)


@pytest.mark.docker
async def test_a_bug_that_some_tests_see_is_valid(engine: Engine, suite: Suite, clean: str) -> None:
    bug = clean.replace("/ len(values)", "/ (len(values) + 1)")
    verdict = await validate(engine, suite, BASELINE, {"calc/core.py": bug.encode()})
    assert verdict.reason == "valid"
    assert verdict.fail_to_pass == MEAN
    assert verdict.pass_to_pass == tuple(test for test in BASELINE.passing if test not in MEAN)
    assert "assert 1.5 == 2" in verdict.failures[MEAN[0]]
    assert verdict.runs == 2


@pytest.mark.docker
async def test_tests_of_a_module_that_cannot_be_imported_count_as_failing(engine: Engine, suite: Suite) -> None:
    verdict = await validate(engine, suite, BASELINE, {"tests/test_other.py": b"import no_such_module\n"})
    assert verdict.fail_to_pass == ("tests/test_other.py::test_other",)
    assert "no_such_module" in verdict.failures["tests/test_other.py::test_other"]


@pytest.mark.docker
@pytest.mark.parametrize(
    ("reason", "before", "after"),
    [
        ("survived", "a + b", "b + a"),
        ("nothing_passes", "def add", "import no_such_module\n\ndef add"),
        ("timeout", "return a + b", "while True: pass"),
        ("crashed", "return a + b", "import os; os._exit(0)"),
        ("unstable", "a + b", "a + b + (__import__('os').environ['PYTHONHASHSEED'] == '0' and a + 1)"),
        ("unstable", "a + b", "a + b + (__import__('os').environ['PYTHONHASHSEED'] != '0' and a + 1)"),
    ],
)
async def test_a_mutant_that_is_no_task(
    engine: Engine, suite: Suite, clean: str, reason: Reason, before: str, after: str
) -> None:
    assert before in clean
    baseline = replace(BASELINE, seconds=-1.4) if reason == "timeout" else BASELINE  # a limit of 3 s
    changed = {"calc/core.py": clean.replace(before, after, 1).encode()}
    verdict = await validate(engine, suite, baseline, changed)
    if reason == "unstable" and "!=" in after:
        reason = "survived"  # told by the first run alone
    assert (verdict.reason, verdict.fail_to_pass) == (reason, ())


@pytest.mark.docker
async def test_a_bug_that_breaks_much_ends_its_run_early(
    engine: Engine, suite: Suite, clean: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forager.forage.validate.MOST_FAILING", 1)
    bug = clean.replace("/ len(values)", "/ (len(values) + 1)")
    verdict = await validate(engine, suite, BASELINE, {"calc/core.py": bug.encode()})
    assert (verdict.reason, verdict.runs, verdict.fail_to_pass) == ("breaks_much", 1, ())


@pytest.mark.docker
async def test_a_mutant_that_fills_the_memory_does_no_harm(engine: Engine, suite: Suite, clean: str) -> None:
    changed = clean.replace("return a + b", "x = [b'x' * 10**6]\n    while True: x.append(x[0] + b'y')")
    verdict = await validate(engine, suite, BASELINE, {"calc/core.py": changed.encode()})
    assert verdict.reason in ("crashed", "broke_container")
