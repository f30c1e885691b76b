"""Changes to where control goes: conditions that never change, filters, ways out of loops, yields, awaits, sums."""

from __future__ import annotations

import ast
from itertools import pairwise

from forager.models.search.changes import Changes, short


class Flow(Changes):
    def on_If(self, node: ast.If) -> None:
        self._constant(node.test)
        for body in (node.body, node.orelse):
            self._chain(body)

    def on_IfExp(self, node: ast.IfExp) -> None:
        self._constant(node.test)

    def on_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._chain(node.body)

    def on_For(self, node: ast.For) -> None:
        self._chain(node.body)

    def _chain(self, body: list[ast.stmt]) -> None:
        """An `if` that follows another one may have been an `elif`."""
        for before, node in pairwise(body):
            if isinstance(before, ast.If) and isinstance(node, ast.If) and not before.orelse:
                line = self.fragment.line(node.lineno)
                if line[node.col_offset : node.col_offset + 2] == "if" and node.orelse:
                    span = self.fragment.span(node)
                    place = span._replace(end_line=span.line, end_column=span.column + 2)
                    self.put(place, "elif", "branch", 0.8, "make it an `elif`")

    def _constant(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Constant):
            return
        for rank, name in enumerate([*self.unused, *(n for n in self.local if n not in self.unused)][:6]):
            for text, weight in (
                (name, 0.8),
                (f"not {name}", 0.5),
                (f"{name} is None", 0.6),
                (f"{name} is not None", 0.5),
            ):
                self.put(test, text, "condition", weight / (1 + 0.3 * rank), f"test `{text}`")

    def on_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> None:
        self._filter(node.generators[-1])

    on_GeneratorExp = on_SetComp = on_ListComp

    def on_DictComp(self, node: ast.DictComp) -> None:
        self._filter(node.generators[-1])

    def _filter(self, node: ast.comprehension) -> None:
        """A comprehension may have to leave something out."""
        if node.ifs:
            return
        names = [n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)]
        over = self.fragment.text(node.iter)
        for name in names[-2:]:
            for test, weight in ((name, 0.6), (f"{name} is not None", 0.5), (f"not {name}", 0.2)):
                self.put(node.iter, f"{over} if {test}", "filter", weight, f"leave out what fails `{test}`")

    def on_Yield(self, node: ast.Yield) -> None:
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            for rank, name in enumerate(reversed(self.local)):
                self.put(node, f"yield {name}", "yield", 0.8 / (1 + 0.3 * rank), f"yield `{name}`")
        else:
            value = self.fragment.text(node.value)
            self.put(node, f"yield from {value}", "yield", 0.8, f"yield from `{short(value)}`")

    def on_Call(self, node: ast.Call) -> None:
        if self.hints.coroutine:
            text = self.fragment.text(node)
            self.put(node, f"await {text}", "await", 0.8, f"wait for `{short(text)}`")

    def on_BinOp(self, node: ast.BinOp) -> None:
        """A sum that lacks a term: a call as the last one, of another name."""
        if not isinstance(node.op, ast.Add | ast.Sub):
            return
        last = node.right
        text = self.fragment.text(node)
        if isinstance(last, ast.Call) and len(last.args) == 1 and isinstance(last.args[0], ast.Name):
            called = self.fragment.text(last.func)
            for rank, name in enumerate(n for n in reversed(self.local) if n != last.args[0].id):
                weight = 0.7 / (1 + 0.1 * rank)
                self.put(node, f"{text} + {called}({name})", "operand", weight, f"add `{called}({name})`")
        elif isinstance(last, ast.Name | ast.Attribute):
            for name in [n for n in self.unused if n != self.fragment.text(last)][:3]:
                self.put(node, f"{text} + {name}", "operand", 0.4, f"add `{name}`, which is not used so far")

    def on_BoolOp(self, node: ast.BoolOp) -> None:
        word = "and" if isinstance(node.op, ast.And) else "or"
        text = self.fragment.text(node)
        for name in self.unused[:3]:
            for operand in (name, f"not {name}"):
                self.put(node, f"{text} {word} {operand}", "operand", 0.4, f"test `{operand}` too")
