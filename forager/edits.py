"""Replacing whole lines of a file that match exactly once, and a helpful refusal when they do not.

Line endings, encoding, a byte order mark and a missing last newline stay as the file has them.
"""

from __future__ import annotations

import codecs
import difflib
from typing import NamedTuple

from forager.errors import ForagerError

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

_NEAREST_LINES = 20_000
"""Beyond so many lines a file is not searched for what comes closest: it would take longer than it helps."""


class EditError(ForagerError):
    """The lines can't be replaced; the message tells the agent why and what to do."""


class Edited(NamedTuple):
    """A file after an edit."""

    content: bytes
    first: int
    """Number of the first new line, from 1; where the deleted lines were if `lines` is empty."""
    lines: list[str]
    """The new lines, without line ends."""


def replace_lines(content: bytes, search: str, replace: str) -> Edited:
    """Replace the lines `search` of a file by the lines `replace`.

    `search` must match whole consecutive lines exactly once, indentation included. Raises `EditError` otherwise.
    """
    mark, encoding, text = _decode(content)
    wanted = _lines(search)
    if not wanted or not any(wanted):
        raise EditError("search is empty; give the lines to be replaced")
    new = _lines(replace)
    if wanted == new:
        raise EditError("search and replace are the same; nothing would change")

    lines = text.split("\n")
    last_newline = "\n" if text.endswith("\n") else ""
    if last_newline:
        lines.pop()
    bare = [line.removesuffix("\r") for line in lines]
    found = _occurrences(bare, wanted)
    if not found:
        raise EditError(_not_found(bare, wanted))
    if len(found) > 1:
        where = ", ".join(str(start + 1) for start in found[:10])
        raise EditError(
            f"search was found {len(found)} times, at lines {where}; add lines around it until it is unique"
        )

    start = found[0]
    stop = start + len(wanted)
    returns = "\r" if sum(line.endswith("\r") for line in lines[start:stop]) * 2 > len(wanted) else ""
    fresh = [line + returns for line in new]
    if fresh and stop == len(lines) and not last_newline:
        fresh[-1] = new[-1]
    kept = lines[:start] + fresh + lines[stop:]
    try:
        body = ("\n".join(kept) + (last_newline if kept else "")).encode(encoding)
    except UnicodeEncodeError as error:
        raise EditError(f"{error.object[error.start]!r} cannot be written in this file's encoding") from None
    return Edited(mark + body, start + 1, new)


def _decode(content: bytes) -> tuple[bytes, str, str]:
    """Byte order mark, encoding and text. What is not UTF-8 is taken as Latin-1, which gives every byte back."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return mark, encoding, content[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                break
    if b"\0" in content:
        raise EditError("is a binary file")
    try:
        return b"", "utf-8", content.decode()
    except UnicodeDecodeError:
        return b"", "latin-1", content.decode("latin-1")


def _lines(block: str) -> list[str]:
    """The lines of an argument; the newline that ends its last line is not a line of its own."""
    if not block:
        return []
    return [line.removesuffix("\r") for line in block.removesuffix("\n").split("\n")]


def _occurrences(lines: list[str], wanted: list[str]) -> list[int]:
    size = len(wanted)
    first = wanted[0]
    return [
        index
        for index, line in enumerate(lines[: len(lines) - size + 1])
        if line == first and lines[index : index + size] == wanted
    ]


def _not_found(lines: list[str], wanted: list[str]) -> str:
    """Why `wanted` is not there, and where something like it is."""
    stripped = _occurrences([line.strip() for line in lines], [line.strip() for line in wanted])
    if stripped:
        first, last = stripped[0] + 1, stripped[0] + len(wanted)
        shown = _numbered(lines, first, last)
        return f"search was not found: lines {first}-{last} differ from it in white space only:\n{shown}"
    if len(wanted) == 1 and (inside := [i for i, line in enumerate(lines) if wanted[0].strip() in line]):
        first = inside[0] + 1
        shown = _numbered(lines, first, first)
        return f"search was not found: it is only a part of line {first}, and whole lines are needed:\n{shown}"
    if len(lines) <= _NEAREST_LINES:
        anchor = max(wanted, key=lambda line: len(line.strip()))
        near = difflib.get_close_matches(anchor, dict.fromkeys(lines), n=1, cutoff=0.6)
        if near:
            index = lines.index(near[0]) - wanted.index(anchor)
            first, last = max(1, index + 1), min(len(lines), max(1, index + 1) + len(wanted) - 1)
            shown = _numbered(lines, first, last)
            return f"search was not found; what comes closest is at lines {first}-{last}:\n{shown}"
    return "search was not found"


def _numbered(lines: list[str], first: int, last: int) -> str:
    return "\n".join(f"{number:6d}\t{lines[number - 1]}" for number in range(first, last + 1))
