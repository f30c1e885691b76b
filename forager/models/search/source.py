"""A piece of a file as the session has read it, and changes to it: text in, text out, nothing is run."""

from __future__ import annotations

import ast
import warnings
from typing import NamedTuple


class Span(NamedTuple):
    """Where a piece of code is: lines of the file from 1, columns in characters from 0, the end excluded."""

    line: int
    column: int
    end_line: int
    end_column: int


class Candidate(NamedTuple):
    """One change to try: the lines `first` to `last` of `path` become `lines`."""

    path: str
    first: int
    last: int
    lines: tuple[str, ...]
    kind: str
    """What sort of change; its prior is in `ranking.py`."""
    weight: float
    """How likely this change is among those of its kind at its place, 0 to 1."""
    line: int
    """The line whose suspiciousness counts."""
    remark: str
    """What it does, as a clause: ``use `<=` instead of `<` ``."""


class Fragment:
    """Whole consecutive lines of one file, from line `first` on: a function, a statement outside of one, a file."""

    def __init__(self, path: str, first: int, lines: list[str]) -> None:
        self.path = path
        self.first = first
        self.lines = lines

    @property
    def last(self) -> int:
        return self.first + len(self.lines) - 1

    def parse(self) -> ast.Module | None:
        """The syntax tree with the file's line numbers; None if the piece does not parse by itself."""
        indented = self.lines and self.lines[0][:1] in " \t"
        code = "\n".join((["if 1:"] if indented else []) + self.lines) + "\n"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        if indented and isinstance(tree.body[0], ast.If):
            tree.body = tree.body[0].body
        return ast.increment_lineno(tree, self.first - (2 if indented else 1))

    def line(self, number: int) -> str:
        return self.lines[number - self.first]

    def _column(self, number: int, offset: int) -> int:
        line = self.line(number)
        return offset if line.isascii() else len(line.encode()[:offset].decode(errors="replace"))

    def span(self, node: ast.AST) -> Span:
        """Where a node is. Only for nodes that have a place (expressions, statements, handlers)."""
        line, end = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        return Span(
            line,
            self._column(line, node.col_offset),  # type: ignore[attr-defined]
            end,
            self._column(end, node.end_col_offset),  # type: ignore[attr-defined]
        )

    def between(self, left: ast.AST, right: ast.AST) -> Span:
        """The gap between two nodes."""
        a, b = self.span(left), self.span(right)
        return Span(a.end_line, a.end_column, b.line, b.column)

    def text(self, place: ast.AST | Span) -> str:
        span = place if isinstance(place, Span) else self.span(place)
        lines = [self.line(n) for n in range(span.line, span.end_line + 1)]
        lines[-1] = lines[-1][: span.end_column]
        lines[0] = lines[0][span.column :]
        return "\n".join(lines)

    def replaced(self, span: Span, text: str) -> tuple[str, ...]:
        """The lines of a span with its text replaced."""
        head = self.line(span.line)[: span.column]
        tail = self.line(span.end_line)[span.end_column :]
        return tuple((head + text + tail).split("\n"))
