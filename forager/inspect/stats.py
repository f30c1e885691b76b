"""Reports for a terminal: one run in full, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forager.cells import Id
from forager.plain import count, duration, money, one_line
from forager.records import STATUSES
from forager.run.counting import Tally
from forager.run.estimates import Estimate, Spread
from forager.run.report import RunReport

SHOWN = 30
"""Repositories or sources of a table; all are in the JSON."""
COLUMNS = 4
"""Runs that fit side by side in 80 columns; more become rows."""

UNITS: dict[str, Callable[[float], str]] = {
    "steps": lambda value: f"{value:,.1f}" if value % 1 else f"{value:,.0f}",
    "tokens": count,
    "cost": money,
    "seconds": duration,
}
"""How a value of each spread is written."""


def render_report(report: RunReport) -> RenderableType:
    """One run in full."""
    parts: list[RenderableType] = [_headline(report), Text(), _totals([report])]
    for part in (_endings([report]), _spreads(report), _tools([report]), *_groups([report])):
        if part.row_count:
            parts += [Text(), part]
    return Group(*parts, *_left_out(report))


def render_stats(reports: Sequence[RunReport]) -> RenderableType:
    """Runs side by side; a single one in full."""
    if len(reports) == 1:
        return render_report(reports[0])
    notes = [_headline(report) for report in reports if report.given_up or report.torn]
    if len(reports) > COLUMNS:
        return Group(*notes, _as_rows(reports))
    parts: list[RenderableType] = [*notes, _totals(reports)]
    for part in (_endings(reports), _tools(reports), *_groups(reports)):
        if part.row_count:
            parts += [Text(), part]
    return Group(*parts)


def percent(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.1f} %"


def between(estimate: Estimate) -> str:
    """The interval of an estimate, in percent: `24.1 to 46.0`."""
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def _headline(report: RunReport) -> Text:
    text = Text.assemble((one_line(report.run_id), "bold"), f": {one_line(report.model, 100)}, ")
    text.append(f"{report.finished:,} of {report.asked:,} attempts finished")
    if report.given_up:
        broken = ", ".join(f"{number} {one_line(status)}" for status, number in report.given_up.items())
        text.append(f", broken by infrastructure: {broken} (the same command tries them again)", style="yellow")
    if report.torn:
        text.append("; the last line of trajectories.jsonl is cut and was left out", style="yellow")
    return text


def _side_by_side(reports: Sequence[RunReport], title: str = "") -> Table:
    """A table with names on the left and a column for each run."""
    several = len(reports) > 1
    table = Table(box=None, pad_edge=False, show_header=several or bool(title), header_style="dim")
    table.add_column(title, style="" if title else "dim", no_wrap=True, overflow="ellipsis", min_width=14)
    for report in reports:
        name = Text(one_line(report.run_id, 40)) if several else ""
        table.add_column(name, justify="right" if several or title else "left")
    return table


def _totals(reports: Sequence[RunReport]) -> Table:
    table = _side_by_side(reports)

    def line(name: str, values: Iterable[str]) -> None:
        cells = list(values)
        if any(cells):
            table.add_row(name, *(Text(cell) for cell in cells))

    totals = [report.total for report in reports]
    several = len(reports) > 1
    if several:
        line("model", (one_line(report.model, 40) for report in reports))
        line("attempts", (f"{report.finished:,} of {report.asked:,}" for report in reports))
    line("resolved", (f"{total.resolved:,} of {total.graded:,} ({percent(total.rate)})" for total in totals))
    line("tasks resolved", (f"{report.tasks_resolved:,} of {report.tasks:,}" for report in reports))
    for k in sorted({k for report in reports for k in report.pass_at}, key=int):
        if several:
            line(f"pass@{k}", (percent(report.pass_at.get(k)) for report in reports))
            line("  95 % interval", (_known(report.estimates.get(k), between) for report in reports))
        else:
            line(f"pass@{k}", (_known(report.estimates.get(k), _with_interval) for report in reports))
    for flag in sorted({flag for report in reports for flag in report.by_flag}):
        line(f"flag {one_line(flag, 30)}", (f"{report.by_flag.get(flag, 0):,}" for report in reports))
    line("steps", (_each(total.steps, total.attempts) for total in totals))
    line("tokens", (_each(total.usage.total, total.attempts) if total.usage.total else "" for total in totals))
    line("cost", (money(total.cost) if total.cost != 0 else "" for total in totals))
    line("attempt time", (f"{duration(total.seconds / max(1, total.attempts))} each" for total in totals))
    if several:
        for name in ("steps", "tokens", "cost", "seconds"):
            medians = [report.spreads.get(name) for report in reports]
            line(f"median {name}", (UNITS[name](one.median) if one is not None else "" for one in medians))
    return table


def _endings(reports: Sequence[RunReport]) -> Table:
    """How attempts ended, and whose cause that was."""
    table = _side_by_side(reports, "outcome")
    table.add_column("cause", style="dim")
    most = {status: max(report.by_status.get(status, 0) for report in reports) for status in _all(reports)}
    for status in sorted(most, key=lambda status: (-most[status], status)):
        cells = [_share(report.by_status.get(status, 0), report.finished) for report in reports]
        cause = STATUSES[status].cause if status in STATUSES else "unknown"
        table.add_row(Text(one_line(status, 30)), *cells, cause)
    return table


def _all(reports: Sequence[RunReport]) -> set[str]:
    return {status for report in reports for status in report.by_status}


def _spreads(report: RunReport) -> Table:
    """How steps, tokens, cost and time are spread over attempts."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("each attempt", no_wrap=True, min_width=14)
    for name in ("mean", "10 %", "median", "90 %", "most"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in report.spreads.items():
        table.add_row(name, *(UNITS.get(name, count)(value) for value in _figures(one)))
    return table


def _figures(one: Spread) -> tuple[float, ...]:
    return one.mean, one.p10, one.median, one.p90, one.largest


def _tools(reports: Sequence[RunReport]) -> Table:
    """Which tools were used, and what came of commands."""
    table = _side_by_side(reports, "tool")
    used: dict[str, int] = {}
    for report in reports:
        for tool, number in report.tools.actions.items():
            used[tool] = max(number, used.get(tool, 0))
    if not used:
        return table
    for tool in sorted(used, key=lambda tool: (-used[tool], tool))[:SHOWN]:
        cells = (_share(report.tools.actions.get(tool, 0), report.total.steps) for report in reports)
        table.add_row(Text(one_line(tool, 30)), *cells)
    for name, attribute in (
        ("  failed commands", "failed_commands"),
        ("  timed out", "timed_out"),
        ("  test runs", "test_runs"),
    ):
        if any(getattr(report.tools, attribute) for report in reports):
            cells = (_share(getattr(report.tools, attribute), report.total.steps) for report in reports)
            table.add_row(Text(name, style="dim"), *cells)
    for name, attribute in (("  model time", "model_seconds"), ("  tool time", "tool_seconds")):
        if any(getattr(report.tools, attribute) for report in reports):
            table.add_row(
                Text(name, style="dim"),
                *(f"{duration(getattr(r.tools, attribute) / max(1, r.finished))} each" for r in reports),
            )
    return table


def _groups(reports: Sequence[RunReport]) -> Iterator[Table]:
    """By source, repository and model, where there are several."""
    for name in ("source", "repository", "model"):
        by = [getattr(report, f"by_{name}") for report in reports]
        if len({key for tallies in by for key in tallies}) < 2:
            continue
        yield _group(name, by[0]) if len(reports) == 1 else _groups_beside(name, reports, by)


def _group(name: str, tallies: Mapping[str, Tally]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(name)  # the one that gives way: figures are never cut
    for column in ("attempts", "resolved", "", "95 %", "steps", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for key in _largest([tallies]):
        tally = tallies[key]
        each = max(1, tally.attempts)
        cells = [f"{tally.attempts:,}", f"{tally.resolved:,}", percent(tally.rate), _known(tally.pass_at_1, between)]
        cells += [f"{tally.steps / each:.1f}", f"{tally.seconds / each:.1f}"]
        table.add_row(Id(one_line(key, 60)), *cells)
    return table


def _groups_beside(name: str, reports: Sequence[RunReport], by: Sequence[Mapping[str, Tally]]) -> Table:
    table = _side_by_side(reports, name)
    for key in _largest(by):
        found = [tallies.get(key) for tallies in by]
        cells = [f"{one.resolved:,}/{one.graded:,} {percent(one.rate):>7}" if one else "" for one in found]
        table.add_row(Text(one_line(key, 40)), *cells)
    return table


def _left_out(report: RunReport) -> Iterator[Text]:
    for name in ("repository", "source", "model"):
        if (more := len(getattr(report, f"by_{name}")) - SHOWN) > 0:
            plural = {"repository": "repositories"}.get(name, f"{name}s")
            yield Text(f"… and {more:,} more {plural}; --json gives all", style="dim")


def _as_rows(reports: Sequence[RunReport]) -> Table:
    """Many runs: one a line."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", overflow="fold")
    table.add_column("model", overflow="fold")
    for name in ("attempts", "resolved", "pass@1", "95 %", "steps", "tokens", "cost", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    for report in reports:
        total, each = report.total, max(1, report.total.attempts)
        at_1 = report.estimates.get("1")
        table.add_row(
            Text(one_line(report.run_id, 40)),
            Text(one_line(report.model, 40)),
            f"{report.finished:,}",
            f"{total.resolved:,}",
            percent(at_1.value) if at_1 else "",
            between(at_1) if at_1 else "",
            f"{total.steps / each:.1f}",
            count(total.usage.total / each) if total.usage.total else "",
            money(total.cost) if total.cost != 0 else "",
            duration(total.seconds / each),
        )
    return table


def _largest(by: Sequence[Mapping[str, Tally]]) -> list[str]:
    attempts: dict[str, int] = {}
    for tallies in by:
        for key, tally in tallies.items():
            attempts[key] = attempts.get(key, 0) + tally.attempts
    return sorted(attempts, key=lambda key: (-attempts[key], key))[:SHOWN]


def _with_interval(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} (95 %: {between(estimate)})"


def _known(estimate: Estimate | None, write: Callable[[Estimate], str]) -> str:
    return "" if estimate is None else write(estimate)


def _share(number: int, of: int) -> str:
    return f"{number:,} {percent(number / of):>7}" if of else f"{number:,}"


def _each(number: float, attempts: int) -> str:
    return f"{count(number)} ({number / max(1, attempts):,.1f} each)"
