"""Byte code of a suite: runs read it, mutated files are never mistaken for it, and nothing else gets in with it."""

from __future__ import annotations

import io
import shlex
import tarfile
import time

import pytest

from forager.evaluate.attacks import FIXED
from forager.forage.compiled import compiled_files, with_byte_code
from forager.forage.validate import CAPS, Suite, run_suite
from forager.images.layer import add_layer
from forager.images.task import TaskImage
from forager.records import Task
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine


@pytest.mark.docker
async def test_what_was_compiled_is_there_and_mutated_files_are_not_mistaken_for_it(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    plain = Suite(image=calc[0].image)
    suite = await with_byte_code(engine, plain, 60.0)
    try:
        assert suite.image != plain.image
        assert suite == await with_byte_code(engine, plain, 60.0)
        async with await open_sandbox(engine, suite.image, workdir="/testbed", caps=CAPS) as sandbox:
            _, found = await sandbox.control(
                "cd /testbed; find -name '*.pyc' -path '*/__pycache__/*'; git status --short"
            )
        assert b"/calc/__pycache__/core." in found and b"-pytest-" in found
        fixed = {"calc/core.py": FIXED.encode()}
        broken = {"calc/core.py": FIXED.replace("a + b", "a - b").encode()}  # the same length
        runs = [await run_suite(engine, suite, timeout=60.0, files=files) for files in (fixed, broken)]
        wanted = [await run_suite(engine, plain, timeout=60.0, files=files) for files in (fixed, broken)]
        assert [run.outcomes for run in runs] == [run.outcomes for run in wanted]
        assert runs[0].outcomes != runs[1].outcomes
    finally:
        engine.client.images.remove(suite.image, force=True)


@pytest.mark.docker
async def test_a_suite_that_cannot_be_collected_in_time_runs_as_it_is(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    tag = "forager/tests-slow-conftest:1"
    script = f"echo {shlex.quote('import time; time.sleep(1000)')} >/testbed/tests/conftest.py"
    await add_layer(engine, parent=calc[0].image, tag=tag, kind="test", script=script)
    try:
        began = time.process_time()
        assert await with_byte_code(engine, Suite(image=tag), 0.5) == Suite(image=tag)
        assert time.process_time() - began < 10
    finally:
        engine.client.images.remove(tag, force=True)


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
    whole = archive(good)
    assert compiled_files(whole[:700], "/testbed") == []
    assert compiled_files(b"", "/testbed") == []
    assert compiled_files(b"nonsense" * 200, "/testbed") == []
