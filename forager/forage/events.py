"""What foraging tells while it goes on, for a live display or plain lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from forager.forage.mutate import Mutant
from forager.forage.results import RepositoryRecord, Stage
from forager.forage.validate import Reason
from forager.records import Record


class Event(Record, frozen=True):
    """One thing that happened to one repository."""

    kind: Literal["started", "stage", "note", "step", "mutant", "commit", "finished"]
    repository: str
    """As it was asked for."""
    text: str = ""
    """One line for people."""
    stage: Stage | None = None
    mutant: Mutant | None = None
    reason: Reason | None = None
    """Of `mutant`: `valid`, or why it is no task."""
    tasks: int = 0
    """Validated so far."""
    wanted: int = 0
    tried: int = 0
    record: RepositoryRecord | None = None
    """Of `finished`."""


Progress = Callable[[Event], None]


def as_line(event: Event) -> str:
    """A plain line for an event, empty for what is too small for one."""
    match event.kind:
        case "started" | "note" | "step":
            return ""
        case "mutant" if event.mutant is not None:
            what = f"{event.mutant.operator} in {event.mutant.function or 'the module'}"
            return f"{event.repository}: {event.tasks}/{event.wanted} tasks, {what}: {event.reason}"
        case "commit":
            return f"{event.repository}: {event.tasks}/{event.wanted} tasks, commit {event.text}"
        case "finished" if event.record is not None and event.record.status == "failed":
            return f"{event.repository}: failed at {event.record.stage}: {event.record.reason}"
    return f"{event.repository}: {event.text}"
