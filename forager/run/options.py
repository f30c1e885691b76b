"""What a run may be told, by flags or a configuration file: one record, its defaults, and where they meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.records import Limits, Record
from forager.sandbox import Caps


class RunOptions(Record, frozen=True, forbid_unknown_fields=True):
    """Everything about a run but its tasks and its directory. The keys of a configuration file."""

    model: str = "search"
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    protocol: str = "tools"
    protocol_mode: str = "lenient"
    """How the `text` protocol reads replies: strict or lenient."""
    sampling: dict[str, Any] = msgspec.field(default_factory=dict)
    """temperature, top_p, max_tokens, seed, stop ...: sent as they are."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further request parameters that only some servers know."""
    prices: str = ""
    """File with US dollars per million tokens."""
    reply_seconds: float = 600.0

    samples: int = 1
    workers: int = 2
    retries: int = 3
    limits: Limits = Limits()
    caps: Caps = Caps()
    similarity_threshold: float = 0.5
    grade: bool = True


def load_options(file: Path | None, flags: dict[str, Any]) -> RunOptions:
    """Options from a YAML file (or none) with flags on top.

    `flags` is by option name; a nested table is merged key by key, and a value of None means that the flag was not
    given. Raises `UsageError` naming the file and the key that is wrong.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        merged = _read(file)
    for key, value in flags.items():
        if isinstance(value, dict):
            given = {name: item for name, item in value.items() if item is not None}
            table = merged.get(key) or {}
            merged[key] = {**table, **given} if isinstance(table, dict) else given
        elif value is not None:
            merged[key] = value
    try:
        options = msgspec.convert(merged, RunOptions)
    except msgspec.ValidationError as error:
        raise UsageError(f"{file or 'options'}: {error}") from None
    if options.limits.cost and not options.prices:
        raise UsageError("a cost limit needs prices: give them with --prices FILE")
    return options


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        loaded = yaml.safe_load(file.read_text())
    except OSError as error:
        raise UsageError(f"cannot read configuration file {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"configuration file {file} is not YAML: {' '.join(str(error).split())}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError(f"configuration file {file}: expected a table of options")
    return loaded
