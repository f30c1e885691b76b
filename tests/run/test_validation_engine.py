"""Validation on the real engine: a repository whose tests are sound, order-dependent, or in want of the network."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import importlib.metadata
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forager.evaluate import TestRun, reuse
from forager.evaluate.formats import run_listed
from forager.images.layer import add_layer
from forager.records import Task, TestLists
from forager.run.images_pool import TaskImages
from forager.run.progress import Silent
from forager.run.trials import EngineTrials
from forager.run.validation import validate_tasks
from forager.run.validation_store import Validation, ValidationReport
from forager.sandbox.docker import DockerSandbox
from forager.sandbox.engine import Engine

pytestmark = pytest.mark.docker

RUNNER = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
"""All that pytest needs, pure Python: copied from here, so that no test needs a network."""
SITE = "usr/local/lib/python3.11/dist-packages"

TREE = {
    "notes/__init__.py": "def add(a, b):\n    return a + b\n",
    "tests/test_notes.py": (
        "import socket\n\nfrom notes import add\n\nshelf = []\n\n\n"
        "def test_put():\n    shelf.append(1)\n\n\n"
        "def test_add():\n    assert add(2, 3) == 5\n\n\n"
        "def test_get():\n    assert shelf\n\n\n"
        "def test_zero():\n    assert add(0, 0) == 0\n\n\n"
        "def test_online():\n    socket.create_connection(('192.0.2.1', 80), 5)\n"
    ),
    "tests/test_words.py": (
        "import pytest\n\n\n"
        "@pytest.mark.parametrize('words', ['a b', 'a c'])\ndef test_words(words):\n    assert words\n\n\n"
        "def test_other():\n    pass\n"
    ),
    "tests/test_new.py": "import notes.new\n\n\ndef test_new():\n    assert notes.new\n",
    "setup.cfg": "[metadata]\nname = notes\n",
}
BUG = {"notes/__init__.py": "def add(a, b):\n    return a - b\n"}
ADD, ZERO, PUT, GET, ONLINE = (
    f"tests/test_notes.py::test_{name}" for name in ("add", "zero", "put", "get", "online")
)


@pytest.fixture(scope="session")
def task(engine: Engine, base_image: str) -> Iterator[Task]:
    """A sound task among tests that are not."""
    files = _files()
    script = "set -e; cd /testbed; git init -q; git add -A; git -c user.name=a -c user.email=a@b commit -qm released"
    state = hashlib.sha256((base_image + script).encode() + files).hexdigest()[:16]
    tag = f"forager/tests-notes:{state}-{os.getpid()}"  # each worker of pytest removes its own
    asyncio.run(
        add_layer(engine, parent=base_image, tag=tag, kind="test", script=script, files=files, workdir="/testbed")
    )
    yield Task(
        instance_id="notes",
        repo="notes",
        problem_statement="It adds wrongly.",
        source="mutation",
        image=tag,
        patch=diff(BUG, TREE),
        setup=diff(TREE, BUG),
        FAIL_TO_PASS=(ADD,),
        PASS_TO_PASS=(ZERO, PUT, GET, ONLINE),
        test_seconds=60.0,
    )
    engine.api.remove_image(tag, force=True)


async def go(engine: Engine, tasks: list[Task], directory: Path) -> tuple[ValidationReport, list[Validation]]:
    images = TaskImages(engine)
    trials = EngineTrials(engine, images)
    return await validate_tasks(tasks, trials, Silent(), directory, workers=2, images=images)


async def test_validation_finds_out_what_the_tests_are_worth(engine: Engine, task: Task, tmp_path: Path) -> None:
    def variant(name: str, fail: tuple[str, ...], keep: tuple[str, ...] = (), **more: str) -> Task:
        return msgspec.structs.replace(task, instance_id=name, FAIL_TO_PASS=fail, PASS_TO_PASS=keep, **more)

    tasks = [
        task,
        variant("offline", (ONLINE,), (ADD,)),
        variant("stale", (ADD,), patch=task.patch.replace("return a - b", "return a * b")),
    ]
    report, found = await go(engine, tasks, tmp_path)
    verdicts = {one.instance_id: one for one in found}
    sound = verdicts["notes"].soundness
    assert (sound.reason, sound.fail_to_pass, sound.pass_to_pass) == ("", (ADD,), (ZERO, PUT))
    assert sound.flaky == {GET: "with the fix: pass fail; without: pass"}, "it needs test_put before it"
    assert sound.broken == (ONLINE,) and "Network is unreachable" in sound.network
    assert "test_online" in (tmp_path / verdicts["notes"].log).read_text()
    assert report.rejected.keys() == {"offline", "stale"}
    assert "all 1 FAIL_TO_PASS tests fail with the fix, for want of the network" in report.rejected["offline"]
    assert "does not apply" in report.rejected["stale"]


async def test_tasks_with_the_same_tree_once_solved_share_its_shuffled_runs(
    engine: Engine, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int | None]] = []

    async def noted(sandbox: DockerSandbox, asked: Task, *args: Any, shuffle: int | None, **more: Any) -> TestRun:
        made.append((asked.instance_id, shuffle))
        return await run_listed(sandbox, asked, *args, shuffle=shuffle, **more)

    monkeypatch.setattr(reuse, "run_listed", noted)
    keep = (ZERO, PUT)
    task = msgspec.structs.replace(task, PASS_TO_PASS=keep)
    times = {"notes/__init__.py": "def add(a, b):\n    return a * b\n"}
    other = {"notes/__init__.py": "def add(a, b):\n    return b + a\n"}

    def variant(name: str, **more: Any) -> Task:
        return msgspec.structs.replace(task, instance_id=name, **more)

    tasks = [
        task,
        variant("times", setup=diff(TREE, times), patch=diff(times, TREE)),
        variant("fewer_tests", PASS_TO_PASS=(ZERO,)),
        variant("more_files", PASS_TO_PASS=(*keep, "tests/test_words.py::test_other")),
        variant("other_fix", patch=diff(BUG, other)),
    ]
    async with TaskImages(engine) as images:
        trials = EngineTrials(engine, images)
        for shuffle in (1, 2):
            for one in tasks:
                evaluation, output = await trials.grade(one, one.patch, shuffle)
                assert evaluation.resolved and set(evaluation.pass_to_pass.success) == set(one.PASS_TO_PASS)
                assert "passed" in output
    assert made == [(name, shuffle) for shuffle in (1, 2) for name in ("notes", "more_files", "other_fix")]


async def test_a_grade_of_fail_to_pass_alone(engine: Engine, task: Task) -> None:
    async def grade(*fail: str, **more: str) -> tuple[TestLists, str]:
        asked = msgspec.structs.replace(task, FAIL_TO_PASS=fail, **more)
        evaluation, output = await trials.grade(asked, None, 1, only=True)
        assert evaluation.pass_to_pass == TestLists() and not evaluation.flags
        return evaluation.fail_to_pass, output.splitlines()[-1].partition(";")[0]

    words, new = "tests/test_words.py::test_words", "tests/test_new.py::test_new"
    async with TaskImages(engine) as images:
        trials = EngineTrials(engine, images)
        assert await grade(ADD, ZERO) == (TestLists(success=(ZERO,), failure=(ADD,)), "[1 failed, 1 passed")
        # A module that cannot be imported keeps pytest from running any test by name.
        assert await grade(f"{words}[a b]", new) == (
            TestLists(success=(f"{words}[a b]",), failure=(new,)),
            "[3 passed",
        )
        assert await grade(f"{words}[a", source="swebench") == (TestLists(success=(f"{words}[a",)), "[3 passed")


def diff(before: dict[str, str], after: dict[str, str]) -> str:
    """The git diff of the one file that has the bug."""
    (path,) = BUG
    old, new = (version[path].splitlines(keepends=True) for version in (before, after))
    return f"diff --git a/{path} b/{path}\n" + "".join(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}"))


def _files() -> bytes:
    """The tree at /testbed, and the running pytest where Debian's Python finds it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in TREE.items():
            entry = tarfile.TarInfo(f"testbed/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        for name in RUNNER:
            for file in importlib.metadata.files(name) or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                    tar.add(source, f"{SITE}/{file}")
    return buffer.getvalue()
