"""Byte code of a suite: runs read it, mutated files are never mistaken for it, and nothing else gets in with it."""

from __future__ import annotations

import gzip
import io
import shlex
import tarfile

import pytest

from forager.evaluate.attacks import FIXED
from forager.forage.baseline import Baseline
from forager.forage.compiled import compiled_files, with_byte_code
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
    ("file", "text", "problem"),
    [
        ("conftest.py", "import time; time.sleep(1000)", "collecting the tests left none"),
        (
            "test_plain.py",
            "import pathlib\ndef test_plain(): assert not [*pathlib.Path().rglob('*.pyc')]",
            "test_plain",
        ),
    ],
)
async def test_a_suite_that_does_not_do_as_well_with_byte_code_runs_without(
    engine: Engine, calc: tuple[Task, TaskImage], file: str, text: str, problem: str
) -> None:
    tag = f"forager/tests-compiled:{file.removesuffix('.py')}"
    script = f"{fixed_script()}; echo {shlex.quote(text)} >/testbed/tests/{file}"
    await add_layer(engine, parent=calc[0].image, tag=tag, kind="test", script=script)
    plain = Suite(image=tag)
    try:
        clean = Baseline(passing=(*PASSING, "tests/test_plain.py::test_plain"), seconds=-1.0)
        suite, said = await compiled(engine, plain, clean)
        assert suite == plain
        assert len(said) == 1 and problem in said[0]
    finally:
        engine.client.images.remove(tag, force=True)


def fixed_script() -> str:
    return f"printf %s {shlex.quote(FIXED)} >/testbed/calc/core.py"


def archive(*names: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, 3 if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            tar.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def test_only_byte_code_of_the_tree_comes_out_of_a_hostile_archive() -> None:
    good = "testbed/calc/__pycache__/core.cpython-311.pyc"
    other = (
        "opt/venv/a.pyc",
        "/etc/a.pyc",
        "testbed/../etc/a.pyc",
        "testbedding/a.pyc",
        "testbed/a.py",
        "../testbed/a.pyc",
    )
    assert [(m.path, m.data) for m in compiled_files(archive(good, *other), "/testbed")] == [(good, b"abc")]
    assert compiled_files(archive(good, kind=tarfile.SYMTYPE), "/testbed") == []
    assert compiled_files(archive(good)[:700], "/testbed") == []
    assert compiled_files(b"", "/testbed") == []
    assert compiled_files(b"nonsense" * 200, "/testbed") == []
    assert compiled_files(gzip.compress(archive(good)), "/testbed") == []  # a bomb, if it were unpacked


def test_an_archive_that_claims_more_than_it_holds_is_refused() -> None:
    info = tarfile.TarInfo("testbed/a.pyc")
    info.size, info.pax_headers = (
        3,
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)},
    )
    sparse = info.tobuf(tarfile.PAX_FORMAT) + b"0\n".ljust(512, b"\0") + bytes(1024)
    assert compiled_files(sparse, "/testbed") == []
    chained = tarfile.TarInfo("x")
    chained.type, chained.size = tarfile.XHDTYPE, 0
    assert compiled_files(chained.tobuf() * 5000, "/testbed") == []
