"""Grades are remembered for the very same input only, and a broken cache is no cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from forager.evaluate.cache import GradeCache, harness_digest
from forager.images.task import TaskImage
from forager.records import Evaluation, Task
from forager.sandbox import Caps

IMAGE = TaskImage(tag="forager/task:x", digest="sha256:1")
TASK = Task(instance_id="x", repo="x", problem_statement="p", FAIL_TO_PASS=("t.py::test",))
GOOD = Evaluation(resolved=True, reward=1.0, similarity=1.0)
NO_ENGINE = None
"""Tasks that name no image are answered without one."""


async def keep(cache: GradeCache, evaluation: Evaluation = GOOD, patch: str = "p") -> None:
    await cache.remember(NO_ENGINE, TASK, IMAGE, patch, evaluation, "log")  # type: ignore[arg-type]


async def ask(cache: GradeCache, task: Task = TASK, patch: str = "p", **more: object) -> object:
    return await cache.recall(NO_ENGINE, task, patch, **more)  # type: ignore[arg-type]


def entries(folder: Path) -> list[Path]:
    return list(folder.rglob("*.json"))


async def test_the_same_is_known_again(tmp_path: Path) -> None:
    await keep(GradeCache(tmp_path))
    assert await ask(GradeCache(tmp_path)) == (GOOD, "log")


async def test_anything_else_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = GradeCache(tmp_path)
    assert await ask(cache) is None
    await keep(cache)
    assert await ask(cache, patch="q") is None
    assert await ask(cache, structs.replace(TASK, FAIL_TO_PASS=("t.py::other",))) is None
    assert await ask(cache, caps=Caps(memory=1)) is None
    assert await ask(cache, threshold=0.1) is None
    other = TaskImage(tag=IMAGE.tag, digest="sha256:2")
    await cache.remember(NO_ENGINE, TASK, other, "q", GOOD, "")  # type: ignore[arg-type]
    assert await ask(cache) is None  # the task's image is another now
    harness_digest.cache_clear()
    monkeypatch.setattr("forager.evaluate.cache.harness_digest", lambda: "another")
    assert await ask(cache, patch="q") is None


@pytest.mark.parametrize("flag", ["timeout", "incomplete", "memory", "ungradable"])
async def test_what_may_end_differently_is_not_kept(tmp_path: Path, flag: str) -> None:
    cache = GradeCache(tmp_path)
    await keep(cache, Evaluation(resolved=False, flags=(flag,)))
    assert await ask(cache) is None


async def test_damage_is_a_miss(tmp_path: Path) -> None:
    cache = GradeCache(tmp_path)
    await keep(cache)
    for path in entries(tmp_path):
        whole = path.read_bytes()
        for broken in (b"", whole[:10], b"[]", b"\xff"):
            path.write_bytes(broken)
            assert await ask(cache) is None
        path.write_bytes(whole)
    assert await ask(cache) is not None


async def test_a_folder_that_cannot_be_written_is_borne(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = GradeCache(tmp_path / "file")
    await keep(cache)
    assert await ask(cache) is None


async def test_it_stays_small(tmp_path: Path) -> None:
    cache = GradeCache(tmp_path, maximum=20_000)
    for n in range(200):
        await cache.remember(NO_ENGINE, TASK, IMAGE, f"{n}", GOOD, "x" * 1000)  # type: ignore[arg-type]
    cache.trim()
    assert sum(path.stat().st_size for path in entries(tmp_path)) <= 20_000
