"""What `setup.py` and `noxfile.py` say in literals, read from their syntax trees. They are hostile and never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from forager.forage.said import Said, merged, read_words
from forager.forage.syntax import last_name, parse
from forager.records import Record

LARGEST = 500_000
"""Bytes of a file that is read."""
DEEPEST = 12
"""Names followed from one to the next, and literals in literals."""
MOST = 20_000
"""Parts of literals that are looked at in one file: names may refer to names a thousand times each."""
LONGEST = 10_000
"""Characters of a text put together from others."""


def setup_arguments(source: bytes) -> dict[str, Any]:
    """The literal keywords of `setup(...)`. Names of literals are followed, what is computed left out."""
    module = _parsed(source)
    if module is None:
        return {}
    literals = _Literals(module)
    found: dict[str, Any] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and last_name(node.func) == "setup":
            for keyword in node.keywords:
                value = literals.value(keyword.value)
                if keyword.arg is None and isinstance(value, dict):
                    found |= {key: content for key, content in value.items() if isinstance(key, str)}
                elif keyword.arg is not None and value is not None:
                    found[keyword.arg] = value
    return found


class Session(Record, frozen=True):
    """One session of nox that runs tests."""

    name: str
    said: Said
    pythons: tuple[str, ...] = ()


def nox_session(source: bytes) -> Session | None:
    """The session of a noxfile that runs the tests; None if none does."""
    module = _parsed(source)
    if module is None:
        return None
    literals = _Literals(module)
    found = [session for node in module.body if (session := _session(node, literals))]
    return max(found, key=lambda s: (bool(re.search(r"test|unit", s.name)), bool(s.said.paths)), default=None)


def _session(node: ast.stmt, literals: _Literals) -> Session | None:
    if not isinstance(node, ast.FunctionDef) or not node.args.args:
        return None
    marks = [m for m in node.decorator_list if last_name(m.func if isinstance(m, ast.Call) else m) == "session"]
    if not marks:
        return None
    own = node.args.args[0].arg
    said = merged(read_words(words) for words in _calls(node, own, literals))
    if not said.tests:
        return None
    keywords = [keyword for mark in marks if isinstance(mark, ast.Call) for keyword in mark.keywords]
    python = next((literals.value(k.value) for k in keywords if k.arg in ("python", "py")), None)
    versions = [v for v in (python if isinstance(python, list) else [python]) if isinstance(v, str)]
    return Session(name=node.name, said=said, pythons=tuple(v for v in versions if re.fullmatch(r"3\.\d{1,2}", v)))


def _calls(node: ast.FunctionDef, own: str, literals: _Literals) -> Iterator[list[str]]:
    """The commands that a session runs, in order, as far as they are literals."""
    calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if not (isinstance(call.func, ast.Attribute) and last_name(call.func.value) == own):
            continue
        words: list[str] = []
        for argument in call.args:
            inner = argument.value if isinstance(argument, ast.Starred) else argument
            value = literals.value(inner)
            words += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
        if method == "install":
            yield ["pip", "install", *words]
        elif method in ("run", "run_install", "run_always"):
            yield words


# -------------------------------------------------------------------------------------------- literals


def _parsed(source: bytes) -> ast.Module | None:
    return parse(source) if 0 < len(source) <= LARGEST else None


class _Literals:
    """The values of a module's literals."""

    def __init__(self, module: ast.Module) -> None:
        self._left = MOST
        self._names: dict[str, ast.expr] = {}
        for node in module.body:
            if isinstance(node, ast.Assign):
                self._names |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                self._names[node.target.id] = node.value

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of a literal, sets and tuples as lists; None for what is computed, which is left out of lists."""
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return None
        match node:
            case ast.Constant(value=str() | bool() | int() as value):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return self._list(items, depth + 1)
            case ast.Dict():
                return self._table(node, depth + 1)
            case ast.Name(id=name) if name in self._names:
                return self.value(self._names[name], depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _sum([self.value(left, depth + 1), self.value(right, depth + 1)])
            case ast.Subscript(value=inner, slice=index):
                table, key = self.value(inner, depth + 1), self.value(index, depth + 1)
                return table.get(key) if isinstance(table, dict) and isinstance(key, str) else None
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
                return {k.arg: self.value(k.value, depth + 1) for k in keywords if k.arg is not None}
            case ast.Call(func=ast.Name(id="list" | "tuple" | "sorted" | "set"), args=[inner]):
                return self.value(inner, depth + 1)
        return None

    def _list(self, items: Sequence[ast.expr], depth: int) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if len(found) > MOST or self._left < 0:
                break
            value = self.value(item.value if isinstance(item, ast.Starred) else item, depth)
            spread = isinstance(item, ast.Starred) and isinstance(value, list)
            found += value if spread else [value] if value is not None else []
        return found[:MOST]

    def _table(self, node: ast.Dict, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item, depth)
            name = self.value(key, depth) if key is not None else None
            if key is None and isinstance(value, dict):
                found |= value
            elif isinstance(name, str) and value is not None:
                found[name] = value
        return found


def _sum(sides: Sequence[Any]) -> Any:
    """`+`, where one side of two lists may be unknown."""
    lists = [side for side in sides if isinstance(side, list)]
    if lists:
        return [item for side in lists for item in side][:MOST]
    strings = [side for side in sides if isinstance(side, str)]
    return "".join(strings)[:LONGEST] if len(strings) == len(sides) else None
