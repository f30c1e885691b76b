"""What an operator is: a short generator that looks at one syntax node and yields changes of the text around it.

A change replaces one span of the source, so everything else stays as it was, byte for byte. A new operator is one
function with `@operator(name, NodeType, ...)` above it; the walk, skipping, sampling and checks are done elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import libcst as cst

from forager.forage.operators.facts import Facts

STRINGS = cst.SimpleString | cst.ConcatenatedString | cst.FormattedString


class Change(NamedTuple):
    """Bytes `start` to `end` of the source become `text`."""

    start: int
    end: int
    text: str


class Site:
    """Where a node stands: its text and span, and the nodes around it. Offsets count bytes of the UTF-8 source."""

    def __init__(self, source: bytes, spans: Mapping[cst.CSTNode, Any], parents: list[cst.CSTNode]) -> None:
        self.source = source
        self._spans = spans
        self._facts: Facts | None = None
        self.parents = parents
        """From the module down to the node's parent. Changes while the walk goes on; do not keep it."""

    @property
    def parent(self) -> cst.CSTNode:
        return self.parents[-1]

    @property
    def facts(self) -> Facts:
        """What the module defines and uses; read when first asked for."""
        if self._facts is None:
            self._facts = Facts(self.source)
        return self._facts

    @property
    def function(self) -> cst.FunctionDef | None:
        """The innermost function around the node."""
        return next((node for node in reversed(self.parents) if isinstance(node, cst.FunctionDef)), None)

    @property
    def class_name(self) -> str:
        """The innermost class around the node; empty if there is none."""
        found = (node.name.value for node in reversed(self.parents) if isinstance(node, cst.ClassDef))
        return next(found, "")

    def inside(self, *kinds: type[cst.CSTNode]) -> bool:
        """Whether an ancestor within the same function is one of these kinds."""
        for node in reversed(self.parents):
            if isinstance(node, kinds):
                return True
            if isinstance(node, cst.FunctionDef | cst.Lambda | cst.ClassDef):
                return False
        return False

    def span(self, node: cst.CSTNode) -> tuple[int, int]:
        """First byte and the one after the last, the node's own parentheses included."""
        span = self._spans[node]
        start, end = span.start, span.start + span.length
        if isinstance(node, cst.BaseExpression) and node.lpar:
            start = self._spans[node.lpar[0]].start
            last = self._spans[node.rpar[-1]]
            end = last.start + last.length
        return start, end

    def text(self, node: cst.CSTNode) -> str:
        """The node's source text, its own parentheses included."""
        start, end = self.span(node)
        return self.source[start:end].decode()

    def replace(self, node: cst.CSTNode, text: str) -> Change:
        """The node, its parentheses included, becomes `text`."""
        return Change(*self.span(node), text)

    def keep(self, node: cst.CSTNode, part: cst.CSTNode) -> Change:
        """Only `part` stays of the node."""
        return self.replace(node, self.text(part))

    def swap(self, first: cst.CSTNode, second: cst.CSTNode) -> Change:
        """Two nodes change places; what is between them stays."""
        start, left = self.span(first)
        right, end = self.span(second)
        between = self.source[left:right].decode()
        return Change(start, end, self.text(second) + between + self.text(first))

    def lines(self, node: cst.CSTNode) -> tuple[int, int]:
        """The span of the whole lines a statement is on, line ends included."""
        start, end = self.span(node)
        newline = self.source.find(b"\n", end)
        return self.source.rfind(b"\n", 0, start) + 1, len(self.source) if newline < 0 else newline + 1


Rule = Callable[[Any, Site], Iterator[Change]]


class Operator(NamedTuple):
    """A named rule and the node types it looks at."""

    name: str
    kinds: tuple[type[cst.CSTNode], ...]
    rule: Rule
    inside: bool = False
    """Whether the changes are inside the function that the node is, and count as its."""


OPERATORS: dict[str, list[Operator]] = {}
"""By name; an operator may have several rules."""


def operator(name: str, *kinds: type[cst.CSTNode]) -> Callable[[Rule], Rule]:
    """Register a rule under an operator's name. The name is a plain lower-case word: it goes into task ids."""

    def register(rule: Rule) -> Rule:
        OPERATORS.setdefault(name, []).append(Operator(name, kinds, rule))
        return rule

    return register


def remove(node: cst.CSTNode, site: Site) -> Change:
    """A statement goes: its whole lines where the block keeps another statement, otherwise `pass` stands in."""
    line, block = node, site.parent
    if isinstance(block, cst.SimpleStatementLine):
        if len(block.body) > 1:  # a; b on one line
            return site.replace(node, "pass")
        line, block = block, site.parents[-2]
    if not isinstance(block, cst.IndentedBlock | cst.Module) or len(block.body) == 1 + is_docstring(block.body[0]):
        return site.replace(node, "pass")
    return Change(*site.lines(line), "")


def is_docstring(node: cst.CSTNode) -> bool:
    """Whether a statement is a string and nothing else, as a docstring is."""
    return (
        isinstance(node, cst.SimpleStatementLine)
        and isinstance(node.body[0], cst.Expr)
        and isinstance(node.body[0].value, cst.SimpleString | cst.ConcatenatedString)
    )


def wrapped(site: Site, node: cst.BaseExpression) -> str:
    """The text of an expression, in parentheses where an operator in front of it would bind too tightly."""
    atoms = cst.Name | cst.Attribute | cst.Call | cst.Subscript | cst.Integer | cst.SimpleString
    text = site.text(node)
    return text if isinstance(node, atoms) or node.lpar else f"({text})"
