"""One attempt without a run directory, for notebooks and trainers."""

from __future__ import annotations

from contextlib import AsyncExitStack

from forager.models import Model
from forager.models.registry import Models, ModelSpec
from forager.records import Limits, Task, Trajectory, digest
from forager.run.attempt import Attempts, MakesModels
from forager.run.config import RunConfig
from forager.run.images_pool import TaskImages
from forager.sandbox import Caps
from forager.sandbox.engine import Engine


async def attempt(
    task: Task,
    model: str | ModelSpec | Model,
    limits: Limits | None = None,
    *,
    engine: Engine | None = None,
    caps: Caps | None = None,
    protocol: str = "tools",
    protocol_mode: str = "lenient",
    grading: bool = True,
) -> Trajectory:
    """Attempt one task, for notebooks and trainers: a container, an agent in it, its patch, its grade.

    `model` is a name (`search`, `oracle`, `nop`, or one the default server knows), a `ModelSpec`, or any `Model`,
    which is closed afterwards. Nothing is written to disk; the test output behind the grade is dropped. Raises
    `UnfitError` and `UsageError`; everything else that goes wrong is in the trajectory's outcome.
    """
    async with AsyncExitStack() as stack:
        engine = engine or stack.enter_context(Engine.connect())
        spec = ModelSpec(name=model, protocol=protocol) if isinstance(model, str) else model
        models: MakesModels = (
            await stack.enter_async_context(Models(spec)) if isinstance(spec, ModelSpec) else _Given(spec)
        )
        images = await stack.enter_async_context(TaskImages(engine))
        config = RunConfig(
            tasks=digest(task),
            model="",
            protocol=protocol,
            protocol_mode=protocol_mode,
            limits=limits or Limits(),
            caps=caps or Caps(),
            grading=grading,
        )
        one = Attempts(engine, models, images, config, run_id="", write_log=lambda name, text: "")
        return await one(task, 0, lambda event: None, lambda activity: None)


class _Given:
    """A model that exists already, as a maker of models."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def make(self, task: Task, limits: Limits, /) -> Model:
        return self._model
