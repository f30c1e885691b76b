"""Environments of an earlier time: what a repository's lock files pinned then, and runners of some years ago.

Many an index does not say when a release came out, so that `latest before a date` cannot be asked of it. A lock file
that was committed with the code says what the code was tested with.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePosixPath

from msgspec import structs
from packaging.version import InvalidVersion, Version

from forager.forage import requirements
from forager.records import Environment

OLDER = ("pytest<9", "pytest<8", "pytest<7")
"""Runners to fall back to: plugins and tests that reach into pytest break with a later one."""

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock")
_PINNED = re.compile(r"([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([\w.!+-]+)\s*(?:;.*)?\\?")


def pinned(plan: Environment, versions: Mapping[str, str]) -> Environment:
    """The environment with those of its requirements pinned that a lock names."""

    def pin(text: str) -> str:
        parsed = requirements.parse(text)
        name = requirements.name(text)
        if parsed is None or name not in versions or not parsed.specifier.contains(versions[name], prereleases=True):
            return text
        parsed.specifier = type(parsed.specifier)(f"=={versions[name]}")
        return str(parsed)

    return structs.replace(plan, packages=tuple(sorted({pin(text) for text in plan.packages}, key=str.lower)))


def locks(files: Mapping[str, bytes]) -> dict[str, str]:
    """Distribution to version, from lock files and from requirement files that pin; the newest where several do."""
    found: dict[str, Version] = {}

    def take(name: object, version: object) -> None:
        try:
            parsed = Version(str(version))
        except InvalidVersion:
            return
        key = requirements.name(str(name))
        if key:
            found[key] = max(parsed, found.get(key, parsed))

    for path in _LOCKS:
        try:
            packages = tomllib.loads(files.get(path, b"").decode("utf-8", "replace")).get("package", [])
        except tomllib.TOMLDecodeError:
            continue
        for package in packages if isinstance(packages, list) else ():
            if isinstance(package, dict) and package.get("version"):
                take(package.get("name"), package["version"])
    if found:
        return {name: str(version) for name, version in found.items()}
    for path, data in files.items():
        pure = PurePosixPath(path)
        if pure.suffix == ".txt" and (
            pure.parts[0] in ("requirements", "reqs") or "requirements" in pure.name.lower()
        ):
            for line in requirements.lines(data.decode("utf-8", "replace")):
                if match := _PINNED.match(line):
                    take(match[1], match[2])
    return {name: str(version) for name, version in found.items()}
