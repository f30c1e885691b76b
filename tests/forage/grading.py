"""Whether a task grades as it should: with its fix and without."""

from __future__ import annotations

from forager.evaluate import grade
from forager.images.task import ensure_task_image, remove_task_image
from forager.records import Task
from forager.sandbox.engine import Engine


async def both_sides(engine: Engine, task: Task) -> tuple[bool, bool]:
    """Whether the reference patch resolves a task, and whether nothing does. Its image is removed."""
    image = await ensure_task_image(engine, task)
    try:
        fixed, _ = await grade(engine, task, image, task.patch, run="tests")
        broken, _ = await grade(engine, task, image, None, run="tests")
    finally:
        await remove_task_image(engine, image)
    return fixed.resolved, broken.resolved
