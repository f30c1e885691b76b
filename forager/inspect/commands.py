"""`forager show` and `forager stats`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forager.asking import OUTPUT, Json
from forager.run.filters import ATTEMPTS, ORDERS, MaxSteps, MinReward, Repositories, Resolved, Statuses, Tasks
from forager.running import complain

if TYPE_CHECKING:
    from forager.run.filters import Filter

LARGE = 1_000_000_000
"""Bytes that take more than a moment to read."""
RUN = "Run directory, or a file of trajectories."
SETS = "Difficulty"


def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=RUN)],
    identifier: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="An attempt, the start of its id, or line:N of the file."),
    ] = None,
    resolved: Resolved = None,
    statuses: Statuses = None,
    repos: Repositories = None,
    tasks: Tasks = None,
    min_reward: MinReward = None,
    max_steps: MaxSteps = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help=f"{', '.join(ORDERS)}; -COLUMN descends. Default: as they ended.",
            show_default=False,
            rich_help_panel=ATTEMPTS,
        ),
    ] = "",
    full: Annotated[
        bool, typer.Option("--full", help="Of one attempt: everything, nothing folded.", rich_help_panel=OUTPUT)
    ] = False,
    json: Json = False,
) -> None:
    """Show a run as a table, or one trajectory step by step."""
    from forager.run.filters import make_filter, order_of

    if sort:
        order_of(sort)  # a wrong one is told before anything is shown
    where = make_filter(resolved, statuses, repos, tasks, min_reward, max_steps)
    _announce([run])
    if identifier is None:
        _list(run, where, sort, json=json)
    else:
        _page(run, identifier, where, full=full, json=json)


def stats(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Runs, compared side by side; or one set of tasks, described."),
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the distributions: .png or .svg.", show_default=False, rich_help_panel=OUTPUT
        ),
    ] = None,
    difficulty: Annotated[
        bool,
        typer.Option("--difficulty", help="How often each task was resolved, over all runs.", rich_help_panel=SETS),
    ] = False,
    tasks: Annotated[
        Path | None,
        typer.Option(help="With --difficulty: the tasks meant.", show_default=False, rich_help_panel=SETS),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="With --difficulty: write the tasks with it, as JSON lines; may be the same file.",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Resolved, pass@k, steps, tokens, cost and time; by outcome, tool, source and repository.

    Rates come with 95 % intervals over tasks. Of a set of tasks: what it holds, by repository, operator, size and
    difficulty.
    """
    from forager.errors import UsageError
    from forager.inspect.task_set import is_task_set
    from forager.records import encode
    from forager.run.report import Summary

    if plot is not None:
        from forager.inspect.plot import check_plot

        check_plot(plot)
    sets = [path for path in runs if is_task_set(path)]
    if (tasks or out) and not difficulty:
        raise UsageError("--tasks and -o go with --difficulty")
    if difficulty and (sets or plot):
        raise UsageError("--difficulty is read from runs: name them, tasks with --tasks, and no --plot")
    if sets and len(runs) > 1:
        raise UsageError(f"{sets[0]} is a set of tasks; describe one at a time, without runs")
    _announce(runs)
    if difficulty:
        _difficulty(runs, tasks, out, json=json)
        return
    if sets:
        _describe(sets[0], plot, json=json)
        return
    summaries = [Summary(path) for path in runs]
    if plot is not None:
        from forager.inspect.plot import draw

        draw(summaries, plot)
    if json:
        for summary in summaries:
            print(encode(summary.report).decode())
        return
    from rich.console import Console

    from forager.inspect.stats import render_stats

    Console().print(render_stats([summary.report for summary in summaries]))


def _describe(path: Path, plot: Path | None, *, json: bool) -> None:
    """A set of tasks."""
    from forager.inspect.task_set import SetSummary
    from forager.records import encode

    summary = SetSummary(path)
    if plot is not None:
        from forager.inspect.set_plot import draw_set

        draw_set(summary, plot)
    if json:
        print(encode(summary.report).decode())
        return
    from rich.console import Console

    from forager.inspect.set_table import render_set

    Console().print(render_set(summary.report))


def _difficulty(runs: list[Path], tasks: Path | None, out: Path | None, *, json: bool) -> None:
    """How often tasks were resolved, and the tasks with it."""
    from forager.errors import UsageError
    from forager.files import write_atomic
    from forager.records import encode, encode_task
    from forager.run.difficulty import annotated, measure
    from forager.tasks import load_tasks

    if out is not None and (tasks is None or out.suffix != ".jsonl"):
        raise UsageError("-o writes the tasks that --tasks names, as JSON lines: -o FILE.jsonl")
    loaded = load_tasks(tasks) if tasks is not None else None
    found = measure(runs, loaded)
    if out is not None and loaded is not None:
        lines = (encode(encode_task(task)) + b"\n" for task in annotated(loaded, found.by_task))
        write_atomic(out, b"".join(lines))
    if json:
        print(encode(found).decode())
        return
    from rich.console import Console

    from forager.inspect.set_table import render_difficulty

    Console().print(render_difficulty(found, out))


def _announce(runs: list[Path]) -> None:
    """Tell a person who would otherwise wonder why nothing happens."""
    from forager.run.index import SUFFIX, trajectories_file

    for path in runs if sys.stderr.isatty() else ():
        file = trajectories_file(path)
        beside = file.with_name(file.name + SUFFIX)
        if file.exists() and (size := file.stat().st_size) >= LARGE and not beside.exists():
            complain(f"reading {file}, {size / 1e9:.1f} GB; from then on there is an index beside it")


def _list(run: Path, where: Filter, sort: str, *, json: bool) -> None:
    from forager.inspect.listing import Layout, run_rows
    from forager.inspect.pager import paged, screen_width
    from forager.plain import one_line
    from forager.records import encode

    if json:
        for row in run_rows(run, where, sort):
            print(encode(row).decode())
        return
    layout = Layout.of(run_rows(run, where), screen_width())
    if not layout.columns:
        of_these = "no attempt yet" if where.empty else "no such attempt"
        print(f"{one_line(str(run))} holds {of_these}")
        return
    with paged() as out:
        for line in layout.lines(run_rows(run, where, sort), colours=sys.stdout.isatty()):
            out.write(line + "\n")


def _page(run: Path, identifier: str, where: Filter, *, full: bool, json: bool) -> None:
    from forager.errors import UsageError
    from forager.inspect.finding import find_trajectory
    from forager.inspect.page import show_trajectory
    from forager.inspect.pager import paged
    from forager.records import encode

    if not where.empty:
        raise UsageError("an ID names one attempt; --resolved, --status ... choose among all: give one or the other")
    trajectory = find_trajectory(run, identifier)
    if json:
        print(encode(trajectory).decode())
        return
    with paged() as out:
        console = _console(out)
        for part in show_trajectory(trajectory, full=full):
            console.print(part)


def _console(out: Any) -> Any:
    """A console whose reader may leave: what rich does then ends the program with a failure."""
    from rich.console import Console

    class Page(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Page(file=out, force_terminal=True if sys.stdout.isatty() else None)
