"""What long work tells while it goes on: plain lines, or JSON lines. The live display is in `live.py`."""

from __future__ import annotations

import sys
from typing import IO, Literal, Protocol

from rich.console import Console

from forager.plain import duration, one_line, short_id
from forager.records import Record, Usage, encode


class Activity(Record, frozen=True):
    """What an attempt is doing now."""

    phase: Literal["image", "start", "model", "tool", "grade"]
    step: int = 0
    tool: str = ""
    detail: str = ""
    """The command, the path, or whatever else says it in a line. May be hostile."""
    usage: Usage = Usage()
    """Of the attempt so far."""
    cost: float | None = 0.0
    """Of the attempt so far, US dollars; None when prices are unknown."""


class Ended(Record, frozen=True):
    """How one job ended: an attempt, a grade, a repository."""

    id: str
    status: str
    """A row of the outcome table, or a word of the caller's."""
    resolved: bool | None = None
    """None when nothing was graded."""
    detail: str = ""
    steps: int | None = None
    usage: Usage = Usage()
    cost: float | None = 0.0
    seconds: float = 0.0
    failed: bool = False
    """Given up: infrastructure broke it and it is not tried again in this call."""
    again: float | None = None
    """Seconds until it is tried again; it is then not done yet."""


class Progress(Protocol):
    """Whoever watches. Workers count from 0. Every method returns at once and never raises over its output."""

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Work begins: `total` jobs, of which `done` were done by an earlier call."""
        ...

    def begin(self, worker: int, job: str) -> None: ...

    def activity(self, worker: int, activity: Activity) -> None: ...

    def end(self, worker: int, ended: Ended) -> None: ...

    def note(self, text: str) -> None:
        """One line worth saying."""
        ...

    def close(self) -> None:
        """The work is over, one way or the other. Safe to call twice."""
        ...


class _Lines:
    """What plain and JSON lines share: a stream whose reader may leave, and the count of what is done."""

    def __init__(self, file: IO[str] | None = None) -> None:
        self._file = file or sys.stdout
        self._gone = False
        self._total = 0
        self._done = 0

    def start(self, title: str, total: int, done: int = 0) -> None:
        self._total, self._done = total, done

    def begin(self, worker: int, job: str) -> None:
        pass

    def activity(self, worker: int, activity: Activity) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        """A reader that has gone (`| head`) must not end paid work."""
        if self._gone:
            return
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError):
            self._gone = True


class PlainProgress(_Lines):
    """One line for each job that ended: `[12/64] itsdangerous-…#0 submitted resolved 14 steps 8.2 s`."""

    def start(self, title: str, total: int, done: int = 0) -> None:
        super().start(title, total, done)
        self._write(f"{one_line(title)}: {total - done} to do" + (f", {done} done before" if done else ""))

    def end(self, worker: int, ended: Ended) -> None:
        if ended.again is None:
            self._done += 1
        self._write(f"[{self._done}/{self._total}] {ended_line(ended)}")

    def note(self, text: str) -> None:
        self._write(one_line(text, 400))


class JsonProgress(_Lines):
    """One JSON object a line, for a program that reads along: `event` is start, begin, end or note."""

    def start(self, title: str, total: int, done: int = 0) -> None:
        super().start(title, total, done)
        self._event("start", title=title, total=total, done=done)

    def begin(self, worker: int, job: str) -> None:
        self._event("begin", worker=worker, id=job)

    def end(self, worker: int, ended: Ended) -> None:
        if ended.again is None:
            self._done += 1
        self._event("end", worker=worker, done=self._done, total=self._total, **_fields(ended))

    def note(self, text: str) -> None:
        self._event("note", text=text)

    def _event(self, event: str, **fields: object) -> None:
        self._write(encode({"event": event, **fields}).decode())


class Silent(_Lines):
    """Says nothing."""

    def end(self, worker: int, ended: Ended) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def make_progress(console: Console | None = None, *, json: bool = False) -> Progress:
    """The progress that fits: JSON lines if asked for, a live display on a terminal, plain lines elsewhere."""
    console = console or Console()
    if json:
        return JsonProgress(console.file)
    if console.is_terminal and not console.is_dumb_terminal:
        from forager.run.live import LiveProgress

        return LiveProgress(console)
    return PlainProgress(console.file)


def ended_line(ended: Ended, id_width: int = 60) -> str:
    """How one job ended, on one line, safe for a terminal."""
    parts = [short_id(ended.id, id_width), one_line(ended.status, 40)]
    if ended.resolved is not None:
        parts.append("resolved" if ended.resolved else "not resolved")
    if ended.steps is not None:
        parts.append(f"{ended.steps} step{'' if ended.steps == 1 else 's'}")
    parts.append(duration(ended.seconds))
    if ended.again is not None:
        parts.append(f"(again in {ended.again:.0f} s)")
    if ended.failed or ended.again is not None:
        parts.append(f"- {one_line(ended.detail, 200)}" if ended.detail else "")
    return " ".join(part for part in parts if part)


def _fields(ended: Ended) -> dict[str, object]:
    return {name: getattr(ended, name) for name in ended.__struct_fields__}
