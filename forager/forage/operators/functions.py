"""Whole functions as the place of a bug: the body taken out, to be written again, or to be rewritten by a model.

These are no slips of one place, so they stay out of `OPERATORS`: they are asked for by numbers of their own, and a
combined bug never has one. The span is the body without its docstring: whoever runs any of it enters the function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from forager.forage.operators.base import Change, Operator, Site, is_docstring

FEWEST_WORDS = 5
"""Of a docstring from which a function can be written."""
FEWEST_LINES, MOST_LINES = 2, 120
"""Of a body: less is nothing to write or to get wrong, more is not shown to a model."""

_PLACEHOLDER = "raise NotImplementedError"


def implement(node: cst.FunctionDef, site: Site) -> Iterator[Change]:
    """The body is taken out; the docstring, which has to say something, stays."""
    documented = node.get_docstring(clean=True) or ""
    if len(re.findall(r"\w+", documented)) >= FEWEST_WORDS:
        yield from emptied(node, site)


def emptied(node: cst.FunctionDef, site: Site) -> Iterator[Change]:
    """The same for any function of some lines that is not inside another one."""
    if site.function is not None or not isinstance(node.body, cst.IndentedBlock):
        return
    statements = node.body.body
    first = statements[0]
    if is_docstring(first):
        if len(statements) < 2 or (isinstance(first, cst.SimpleStatementLine) and len(first.body) > 1):
            return
        start = site.lines(first)[1]
    else:
        start = site.span(node.body.header)[1]
    end = site.lines(statements[-1])[1]
    lines = [line for line in site.source[start:end].decode().splitlines() if line.strip()]
    if not FEWEST_LINES <= len(lines) <= MOST_LINES:
        return
    column = site.span(statements[0])[0]
    indent = site.source[site.source.rfind(b"\n", 0, column) + 1 : column].decode()
    ending = "\r\n" if site.source[:start].endswith(b"\r\n") else "\n"
    yield Change(start, end, f"{indent}{_PLACEHOLDER}{ending}")


IMPLEMENT = {"implement": [Operator("implement", (cst.FunctionDef,), implement, inside=True)]}
REWRITE = {"rewrite": [Operator("rewrite", (cst.FunctionDef,), emptied, inside=True)]}
"""The bodies that a model may rewrite; what it answers takes the place of the text."""
