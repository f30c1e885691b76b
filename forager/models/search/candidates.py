"""All changes worth trying in the fragments the session has read, each as lines to replace."""

from __future__ import annotations

import ast

from forager.models.search.expressions import Expressions
from forager.models.search.hints import Hints
from forager.models.search.source import Candidate, Fragment
from forager.models.search.statements import Function, Names, Statements, statements


def candidates(fragments: list[Fragment], hints: Hints) -> list[Candidate]:
    """The changes for all fragments, in source order, none twice, none that does not parse."""
    trees = [(fragment, tree) for fragment in fragments if (tree := fragment.parse()) is not None]
    donors = [statement for _, tree in trees for statement in statements(tree)]
    found: dict[tuple[str, int, int, tuple[str, ...]], Candidate] = {}

    def put(fragment: Fragment, first: int, last: int, lines: tuple[str, ...], kind: str, weight: float, line: int,
            remark: str) -> None:  # fmt: skip
        key = (fragment.path, first, last, lines)
        if key not in found or found[key].weight < weight:
            found[key] = Candidate(fragment.path, first, last, lines, kind, weight, line, remark)

    for fragment, tree in trees:
        functions = _functions(tree)
        if not functions:
            expressions = Expressions(fragment, hints, [], [])
            expressions.visit(tree)
            _collect(expressions, fragment, put)
        for function in functions:
            names = Names(function)
            expressions = Expressions(fragment, hints, names.bound, names.unused)
            expressions.visit(function)
            _collect(expressions, fragment, put)
            for first, last, lines, kind, weight, remark in Statements(
                fragment, function, hints, names, donors
            ).changes:
                put(fragment, first, last, lines, kind, weight, first, remark)
    return [c for c in found.values() if c.last - c.first < 12 and any(line.strip() for line in c.lines)]


def _collect(expressions: Expressions, fragment: Fragment, put) -> None:  # type: ignore[no-untyped-def]
    for span, text, kind, weight, remark in expressions.changes:
        put(fragment, span.line, span.end_line, fragment.replaced(span, text), kind, weight, span.line, remark)


def _functions(tree: ast.Module) -> list[Function]:
    """Functions that are not inside other functions."""
    found: list[Function] = []
    todo: list[ast.AST] = [tree]
    while todo:
        for child in ast.iter_child_nodes(todo.pop()):
            if isinstance(child, Function):
                found.append(child)
            else:
                todo.append(child)
    return found
