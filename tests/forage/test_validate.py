"""Verdicts on real mutants in real containers, and what is said of suites that can't judge."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from forager.errors import ForageError
from forager.evaluate.testrun import TestRun
from forager.forage.validate import HASH_SEEDS, Baseline, Reason, Suite, compare_clean, run_suite, validate
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
    unstable=(),
    not_passing=1,
    seconds=2.0,
)


@pytest.mark.docker
async def test_the_baseline_is_what_passes_in_both_clean_runs(engine: Engine, suite: Suite) -> None:
    runs = [await run_suite(engine, suite, timeout=60, hash_seed=seed) for seed in HASH_SEEDS]
    baseline = compare_clean(runs[0], runs[1], ["calc/core.py"])
    assert (set(baseline.passing), baseline.not_passing) == (set(BASELINE.passing), 1)
    assert 0 < baseline.seconds < 60


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
async def test_a_mutant_that_fills_the_memory_does_no_harm(engine: Engine, suite: Suite, clean: str) -> None:
    changed = clean.replace("return a + b", "x = [b'x' * 10**6]\n    while True: x.append(x[0] + b'y')")
    verdict = await validate(engine, suite, BASELINE, {"calc/core.py": changed.encode()})
    assert verdict.reason in ("crashed", "broke_container")


def run(outcomes: dict[str, str], **fields: object) -> TestRun:
    return TestRun(**{"outcomes": outcomes, "complete": True, "exit_code": 0, **fields})  # type: ignore[arg-type]


def test_tests_that_pass_once_only_or_live_in_the_code_are_not_passing() -> None:
    first = run({"t.py::a": "passed", "t.py::b": "passed", "t.py::c": "failed", "p.py::p.f": "passed"}, seconds=1.0)
    second = run({"t.py::a": "passed", "t.py::b": "failed", "t.py::c": "failed", "p.py::p.f": "passed"}, seconds=2.0)
    baseline = compare_clean(first, second, ["p.py"])
    assert baseline == Baseline(passing=("t.py::a",), unstable=("t.py::b",), not_passing=1, seconds=2.0)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (run({}), "has no tests"),
        (
            run({}, collect_errors=("t.py",), failures={"t.py": "E   ModuleNotFoundError: x"}),
            "ModuleNotFoundError: x",
        ),
        (run({"t.py::a": "passed"}, collect_errors=("u.py", "v.py")), "2 of 3 test modules cannot be collected"),
        (run({}, complete=False, output="bash: python: not found\n"), "do not start: bash: python: not found"),
        (run({"t.py::a": "passed"}, complete=False, output="Segmentation fault\n"), "breaks off after 1 tests"),
        (run({"t.py::a": "passed"}, timed_out=True, seconds=300.0), "does not end within 300 s"),
        (run({"t.py::a": "failed"}, failures={"t.py::a": "E   boom"}), r"no test .* passes \(1 fail\): boom"),
        (run({"t.py::a": "failed", "t.py::b": "error", "t.py::c": "passed"}), "2 of 3 tests fail"),
        (run({"t.py::a": "skipped"}), "no test of the clean code passes"),
    ],
)
def test_a_suite_that_cannot_judge_is_told_in_one_line(bad: TestRun, said: str) -> None:
    with pytest.raises(ForageError, match=said) as raised:
        compare_clean(bad, bad, [])
    assert "\n" not in str(raised.value)
