"""The tasks, made once for all workers; the images they need stay while any worker may run them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from forager.images.lock import cache_dir
from forager.records import Task
from forager.run.images_pool import TaskImages
from forager.sandbox.engine import Engine
from tests.end_to_end.shelf import BUGS, ensure_shelf, shelf_task, write_tasks


@pytest.fixture(scope="session")
def shelf(engine: Engine, base_image: str) -> Iterator[dict[str, Task]]:
    """The tasks by the name of their bug. Their images are held, so that no run has to make one anew."""
    images = TaskImages(engine)

    async def make() -> dict[str, Task]:
        tag = await ensure_shelf(engine, base_image)
        made = {name: shelf_task(name, tag) for name in BUGS}
        for task in made.values():
            await images.ensure(task)
        return made

    with (cache_dir() / "locks" / "tests-shelf").open("w") as needed:
        fcntl.flock(needed, fcntl.LOCK_SH)
        made = asyncio.run(make())
        yield made
        asyncio.run(images.close())
        with contextlib.suppress(BlockingIOError):  # another worker still needs it; the last one removes it
            fcntl.flock(needed, fcntl.LOCK_EX | fcntl.LOCK_NB)
            engine.api.remove_image(made["mean"].image)


@pytest.fixture
def tasks(shelf: dict[str, Task], tmp_path: Path) -> Path:
    """A task file with all tasks."""
    return write_tasks(tmp_path / "tasks.jsonl", list(shelf.values()))


@pytest.fixture
def one_task(shelf: dict[str, Task], tmp_path: Path) -> Path:
    """A task file with one task, `mean`."""
    return write_tasks(tmp_path / "one.jsonl", [shelf["mean"]])
