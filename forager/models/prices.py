"""What tokens cost: prices per million, from flags or a file, and the cost of a model call."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.records import Record, Usage


class Prices(Record, frozen=True):
    """US dollars per million tokens."""

    prompt: float
    completion: float
    cached: float | None = None
    """Prompt tokens that the server had cached; None means that they cost what other prompt tokens cost."""

    def __post_init__(self) -> None:
        for value in (self.prompt, self.completion, self.cached):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"a price is a number of dollars per million tokens, not {value}")


def cost(usage: Usage | None, prices: Prices | None) -> float | None:
    """US dollars of one model call; None, never 0, when the prices or the usage are unknown."""
    if usage is None or prices is None:
        return None
    cached = min(usage.cached_tokens, usage.prompt_tokens)  # OpenAI's convention: cached tokens are prompt tokens
    cached_price = prices.prompt if prices.cached is None else prices.cached
    total = (usage.prompt_tokens - cached) * prices.prompt + cached * cached_price
    return (total + usage.completion_tokens * prices.completion) / 1_000_000


def load_prices(path: Path, model: str) -> Prices | None:
    """The prices of a model from a TOML, JSON or YAML file; None if the file does not name the model.

    The file is a table by model name, `{MODEL: {prompt, completion, cached}}`, or one such price table for whatever
    model runs. Raises `UsageError` naming the file and what is wrong in it.
    """
    table = _read(path)
    if not isinstance(table, dict):
        raise UsageError(f"price file {path}: expected a table of models, each with `prompt` and `completion`")
    entry = table if {"prompt", "completion"} <= table.keys() else table.get(model)
    if entry is None:
        return None
    try:
        return msgspec.convert(entry, Prices)
    except msgspec.ValidationError as error:
        raise UsageError(f"price file {path}, model {model!r}: {error}") from None


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read price file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"price file {path} is not UTF-8 text") from None
    match path.suffix.lower():
        case ".toml":
            try:
                return tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                raise UsageError(f"price file {path} is not TOML: {error}") from None
        case ".json":
            try:
                return json.loads(text)
            except json.JSONDecodeError as error:
                raise UsageError(f"price file {path} is not JSON: {error}") from None
        case ".yaml" | ".yml":
            import yaml

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise UsageError(f"price file {path} is not YAML: {' '.join(str(error).split())}") from None
        case other:
            raise UsageError(f"price file {path}: {other or 'no suffix'} is not one of .toml, .json, .yaml")
