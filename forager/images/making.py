"""Building the images of many tasks side by side, each failure with its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from forager.errors import BuildError, ForageError, InfrastructureError, UnfitError, UsageError
from forager.images.task import ensure_task_image
from forager.records import Record, Task, safe_name
from forager.sandbox.engine import Engine

Report = Callable[[str], None]


class Built(Record, frozen=True):
    """What became of one task's image."""

    instance_id: str
    tag: str = ""
    problem: str = ""
    """Why there is none, one line."""
    log: str = ""
    """File with the output of the build that failed."""
    seconds: float = 0.0


async def build_all(
    engine: Engine, tasks: Sequence[Task], logs: Path, *, workers: int = 2, report: Report | None = None
) -> list[Built]:
    """The images of `tasks`, at most `workers` under way at once; the logs of those that fail go into `logs`.

    What tasks share is built once: others wait for it. One failure stops no other, but `UnfitError` (no disk, no
    engine) stops all.
    """
    at_once = asyncio.Semaphore(workers)

    async def one(task: Task) -> Built:
        async with at_once:
            started = time.perf_counter()
            try:
                image = await ensure_task_image(engine, task, report)
            except UnfitError:
                raise
            except (BuildError, ForageError, UsageError, InfrastructureError) as error:
                built = Built(
                    instance_id=task.instance_id,
                    problem=str(error),
                    log=await asyncio.to_thread(_keep, logs, task.instance_id, str(error), getattr(error, "log", "")),
                )
            else:
                built = Built(instance_id=task.instance_id, tag=image.tag, seconds=time.perf_counter() - started)
            if report:
                report(f"{task.instance_id}: {built.problem or 'ready'}")
            return built

    async with asyncio.TaskGroup() as group:
        under_way = [group.create_task(one(task)) for task in tasks]
    return [work.result() for work in under_way]


def _keep(folder: Path, name: str, problem: str, log: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{safe_name(name)}.log"
    path.write_text(f"{log.rstrip()}\n\n{problem}\n" if log else f"{problem}\n", errors="replace")
    return str(path)
