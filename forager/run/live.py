"""The live display of long work on a terminal: one bar, one line of totals, one line for each worker."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from forager.plain import count, duration, money, one_line, short_id
from forager.records import Usage
from forager.run.progress import Activity, Ended, ended_line

REFRESHES = 3.0
"""A second: lively enough, and cheap."""


class _Slot:
    """What one worker is doing."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.since = time.monotonic()
        self.activity: Activity | None = None

    def tell(self, activity: Activity) -> None:
        self.since = time.monotonic()
        self.activity = activity


class LiveProgress:
    """Redraws from its own thread a few times a second, however many events come in."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title = ""
        self._total = self._done = self._before = 0
        self._resolved = self._graded = self._failed = self._steps = self._tokens = 0
        self._cost: float | None = 0.0
        self._slots: dict[int, _Slot] = {}
        self._retrying: set[str] = set()
        self._began = time.monotonic()
        self._live: Live | None = None

    def start(self, title: str, total: int, done: int = 0) -> None:
        self._title, self._total, self._done, self._before = one_line(title), total, done, done
        self._began = time.monotonic()
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=REFRESHES,
            transient=True,
            vertical_overflow="crop",
        )
        self._live.start()

    def begin(self, worker: int, job: str) -> None:
        self._retrying.discard(job)
        self._slots = {**self._slots, worker: _Slot(job)}

    def activity(self, worker: int, activity: Activity) -> None:
        if worker in self._slots:
            self._slots[worker].tell(activity)

    def end(self, worker: int, ended: Ended) -> None:
        # Rebuilt, never changed: the drawing thread may be going through it.
        self._slots = {number: slot for number, slot in self._slots.items() if number != worker}
        if ended.again is not None:
            self._retrying.add(ended.id)
        else:
            self._done += 1
            self._failed += ended.failed
            if ended.resolved is not None:
                self._graded += 1
                self._resolved += ended.resolved
        self._steps += ended.steps or 0
        self._tokens += ended.usage.total
        self._cost = _add(self._cost, ended.cost)
        style = "red" if ended.failed else "yellow" if ended.again is not None else "green" if ended.resolved else ""
        self._print(Text(ended_line(ended, self._id_width()), style=style, overflow="ellipsis", no_wrap=True))

    def note(self, text: str) -> None:
        self._print(Text(one_line(text, 400), style="dim"))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> LiveProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _print(self, text: Text) -> None:
        self._console.print(text, highlight=False)

    def _id_width(self) -> int:
        return max(20, min(48, self._console.width // 3))

    def _render(self) -> RenderableType:
        slots = sorted(self._slots.items())
        room = max(1, self._console.height - 7)
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, width=self._id_width())
        table.add_column(no_wrap=True, width=8)
        table.add_column(no_wrap=True, width=7)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right", width=7)
        for _, slot in slots[:room]:
            table.add_row(*self._row(slot))
        # Room for the ^C that a terminal prints: on a full line it would wrap, and the next drawing be off by one.
        parts: list[RenderableType] = [self._bar(), self._totals(slots), Constrain(table, self._console.width - 2)]
        if len(slots) > room:
            parts.append(Text(f"… and {len(slots) - room} more", style="dim"))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        elapsed = time.monotonic() - self._began
        here = self._done - self._before
        left = f"{duration(elapsed / here * (self._total - self._done))} left" if here else "time left unknown"
        grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, self._console.width // 3))
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        bar = ProgressBar(total=max(1, self._total), completed=self._done)
        grid.add_row(Text(self._title, style="bold"), bar, Text(f"{self._done}/{self._total}  {left}"))
        return grid

    def _totals(self, slots: list[tuple[int, _Slot]]) -> Text:
        running = [slot.activity for _, slot in slots if slot.activity is not None]
        cost = self._cost
        for activity in running:
            cost = _add(cost, activity.cost)
        steps = self._steps + sum(activity.step for activity in running)
        tokens = self._tokens + sum((activity.usage for activity in running), Usage()).total
        parts = [Text(f"{len(slots)} running")]
        if self._graded:
            share = f"{100 * self._resolved / self._graded:.0f} %"
            parts.append(Text(f"{self._resolved} of {self._graded} resolved ({share})", style="green"))
        if self._retrying:
            parts.append(Text(f"{len(self._retrying)} to retry", style="yellow"))
        if self._failed:
            parts.append(Text(f"{self._failed} failed", style="red"))
        if steps:
            parts.append(Text(f"{count(steps)} steps"))
        if tokens:
            parts.append(Text(f"{count(tokens)} tokens"))
        if cost is None or cost:
            parts.append(Text(money(cost)))
        return Text(" · ", style="dim").join(parts)

    def _row(self, slot: _Slot) -> tuple[Text, ...]:
        activity = slot.activity
        name = Text(short_id(slot.job, self._id_width()), style="cyan")
        ago = Text(_clock(time.monotonic() - slot.since), style="dim")
        if activity is None:
            return name, Text(""), Text(""), Text("starting", style="dim"), ago
        step = Text(f"step {activity.step}" if activity.step else "")
        what = activity.tool if activity.phase == "tool" else activity.phase
        return name, step, Text(one_line(what, 7), style="bold"), Text(one_line(activity.detail, 200)), ago


def _clock(seconds: float) -> str:
    """`8 s`, `3:05`, `1:02:10`: changes in place without dancing."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}:{rest:02d}" if minutes else f"{rest} s"


def _add(total: float | None, more: float | None) -> float | None:
    return None if total is None or more is None else total + more
