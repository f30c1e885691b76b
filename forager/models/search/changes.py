"""What changes to expressions have in common: where they are collected, and a few that several kinds make."""

from __future__ import annotations

import ast

from forager.models.search.hints import Hints
from forager.models.search.known import Known
from forager.models.search.source import Fragment, Span
from forager.models.search.syntax import Function, Names, unchecked

Change = tuple[Span, str, str, float, str]
"""Where, the new text, kind, weight, remark."""


class Changes:
    """Collects `changes` for one function or statement."""

    def __init__(self, fragment: Fragment, hints: Hints, block: ast.stmt, known: Known) -> None:
        names = Names(block)
        self.fragment = fragment
        self.hints = hints
        self.known = known
        self.local = names.bound
        self.unused = names.unused
        self.idle = [name for name in names.parameters if name in names.unused]
        """Parameters that nothing reads: mostly a sign that something is missing."""
        self.unchecked = unchecked(block)
        self.block = block
        self.words = known.words
        self.attributes = known.own_attributes(block) if isinstance(block, Function) else []
        """What the class around sets on `self`."""
        owner = known.owners.get(id(block))
        self.siblings = [n.name for n in owner.body if isinstance(n, Function)] if owner else []
        """Methods of the class around."""
        self.changes: list[Change] = []

    def put(self, place: ast.AST | Span, text: str, kind: str, weight: float, remark: str) -> None:
        span = place if isinstance(place, Span) else self.fragment.span(place)
        if text != self.fragment.text(span):
            self.changes.append((span, text, kind, weight, remark))

    def off_by_one(self, node: ast.expr, weight: float) -> None:
        if isinstance(node, ast.Constant) or (isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)):
            return  # the constant itself is tried
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.BinOp):
            text = self.fragment.text(node)
            for sign in "+-":
                self.put(node, f"{text} {sign} 1", "off_by_one", weight, f"use `{short(text)} {sign} 1`")


def short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
