"""Tables of other people's files: TOML, YAML and ini, where any value may be of any kind."""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Mapping
from typing import Any


def at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of nested tables, or None."""
    value: Any = values
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def table_of(value: Any) -> dict[str, Any]:
    """The value if it is a table, or an empty one."""
    return value if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """The value if it is a list, or an empty one."""
    return value if isinstance(value, list) else []


def strings_of(value: Any) -> list[str]:
    """The lines of a text, or the texts in a list."""
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def read_toml(text: str) -> dict[str, Any]:
    """A TOML file; empty if it is none."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """The sections of an ini file; empty if it is none."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    return {section: {k: v or "" for k, v in parser.items(section)} for section in parser.sections()}
