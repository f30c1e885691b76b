"""The lines of a run, read for tables and totals: what a row needs is decoded, the conversations are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from forager.errors import UsageError
from forager.files import whole_lines
from forager.records import TRAJECTORY_SCHEMA, Outcome, Usage

T = TypeVar("T")


class Grade(msgspec.Struct):
    """As much of an evaluation as a row needs."""

    resolved: bool
    flags: tuple[str, ...] = ()


class RowTask(msgspec.Struct):
    repo: str
    source: str
    image: str = ""


class RowModel(msgspec.Struct):
    name: str


class Row(msgspec.Struct):
    """As much of a trajectory as a report needs; its conversation is skipped, not decoded."""

    id: str
    instance_id: str
    sample: int
    task: RowTask
    model: RowModel
    steps: tuple[msgspec.Raw, ...]
    outcome: Outcome
    evaluation: Grade | None = None
    usage: Usage = Usage()
    cost: float | None = 0.0
    seconds: float = 0.0
    schema: str = TRAJECTORY_SCHEMA


class FailureRow(msgspec.Struct):
    """As much of a failure as a report needs."""

    id: str
    outcome: Outcome
    tries: int = 1
    given_up: bool = False


def rows(path: Path) -> Iterator[Row]:
    """One row for each line of a run's trajectories.jsonl. Raises `UsageError` naming a line that is damaged."""
    yield from _lines(path / "trajectories.jsonl", Row)


def failure_rows(path: Path) -> Iterator[FailureRow]:
    """One row for each line of a run's failures.jsonl, which may be absent."""
    if (path / "failures.jsonl").exists():
        yield from _lines(path / "failures.jsonl", FailureRow)


def image_digests(path: Path) -> dict[str, str]:
    """Task to the digest of the image its attempts ran in."""
    return {row.instance_id: row.task.image for row in rows(path) if row.task.image}


def _lines(path: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with file:
        for number, line in enumerate(whole_lines(file), 1):
            try:
                row = decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UsageError(f"{path}, line {number} is damaged: {error}") from None
            if getattr(row, "schema", TRAJECTORY_SCHEMA) != TRAJECTORY_SCHEMA:
                raise UsageError(f"{path}, line {number}: its schema is newer than this Forager")
            yield row


def is_torn(path: Path) -> bool:
    """Whether the last line of a file lacks its end: a writer was killed, or is at it."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read(1) != b"\n"
