"""What a module defines and uses by name, read once for the operators that put one name in another's place."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from forager.forage.syntax import Function


class Facts:
    """Names of one module. The source has to be sound Python; nothing of it is run."""

    def __init__(self, source: bytes) -> None:
        tree = ast.parse(source)
        self.parameters: dict[str, tuple[str, ...]] = {}
        """Functions and classes to the names that a call may use as keywords. Ambiguous names are left out."""
        self.attributes: dict[str, list[str]] = defaultdict(list)
        """Classes to the attributes that their methods assign to `self`, in order."""
        self.methods: dict[str, dict[str, int]] = defaultdict(dict)
        """Classes to their methods, with the number of parameters each requires."""
        self._read(tree)
        inside = {name for node in ast.walk(tree) if isinstance(node, Function) for name in _inside(node)}
        self.deferred = inside - set(_at_import(tree))
        """Names used inside functions only: without them the module can still be imported."""

    def _read(self, tree: ast.Module) -> None:
        ambiguous: set[str] = set()

        def add(name: str, parameters: tuple[str, ...]) -> None:
            if self.parameters.setdefault(name, parameters) != parameters:
                ambiguous.add(name)

        for node in ast.walk(tree):
            if isinstance(node, Function) and node.name != "__init__":
                add(node.name, _keywords(node))
            elif isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, Function):
                        self._member(node.name, member)
                        if member.name == "__init__":
                            add(node.name, _keywords(member))
        for name in ambiguous:
            del self.parameters[name]

    def _member(self, owner: str, method: Function) -> None:
        if not method.decorator_list and not method.name.startswith("__"):
            required = len(method.args.posonlyargs) + len(method.args.args) - len(method.args.defaults)
            self.methods[owner][method.name] = required
        for node in ast.walk(method):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
                and node.attr not in self.attributes[owner]
            ):
                self.attributes[owner].append(node.attr)


def _keywords(node: Function) -> tuple[str, ...]:
    names = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
    return tuple(name for name in names if name not in ("self", "cls"))


def _inside(node: Function) -> Iterator[str]:
    """Names that a function's body reads when it is called."""
    for statement in node.body:
        for child in ast.walk(statement):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
                yield child.id


def _at_import(tree: ast.AST) -> Iterator[str]:
    """Names that are read while the module is imported."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child.id
        if isinstance(child, Function):
            for part in (*child.decorator_list, child.args, *([child.returns] if child.returns else [])):
                yield from _at_import(ast.Expr(part) if isinstance(part, ast.expr) else part)
        elif not isinstance(child, ast.Lambda):
            yield from _at_import(child)
