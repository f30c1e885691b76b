"""Small questions about Python syntax trees: names of a function, what is inside it, where it can end."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from forager.models.search.source import Fragment

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Names:
    """Names bound in a function (those of functions inside it too), and those of them that nothing reads."""

    def __init__(self, node: ast.AST) -> None:
        self.read: set[str] = set()
        bound: dict[str, None] = {}
        parameters: dict[str, None] = {}
        for child in ast.walk(node):
            if isinstance(child, ast.arg):
                bound[child.arg] = parameters[child.arg] = None
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
                self.read.add(child.id)
            elif isinstance(child, ast.Name):
                bound[child.id] = None
            elif isinstance(child, Function | ast.ClassDef | ast.ExceptHandler) and child is not node and child.name:
                bound[child.name] = None
        self.parameters = list(parameters)
        self.bound = [name for name in bound if name not in ("self", "cls", "_")]
        self.unused = [name for name in self.bound if name not in self.read]

    def results(self) -> list[str]:
        """What the function may want to return, likeliest first: what it has not used, then what it made last."""
        unused = [n for n in reversed(self.unused) if n not in ("args", "kwargs")]
        local = [n for n in reversed(self.bound) if n not in self.parameters]
        return list(dict.fromkeys([*unused, *local, *self.bound]))


def unchecked(node: ast.AST) -> set[str]:
    """Parameters that are None by default, and that the function never asks for whether they are."""
    if not isinstance(node, Function):
        return set()
    a = node.args
    pairs = [
        *zip(reversed(a.args), reversed(a.defaults), strict=False),
        *zip(a.kwonlyargs, a.kw_defaults, strict=True),
    ]
    found = {p.arg for p, default in pairs if isinstance(default, ast.Constant) and default.value is None}
    for child in ast.walk(node):
        match child:
            case ast.Compare(left=tested, comparators=[ast.Constant(value=None)]):
                found -= {tested.id} if isinstance(tested, ast.Name) else set()
            case ast.BoolOp(values=parts):
                found -= {part.id for part in parts if isinstance(part, ast.Name)}
            case ast.If(test=ast.Name(id=name)) | ast.IfExp(test=ast.Name(id=name)):
                found.discard(name)
            case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)):
                found.discard(name)
    return found


def functions(tree: ast.AST) -> list[Function]:
    """All functions, those inside others too, in source order."""
    return sorted((n for n in ast.walk(tree) if isinstance(n, Function)), key=lambda n: n.lineno)


def blocks(tree: ast.AST) -> Iterator[ast.stmt]:
    """Functions that are not inside others, and the statements outside of functions and classes' own lines."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ClassDef):
            yield from blocks(child)
        elif isinstance(child, Function):
            yield child
        elif isinstance(child, ast.If | ast.Try | ast.With) and any(isinstance(n, Function) for n in ast.walk(child)):
            yield from blocks(child)
        elif isinstance(child, ast.stmt) and not isinstance(child, ast.Import | ast.ImportFrom):
            yield child


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield from inside(child)


def end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def statements(tree: ast.AST) -> list[ast.stmt]:
    """Every statement, in source order."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def is_method(node: Function) -> bool:
    return bool(node.args.args) and node.args.args[0].arg == "self"


def is_plain(node: ast.AST) -> bool:
    """Whether an expression binds so tightly that nothing put before it needs brackets."""
    return isinstance(node, ast.Name | ast.Call | ast.Attribute | ast.Subscript)


def is_generator(node: Function) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in inside(node))


def free_names(node: ast.AST) -> set[str]:
    """Names an expression or statement reads that it does not bind itself (in a comprehension or lambda)."""
    read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return read - bound - {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}


def falls_through(body: list[ast.stmt]) -> bool:
    """Whether the end of a block can be reached."""
    last = body[-1]
    if isinstance(last, ast.If):
        return not last.orelse or falls_through(last.body) or falls_through(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return falls_through(last.body)
    if isinstance(last, ast.Try):
        ends = [last.orelse or last.body, *(handler.body for handler in last.handlers)]
        return any(falls_through(block) for block in ends)
    if isinstance(last, ast.While) and isinstance(last.test, ast.Constant) and last.test.value:
        return any(isinstance(n, ast.Break) for n in ast.walk(last))
    return not isinstance(last, ast.Return | ast.Raise | ast.Continue | ast.Break)


def returned(fragment: Fragment, tree: ast.AST) -> list[tuple[Function, str]]:
    """Functions and the expressions they return, short ones only."""
    found = []
    for function in functions(tree):
        for node in inside(function):
            if isinstance(node, ast.Return) and node.value and not isinstance(node.value, ast.Constant | ast.Name):
                text = fragment.text(node.value)
                if "\n" not in text and len(text) < 100:
                    found.append((function, text))
    return found
