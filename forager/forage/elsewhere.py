"""Code of a repository that its image also holds outside the working tree: what other packages copied from it, or it
from them (the standard library, say). A bug set there could be read off the other place.

Copies that other packages carry whole have become links when the image was made (`images/environment/vendored`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from forager.evidence import even_lines, framed, is_telling, windows_of
from forager.forage.mutate import Mutant
from forager.images.contents import PIECE, files, unpacked, unstarted
from forager.images.environment import WORKDIR
from forager.sandbox.engine import Engine

SLICE, OVERLAP = 4 * 1024**2, 64 * 1024
"""Bytes that are taken apart into lines at a time, and of the next ones with them."""

ALIKE = 1000
"""Windows with the same longest line that are looked for: one that is everywhere tells nothing."""

Elsewhere = dict[str, dict[str, str]]
"""File of the repository -> windows of it (`forager.evidence`) that stand elsewhere -> where, for one."""


async def find_elsewhere(engine: Engine, image: str, sources: Mapping[str, bytes]) -> Elsewhere:
    """What of `sources` (by path, relative to the working directory) stands elsewhere in `image`.

    Raises `SandboxError` and `UnfitError` when the engine fails.
    """
    return await engine.call(_search, engine, image, sources)


def stands_elsewhere(elsewhere: Elsewhere, mutant: Mutant, sources: Mapping[str, bytes]) -> bool:
    """Whether the code that a mutant changes can be read elsewhere."""
    if not (windows := elsewhere.get(mutant.file)):
        return False
    left = framed(even_lines(mutant.apply(sources[mutant.file])))
    return any(b"\n" + window.encode() + b"\n" not in left for window in windows)


def _search(engine: Engine, image: str, sources: Mapping[str, bytes]) -> Elsewhere:
    wanted: dict[bytes, dict[tuple[int, tuple[bytes, ...]], list[str]]] = {}
    """Windows by their longest line, the least common one: how far down it is, all lines, and the files."""
    for path, data in sources.items():
        for rows in windows_of(data) if _is_text(data) else ():
            if is_telling(rows) and not all(row.startswith(b"#") for row in rows):  # a licence, say
                longest = max(range(len(rows)), key=lambda n: len(rows[n]))
                like = wanted.setdefault(rows[longest], {})
                if len(like) < ALIKE:
                    like.setdefault((longest, tuple(rows)), []).append(path)
    found: Elsewhere = defaultdict(dict)
    for where, text in _contents(engine, image):
        lines = even_lines(text)
        for n in (n for n, line in enumerate(lines) if line in wanted):
            for (longest, window), paths in wanted[lines[n]].items():
                start = n - longest
                if start >= 0 and tuple(lines[start : start + len(window)]) == window:
                    for path in paths:
                        found[path].setdefault(b"\n".join(window).decode(), where)
    return {path: dict(windows) for path, windows in sorted(found.items())}


def _is_text(data: bytes) -> bool:
    """Whether a source is UTF-8; nothing else is mutated."""
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


def _contents(engine: Engine, image: str) -> Iterator[tuple[str, bytes]]:
    """What is outside the working directory, in archives too, a slice at a time, and where it is. Programs as well:
    uv holds Python code."""
    api: Any = engine.api
    with unstarted(engine, image, "forage") as container:
        for member, file in files(api.export(container)):
            name = "/" + member.name.removeprefix("./").encode("utf-8", "backslashreplace").decode()
            if name.startswith((f"{WORKDIR}/", "/proc/", "/sys/")):
                continue
            first = data = file.read(PIECE)
            while data:
                yield from ((name, part) for part in _slices(data))
                data = file.read(PIECE)
            for inner, content in unpacked(first):
                yield from ((f"{name}!{ascii(inner)[1:-1]}", part) for part in _slices(content))


def _slices(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), SLICE):
        yield data[at : at + SLICE + OVERLAP]
