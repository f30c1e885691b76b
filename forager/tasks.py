"""Task sets: read from JSON lines, JSON or parquet, and those chosen that a command is to work on."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.records import Record, Task, decode_task


class Selection(Record, frozen=True):
    """Which tasks of a set are meant; by default all of them, in the file's order."""

    instances: tuple[str, ...] = ()
    """Instance ids, each perhaps several with commas between; `@FILE` stands for the ids in a file."""
    filters: tuple[str, ...] = ()
    """Conditions that all have to hold, see `matches`."""
    shuffle: bool = False
    seed: int = 0
    """Decides the order of a shuffle."""
    limit: int | None = None
    """At most so many, taken after everything else."""


def load_tasks(path: Path | str) -> list[Task]:
    """The tasks of a file: JSON lines, a JSON list or mapping by instance id, or parquet; SWE-bench's or Forager's.

    Raises `UsageError` naming the file and the entry for what is broken, a missing field or a doubled id.
    """
    path = Path(path)
    tasks: dict[str, Task] = {}
    for where, raw in _entries(path):
        if not isinstance(raw, dict):
            raise UsageError(f"{where}: a task is a JSON object")
        try:
            task = decode_task(raw)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        if task.instance_id in tasks:
            raise UsageError(f"{where}: instance_id {task.instance_id!r} is there twice")
        tasks[task.instance_id] = task
    if not tasks:
        raise UsageError(f"{path} holds no task")
    return list(tasks.values())


def select(tasks: Sequence[Task], selection: Selection) -> list[Task]:
    """Those of `tasks` that are meant. Raises `UsageError` for an id that is not there, a condition that is not
    understood, and a selection that leaves nothing."""
    chosen = list(tasks)
    if wanted := _wanted(selection.instances):
        known = {task.instance_id: task for task in tasks}
        if unknown := [name for name in wanted if name not in known]:
            more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
            raise UsageError(f"no such instance in the task set: {', '.join(unknown[:3])}{more}")
        chosen = [task for task in tasks if task.instance_id in wanted]
    for condition in selection.filters:
        chosen = [task for task in chosen if matches(task, condition)]
    if selection.shuffle:
        random.Random(selection.seed).shuffle(chosen)
    if selection.limit is not None:
        chosen = chosen[: selection.limit]
    if not chosen:
        raise UsageError("the selection leaves no task of the set")
    return chosen


def matches(task: Task, condition: str) -> bool:
    """Whether a task meets a condition: `KEY==VALUE`, `KEY!=VALUE`, `KEY~=REGEX` (found anywhere), with ` and `
    between several. A key is a field of the task or of the file it came from; `provenance.operator` goes deeper; a
    field that is missing is empty text. Raises `UsageError`.
    """
    for part in re.split(r"\s+and\s+", condition.strip()):
        found = re.fullmatch(r"\s*([\w.]+)\s*(==|!=|~=)\s*(.*?)\s*", part)
        if not found:
            raise UsageError(f"--filter {part!r} is not understood; it takes KEY==VALUE, KEY!=VALUE or KEY~=REGEX")
        key, operator, value = found.groups()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        actual = _field(task, key)
        if operator == "~=":
            try:
                holds = re.search(value, actual) is not None
            except re.error as error:
                raise UsageError(f"--filter: {value!r} is not a regular expression: {error}") from None
        else:
            holds = (actual == value) == (operator == "==")
        if not holds:
            return False
    return True


def _field(task: Task, key: str) -> str:
    first, *rest = key.split(".")
    value: Any = getattr(task, first) if first in Task.__struct_fields__ else task.extra.get(first)
    for name in rest:
        if isinstance(value, msgspec.Struct):
            value = msgspec.to_builtins(value)
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _wanted(arguments: Sequence[str]) -> set[str]:
    """The ids that arguments name. An argument that is an id as it stands needs no splitting."""
    found: set[str] = set()
    for argument in arguments:
        text = argument
        if argument.startswith("@"):
            try:
                text = Path(argument[1:]).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"cannot read the list of instances {argument[1:]}: {error}") from None
            text = "\n".join(line.partition("#")[0] for line in text.splitlines())
        found.update(name for name in re.split(r"[,\s]+", text) if name)
    if arguments and not found:
        raise UsageError("--instances names no instance")
    return found


# ------------------------------------------------------------------------------------------- file formats


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Every entry of a file, and where it stands."""
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read task file {path}: {error.strerror}") from None
    if path.suffix == ".json" or data.lstrip()[:1] == b"[":
        yield from _json(path, data)
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield f"{path}, line {number}", msgspec.json.decode(line)
            except msgspec.MsgspecError as error:
                raise UsageError(f"{path}, line {number}: not JSON: {error}") from None


def _json(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    try:
        whole = msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if isinstance(whole, dict) and "instance_id" in whole:
        whole = [whole]
    if isinstance(whole, dict):
        for name, entry in whole.items():
            yield f"{path}, {name}", {"instance_id": name, **entry} if isinstance(entry, dict) else entry
    elif isinstance(whole, list):
        for number, entry in enumerate(whole, 1):
            yield f"{path}, entry {number}", entry
    else:
        raise UsageError(f"{path}: a task set is a list of tasks, or a mapping by instance id")


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"{path}: parquet files need pyarrow; `pip install 'forager[parquet]'`") from None
    try:
        table = pyarrow.parquet.read_table(path)
    except OSError as error:
        raise UsageError(f"cannot read task file {path}: {error.strerror or error}") from None
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: not parquet: {error}") from None
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}, row {number}", row
