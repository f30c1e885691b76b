"""Changes to names: another variable or attribute, targets swapped, a copy taken, a default for None."""

from __future__ import annotations

import ast
import re
from itertools import pairwise

from forager.models.search.changes import Changes, short
from forager.models.search.source import Span

_EMPTY = ("{}", "[]", "()", "''")


class Names(Changes):
    def on_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        if node.id in self.local:
            for name in self.local:
                if name != node.id:
                    weight = 1.2 if name in self.idle else 0.4 if name in self.unused else 0.1
                    self.put(node, name, "variable", weight, f"use `{name}` instead of `{node.id}`")
        elif node.id in self.hints.missing_names:
            for name in self.local:
                self.put(node, name, "variable", 0.5, f"use `{name}` instead of `{node.id}`")

    def on_Attribute(self, node: ast.Attribute) -> None:
        """Another attribute of `self`, the names most alike first."""
        if not (isinstance(node.value, ast.Name) and node.value.id == "self" and isinstance(node.ctx, ast.Load)):
            return
        span = self.fragment.span(node)
        place = Span(span.end_line, span.end_column - len(node.attr), span.end_line, span.end_column)
        others = self.siblings if node.attr in self.siblings else self.attributes
        missing = node.attr in self.hints.missing_attributes
        for rank, name in enumerate(n for n in others if n != node.attr):
            weight = (1.0 if missing else 0.6) / (1 + 0.4 * rank)
            self.put(place, name, "attribute", weight, f"use `self.{name}` instead of `self.{node.attr}`")

    def on_Assign(self, node: ast.Assign) -> None:
        self._targets(node.targets[0])
        value, text = node.value, self.fragment.text(node.value)
        target = self.fragment.text(node.targets[0])
        if isinstance(value, ast.Constant) and value.value is None:
            others = [t for t in self.known.values.get(target, ()) if t != text]
            for rank, other in enumerate(others[:6]):
                self.put(value, other, "none", 1.0 / (1 + 0.25 * rank), f"use `{short(other)}` instead of None")
            for name in self.unused[:3]:
                self.put(value, f"{name}()", "none", 0.4, f"call `{name}`, which is not used so far")
        else:
            self._copied(value, 1.0 if text == target else 0.3)
            self._defaulted(value)

    def on_BinOp(self, node: ast.BinOp) -> None:
        """A name as a side of a sum or product, where neighbours have a sum of another: `x` to `x - f(x)`."""
        for side in (node.left, node.right):
            if not isinstance(side, ast.Name):
                continue
            for pattern in ast.walk(self.block):
                if not (isinstance(pattern, ast.BinOp) and isinstance(pattern.op, ast.Add | ast.Sub)):
                    continue
                names = {n.id for n in ast.walk(pattern) if isinstance(n, ast.Name)} & set(self.local)
                if len(names) == 1 and side.id not in names and pattern is not node:
                    text = re.sub(rf"\b{names.pop()}\b", side.id, self.fragment.text(pattern))
                    self.put(side, f"({text})", "operand", 0.6, f"use `{short(text)}` instead of `{side.id}`")

    def on_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._copied(node.value, 0.2)
            self._defaulted(node.value)

    def on_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self._copied(node.value, 0.2)

    def on_For(self, node: ast.For | ast.comprehension) -> None:
        self._targets(node.target)

    def on_arguments(self, node: ast.arguments) -> None:
        """Defaults of parameters: a constant of the module where None does not do, None for False."""
        names = [*zip(reversed(node.args), reversed(node.defaults), strict=False),
                 *((a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d)]  # fmt: skip
        for parameter, default in names:
            if not isinstance(default, ast.Constant):
                continue
            if default.value is None:
                for rank, name in enumerate(self.known.named_like(parameter.arg)[:12]):
                    bare = parameter.arg in self.unchecked
                    weight = (2.0 if bare and self.hints.none else 0.6 if bare else 0.2) / (1 + 0.2 * rank)
                    self.put(default, name, "default", weight, f"use `{name}` as the default of `{parameter.arg}`")
                for text in ("()", "0", "''"):
                    self.put(default, text, "default", 0.1, f"use `{text}` as the default of `{parameter.arg}`")
            elif default.value is False:
                self.put(default, "None", "default", 1.0, f"use None as the default of `{parameter.arg}`")

    def _targets(self, target: ast.expr) -> None:
        """Two neighbouring names change places where a tuple is taken apart."""
        if not isinstance(target, ast.Tuple):
            return
        for left, right in pairwise(target.elts):
            if isinstance(left, ast.Name) and isinstance(right, ast.Name):
                gap = self.fragment.text(self.fragment.between(left, right))
                span = Span(*self.fragment.span(left)[:2], *self.fragment.span(right)[2:])
                self.put(span, right.id + gap + left.id, "unpacking", 1.0, f"swap `{left.id}` and `{right.id}`")

    def _copied(self, value: ast.expr, weight: float) -> None:
        if isinstance(value, ast.Name | ast.Attribute):
            text = self.fragment.text(value)
            for rank, copy in enumerate((f"dict({text})", f"list({text})", f"{text}.copy()", f"set({text})",
                                         f"tuple({text})")):  # fmt: skip
                self.put(value, copy, "copy", weight / (1 + 0.2 * rank), f"take a copy of `{text}`")

    def _defaulted(self, value: ast.expr) -> None:
        """Something else in place of a value that may be None."""
        if not isinstance(value, ast.Name | ast.Attribute | ast.Call):
            return
        text = self.fragment.text(value)
        bare = text in self.unchecked
        weight = 2.0 if bare and self.hints.none else 0.5 if bare or self.hints.none else 0.1
        for rank, other in enumerate([*_EMPTY, *self.known.named_like(text)[:3]]):
            remark = f"use `{other}` where `{short(text)}` is None or empty"
            self.put(value, f"{text} or {other}", "operand", weight / (1 + 0.25 * rank), remark)
