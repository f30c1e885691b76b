"""Changes to statements that may undo a fault: what may have been taken out, returned wrongly, or left early."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from forager.models.search.hints import Hints
from forager.models.search.source import Fragment, Span

Function = ast.FunctionDef | ast.AsyncFunctionDef

LineChange = tuple[int, int, tuple[str, ...], str, float, str]
"""First and last line replaced, the new lines, kind, weight, remark."""

_FILLERS = {"[]": "append", "list()": "append", "set()": "add", "deque()": "append", "collections.deque()": "append"}


class Names:
    """Names bound in a function, and those of them that nothing reads."""

    def __init__(self, node: ast.AST) -> None:
        self.read: set[str] = set()
        bound: dict[str, int] = {}
        self.parameters: list[str] = []
        for child in ast.walk(node):
            if isinstance(child, ast.arg):
                bound.setdefault(child.arg, child.lineno)
                self.parameters.append(child.arg)
            elif isinstance(child, ast.Name):
                if isinstance(child.ctx, ast.Load):
                    self.read.add(child.id)
                else:
                    bound.setdefault(child.id, child.lineno)
        self.bound = [name for name in bound if name not in ("self", "cls", "_")]
        self.unused = [name for name in self.bound if name not in self.read]


class Statements:
    """Collects line changes for one function."""

    def __init__(
        self, fragment: Fragment, node: Function, hints: Hints, names: Names, donors: list[ast.stmt]
    ) -> None:
        self.fragment = fragment
        self.node = node
        self.hints = hints
        self.names = names
        self.changes: list[LineChange] = []
        self._returns()
        self._passes()
        self._init()
        self._never_filled()
        self._initialisers()
        self._exits()
        self._twins(donors)

    def _indent(self, line: int) -> str:
        text = self.fragment.line(line)
        return text[: len(text) - len(text.lstrip())]

    def _insert(self, line: int, text: str, like: int, kind: str, weight: float, after: bool = True) -> None:
        """Put a statement on its own line after (or before) line `line`, indented as line `like`."""
        new = self._indent(like) + text
        old = self.fragment.line(line)
        lines = (old, new) if after else (new, old)
        where = "after" if after else "before"
        self.changes.append((line, line, lines, kind, weight, f"add `{text}` {where} line {line}"))

    def _replace(self, node: ast.stmt, text: str, kind: str, weight: float) -> None:
        span = self.fragment.span(node)
        old = self.fragment.text(span)
        if old != text:
            lines = self.fragment.replaced(span, text)
            remark = f"make `{' '.join(old.split())[:60]}` `{text}`"
            self.changes.append((span.line, span.end_line, lines, kind, weight, remark))

    def _results(self) -> list[str]:
        """What a function may want to return, likeliest first."""
        unused = [n for n in self.names.unused if n not in ("args", "kwargs")]
        local = [n for n in self.names.bound if n not in self.names.parameters and n not in unused]
        rest = [n for n in self.names.bound if n in self.names.parameters and n not in unused]
        return list(dict.fromkeys([*unused, *reversed(local), *rest]))

    def _returns(self) -> None:
        results = self._results()
        returns = [n for n in _inside(self.node) if isinstance(n, ast.Return)]
        for node in returns:
            if node.value is None or isinstance(node.value, ast.Constant):
                for rank, name in enumerate([*results, "self"] if self.node.args.args[:1] else results):
                    self._replace(node, f"return {name}", "return", 0.9 if rank == 0 else 0.5 / rank)
                if not isinstance(node.value, ast.Constant) or node.value.value is None:
                    for text, weight in (
                        ("True", 0.4),
                        ("False", 0.4),
                        ("[]", 0.1),
                        ("''", 0.1),
                        ("0", 0.1),
                        ("{}", 0.05),
                    ):
                        self._replace(node, f"return {text}", "return", weight)
                    if self._is_method():
                        self._replace(node, "return NotImplemented", "return", 0.2)
            else:
                text = self.fragment.text(node.value)
                if not isinstance(
                    node.value, ast.UnaryOp | ast.Compare | ast.Tuple | ast.List | ast.Dict | ast.JoinedStr
                ):
                    bare = isinstance(node.value, ast.Name | ast.Call | ast.Attribute | ast.Subscript)
                    wrapped = text if bare else f"({text})"
                    self._replace(node, f"return not {wrapped}", "return", 0.35 if self.hints.truth else 0.08)
                    self._replace(node, f"return -{wrapped}", "return", 0.4 if self.hints.sign else 0.05)
                if isinstance(node.value, ast.Name):
                    for rank, name in enumerate(n for n in results if n != node.value.id):
                        self._replace(node, f"return {name}", "return", 0.15 / (rank + 1))
        generator = any(isinstance(n, ast.Yield | ast.YieldFrom) for n in ast.walk(self.node))
        last = self.node.body[-1]
        if not generator and _falls_through(self.node.body) and self.node.name != "__init__":
            valued = [n for n in returns if n.value is not None]
            weight = 0.9 if valued or self.hints.none or not returns else 0.2
            for rank, name in enumerate(results[:5]):
                self._insert(
                    last.end_lineno or last.lineno, f"return {name}", last.lineno, "return", weight / (1 + rank)
                )
            if self._is_method():
                self._insert(last.end_lineno or last.lineno, "return self", last.lineno, "return", weight / 3)
                self._insert(
                    last.end_lineno or last.lineno, "return NotImplemented", last.lineno, "return", weight / 8
                )
            for text in ("True", "False"):
                self._insert(last.end_lineno or last.lineno, f"return {text}", last.lineno, "return", weight / 4)

    def _is_method(self) -> bool:
        return bool(self.node.args.args) and self.node.args.args[0].arg == "self"

    def _passes(self) -> None:
        results = self._results()
        for node in _inside(self.node):
            if not isinstance(node, ast.Pass):
                continue
            for text, weight in (("return", 0.4), ("continue", 0.5), ("break", 0.4), ("raise", 0.3)):
                self._replace(node, text, "removed", weight)
            for rank, name in enumerate(results[:4]):
                self._replace(node, f"return {name}", "removed", 0.4 / (rank + 1))
            for text in ("True", "False", "None"):
                self._replace(node, f"return {text}", "removed", 0.2)
            for name in sorted(self.hints.not_raised | self.hints.raised):
                self._replace(node, f"raise {name}", "removed", 0.4)

    def _init(self) -> None:
        if self.node.name not in ("__init__", "__new__", "__post_init__") or not self._is_method():
            return
        last = self.node.body[-1]
        end = last.end_lineno or last.lineno
        for name in self.names.unused:
            for attribute in (name, "_" + name, "__" + name):
                missing = attribute in self.hints.missing_attributes
                self._insert(end, f"self.{attribute} = {name}", last.lineno, "attribute", 1.0 if missing else 0.3)
        for attribute in sorted(self.hints.missing_attributes):
            for text, weight in (("None", 0.5), ("0", 0.4), ("{}", 0.4), ("[]", 0.4), ("set()", 0.2), ("False", 0.2)):
                self._insert(end, f"self.{attribute} = {text}", last.lineno, "attribute", weight)
        supers = any(isinstance(n, ast.Name) and n.id == "super" for n in ast.walk(self.node))
        if not supers:
            first = next((n for n in self.node.body if not _docstring(n)), last)
            self._insert(first.lineno, "super().__init__()", first.lineno, "removed", 0.15, after=False)

    def _never_filled(self) -> None:
        """Containers made empty that nothing fills, counters that nothing counts."""
        loops = [n for n in _inside(self.node) if isinstance(n, ast.For | ast.While | ast.AsyncFor)]
        stored = [n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for node in _inside(self.node):
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                continue
            name, value = node.targets[0].id, self.fragment.text(node.value)
            inner = [loop for loop in loops if loop.lineno > node.lineno]
            uses = [n for n in ast.walk(self.node) if isinstance(n, ast.Attribute | ast.Subscript)
                    and isinstance(n.value, ast.Name) and n.value.id == name]  # fmt: skip
            for loop in inner[:3]:
                body = loop.body[-1]
                end = body.end_lineno or body.lineno
                inside = Names(loop)
                items = [n for n in [*reversed(inside.bound)] if n != name]
                if value in _FILLERS and not any(getattr(u, "attr", "") == _FILLERS[value] for u in uses):
                    for item in items[:3]:
                        self._insert(end, f"{name}.{_FILLERS[value]}({item})", body.lineno, "removed", 0.7)
                        self._insert(
                            body.lineno, f"{name}.{_FILLERS[value]}({item})", body.lineno, "removed", 0.3, after=False
                        )
                elif value in ("0", "1") and stored.count(name) == 1:
                    self._insert(end, f"{name} += 1", body.lineno, "removed", 0.9)
                    for item in items[:2]:
                        self._insert(end, f"{name} += {item}", body.lineno, "removed", 0.3)
                elif value in ("{}", "dict()") and not uses:
                    for item in items[:2]:
                        for other in items[:2]:
                            self._insert(end, f"{name}[{item}] = {other}", body.lineno, "removed", 0.3)
                elif value in ("False", "True") and stored.count(name) == 1:
                    self._insert(
                        end, f"{name} = {'True' if value == 'False' else 'False'}", body.lineno, "removed", 0.4
                    )
                elif stored.count(name) == 1 and items:
                    self._insert(end, f"{name} = {items[0]}", body.lineno, "removed", 0.15)

    def _initialisers(self) -> None:
        first = next((n for n in self.node.body if not _docstring(n)), self.node.body[-1])
        for name in sorted(self.hints.missing_names):
            if name not in self.names.read and name not in self.names.bound:
                continue
            methods = {n.attr for n in ast.walk(self.node) if isinstance(n, ast.Attribute)
                       and isinstance(n.value, ast.Name) and n.value.id == name}  # fmt: skip
            guesses = {
                "append": "[]",
                "extend": "[]",
                "add": "set()",
                "items": "{}",
                "get": "{}",
                "popleft": "deque()",
            }
            values = [guesses[m] for m in sorted(methods) if m in guesses] or [
                "0",
                "[]",
                "None",
                "{}",
                "''",
                "set()",
                "1",
            ]
            for rank, value in enumerate([*values, *self.names.parameters[:2]]):
                self._insert(
                    first.lineno, f"{name} = {value}", first.lineno, "removed", 0.9 / (1 + rank * 0.4), after=False
                )

    def _exits(self) -> None:
        """Branches that may have to leave the loop or the function, and those that leave it the wrong way."""
        looped = {
            id(n) for loop in _inside(self.node) if isinstance(loop, ast.For | ast.While) for n in _inside(loop)
        }
        for node in _inside(self.node):
            if isinstance(node, ast.Break):
                self._replace(node, "continue", "exit", 0.8)
            elif isinstance(node, ast.Continue):
                self._replace(node, "break", "exit", 0.8)
            elif isinstance(node, ast.If):
                last = node.body[-1]
                if isinstance(last, ast.Return | ast.Raise | ast.Continue | ast.Break | ast.Pass):
                    continue
                end = last.end_lineno or last.lineno
                if id(node) in looped:
                    self._insert(end, "break", last.lineno, "exit", 0.4)
                    self._insert(end, "continue", last.lineno, "exit", 0.4)
                else:
                    self._insert(end, "return", last.lineno, "exit", 0.15)

    def _twins(self, donors: list[ast.stmt]) -> None:
        """A statement that stands beside an equal neighbour elsewhere, and not here, may have been taken out here."""
        here: dict[str, list[ast.stmt]] = {}
        for node in _inside(self.node):
            if isinstance(node, ast.stmt):
                here.setdefault(ast.dump(node), []).append(node)
        known = set(self.names.bound) | self.names.read | {"self", "cls"}
        for before, donor in pairwise(donors):
            for anchor, gone, after in ((before, donor, True), (donor, before, False)):
                key = ast.dump(gone)
                if (
                    key in here
                    or isinstance(gone, ast.FunctionDef | ast.ClassDef | ast.Pass)
                    or not _beside(before, donor)
                ):
                    continue
                loads = {n.id for n in ast.walk(gone) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
                for target in here.get(ast.dump(anchor), ())[:2]:
                    text = ast.unparse(gone)
                    if "\n" in text or not loads <= known:
                        continue
                    line = (target.end_lineno or target.lineno) if after else target.lineno
                    self._insert(line, text, target.lineno, "twin", 0.5, after=after)


def _beside(first: ast.stmt, second: ast.stmt) -> bool:
    return first.col_offset == second.col_offset and 0 < second.lineno - (first.end_lineno or first.lineno) <= 2


def _falls_through(body: list[ast.stmt]) -> bool:
    """Whether the end of a block can be reached."""
    last = body[-1]
    if isinstance(last, ast.If):
        return not last.orelse or _falls_through(last.body) or _falls_through(last.orelse)
    if isinstance(last, ast.With | ast.AsyncWith):
        return _falls_through(last.body)
    if isinstance(last, ast.Try):
        blocks = [last.orelse or last.body, *(handler.body for handler in last.handlers)]
        return any(_falls_through(block) for block in blocks)
    if isinstance(last, ast.While) and isinstance(last.test, ast.Constant) and last.test.value:
        return any(isinstance(n, ast.Break) for n in ast.walk(last))
    return not isinstance(last, ast.Return | ast.Raise | ast.Continue | ast.Break)


def _docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but not those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Function | ast.Lambda | ast.ClassDef):
            yield from _inside(child)


def statements(tree: ast.AST) -> list[ast.stmt]:
    """Every statement, in source order."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    return sorted(found, key=lambda n: (n.lineno, n.col_offset))


__all__ = ["Function", "Names", "Span", "Statements", "statements"]
