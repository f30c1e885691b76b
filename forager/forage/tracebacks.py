"""The frames of a pytest failure's text, and the code of test files at them.

The text comes out of a container, so it is taken as hostile: parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from forager.forage.syntax import Function, parse

LINES = 24
"""The most lines of code that are shown."""

Sides = tuple[ast.expr, ast.expr]
"""Of a comparison."""

_SEPARATOR = re.compile(r"(_ ){8,}_?\s*")
_LOCATION = re.compile(r"(?P<path>[^\s:][^:]*):(?P<line>\d{1,9}):(?P<opens> in \S.*)?(?: .*)?")
_LOCAL = re.compile(r"(?: {8})?(?=.{10,} = )(?P<name>[A-Za-z_]\w*) * = (?P<value>.+)")
"""How pytest's `--showlocals` writes a variable: its name filled up to ten characters."""


class Frame:
    """One level of a traceback: where, and the lines that belong to it."""

    def __init__(self) -> None:
        self.path = ""
        self.line = 0
        self.lines: list[str] = []


class Level(NamedTuple):
    """A frame in a test file, and the code there."""

    lines: list[str]
    """Of the traceback."""
    source: bytes = b""
    statement: ast.stmt | None = None
    function: Function | None = None
    code: str = ""

    @classmethod
    def at(cls, frame: Frame, source: bytes) -> Level:
        return cls(frame.lines, source, *code_at(source, frame.line))


def known(path: str, sources: Mapping[str, bytes]) -> str:
    """The source that a traceback's path means; empty if it is none of them."""
    parts = path.split("/")
    candidates = ("/".join(parts[n:]) for n in range(len(parts)))
    return next((candidate for candidate in candidates if candidate in sources), "")


def read_frames(lines: list[str]) -> list[Frame]:
    """The frames of a traceback, outermost first.

    `path:12: in name` opens a frame; in the long style `path:12: Error` ends one, and a row of underscores parts two.
    """
    frames = [Frame()]
    for line in lines:
        match = _LOCATION.fullmatch(line)
        if _SEPARATOR.fullmatch(line) or (match and match["opens"] and frames[-1].path):
            frames.append(Frame())
        if match and not frames[-1].path:
            frames[-1].path, frames[-1].line = match["path"], int(match["line"])
        elif not _SEPARATOR.fullmatch(line):
            frames[-1].lines.append(line)
    return [frame for frame in frames if frame.path or any(line.strip() for line in frame.lines)]


def local_values(level: Level) -> dict[str, str]:
    """The variables that pytest shows of a frame, each with the first line of its value."""
    return {match["name"]: match["value"] for line in level.lines if (match := _LOCAL.fullmatch(line))}


def whole_values(level: Level) -> dict[str, str]:
    """Those whose values have one line."""
    following = zip(level.lines, [*level.lines[1:], ""], strict=True)
    ends = [line for line, after in following if not after or _LOCAL.fullmatch(after)]
    return local_values(level._replace(lines=ends))


def compare(statement: ast.stmt | None) -> Sides | None:
    """The `a` and `b` of an `assert a == b`."""
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        test = statement.test
        if len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
            return test.left, test.comparators[0]
    return None


@lru_cache(maxsize=8)
def parse_file(source: bytes) -> ast.Module | None:
    """A test file, which many failures of one bug are in; not to be changed."""
    return parse(source)


def parse_statement(text: str) -> ast.stmt | None:
    tree = parse(text)
    return tree.body[0] if tree is not None and len(tree.body) == 1 else None


def code_at(source: bytes, line: int) -> tuple[ast.stmt | None, Function | None, str]:
    """The statement at a line of a test file, its function, and the code from the function's start to its end."""
    tree = parse_file(source)
    if tree is None or not line:
        return None, None, ""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    functions = [node for node in around if isinstance(node, Function)]
    inner = [node for node in around if not isinstance(node, Function | ast.ClassDef)]
    if not functions or not inner:
        return None, None, ""
    # from the inside: an `assert` in a `for` is what failed; a `with pytest.raises` that failed begins at the line
    statement = max(inner, key=lambda node: (node.lineno, -(node.end_lineno or node.lineno)))
    body = functions[-1].body
    if ast.get_docstring(functions[-1]) is not None and len(body) > 1:
        body = body[1:]
    rows = source.decode(errors="replace").split("\n")[body[0].lineno - 1 : statement.end_lineno]
    rows = rows if len(rows) <= LINES else ["# ...", *rows[-LINES + 1 :]]
    indent = " " * body[0].col_offset
    return statement, functions[-1], "\n".join(row.removeprefix(indent) for row in rows)
