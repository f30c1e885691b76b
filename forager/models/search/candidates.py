"""All changes worth trying in what the session has read, each as lines to replace."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from forager.models.search import syntax
from forager.models.search.expressions import Expressions
from forager.models.search.hints import Hints
from forager.models.search.returns import Returns, own_attributes, returned
from forager.models.search.source import Candidate, Fragment
from forager.models.search.statements import Statements

LONGEST = 12
"""Lines that one change may span."""


def candidates(
    fragments: list[Fragment], hints: Hints, wanted: Callable[[str, int, int], bool] = lambda path, first, last: True
) -> list[Candidate]:
    """The changes in all functions and other statements of the fragments whose path and lines are `wanted`.

    In source order, none twice. What is not wanted is still looked at for names and for code to borrow.
    """
    trees = [(fragment, tree) for fragment in fragments if (tree := fragment.parse()) is not None]
    donors = [(n, ast.dump(n)) for _, tree in trees for n in _statements(tree)]
    results = [pair for fragment, tree in trees for pair in returned(fragment, tree)]
    words = hints.words | {word for f in fragments for line in f.lines for word in re.findall(r"\w{2,}", line)}
    found: dict[tuple[str, int, int, tuple[str, ...]], Candidate] = {}

    def put(fragment: Fragment, first: int, last: int, lines: tuple[str, ...], *rest: Any) -> None:
        kind, weight, line, remark = rest
        key = (fragment.path, first, last, lines)
        if (key not in found or found[key].weight < weight) and last - first < LONGEST:
            found[key] = Candidate(fragment.path, first, last, lines, kind, weight, line, remark)

    for fragment, tree in trees:
        attributes = own_attributes(tree)
        for block in syntax.blocks(tree):
            if not wanted(fragment.path, block.lineno, syntax.end(block)):
                continue
            expressions = Expressions(fragment, hints, syntax.Names(block), words)
            expressions.visit(block)
            for span, text, kind, weight, remark in expressions.changes:
                lines = fragment.replaced(span, text)
                put(fragment, span.line, span.end_line, lines, kind, weight, span.line, remark)
            for function in syntax.functions(block):
                changes = Statements(fragment, function, hints, donors).changes
                changes += Returns(fragment, function, hints, results, attributes.get(id(function), [])).changes
                for first, last, lines, kind, weight, remark in changes:
                    put(fragment, first, last, lines, kind, weight, first, remark)
    return list(found.values())


def _statements(tree: ast.AST) -> list[ast.stmt]:
    """Every statement, in source order."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))
