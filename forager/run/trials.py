"""What validation does to a task on the real engine: attempts of embedded models, grades with and without a patch."""

from __future__ import annotations

from forager.errors import CapExceeded
from forager.evaluate import grade, grade_in
from forager.evaluate.reuse import SharedRuns
from forager.models.registry import Models, ModelSpec
from forager.records import Evaluation, Limits, Task, Trajectory
from forager.run.attempt import Attempts
from forager.run.config import RunConfig
from forager.run.images_pool import TaskImages
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

RUN = "validate"
"""The run that its containers are labelled with."""

LIMITS = Limits(steps=1000)
"""Room for the oracle to play a large patch hunk by hunk."""


class EngineTrials:
    """The `Trials` of `validation.py`. The first grade of a patch is the whole of it, canaries included; the others
    are the counted run only, which tasks share that have the same tree once they are solved."""

    def __init__(self, engine: Engine, images: TaskImages) -> None:
        self._engine = engine
        self._images = images
        self._solved = SharedRuns()

    async def attempt(self, model: str, task: Task, *, grading: bool) -> Trajectory:
        limits = LIMITS if model == "oracle" else Limits()
        config = RunConfig(tasks="", model=model, limits=limits, grading=grading)
        async with Models(ModelSpec(name=model)) as models:
            attempts = Attempts(self._engine, models, self._images, config, RUN, lambda name, text: "")
            return await attempts(task, 0, lambda event: None, lambda activity: None)

    async def grade(
        self, task: Task, patch: str | None, shuffle: int | None, *, only: bool = False
    ) -> tuple[Evaluation, str]:
        image = await self._images.ensure(task)
        if patch is not None and shuffle is None and not only:
            return await grade(self._engine, task, image, patch, run=RUN)
        name = image.digest or image.tag
        async with await open_sandbox(self._engine, name, workdir=task.workdir, run=RUN, attempt="grade") as sandbox:
            try:
                diff = (patch or "").encode("utf-8", "surrogatepass")
                shared = None if patch is None else self._solved
                return await grade_in(sandbox, task, diff, shuffle=shuffle, only=only, shared=shared)
            except CapExceeded as error:
                return Evaluation(resolved=False, flags=(error.what,), detail=str(error)), ""
