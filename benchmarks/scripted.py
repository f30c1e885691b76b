"""Forager's own attempts with a model that is a list of commands: loop, tools, run directory, and no server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench import Bench
from benchmarks.task import COMMANDS
from forager.models import Model
from forager.models.registry import Models, ModelSpec
from forager.records import Limits, Message, ModelRef, Reply, Task, read_trajectories
from forager.run.attempt import Attempts
from forager.run.config import RunConfig, task_set_digest
from forager.run.images_pool import TaskImages
from forager.run.orchestrator import run
from forager.run.progress import Silent
from forager.run.store import RunStore
from forager.sandbox.labels import clean


class ScriptedModel:
    """Asks for one command after the other, then submits."""

    def __init__(self) -> None:
        self._turn = 0

    @property
    def ref(self) -> ModelRef:
        return ModelRef(name="scripted", provider="scripted")

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        turn, self._turn = self._turn, self._turn + 1
        name, arguments = ("bash", {"command": COMMANDS[turn]}) if turn < len(COMMANDS) else ("submit", {})
        function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
        call = {"id": f"call_{turn}", "type": "function", "function": function}
        return Reply(message={"role": "assistant", "content": "", "tool_calls": [call]}, finish_reason="tool_calls")

    async def close(self) -> None:
        pass


class ScriptedModels(Models):
    """What a run makes its models from."""

    def __init__(self) -> None:
        super().__init__(ModelSpec(name="nop"))

    def make(self, task: Task, limits: Limits) -> Model:
        return ScriptedModel()


async def attempt_all(bench: Bench, directory: Path, count: int, workers: int) -> float:
    """Run so many attempts into a run directory, ungraded; the seconds from opening it to its report."""
    config = RunConfig(
        tasks=task_set_digest([bench.task]),
        model="scripted",
        grading=False,
        task_count=1,
        samples=count,
        workers=workers,
        retries=0,
    )
    began = time.perf_counter()
    async with ScriptedModels() as models:
        with RunStore(directory, config) as store:
            images = TaskImages(bench.engine)
            attempts = Attempts(bench.engine, models, images, config, store.run_id, store.write_log)
            engine = bench.engine
            await run([bench.task], config, store, attempts, Silent(), images=images, reap=lambda: clean(engine))
    seconds = time.perf_counter() - began
    for trajectory in read_trajectories(directory / "trajectories.jsonl"):
        assert trajectory.outcome.status == "submitted" and "+# changed" in (trajectory.patch or ""), trajectory
    return seconds
