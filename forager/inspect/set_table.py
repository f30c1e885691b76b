"""A set of tasks, and how hard runs found it, as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forager.inspect.stats import SHOWN, between, percent
from forager.inspect.task_set import NOT_TRIED, SetReport
from forager.inspect.task_set import Group as Members
from forager.plain import one_line
from forager.run.difficulty import BUCKETS, Difficulty

SIZES = {
    "failing_tests": "failing tests",
    "passing_tests": "passing tests",
    "patch_lines": "lines of the patch",
    "patch_files": "files of the patch",
    "statement_words": "words of the statement",
}


def render_set(report: SetReport) -> RenderableType:
    """What a set of tasks holds."""
    parts: list[RenderableType] = [_headline(report), Text(), _sizes(report)]
    for name, groups in (("repository", report.by_repository), ("source", report.by_source)):
        if len(groups) > 1:
            parts += [Text(), _groups(name, groups)]
            parts.append(Text("* medians: failing tests, lines and files of the patch", style="dim"))
            if (more := len(groups) - SHOWN) > 0:
                parts.append(Text(f"… and {more:,} more; --json gives all", style="dim"))
    if report.by_operator:
        parts += [Text(), *_operators(report)]
    if any(number for bucket, number in report.difficulty.items() if bucket != NOT_TRIED):
        parts += [Text(), _buckets(report)]
    return Group(*parts)


def render_difficulty(found: Difficulty, out: Path | None) -> RenderableType:
    """How hard runs found tasks."""
    text = Text()
    text.append(f"{found.tried:,} of {found.tasks:,} tasks tried", style="bold")
    text.append(f", {found.resolved:,} of {found.attempts:,} graded attempts resolved")
    if found.pass_at_1 is not None:
        text.append(f", pass@1 {percent(found.pass_at_1.value)} (95 %: {between(found.pass_at_1)})")
    if found.foreign:
        text.append(f"; {found.foreign:,} other tasks of these runs are not in the set", style="yellow")
    table = _plain("difficulty", "solve rate")
    for name in ("tasks", "", "attempts", "resolved"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, bucket in found.buckets.items():
        cells = [f"{bucket.tasks:,}", _share(bucket.tasks, found.tasks), f"{bucket.attempts:,}"]
        table.add_row(name, BUCKETS[name], *cells, f"{bucket.resolved:,}")
    if left := found.tasks - found.tried:
        table.add_row(NOT_TRIED, "", f"{left:,}", _share(left, found.tasks))
    written = [Text(), Text(f"{found.tasks:,} tasks in {one_line(str(out))}")] if out is not None else []
    return Group(text, Text(), table, *written)


def _plain(*names: str) -> Table:
    """A table with a first column of names."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(names[0], no_wrap=True, overflow="ellipsis", min_width=14)
    for name in names[1:]:
        table.add_column(name, no_wrap=True)
    return table


def _headline(report: SetReport) -> Text:
    repositories = len(report.by_repository)
    text = Text.assemble((one_line(report.name), "bold"), f": {report.tasks:,} tasks")
    text.append(
        f" of {repositories:,} repositories"
        if repositories > 1
        else f" of {one_line(next(iter(report.by_repository)), 100)}"
    )
    if report.hidden:
        text.append(f", {report.hidden:,} with hidden tests")
    if report.solved_by_search is not None:
        text.append(f", {report.solved_by_search:,} of {report.tried_by_search:,} solved by search")
    return text


def _sizes(report: SetReport) -> Table:
    table = _plain("each task")
    for name in ("mean", "10 %", "median", "90 %", "most"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, label in SIZES.items():
        if (one := report.spreads.get(name)) is not None:
            values = (one.mean, one.p10, one.median, one.p90, one.largest)
            table.add_row(label, *map(_figure, values))
    return table


def _groups(name: str, groups: Mapping[str, Members]) -> Table:
    """One line a group."""
    measured = any(group.attempts for group in groups.values())
    table = _plain(name)
    for column in ("tasks", "operators", "failing*", "lines*", "files*", *(["solved"] if measured else [])):
        table.add_column(column, justify="right", no_wrap=True)
    for key, group in list(groups.items())[:SHOWN]:
        cells = [f"{group.tasks:,}", str(group.operators or "")]
        cells += map(_figure, (group.failing_tests, group.patch_lines, group.patch_files))
        cells += [_share(group.resolved, group.attempts)] if measured else []
        table.add_row(Text(one_line(key, 60)), *cells)
    return table


def _operators(report: SetReport) -> Iterator[RenderableType]:
    """Families of operators with the tasks of each operator; and those that were tried in vain."""
    families: dict[str, list[str]] = defaultdict(list)
    for name, operator in report.by_operator.items():
        families[operator.family].append(name)
    table = _plain("family")
    for name in ("tasks", ""):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("operators", overflow="fold")
    tasks = {family: sum(report.by_operator[name].tasks for name in names) for family, names in families.items()}
    for family in sorted(families, key=lambda family: (-tasks[family], family)):
        names = sorted(families[family], key=lambda name: (-report.by_operator[name].tasks, name))
        shown = ", ".join(
            f"{one_line(n, 40)} {report.by_operator[n].tasks}" for n in names if report.by_operator[n].tasks
        )
        if tasks[family]:
            table.add_row(one_line(family), f"{tasks[family]:,}", _share(tasks[family], report.tasks), Text(shown))
    yield table
    have = report.operators - len(report.without)
    if report.without:
        text = Text(f"{have} of {report.operators} mutation operators have a task; none yet: ", style="dim")
        text.append(", ".join(f"{name}{_in_vain(report, name)}" for name in report.without))
        yield text


def _in_vain(report: SetReport, name: str) -> str:
    """What came of an operator's bugs, where any were tried."""
    operator = report.by_operator.get(name)
    verdicts = operator.verdicts if operator is not None else {}
    said = ", ".join(f"{number} {one_line(reason, 40).replace('_', ' ')}" for reason, number in verdicts.items())
    return f" ({said})" if said else ""


def _buckets(report: SetReport) -> Table:
    table = _plain("difficulty", "solve rate")
    for name in ("tasks", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for name, number in report.difficulty.items():
        if name in BUCKETS or number:
            table.add_row(name, BUCKETS.get(name, ""), f"{number:,}", _share(number, report.tasks))
    return table


def _figure(value: float) -> str:
    return f"{value:,.1f}" if value % 1 else f"{value:,.0f}"


def _share(number: int, of: int) -> str:
    return percent(number / of) if of else ""
