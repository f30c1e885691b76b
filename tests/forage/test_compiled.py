"""Byte code of a suite: runs read it, mutated files are never mistaken for it, and nothing else gets in with it."""

from __future__ import annotations

import shlex

import pytest

from forager.evaluate.attacks import FIXED
from forager.forage.baseline import Baseline
from forager.forage.compiled import byte_code_paths, with_byte_code
from forager.forage.validate import CAPS, Suite, run_suite
from forager.images.layer import add_layer
from forager.images.task import TaskImage
from forager.records import Task
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

CORE = "tests/test_core.py"
PASSING = (
    f"{CORE}::test_add[one two]",
    f"{CORE}::test_add[zeros]",
    f"{CORE}::test_mean",
    f"{CORE}::TestUnit::test_unit",
    "tests/test_other.py::test_other",
)


async def compiled(engine: Engine, plain: Suite, clean: Baseline) -> tuple[Suite, list[str]]:
    """What runs of mutants get, and what is said of it."""
    said: list[str] = []
    return await with_byte_code(engine, plain, clean, said.append), said


@pytest.mark.docker
async def test_what_was_compiled_is_there_and_mutated_files_are_not_mistaken_for_it(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    tag = "forager/tests-compiled:1"
    await add_layer(engine, parent=calc[0].image, tag=tag, kind="test", script=fixed_script())
    plain = Suite(image=tag)
    suite, said = await compiled(engine, plain, Baseline(passing=PASSING, seconds=10.0))
    try:
        assert suite.image != plain.image and not said
        assert (suite, []) == await compiled(engine, plain, Baseline(passing=PASSING, seconds=10.0))
        async with await open_sandbox(engine, suite.image, workdir="/testbed", caps=CAPS) as sandbox:
            _, found = await sandbox.control("cd /testbed; find -name '*.pyc' -path '*/__pycache__/*'")
        assert b"/calc/__pycache__/core." in found and b"-pytest-" in found
        broken = {"calc/core.py": FIXED.replace("a + b", "a - b").encode()}  # the same length
        good, bad = [await run_suite(engine, suite, timeout=60.0, files=files) for files in ({}, broken)]
        assert bad.outcomes == (await run_suite(engine, plain, timeout=60.0, files=broken)).outcomes != good.outcomes
    finally:
        for image in {suite.image, tag}:
            engine.client.images.remove(image, force=True)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("file", "text", "seconds", "problem"),
    [
        ("conftest.py", "import time; time.sleep(1000)", -1.5, "collecting the tests gave none"),
        (
            "test_plain.py",
            "import pathlib\ndef test_plain(): assert not [*pathlib.Path().rglob('*.pyc')]",
            20.0,
            "test_plain",
        ),
    ],
)
async def test_a_suite_that_does_not_do_as_well_with_byte_code_runs_without(
    engine: Engine, calc: tuple[Task, TaskImage], file: str, text: str, seconds: float, problem: str
) -> None:
    tag = f"forager/tests-compiled:{file.removesuffix('.py')}"
    script = f"{fixed_script()}; echo {shlex.quote(text)} >/testbed/tests/{file}"
    await add_layer(engine, parent=calc[0].image, tag=tag, kind="test", script=script)
    plain = Suite(image=tag)
    try:
        clean = Baseline(passing=(*PASSING, "tests/test_plain.py::test_plain"), seconds=seconds)
        suite, said = await compiled(engine, plain, clean)
        assert suite == plain
        assert len(said) == 1 and problem in said[0]
    finally:
        engine.client.images.remove(tag, force=True)


def fixed_script() -> str:
    return f"printf %s {shlex.quote(FIXED)} >/testbed/calc/core.py"


def test_only_byte_code_of_the_tree_is_read() -> None:
    good = "/testbed/calc/__pycache__/core.cpython-311.pyc"
    bad: tuple[str, ...] = (
        "/opt/venv/a.pyc",
        "testbed/a.pyc",
        "/testbed/../etc/a.pyc",
        "/testbedding/a.pyc",
        "/testbed/a.py",
    )
    bad += ("/testbed/a\nb.pyc", "/testbed//a.pyc", f"/testbed/{'a/' * 300}a.pyc", "")
    names = b"".join(path.encode() + b"\0" for path in (good, *bad)) + b"/testbed/torn.pyc"
    assert byte_code_paths(names, "/testbed") == [good]
    assert byte_code_paths(b"", "/testbed") == []
    assert byte_code_paths(b"\xff\xfe\0", "/testbed") == []
