"""All changes worth trying in what the session has read, each as lines to replace."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from forager.models.search import syntax
from forager.models.search.borrowed import Borrowed
from forager.models.search.definitions import Definitions, missing_imports
from forager.models.search.expressions import Expressions
from forager.models.search.hints import Hints
from forager.models.search.known import Known
from forager.models.search.returns import Returns
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
    words = hints.words | {word for f in fragments for line in f.lines for word in re.findall(r"\w{2,}", line)}
    known = Known(trees, words)
    found: dict[tuple[str, int, int, tuple[str, ...]], Candidate] = {}

    def put(fragment: Fragment, first: int, last: int, lines: tuple[str, ...], *rest: Any) -> None:
        kind, weight, line, remark = rest
        key = (fragment.path, first, last, lines)
        if (key not in found or found[key].weight < weight) and last - first < LONGEST:
            found[key] = Candidate(fragment.path, first, last, lines, kind, weight, line, remark)

    for fragment, tree in trees:
        for block in syntax.blocks(tree):
            if not wanted(fragment.path, block.lineno, syntax.end(block)):
                continue
            expressions = Expressions(fragment, hints, block, known)
            expressions.visit(block)
            for span, text, kind, weight, remark in expressions.changes:
                lines = fragment.replaced(span, text)
                put(fragment, span.line, span.end_line, lines, kind, weight, span.line, remark)
            for function in syntax.functions(block):
                for part in (Statements, Borrowed, Definitions, Returns):
                    for first, last, lines, kind, weight, remark in part(fragment, function, hints, known).changes:
                        put(fragment, first, last, lines, kind, weight, first, remark)
        for first, last, lines, remark in missing_imports(fragment, tree, hints, known):
            put(fragment, first, last, lines, "import", 1.0, first, remark)
    return list(found.values())
