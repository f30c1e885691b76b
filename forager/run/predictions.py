"""SWE-bench predictions, read in any of their forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.plain import one_line
from forager.records import Record


class Candidate(Record, frozen=True):
    """One prediction to grade. The nth prediction for an instance is its sample n."""

    id: str
    """`<instance_id>#<sample>`"""
    instance_id: str
    sample: int
    model_name_or_path: str
    patch: str | None


def load_predictions(path: Path) -> list[Candidate]:
    """The predictions of a file: JSON lines, a JSON list, or a JSON object by instance id.

    Raises `UsageError` naming the line or the entry that is wrong.
    """
    found: list[Candidate] = []
    seen: Counter[str] = Counter()
    for where, raw in _entries(path):
        if not isinstance(raw, dict):
            raise UsageError(f"{where}: a prediction is a JSON object")
        for key in ("instance_id", "model_patch"):
            if key not in raw:
                raise UsageError(f"{where}: field {key!r} is missing")
        instance, patch, model = raw["instance_id"], raw["model_patch"], raw.get("model_name_or_path", "")
        if not isinstance(instance, str) or not instance:
            raise UsageError(f"{where}: field 'instance_id' must be text")
        if not isinstance(patch, str | None):
            raise UsageError(f"{where}: field 'model_patch' must be text or null")
        sample = seen[instance]
        seen[instance] += 1
        found.append(
            Candidate(
                id=f"{instance}#{sample}",
                instance_id=instance,
                sample=sample,
                model_name_or_path=str(model),
                patch=patch,
            )
        )
    if not found:
        raise UsageError(f"{path} holds no prediction")
    return found


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """The raw predictions of a file, each with its place in words."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read predictions {path}: {error.strerror}") from None
    whole = _decoded(data)
    if isinstance(whole, list):
        for number, raw in enumerate(whole, 1):
            yield f"{path}, entry {number}", raw
    elif isinstance(whole, dict) and "instance_id" not in whole:
        for name, raw in whole.items():
            patch = raw if isinstance(raw, dict) else {"model_patch": raw}
            yield f"{path}, entry {one_line(name, 80)}", {"instance_id": name, **patch}
    else:
        for number, line in enumerate(data.split(b"\n"), 1):
            if line.strip():
                raw = _decoded(line)
                if raw is None:
                    raise UsageError(f"{path}, line {number}: not JSON")
                yield f"{path}, line {number}", raw


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
