"""Changes to statements that may undo a fault: what may have been taken out, or leaves a block the wrong way."""

from __future__ import annotations

import ast

from forager.models.search import syntax
from forager.models.search.hints import Hints
from forager.models.search.known import Known
from forager.models.search.source import Fragment
from forager.models.search.syntax import Function, Names

LineChange = tuple[int, int, tuple[str, ...], str, float, str]
"""First and last line replaced, the new lines, kind, weight, remark."""

_FILLERS = {"[]": "append", "list()": "append", "set()": "add", "deque()": "append", "collections.deque()": "append"}
_EMPTY = {"append": "[]", "extend": "[]", "add": "set()", "items": "{}", "get": "{}", "popleft": "deque()"}


class Lines:
    """Collects line changes for one function; what the kinds of changes have in common."""

    def __init__(self, fragment: Fragment, node: Function, hints: Hints) -> None:
        self.fragment = fragment
        self.node = node
        self.hints = hints
        self.names = Names(node)
        self.changes: list[LineChange] = []

    def insert(self, anchor: ast.stmt, text: str, kind: str, weight: float, after: bool = True) -> None:
        """Put a statement after (or before) another one, indented like it. `text` may have lines of its own."""
        line = self.fragment.line(anchor.lineno)
        indent = line[: len(line) - len(line.lstrip())]
        new = tuple(indent + part for part in text.split("\n"))
        number = syntax.end(anchor) if after else anchor.lineno
        old = (self.fragment.line(number),)
        where = f"{'after' if after else 'before'} line {number}"
        remark = f"add `{' '.join(text.split())}` {where}"
        self.changes.append((number, number, (*old, *new) if after else (*new, *old), kind, weight, remark))

    def replace(self, node: ast.stmt, text: str, kind: str, weight: float) -> None:
        span = self.fragment.span(node)
        old = self.fragment.text(span)
        if old != text:
            remark = f"make `{' '.join(old.split())[:60]}` `{text}`"
            self.changes.append((span.line, span.end_line, self.fragment.replaced(span, text), kind, weight, remark))

    def opening(self) -> ast.stmt:
        """The first statement that is not the docstring (the docstring if there is nothing else)."""
        return next((n for n in self.node.body if not syntax.is_docstring(n)), self.node.body[-1])


class Statements(Lines):
    def __init__(self, fragment: Fragment, node: Function, hints: Hints, known: Known) -> None:
        super().__init__(fragment, node, hints)
        self._passes()
        self._init()
        self._never_filled()
        self._initialisers()
        self._exits()
        self._guards()
        self._augmented()

    def _passes(self) -> None:
        results = self.names.results()
        for node in syntax.inside(self.node):
            if not isinstance(node, ast.Pass):
                continue
            for text, weight in (("return", 0.4), ("continue", 0.5), ("break", 0.4), ("raise", 0.3)):
                self.replace(node, text, "removed", weight)
            for rank, name in enumerate(results[:4]):
                self.replace(node, f"return {name}", "removed", 0.4 / (rank + 1))
            for text in ("True", "False", "None"):
                self.replace(node, f"return {text}", "removed", 0.2)
            for name in sorted(self.hints.not_raised | self.hints.raised):
                self.replace(node, f"raise {name}", "removed", 0.4)

    def _init(self) -> None:
        if self.node.name not in ("__init__", "__new__", "__post_init__") or not syntax.is_method(self.node):
            return
        last = self.node.body[-1]
        for name in self.names.unused:
            for attribute in (name, "_" + name, "__" + name):
                missing = attribute in self.hints.missing_attributes
                self.insert(last, f"self.{attribute} = {name}", "attribute", 1.0 if missing else 0.3)
        for attribute in sorted(self.hints.missing_attributes):
            for text, weight in (("None", 0.5), ("0", 0.4), ("{}", 0.4), ("[]", 0.4), ("set()", 0.2), ("False", 0.2)):
                self.insert(last, f"self.{attribute} = {text}", "attribute", weight)
            if attribute.strip("_") in self.names.bound:
                self.insert(last, f"self.{attribute} = {attribute.strip('_')}", "attribute", 1.0)

    def _never_filled(self) -> None:
        """Containers made empty that nothing fills, counters that nothing counts."""
        loops = [n for n in syntax.inside(self.node) if isinstance(n, ast.For | ast.While | ast.AsyncFor)]
        stored = [n.id for n in ast.walk(self.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        for node in syntax.inside(self.node):
            if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
                continue
            name, value = node.targets[0].id, self.fragment.text(node.value)
            used = [n for n in ast.walk(self.node) if isinstance(n, ast.Attribute | ast.Subscript)
                    and isinstance(n.value, ast.Name) and n.value.id == name]  # fmt: skip
            for loop in [loop for loop in loops if loop.lineno > node.lineno][:3]:
                body = loop.body[-1]
                items = [n for n in reversed(Names(loop).bound) if n != name]
                if value in _FILLERS and not any(getattr(u, "attr", "") == _FILLERS[value] for u in used):
                    for item in items[:3]:
                        self.insert(body, f"{name}.{_FILLERS[value]}({item})", "removed", 0.7)
                        self.insert(body, f"{name}.{_FILLERS[value]}({item})", "removed", 0.3, after=False)
                elif value in ("0", "1") and stored.count(name) == 1:
                    self.insert(body, f"{name} += 1", "removed", 0.9)
                    for item in items[:2]:
                        self.insert(body, f"{name} += {item}", "removed", 0.3)
                elif value in ("{}", "dict()") and not used:
                    for item in items[:2]:
                        for other in items[:2]:
                            self.insert(body, f"{name}[{item}] = {other}", "removed", 0.3)
                elif value in ("False", "True") and stored.count(name) == 1:
                    self.insert(body, f"{name} = {value == 'False'}", "removed", 0.4)
                elif stored.count(name) == 1 and items:
                    self.insert(body, f"{name} = {items[0]}", "removed", 0.15)

    def _initialisers(self) -> None:
        for name in sorted(self.hints.missing_names):
            if name not in self.names.read and name not in self.names.bound:
                continue
            methods = {n.attr for n in ast.walk(self.node) if isinstance(n, ast.Attribute)
                       and isinstance(n.value, ast.Name) and n.value.id == name}  # fmt: skip
            values = [_EMPTY[m] for m in sorted(methods) if m in _EMPTY] or ["0", "[]", "None", "{}", "''", "1"]
            for rank, value in enumerate([*values, *self.names.parameters[:2]]):
                self.insert(self.opening(), f"{name} = {value}", "removed", 0.9 / (1 + rank * 0.4), after=False)

    def _exits(self) -> None:
        """Branches that may have to leave the loop or the function, and those that leave it the wrong way."""
        loops = [loop for loop in syntax.inside(self.node) if isinstance(loop, ast.For | ast.While | ast.AsyncFor)]
        looped = {id(n) for loop in loops for n in syntax.inside(loop)}
        for node in syntax.inside(self.node):
            if isinstance(node, ast.Break):
                self.replace(node, "continue", "exit", 0.8)
                self._leave(node)
            elif isinstance(node, ast.Continue):
                self.replace(node, "break", "exit", 0.8)
                self._leave(node)
            elif isinstance(node, ast.If) and syntax.falls_through(node.body):
                last = node.body[-1]
                if isinstance(last, ast.Pass | ast.If):
                    continue
                for text in ("break", "continue") if id(node) in looped else ():
                    self.insert(last, text, "exit", 0.4)
                if id(node) not in looped:
                    self.insert(last, "return", "exit", 0.15)

    def _leave(self, node: ast.Break | ast.Continue) -> None:
        """Return instead of going on: a name of the loop first."""
        loops = [n for n in syntax.inside(self.node) if isinstance(n, ast.For) and n.lineno < node.lineno]
        nearest = [t.id for loop in loops[-1:] for t in ast.walk(loop.target) if isinstance(t, ast.Name)]
        texts = [*nearest, *self.names.results()[:4], "True", "False", "None"]
        for rank, text in enumerate(dict.fromkeys(texts)):
            self.replace(node, f"return {text}", "exit", 0.7 / (1 + 0.3 * rank))

    def _guards(self) -> None:
        """A check of an argument at the start, when an error does not come, or one comes from a None."""
        parameters = [
            a.arg for a in [*self.node.args.args, *self.node.args.kwonlyargs] if a.arg not in ("self", "cls")
        ]
        for name in parameters[:4]:
            for error in sorted(self.hints.not_raised):
                for test in (f"{name} < 0", f"not {name}", f"{name} < 1", f"{name} is None", f"{name} <= 0"):
                    self.insert(self.opening(), f"if {test}:\n    raise {error}", "guard", 0.5, after=False)
            if self.hints.raised & {"TypeError", "AttributeError", "ValueError", "IndexError", "ZeroDivisionError"}:
                for value in ("None", name, "False", "''"):
                    self.insert(self.opening(), f"if not {name}:\n    return {value}", "guard", 0.2, after=False)

    def _augmented(self) -> None:
        """`x = y` where `x` has a value that is lost: it may have to be added to."""
        shared = [n.names for n in syntax.inside(self.node) if isinstance(n, ast.Nonlocal | ast.Global)]
        seen = {*self.names.parameters, *(name for names in shared for name in names)}
        for node in syntax.inside(self.node):
            if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
                continue
            target = node.targets[0]
            name, value = self.fragment.text(target), self.fragment.text(node.value)
            stored = isinstance(target, ast.Subscript | ast.Attribute) and self.node.name != "__init__"
            if (name in seen and name not in syntax.free_names(node.value)) or stored:
                sure = 0.3 if stored else 1.0
                for token, weight in (("+=", 0.8), ("-=", 0.25), ("*=", 0.2), ("|=", 0.05), ("//=", 0.05)):
                    self.replace(node, f"{name} {token} {value}", "assignment", weight * sure)
            seen.add(name)
