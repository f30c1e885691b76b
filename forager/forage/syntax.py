"""Small questions to the syntax trees of Python code that is never run."""

from __future__ import annotations

import ast
import warnings

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(source: str | bytes) -> ast.Module | None:
    """The tree of some code; None for what is no Python, or too deep."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def calls_in(node: ast.AST) -> list[ast.Call]:
    return [child for child in ast.walk(node) if isinstance(child, ast.Call)]


def names_in(*nodes: ast.AST) -> set[str]:
    return {child.id for node in nodes for child in ast.walk(node) if isinstance(child, ast.Name)}


def dotted(node: ast.AST) -> str:
    """A name or attributes of one, `a.b.c`; empty for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def last_name(node: ast.AST) -> str:
    """The last name of `a.b.c`, or of an attribute of anything else; empty for what ends in none."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
