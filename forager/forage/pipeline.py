"""From a list of repositories to a set of validated tasks: the one function behind `forager forage`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from forager.errors import UsageError
from forager.forage.baseline import RUNS
from forager.forage.events import Event, Progress
from forager.forage.hide import Hide
from forager.forage.linked import Issues
from forager.forage.repository import Repository, Settings, Slots
from forager.forage.results import Asked, ForageDirectory, RepositoryRecord
from forager.forage.source import check_name
from forager.forage.statement import Detail
from forager.images.base import ensure_base
from forager.models.registry import Models, ModelSpec
from forager.records import Record, Task
from forager.sandbox.engine import Engine


class ForageReport(Record, frozen=True):
    """What one call did."""

    repositories: tuple[RepositoryRecord, ...]
    """In the order asked for, those of earlier calls included."""
    tasks: Path
    """The file of tasks."""

    @property
    def task_count(self) -> int:
        return sum(record.tasks for record in self.repositories)


async def forage(
    engine: Engine,
    specs: Sequence[str],
    out: Path,
    *,
    mutations: int = 8,
    commits: int = 0,
    detail: Detail = "full",
    hide_tests: Hide = "",
    issues: Issues | None = None,
    seed: int = 0,
    workers: int = 2,
    runs: int = RUNS,
    suite_seconds: float = 300.0,
    model: ModelSpec | None = None,
    progress: Progress | None = None,
) -> ForageReport:
    """Make tasks of repositories (names as in `forage.lists`): `out`/tasks.jsonl, repositories.jsonl, logs/.

    `mutations` tasks with injected bugs are wanted of each, and `commits` from its history; `detail` is how much
    statements tell, `hide_tests` takes failing tests out of the agent's tree, `issues` are what commits may link to.
    `workers` containers run tests at once; `suite_seconds` is the longest a suite may take; the clean code's suite
    runs `runs` times. `model` is asked where rules do not do; None asks nobody. The same call again goes on where the
    last one stopped; `mutations`, `commits` and `specs` may grow. Which tasks come out depends on the releases, the
    histories, `seed` and what a model says alone, but for mutants so slow that they are near their time limit. A
    repository that fails has its record and stops nothing.

    Raises `UsageError` for a specification that means nothing and a directory of another seed, `UnfitError` for what
    every repository would meet; what was reached by then is kept.
    """
    if mutations < 0 or commits < 0 or mutations + commits < 1 or workers < 1:
        raise UsageError("mutations (or commits) and workers have to be 1 or more")
    if runs < 2:
        raise UsageError("runs has to be 2 or more: a single run cannot show a test that is not constant")
    names = list(dict.fromkeys(specs))
    for name in names:
        check_name(name)
    tell = progress or (lambda _: None)
    issues = issues or Issues()
    async with AsyncExitStack() as stack:
        settings = Settings(
            mutations=mutations,
            commits=commits,
            detail=detail,
            hide_tests=hide_tests,
            issues=issues,
            seed=seed,
            suite_seconds=suite_seconds,
            runs=runs,
            model=await stack.enter_async_context(Models(model)) if model is not None else None,
        )
        directory = stack.enter_context(
            ForageDirectory(out, Asked(seed=seed, hide_tests=hide_tests, detail=detail, issues=issues.digest))
        )
        waiting = [name for name in names if not _is_finished(directory.records.get(name), mutations, commits)]
        if waiting:
            await ensure_base(engine, lambda text: tell(Event(kind="note", repository="", text=text)))
            await _all(engine, waiting, settings, directory, Slots(workers), tell)
        records = tuple(directory.records[name] for name in names)
    return ForageReport(repositories=records, tasks=out / "tasks.jsonl")


def _is_finished(record: RepositoryRecord | None, mutations: int, commits: int) -> bool:
    """Whether an earlier call has done all that this one asks of a repository."""
    if record is None or record.again:
        return False
    enough = record.mutations >= mutations and record.commits >= commits
    return enough or (record.status == "failed" and record.commits >= commits)


async def _all(
    engine: Engine, names: Sequence[str], settings: Settings, directory: ForageDirectory, slots: Slots, tell: Progress
) -> None:
    """Forage all at once, as far as the slots allow; write them down in the order asked for.

    The order makes the file the same whichever repository was done first. A kill before one's turn loses nothing:
    its work file has it all.
    """
    releases = {
        record.release: record.repository
        for record in directory.records.values()
        if record.status == "done" and record.repository not in names
    }
    finished: dict[str, tuple[RepositoryRecord, list[Task]]] = {}
    queue = list(names)

    async def one(name: str) -> None:
        async with slots.repositories:
            record, tasks = await Repository(engine, name, settings, directory, slots, tell, releases).forage()
        finished[name] = (record, tasks)
        while queue and queue[0] in finished:
            directory.add(*finished.pop(queue.pop(0)))
        text = f"{record.tasks} tasks" if record.status == "done" else record.reason
        tell(
            Event(
                kind="finished",
                repository=name,
                text=text,
                stage=record.stage,
                tasks=record.tasks,
                wanted=record.mutations,
                tried=record.tried,
                record=record,
            )
        )

    jobs = [asyncio.create_task(one(name)) for name in names]
    try:
        await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
