"""What was read, by name: parameters of functions, classes, values, imports. Code to borrow for a change."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable

from forager.models.search import syntax
from forager.models.search.source import Fragment
from forager.models.search.syntax import Function

Trees = list[tuple[Fragment, ast.Module]]


class Known:
    """Of everything the session has read; what it has not read is not in here."""

    def __init__(self, trees: Trees, words: Iterable[str] = ()) -> None:
        self.words = frozenset(words)
        """What a misspelt constant may have been."""
        self.donors = [(n, ast.dump(n)) for _, tree in trees for n in syntax.statements(tree)]
        """Every statement with its dump, which equal statements share."""
        self.results = [pair for fragment, tree in trees for pair in syntax.returned(fragment, tree)]
        """Functions and the expressions they return."""
        self.parameters: dict[str, list[str]] = {}
        """Functions and classes to the names that a call may give."""
        self.owners: dict[int, ast.ClassDef] = {}
        """Methods, by identity, to their classes."""
        self.attributes: dict[int, list[str]] = defaultdict(list)
        """Classes, by identity, to what their methods set on `self`."""
        self.values: dict[str, dict[str, None]] = defaultdict(dict)
        """Targets of assignments to what is assigned to them anywhere."""
        self.constants: list[str] = []
        """Names assigned outside of functions and classes, and imported ones written in capitals."""
        self.imports: dict[str, list[str]] = defaultdict(list)
        """Imported names to the statements that import them."""
        self.decorators: dict[str, int] = defaultdict(int)
        """Texts of decorators, and how often they occur."""
        self.functions: list[Function] = []
        self.bodies: dict[str, list[str]] = defaultdict(list)
        """First lines of `for`, `if` and the like to the bodies that stand below them."""
        for fragment, tree in trees:
            self._read(fragment, tree)

    def _read(self, fragment: Fragment, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.constants.append(node.targets[0].id)
        for child in ast.walk(tree):
            match child:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._function(fragment, child)
                case ast.ClassDef():
                    self._class(child)
                case ast.Assign(targets=[target]) if not isinstance(child.value, ast.Constant):
                    text = fragment.text(child.value)
                    if "\n" not in text and len(text) < 100:
                        self.values[fragment.text(target)][text] = None
                case ast.Import(names=names) | ast.ImportFrom(names=names):
                    self._import(child, names)
                case ast.For() | ast.While() | ast.If() | ast.With():
                    if not isinstance(child.body[0], ast.Pass) and len(child.body) < 4:
                        self.bodies[header(child)].append("\n".join(map(ast.unparse, child.body)))

    def _function(self, fragment: Fragment, node: Function) -> None:
        self.functions.append(node)
        names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
        self.parameters.setdefault(node.name, names)
        for decorator in node.decorator_list:
            self.decorators[fragment.text(decorator)] += 1

    def _class(self, node: ast.ClassDef) -> None:
        for member in node.body:
            if isinstance(member, Function):
                self.owners[id(member)] = node
                if member.name == "__init__":
                    names = [a.arg for a in (*member.args.args, *member.args.kwonlyargs) if a.arg != "self"]
                    self.parameters[node.name] = names
        found = [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
                 and isinstance(n.value, ast.Name) and n.value.id == "self"]  # fmt: skip
        self.attributes[id(node)] = list(dict.fromkeys(found))[:8]

    def _import(self, node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> None:
        for alias in names:
            bound = (alias.asname or alias.name).split(".")[0]
            if isinstance(node, ast.Import):
                text = ast.unparse(ast.Import([alias]))
            else:
                text = ast.unparse(ast.ImportFrom(node.module, [alias], node.level))
            if bound.isupper() and bound not in self.constants:
                self.constants.append(bound)
            if text not in self.imports[bound]:
                self.imports[bound].append(text)

    def own_attributes(self, node: Function) -> list[str]:
        """What the class of a method sets on `self`."""
        owner = self.owners.get(id(node))
        return self.attributes[id(owner)] if owner else []

    def named_like(self, name: str) -> list[str]:
        """Known constants that share a word with a name."""
        parts = set(re.findall(r"[a-z]{3,}", name.lower()))
        alike = [c for c in self.constants if parts & set(re.findall(r"[a-z]{3,}", c.lower()))]
        return alike + [c for c in self.constants if c not in alike]


def header(node: ast.AST) -> str:
    """The first line of a compound statement, so that equal ones can be found."""
    match node:
        case ast.For():
            return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
        case ast.While() | ast.If():
            return f"{type(node).__name__} {ast.unparse(node.test)}"
        case ast.With():
            return "with " + ", ".join(map(ast.unparse, node.items))
    return ""
