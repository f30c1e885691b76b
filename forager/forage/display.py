"""What a person sees while repositories are foraged, and the table at the end."""

from __future__ import annotations

import re
import time
from types import TracebackType

from rich.console import Console, RenderableType
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
            self._console.print(one_line(line, 200), markup=False, highlight=False)

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
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("repository", no_wrap=True, ratio=2)
        table.add_column("tasks", justify="right", no_wrap=True)
        table.add_column("tried", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=3)
        for name, event in self._latest.items():
            seconds = self._ended.get(name, time.monotonic()) - self._began[name]
            table.add_row(
                one_line(name.removeprefix("pypi:"), 40),
                f"{event.tasks}/{event.wanted}" if event.wanted else "",
                str(event.tried or ""),
                duration(seconds),
                Text(_now(event), style="dim" if name in self._ended else ""),
            )
        if not self._latest:
            return Text(one_line(self._note or "starting", 200))
        return table


def _now(event: Event) -> str:
    """What is going on, in a few words."""
    if event.kind == "mutant" and event.mutant is not None:
        return f"{event.mutant.operator} in {event.mutant.function or 'the module'}: {event.reason}"
    if event.kind == "finished" and event.record is not None and event.record.status == "failed":
        return f"failed: {event.record.reason}"
    return one_line(event.text or event.stage or event.kind, 200)


def _shortened(name: str) -> str:
    """A repository's name for a narrow column: a commit's first digits are enough."""
    return re.sub(r"@([0-9a-f]{10})[0-9a-f]{30}$", r"@\1", name.removeprefix("pypi:"))


def _remark(record: RepositoryRecord) -> str:
    """What there is to say of a repository beside its figures."""
    by_agent = f"environment by an agent ({record.environment_attempt})" if record.environment_attempt else ""
    if record.status == "failed":
        return f"{record.stage}: {record.reason}"
    return "; ".join(filter(None, (record.reason, by_agent)))


def render_forage(report: ForageReport) -> RenderableType:
    """One line a repository: what came of it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("repository", overflow="fold")
    for name in ("tests", "suite", "tried", "tasks", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for record in report.repositories:
        failed = record.status == "failed"
        table.add_row(
            one_line(_shortened(record.release or record.repository)),
            str(record.tests or ""),
            f"{record.baseline_seconds:.1f} s" if record.baseline_seconds else "",
            str(record.tried + record.commits_tried or ""),
            Text(str(record.tasks), style="green" if record.tasks else "red"),
            f"{record.seconds:.1f}",
            Text(one_line(_remark(record), 300), style="red" * failed),
        )
    tokens = sum(record.usage.total for record in report.repositories)
    table.caption = f"{report.task_count} tasks in {report.tasks}" + (f", {tokens:,} tokens" if tokens else "")
    table.caption_justify = "left"
    table.caption_style = "bold"
    return table
