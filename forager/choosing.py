"""The options of `run`, `eval` and `validate` that choose tasks of a set and say what to run them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from forager.records import Task
    from forager.run.predictions import Candidate

TASKS = "Which tasks"
WHERE = "Repositories and environments"

TASK_FILE = "Tasks as JSON lines, JSON or parquet: Forager's own or SWE-bench's."

Instances = Annotated[
    list[str] | None,
    typer.Option(metavar="ID,...", help="Only these; @FILE reads them from a file.", rich_help_panel=TASKS),
]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="KEY==VALUE",
        help="Only where it holds; also !=, ~= REGEX, ' and '.",
        rich_help_panel=TASKS,
    ),
]
Limit = Annotated[int | None, typer.Option(help="At most so many.", min=1, rich_help_panel=TASKS)]
Shuffle = Annotated[bool, typer.Option("--shuffle", help="In another order.", rich_help_panel=TASKS)]
Seed = Annotated[int, typer.Option(help="Decides that order.", show_default=False, rich_help_panel=TASKS)]
Repos = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A folder of clones with full history.", rich_help_panel=WHERE)
]
Environments = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML: what to build. Default: environments.toml.", rich_help_panel=WHERE),
]
ImageTemplate = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Published images: swebench/sweb.eval.x86_64.{id}", rich_help_panel=WHERE),
]


def choose(
    tasks: Path,
    instances: list[str] | None,
    conditions: list[str] | None,
    limit: int | None,
    shuffle: bool,
    seed: int,
    repos: Path | None,
    environments: Path | None,
    image_template: str | None,
    report: Callable[[str], None],
) -> list[Task]:
    """The tasks of a file that the options mean, ready to be built. Raises `UsageError`."""
    import asyncio

    from forager.images.prepare import prepare
    from forager.tasks import Selection, load_tasks, select

    selection = Selection(
        instances=tuple(instances or ()), filters=tuple(conditions or ()), shuffle=shuffle, seed=seed, limit=limit
    )
    return asyncio.run(
        prepare(
            select(load_tasks(tasks), selection),
            tasks_file=tasks,
            environments=environments,
            repos=repos,
            image_template=image_template or "",
            report=report,
        )
    )


def of_chosen(candidates: list[Candidate], tasks: Path, chosen: list[Task]) -> list[Candidate]:
    """The predictions but those of tasks in the file that were not chosen. Unknown instances stay, to be told."""
    from forager.tasks import load_tasks

    left_out = {task.instance_id for task in load_tasks(tasks)} - {task.instance_id for task in chosen}
    return [candidate for candidate in candidates if candidate.instance_id not in left_out]
