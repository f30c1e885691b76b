"""What changes to expressions have in common: where they are collected, and a few that several kinds make."""

from __future__ import annotations

import ast
from collections.abc import Set

from forager.models.search.hints import Hints
from forager.models.search.source import Fragment, Span
from forager.models.search.syntax import Names

Change = tuple[Span, str, str, float, str]
"""Where, the new text, kind, weight, remark."""


class Changes:
    """Collects `changes` for one function or statement. `words` is what a misspelt constant may have been."""

    def __init__(self, fragment: Fragment, hints: Hints, names: Names, words: Set[str]) -> None:
        self.fragment = fragment
        self.hints = hints
        self.local = names.bound
        self.unused = names.unused
        self.words = words
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
