"""From a list of repositories to a set of validated tasks: the one function behind `forager forage`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

from msgspec import structs

from forager.errors import UsageError
from forager.forage.alike import Alike
from forager.forage.baseline import RUNS
from forager.forage.events import Event, Progress
from forager.forage.explore import LIMITS
from forager.forage.hide import Hide
from forager.forage.linked import Issues
from forager.forage.repository import Repository
from forager.forage.results import Asked, ForageDirectory, RepositoryRecord
from forager.forage.settings import Settings, Slots
from forager.forage.source import check_name
from forager.forage.statement import Detail
from forager.images.base import ensure_base
from forager.models.registry import EMBEDDED, Models, ModelSpec
from forager.records import Limits, Record, Task
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
    implementations: int = 0,
    rewrites: int = 0,
    commits: int = 0,
    statements: Literal["template", "model"] = "template",
    detail: Detail = "full",
    hide_tests: Hide = "",
    issues: Issues | None = None,
    seed: int = 0,
    workers: int = 2,
    runs: int = RUNS,
    suite_seconds: float = 300.0,
    model: ModelSpec | None = None,
    explore: Limits = LIMITS,
    progress: Progress | None = None,
) -> ForageReport:
    """Make tasks of repositories (names as in `forage.lists`): `out`/tasks.jsonl, repositories.jsonl, logs/.

    `mutations` tasks with injected bugs are wanted of each, `implementations` with a function to write again,
    `rewrites` with one that the model has rewritten with a bug, and `commits` from its history; `statements` of bugs
    come from a template or the model, `detail` is how much they tell, `hide_tests` takes failing tests out of the
    agent's tree, `issues` are what commits may link to. `workers` containers run tests at once; `suite_seconds` is
    the longest a suite may take; the clean code's suite runs `runs` times. `model` is asked where rules do not do;
    None asks nobody; `explore` are the limits of an agent that looks for an environment. The same call again goes on
    where the last one stopped; what is wanted and `specs` may grow. Which tasks come out depends on the releases, the
    histories, `seed` and what a model says alone, but for mutants so slow that they are near their time limit. A
    repository that fails has its record and stops nothing.

    Raises `UsageError` for a specification that means nothing and a directory of another seed, `UnfitError` for what
    every repository would meet; what was reached by then is kept.
    """
    wanted = {
        "mutations": mutations,
        "implementations": implementations,
        "rewrites": rewrites,
        "commits": commits,
    }
    if min(wanted.values()) < 0 or sum(wanted.values()) < 1 or workers < 1:
        raise UsageError("mutations (or another kind of task) and workers have to be 1 or more")
    if model is None and (rewrites or statements == "model"):
        raise UsageError(f"{'rewrites' if rewrites else 'statements by a model'} need a model: name one with --model")
    if model is not None and model.name in EMBEDDED:
        raise UsageError(f"model {model.name!r} cannot help to make tasks: name one that a server has")
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
            implementations=implementations,
            rewrites=rewrites,
            commits=commits,
            statements=statements,
            detail=detail,
            hide_tests=hide_tests,
            issues=issues,
            seed=seed,
            suite_seconds=suite_seconds,
            runs=runs,
            model=await stack.enter_async_context(Models(model)) if model is not None else None,
            explore=explore,
        )
        asked = Asked(seed=seed, hide_tests=hide_tests, detail=detail, issues=issues.digest, statements=statements)
        directory = stack.enter_context(ForageDirectory(out, asked))
        waiting = [name for name in names if not _is_finished(directory.records.get(name), wanted, model)]
        if waiting:
            await ensure_base(engine, lambda text: tell(Event(kind="note", repository="", text=text)))
            await _all(engine, waiting, settings, directory, Slots(workers), tell)
        records = tuple(directory.records[name] for name in names)
    return ForageReport(repositories=records, tasks=out / "tasks.jsonl")


def _is_finished(record: RepositoryRecord | None, wanted: Mapping[str, int], model: ModelSpec | None) -> bool:
    """Whether an earlier call has done all that this one asks of a repository."""
    if record is None or record.again:
        return False
    if record.status == "failed" and record.stage in ("build", "baseline", "explore") and model is not None:
        return False  # an agent may find what rules do not; whether it was asked before is known further on
    enough = all(getattr(record, name) >= number for name, number in wanted.items())
    return enough or (record.status == "failed" and record.commits >= wanted["commits"])


async def _all(
    engine: Engine, names: Sequence[str], settings: Settings, directory: ForageDirectory, slots: Slots, tell: Progress
) -> None:
    """Forage all at once, as far as the slots allow; write them down in the order asked for.

    The order makes the file the same whichever repository was done first: when its turn comes, tasks of a repository
    that are near-duplicates of those written before are refused, and it goes on from its work file for others. A kill
    before one's turn loses nothing.
    """
    releases = {
        record.release: record.repository
        for record in directory.records.values()
        if record.status == "done" and record.repository not in names
    }
    written = [asyncio.Event() for _ in names]

    async def one(number: int, name: str) -> None:
        record, tasks = await through(name)
        if number:
            await written[number - 1].wait()
        refused: set[str] = set()
        while dropped := directory.near_duplicates(tasks):
            refused |= dropped
            text = f"{len(dropped)} of its tasks are near-duplicates of others; looking for more"
            tell(Event(kind="stage", repository=name, text=text, stage=record.stage))
            again, tasks = await through(name, beside=directory.seen, refused=refused)
            record = structs.replace(again, seconds=round(record.seconds + again.seconds, 2))
        directory.add(record, tasks)
        written[number].set()

    async def through(
        name: str, *, beside: Alike | None = None, refused: Collection[str] = ()
    ) -> tuple[RepositoryRecord, list[Task]]:
        """All stages of one repository, as far as they are not done."""
        async with slots.repositories:
            repository = Repository(
                engine, name, settings, directory, slots, tell, releases, beside=beside, refused=refused
            )
            record, tasks = await repository.forage()
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
        return record, tasks

    jobs = [asyncio.create_task(one(number, name)) for number, name in enumerate(names)]
    try:
        await asyncio.gather(*jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
