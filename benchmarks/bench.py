"""What the figures share: the engine, the task and its image, the peer, how often to measure, where to write."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.mini import Mini
from benchmarks.task import benchmark_task
from forager.errors import ForagerError
from forager.images.task import TaskImage
from forager.records import Record, Task
from forager.run.images_pool import TaskImages
from forager.sandbox import labels
from forager.sandbox.engine import Engine

ROOT = Path(__file__).parents[1]


class Repetitions(Record, frozen=True):
    """How much is measured."""

    rounds: int = 10
    """Turns of the contenders of a tool call; a round of ours is `calls` calls."""
    calls: int = 100
    slow_calls: int = 5
    """Calls a round where one takes tens of milliseconds."""
    containers: int = 30
    peer_gone: int = 2
    """Waits for a peer's container to be gone: ten seconds each."""
    workers: tuple[int, ...] = (1, 2, 4, 8)
    trajectory_rounds: int = 3
    trajectories: int = 24
    """Attempts a round and contender."""
    peer_trajectories: int = 8
    memory_attempts: int = 500
    at_once: int = 64
    replies: int = 40
    """Of the model, in each of the attempts at once."""
    reply_seconds: float = 3.0
    grades: int = 10
    mutants: tuple[tuple[str, int], ...] = (
        ("pypi:packaging==26.3", 12),
        ("pypi:arrow==1.4.0", 18),
        ("pypi:humanize==4.17.0", 18),
    )
    """Packages and how many of each: of the last two as many as a call for twenty tasks judges at once. The suite of
    the first takes a minute, those of the others some seconds."""
    starts: int = 10
    exported: int = 10_000
    """Attempts of the run that is exported."""
    listed: int = 100_000
    """Attempts of the run that is read for tables and totals."""


QUICK = Repetitions(
    rounds=2,
    calls=10,
    slow_calls=1,
    containers=2,
    peer_gone=0,
    workers=(1, 2),
    trajectory_rounds=1,
    trajectories=2,
    peer_trajectories=2,
    memory_attempts=12,
    at_once=4,
    replies=3,
    reply_seconds=0.3,
    grades=1,
    mutants=(("pypi:inflection==0.5.1", 2),),
    starts=2,
    exported=40,
    listed=200,
)


@dataclass(frozen=True)
class Bench:
    """Handed to every figure."""

    engine: Engine
    task: Task
    image: TaskImage
    mini: Mini | None
    """None where the peer is not measured."""
    repetitions: Repetitions
    directory: Path
    """For run directories; on the disk where real runs are written. Removed at the end."""
    run_label: str
    """The `forager.run` label of containers that the benchmark makes by bare calls."""
    say: Callable[[str], None]

    @property
    def python(self) -> str:
        return sys.executable

    @property
    def forager(self) -> str:
        """The console script."""
        return str(Path(sys.executable).parent / "forager")

    def labels(self) -> dict[str, str]:
        """Labels of a container made by bare calls: should the benchmark be killed, `forager clean` finds it."""
        return labels.labels(self.run_label, "", 3600)

    async def sweep(self) -> None:
        """Remove every container made by bare calls that is still there, and wait until it is gone."""
        found = await self.engine.call(
            self.engine.api.containers, all=True, filters={"label": f"{labels.RUN}={self.run_label}"}
        )
        for container in found:
            await labels.remove(self.engine, container["Id"])
        for container in found:
            with contextlib.suppress(ForagerError):
                await self.engine.call(self.engine.api.wait, container["Id"], condition="removed")


@asynccontextmanager
async def open_bench(repetitions: Repetitions, *, peers: bool, say: Callable[[str], None]) -> AsyncIterator[Bench]:
    """Make what is needed, and leave nothing behind."""
    (ROOT / "runs").mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=".benchmark-", dir=ROOT / "runs"))
    label = f"benchmark-{secrets.token_hex(4)}"
    mini = None
    try:
        with Engine.connect() as engine:
            async with benchmark_task(engine, say) as task, TaskImages(engine, say) as images:
                image = await images.ensure(task)
                if peers:
                    mini = Mini.started(say, image.digest, task.workdir, labels.labels(label, "", 3600))
                bench = Bench(engine, task, image, mini, repetitions, directory, label, say)
                (directory / "tasks.jsonl").write_bytes(msgspec.json.encode(task) + b"\n")
                try:
                    yield bench
                finally:
                    if mini is not None:
                        mini.close()
                    await bench.sweep()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
