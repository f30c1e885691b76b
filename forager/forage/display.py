"""What a person sees while repositories are foraged, and the table at the end."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from forager.forage.events import Event, as_line
from forager.forage.pipeline import ForageReport
from forager.forage.results import RepositoryRecord
from forager.plain import duration, one_line

REFRESHES = 3.0
"""A second."""


class ForageDisplay:
    """A table that moves on a terminal, plain lines elsewhere. Call it with events; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._latest: dict[str, Event] = {}
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._note = ""
        self._live: Live | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._render, console=console, refresh_per_second=REFRESHES, transient=True
            )

    def __call__(self, event: Event) -> None:
        if not event.repository:
            self._note = event.text
        else:
            self._began.setdefault(event.repository, time.monotonic())
            if event.kind == "started":  # perhaps again, for others in place of near-duplicates
                self._ended.pop(event.repository, None)
            if event.kind == "finished":
                self._ended[event.repository] = time.monotonic()
            if event.kind != "note":
                self._latest[event.repository] = event
        if self._live is None and (line := as_line(event) or (event.text if not event.repository else "")):
            self._console.print(one_line(line, 300), markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> ForageDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _render(self) -> RenderableType:
        """Those under way, as many of the finished as there is room for, and the sum of it all."""
        if not self._latest:
            return Text(one_line(self._note or "starting", 200))
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        table.add_column("repository", no_wrap=True, ratio=2)
        table.add_column("tasks", justify="right", no_wrap=True)
        table.add_column("tried", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=3)
        running = [name for name in self._latest if name not in self._ended]
        room = max(0, self._console.height - 3 - len(running))
        shown = {*running, *sorted(self._ended, key=lambda name: -self._ended[name])[:room]}
        for name, event in self._latest.items():
            if name not in shown:
                continue
            seconds = self._ended.get(name, time.monotonic()) - self._began[name]
            table.add_row(
                one_line(shortened(name), 60),
                f"{event.tasks}/{event.wanted}" if event.wanted else "",
                str(event.tried or ""),
                duration(seconds),
                Text(_now(event), style="dim" if name in self._ended else ""),
            )
        return Group(table, Text(self._sum(), style="bold", no_wrap=True, overflow="ellipsis"))

    def _sum(self) -> str:
        records = [record for name in self._ended if (record := self._latest[name].record) is not None]
        failed = Counter(
            (record.failure or "fails").replace("_", " ") for record in records if record.status == "failed"
        )
        classes = ", ".join(f"{name} {count}" for name, count in failed.most_common())
        tasks = sum(event.tasks for event in self._latest.values())
        under_way = len(self._latest) - len(self._ended)
        told = [f"{under_way} under way", f"{len(records) - failed.total()} done"]
        told += [f"{tasks} tasks", *([f"{failed.total()} failed ({classes})"] if failed else [])]
        return ", ".join(told)


def _now(event: Event) -> str:
    """What is going on, in a few words."""
    if event.kind == "mutant" and event.mutant is not None:
        return f"{event.mutant.operator} in {event.mutant.function or 'the module'}: {event.reason}"
    if event.kind == "finished" and event.record is not None and event.record.status == "failed":
        failure = event.record.failure.replace("_", " ")
        return one_line(f"failed{f', {failure}' if failure else ''}: {event.record.reason}", 200)
    return one_line(event.text or event.stage or event.kind, 200)


def shortened(name: str) -> str:
    """A repository's name for a narrow column: a commit's first digits, a path's last two folders, no scheme."""
    name = re.sub(r"@([0-9a-f]{10})[0-9a-f]{30}$", r"@\1", name.removeprefix("pypi:"))
    if name.startswith(("/", "~", ".")):
        return "/".join(name.split("/")[-2:])
    return re.sub(r"^https?://(github\.com/)?", "", name).removesuffix(".git")


def _remark(record: RepositoryRecord) -> str:
    """What there is to say of a repository beside its figures."""
    by_agent = f"environment by an agent ({record.environment_attempt})" if record.environment_attempt else ""
    rung = record.environment_rung if record.environment_rung != "as declared" else ""
    by_rule = f"environment: {rung}" if rung else ""
    return "; ".join(filter(None, (record.reason, by_agent or by_rule)))


def render_forage(report: ForageReport) -> RenderableType:
    """One line a repository: what came of it; those that failed below, by the class of their failure."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("repository", overflow="fold")
    for name in ("tests", "suite", "tried", "tasks", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    failed: dict[str, list[RepositoryRecord]] = {}
    for record in report.repositories:
        if record.status == "failed":
            failed.setdefault(record.failure or "fails", []).append(record)
            continue
        table.add_row(
            one_line(shortened(record.release or record.repository)),
            str(record.tests or ""),
            f"{record.baseline_seconds:.1f} s" if record.baseline_seconds else "",
            str(record.tried + record.commits_tried or ""),
            Text(str(record.tasks), style="green" if record.tasks else "red"),
            f"{record.seconds:.1f}",
            Text(one_line(_remark(record), 300)),
        )
    tokens = sum(record.usage.total for record in report.repositories)
    total = f"{report.task_count} tasks in {report.tasks}" + (f", {tokens:,} tokens" if tokens else "")
    shown: list[RenderableType] = [table] if table.row_count else []
    if failed:
        shown.append(_failures(failed))
    return Group(*shown, Text(total, style="bold"))


def _failures(failed: Mapping[str, Sequence[RepositoryRecord]]) -> RenderableType:
    """The classes of failures, the commonest first, and under each its repositories with their reasons."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold", max_width=40)
    table.add_column(overflow="fold", ratio=1)
    for failure, records in sorted(failed.items(), key=lambda item: -len(item[1])):
        stages = ", ".join(dict.fromkeys(record.stage for record in records))
        table.add_row(Text(failure.replace("_", " "), style="red"), Text(f"{len(records)}, at {stages}", style="dim"))
        for record in records:
            table.add_row(
                "  " + one_line(shortened(record.release or record.repository)),
                Text(one_line(record.reason, 300)),
            )
    return table
