"""Requirement strings as found in projects' files: parsed, filtered, merged. No project file is known here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_INCLUDE = re.compile(r"^(?:-r|--requirement)[\s=]*(\S+)$")
_HASH = re.compile(r"\s--(?:hash|config-settings|global-option)\S*.*$")
_EXTRA_CLAUSE = re.compile(r"""\(?\s*extra\s*==\s*(["'])([^"']*)\1\s*\)?""")


def parse(text: str) -> Requirement | None:
    """A requirement that an index can satisfy; None for anything else (an option, an address, a path)."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    return None if requirement.url else requirement


def name(text: str) -> str:
    """The canonical name of a requirement string, or empty."""
    return str(canonicalize_name(found.name)) if (found := parse(text)) else ""


def lines(text: str) -> list[str]:
    """The logical lines of a requirements file: continuations joined, comments and blanks gone."""
    joined = re.sub(r"\\\r?\n", " ", text)
    return [line for raw in joined.splitlines() if (line := re.sub(r"(^|\s)#.*$", "", raw).strip())]


def from_lines(text: Iterable[str], tree: Mapping[str, bytes], folder: str = "", depth: int = 0) -> list[str]:
    """The requirements among `text`, files that it includes (`-r other.txt`) followed inside the tree, four deep."""
    found: list[str] = []
    for line in text:
        if include := _INCLUDE.match(line):
            path = _normal(PurePosixPath(folder) / re.sub(r"\{(toxinidir|tox_root)\}/?", "", include[1]))
            if path in tree and depth < 4:
                inner = lines(tree[path].decode("utf-8", "replace"))
                found += from_lines(inner, tree, str(PurePosixPath(path).parent), depth + 1)
        elif requirement := parse(_HASH.sub("", line)):
            found.append(str(requirement))
    return found


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def for_extra(text: str, extra: str) -> str | None:
    """What a `Requires-Dist` value asks for under `extra` (empty: under none); None if it does not apply."""
    requirement = parse(text)
    if requirement is None:
        return None
    marker = str(requirement.marker or "")
    extras = {str(canonicalize_name(match[2])) for match in _EXTRA_CLAUSE.finditer(marker)}
    if not extras:
        return str(requirement) if not extra else None
    if str(canonicalize_name(extra)) not in extras:
        return None
    rest = _EXTRA_CLAUSE.sub("", marker)
    rest = re.sub(r"^\s*(and|or)\b|\b(and|or)\s*$", "", rest.strip()).strip()
    try:
        requirement.marker = Marker(rest) if re.search(r"[=<>]| in ", rest) else None
    except InvalidMarker:
        requirement.marker = None
    return str(requirement)


def merged(sources: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """All requirements, sorted; of a name that several sources have, what the first of them says."""
    taken: dict[str, list[str]] = {}
    for source in sources:
        fresh: dict[str, list[str]] = {}
        for text in source:
            if (key := name(text)) and key not in taken:
                fresh.setdefault(key, []).append(text)
        taken |= fresh
    return tuple(sorted({text for texts in taken.values() for text in texts}, key=str.lower))


def unpinned(text: str) -> str:
    """The requirement without its version bounds."""
    requirement = parse(text)
    if requirement is None:
        return text
    requirement.specifier = type(requirement.specifier)()
    return str(requirement)


def poetry_bounds(text: str) -> str:
    """Poetry's version bounds (`^1.2`, `~1.2`, `1.*`, `>=1,<2`) as those of the standards; empty for any version."""
    found = []
    for part in re.split(r"\s*,\s*|\s+(?=[<>=!~^])", text.split("||")[0].strip()):
        match = re.fullmatch(r"(\^|~(?!=)|==?|>=|<=|>|<|!=|~=)?\s*(\d+(?:\.\d+)*)(\.\*)?[\w.+-]*", part)
        if match is None:
            continue
        sign, numbers = match[1] or "==", [int(number) for number in match[2].split(".")]
        if sign in ("^", "~"):
            kept = next((n for n, number in enumerate(numbers) if number), len(numbers) - 1) if sign == "^" else 1
            kept = min(kept, len(numbers) - 1)
            over = ".".join(map(str, [*numbers[:kept], numbers[kept] + 1]))
            found.append(f">={match[2]},<{over}")
        else:
            found.append(f"{'==' if sign == '=' else sign}{match[2]}{match[3] or ''}")
    return ",".join(found)


def of_poetry(name: str, value: object) -> str:
    """The requirement that an entry of a table of Poetry's is."""
    bounds = value.get("version") if isinstance(value, dict) else value
    return name + (poetry_bounds(bounds) if isinstance(bounds, str) else "")
