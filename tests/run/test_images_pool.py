"""Task images shared by samples, tasks and runs. A shelf is the engine here; tests/images has real images."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import forager.images.task
from forager.errors import BuildError, SandboxError
from forager.images.task import TaskImage
from forager.records import Task
from forager.run.images_pool import TaskImages
from tests.run.synthetic import make_tasks


class Shelf:
    """Images by tag; tasks of one repository share theirs."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.made: list[str] = []

    async def ensure(self, engine: Any, task: Task, report: Any = None) -> TaskImage:
        await asyncio.sleep(0.001)
        if task.instance_id.endswith("-9"):
            self.made.append("failed")
            raise BuildError("no such package", "log")
        tag = f"forager/task:{task.repo}"
        if tag not in self.there:
            self.made.append(tag)
            self.there.add(tag)
        return TaskImage(tag=tag, digest="sha256:1")

    async def remove(self, engine: Any, image: TaskImage) -> None:
        await asyncio.sleep(0.001)
        self.there.remove(image.tag)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    shelf = Shelf()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(forager.images.task, "ensure_task_image", shelf.ensure)
    monkeypatch.setattr(forager.images.task, "remove_task_image", shelf.remove)
    return shelf


def pool() -> TaskImages:
    return TaskImages(None)  # type: ignore[arg-type]  # the shelf stands in for the engine


async def test_an_image_is_made_once_and_removed_when_released(shelf: Shelf) -> None:
    [task] = make_tasks(1)
    async with pool() as images:
        made = await asyncio.gather(*(images.ensure(task) for _ in range(5)))
        assert len(set(map(id, made))) == 1
        assert shelf.made == ["forager/task:owner/pkg0"]
        await images.release(task)
        assert shelf.there == set()
        await images.release(task)


async def test_what_another_task_or_run_needs_stays(shelf: Shelf) -> None:
    tasks = make_tasks(4)  # the first and the last share an image
    async with pool() as one, pool() as other:
        await one.ensure(tasks[0])
        await one.ensure(tasks[3])
        await other.ensure(tasks[0])
        await one.release(tasks[0])
        await one.release(tasks[3])
        assert len(shelf.there) == 1
    assert shelf.there == set()


async def test_runs_that_take_and_release_at_once_never_lose_an_image_in_use(shelf: Shelf) -> None:
    [task] = make_tasks(1)

    async def run() -> None:
        for _ in range(10):
            async with pool() as images:
                image = await images.ensure(task)
                for _ in range(3):
                    assert image.tag in shelf.there
                    await asyncio.sleep(0.001)

    await asyncio.gather(*(run() for _ in range(4)))
    assert shelf.there == set()


async def test_a_lost_image_is_made_again_on_request(shelf: Shelf) -> None:
    [task] = make_tasks(1)
    async with pool() as images:
        await images.ensure(task)
        shelf.there.clear()
        await images.ensure(task)
        assert shelf.there == set()
        await images.ensure(task, fresh=True)
        assert len(shelf.there) == 1


async def test_an_image_that_cannot_be_built_is_tried_once(shelf: Shelf) -> None:
    task = make_tasks(10)[9]
    async with pool() as images:
        for _ in range(3):
            with pytest.raises(BuildError, match="no such package"):
                await images.ensure(task)
    assert shelf.made == ["failed"]


async def test_an_engine_that_fails_to_remove_does_not_hide_what_ended_the_run(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(engine: Any, image: TaskImage) -> None:
        raise SandboxError("engine gone")

    monkeypatch.setattr(forager.images.task, "remove_task_image", fail)
    async with pool() as images:
        await images.ensure(make_tasks(1)[0])
