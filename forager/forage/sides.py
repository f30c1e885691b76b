"""Which side of an `assert a == b` is what was expected, told from how the test is written."""

from __future__ import annotations

import ast
import re

from forager.forage.syntax import calls_in, dotted, last_name, names_in

_WANTED = re.compile(r"_*(expect|want|correct)", re.IGNORECASE)
_MAKERS = re.compile(r"(list|dict|tuple|set|frozenset|range|bytes|call|dedent)")
"""Beside classes: calls that make a value to compare with, of constants."""


def is_reversed(left: ast.expr, right: ast.expr, function: ast.AST | None) -> bool:
    """Whether what is expected stands first, in a test `function`. Where that is not sure, it stands last."""
    if _is_literal(left) != _is_literal(right):
        return _is_literal(left)
    if _is_named_so(left) != _is_named_so(right):
        return _is_named_so(left)
    if _is_fixed(left) != _is_fixed(right):
        return _is_fixed(left) and not isinstance(left, ast.Call)  # the class may be what is tested
    if _is_constant(left) != _is_constant(right):
        return _is_constant(left)
    if calls_in(left) or not calls_in(right):
        return False
    if isinstance(left, ast.BinOp):
        return isinstance(right, ast.Call)
    names = names_in(left)
    if any(names & names_in(*call.args, *call.keywords) for call in calls_in(right)):
        return True  # a round trip: what went in is to come out
    return not any(  # a name for what the test has called stands for a result, too
        isinstance(node, ast.Assign) and calls_in(node.value) and names & names_in(*node.targets)
        for node in (ast.walk(function) if function is not None else ())
    )


def _is_literal(side: ast.expr) -> bool:
    return not names_in(side) and not calls_in(side)


def _is_named_so(side: ast.expr) -> bool:
    """Whether a name or attribute says that a side is what is expected; what is given to a call says nothing."""
    if isinstance(side, ast.Call):
        return _is_named_so(side.func)
    if isinstance(side, ast.Attribute):
        return bool(_WANTED.match(side.attr)) or _is_named_so(side.value)
    if isinstance(side, ast.Subscript):
        return _is_named_so(side.value)
    return isinstance(side, ast.Name) and bool(_WANTED.match(side.id))


def _is_fixed(side: ast.AST) -> bool:
    """Whether a side is made of nothing but constants: a literal, with objects of classes in it or as one."""
    if isinstance(side, ast.Call):
        name = dotted(side.func)
        within = (*side.args, *(keyword.value for keyword in side.keywords))
        if not re.fullmatch(r"([A-Za-z_]\w*\.)*[A-Z]\w*", name) and not _MAKERS.fullmatch(name.rpartition(".")[2]):
            return False
        return all(_is_fixed(value) for value in within)
    if isinstance(side, ast.List | ast.Tuple | ast.Set | ast.Dict | ast.UnaryOp):
        return all(_is_fixed(child) for child in ast.iter_child_nodes(side) if isinstance(child, ast.expr))
    return isinstance(side, ast.Constant)


def _is_constant(side: ast.expr) -> bool:
    """Whether a side is named as constants are: `STATUS`, `Color.RED`."""
    return last_name(side).isupper()
