"""Changes to expressions that may undo a fault: all kinds, for one function or statement."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from forager.models.search.calls import Calls
from forager.models.search.flow import Flow
from forager.models.search.names import Names
from forager.models.search.operators import Operators
from forager.models.search.places import Places
from forager.models.search.syntax import is_docstring
from forager.models.search.texts import Texts
from forager.models.search.values import Values


class Expressions(Operators, Values, Texts, Calls, Names, Places, Flow):
    """Walks over a syntax tree; a method `on_X` of each base looks at every node of type X."""

    def visit(self, node: ast.AST) -> None:
        for base in type(self).__bases__:
            method = base.__dict__.get("on_" + type(node).__name__)
            if method:
                method(self, node)
        for child in _children(node):
            self.visit(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes inside whose changes could matter and whose place is known: no annotations, docstrings, old f-strings."""
    if isinstance(node, ast.JoinedStr) and sys.version_info < (3, 12):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "format_spec", "type_params", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not is_docstring(child):
                yield child
