"""`forager forage`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from forager.asking import LIMITS, RUN, ApiKeyEnv, BaseUrl
from forager.errors import UsageError
from forager.running import command, finish


def forage(
    repositories: Annotated[
        list[str],
        typer.Argument(
            metavar="REPOSITORY|LIST...",
            help="pypi:NAME[==VERSION], a git address, a clone's path (both: @COMMIT), or a file that lists them.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory for tasks.jsonl, repositories.jsonl, logs/.")],
    mutations: Annotated[
        int | None,
        typer.Option(
            help="Tasks with bugs put in, wanted of each repository. Default: 8, or the list's; 0 with others.",
            show_default=False,
            min=0,
        ),
    ] = None,
    implementations: Annotated[
        int | None,
        typer.Option(
            help="Tasks to write a function again from its docstring and tests, of each. Default: 0, or the list's.",
            show_default=False,
            min=0,
        ),
    ] = None,
    rewrites: Annotated[
        int | None,
        typer.Option(
            help="Tasks with a function that the model rewrites with a bug, of each. Default: 0, or the list's.",
            show_default=False,
            min=0,
        ),
    ] = None,
    commits: Annotated[
        int | None,
        typer.Option(help="Tasks from the history, of each. Default: 0, or the list's.", show_default=False, min=0),
    ] = None,
    issues: Annotated[
        Path | None,
        typer.Option(help="Issues that commits link to: JSONL of {repo, number, title, body}.", show_default=False),
    ] = None,
    statements: Annotated[
        Literal["template", "model"],
        typer.Option(help="Who writes the statements of bugs; a model's are checked to give nothing away."),
    ] = "template",
    detail: Annotated[
        Literal["full", "symptom", "terse"], typer.Option(help="How much the statements tell.")
    ] = "full",
    hide_tests: Annotated[
        Literal["no", "files", "tests"],
        typer.Option(
            help="Take the failing tests of injected bugs out of the agent's tree: their whole files, or them alone."
        ),
    ] = "no",
    seed: Annotated[
        int | None, typer.Option(help="Decides which bugs. Default: 0, or the list's.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(help="Containers that run tests at once.", min=1)] = 2,
    runs: Annotated[
        int, typer.Option(help="Runs of the clean suite: a test that does not pass in each is left out.", min=2)
    ] = 3,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A name that the server knows: it helps where rules do not do. Default: none is asked.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = None,
    max_steps: Annotated[
        int, typer.Option(help="Of an agent that looks for an environment.", min=1, rich_help_panel=LIMITS)
    ] = 80,
    max_tokens: Annotated[
        int, typer.Option(help="Of all its prompts and replies; 0: no limit.", min=0, rich_help_panel=LIMITS)
    ] = 2_000_000,
    max_seconds: Annotated[
        float,
        typer.Option(help="The builds that it asks for included.", min=1, rich_help_panel=LIMITS),
    ] = 3600.0,
) -> None:
    """Make tasks: inject bugs into real packages, or undo commits, and keep those that tests tell for certain."""
    from msgspec import structs
    from rich.console import Console

    from forager.forage import explore
    from forager.forage.display import ForageDisplay, render_forage
    from forager.forage.linked import read_issues
    from forager.forage.lists import expand
    from forager.forage.pipeline import forage as make_tasks
    from forager.models.registry import ModelSpec

    if model is None and (base_url or api_key_env):
        raise UsageError("--base-url and --api-key-env say how to ask a model: name it with --model")
    asked = ModelSpec.of_server(model, base_url, api_key_env) if model is not None else None
    limits = structs.replace(explore.LIMITS, steps=max_steps, tokens=max_tokens, seconds=max_seconds)
    wanted = expand(repositories)
    commits = (wanted.commits or 0) if commits is None else commits
    implementations = (wanted.implementations or 0) if implementations is None else implementations
    rewrites = (wanted.rewrites or 0) if rewrites is None else rewrites
    mutations = wanted.mutations if mutations is None else mutations
    linked = read_issues(issues) if issues else None
    console = Console()

    async def work() -> bool:
        from forager.sandbox.engine import Engine

        with Engine.connect() as engine, ForageDisplay(console) as display:
            report = await make_tasks(
                engine,
                wanted.repositories,
                out,
                mutations=mutations if mutations is not None else 0 if commits + implementations + rewrites else 8,
                implementations=implementations,
                rewrites=rewrites,
                commits=commits,
                statements=statements,
                issues=linked,
                detail=detail,
                hide_tests="" if hide_tests == "no" else hide_tests,
                seed=seed if seed is not None else (wanted.seed or 0),
                workers=workers,
                runs=runs,
                model=asked,
                explore=limits,
                progress=display,
            )
        console.print(render_forage(report))
        if report.task_count:
            print(f"\nWhat the set holds: `{command()} stats {shlex.quote(str(out))}`.")
        return report.task_count > 0

    if not finish(work()):
        raise typer.Exit(1)
