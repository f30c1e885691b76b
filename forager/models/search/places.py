"""Changes to what is taken from where: calls and their arguments, indexes, slices, names."""

from __future__ import annotations

import ast
from itertools import pairwise

from forager.models.search.changes import Changes, short
from forager.models.search.source import Span

_CALLED = {
    "min": "max", "any": "all", "startswith": "endswith", "lower": "upper", "lstrip": "rstrip", "append": "extend",
    "find": "rfind", "index": "rindex", "split": "rsplit", "partition": "rpartition", "floor": "ceil",
    "add": "discard",
    "popleft": "pop", "appendleft": "append", "keys": "values", "first": "last", "isinstance": "issubclass",
}  # fmt: skip
_CALLED.update({b: a for a, b in list(_CALLED.items()) if b not in _CALLED})


class Places(Changes):
    def on_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        span = self.fragment.span(node.func)
        if name in _CALLED:
            place = Span(span.end_line, span.end_column - len(name), span.end_line, span.end_column)
            self.put(place, _CALLED[name], "called", 1.0, f"call `{_CALLED[name]}` instead of `{name}`")
        if (
            name in ("reversed", "sorted", "abs", "not_", "list", "iter")
            and len(node.args) == 1
            and not node.keywords
        ):
            self.put(node, self.fragment.text(node.args[0]), "called", 0.1, f"drop the call of `{name}`")
        plain = [a for a in node.args if not isinstance(a, ast.Starred)] + [k.value for k in node.keywords if k.arg]
        for left, right in pairwise(plain):
            gap = self.fragment.text(self.fragment.between(left, right))
            span = Span(*self.fragment.span(left)[:2], *self.fragment.span(right)[2:])
            if isinstance(left, ast.GeneratorExp) or "*" in gap:
                continue
            swapped = self.fragment.text(right) + gap + self.fragment.text(left)
            weight = 0.7 if type(left) is type(right) else 0.5
            self.put(
                span, swapped, "arguments", weight, f"swap two arguments of `{short(self.fragment.text(node.func))}`"
            )
        self._restore_argument(node, name)
        if name == "range":
            for argument in node.args:
                self.off_by_one(argument, 0.4)

    def _restore_argument(self, node: ast.Call, name: str) -> None:
        if name in (
            "isinstance",
            "len",
            "super",
            "print",
            "repr",
            "callable",
            "hasattr",
            "lower",
            "upper",
            "keys",
            "values",
            "items",
            "append",
            "add",
            "copy",
            "startswith",
            "endswith",
            "format",
            "isdigit",
        ):
            return
        end = self.fragment.span(node)
        close = Span(end.end_line, end.end_column - 1, end.end_line, end.end_column - 1)
        given = {ast.dump(a) for a in node.args} | {k.arg or "" for k in node.keywords}
        before = self.fragment.text(Span(end.line, end.column, end.end_line, end.end_column - 1)).rstrip()
        comma = "" if before.endswith(("(", ",")) else ", "
        if (
            before.endswith(",")
            or "\n" in self.fragment.text(node)
            or (len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp) and not node.keywords)
        ):
            return
        for name in self.unused:
            self.put(close, f"{comma}{name}", "argument", 0.8, f"pass `{name}`, which is not used so far")
            self.put(close, f"{comma}{name}={name}", "argument", 0.6, f"pass `{name}`, which is not used so far")
        for name in self.local[:8]:
            if name not in self.unused and not any(f"id='{name}'" in dump for dump in given):
                self.put(close, f"{comma}{name}", "argument", 0.12, f"pass `{name}` too")
                if not node.keywords and node.args:
                    first = self.fragment.span(node.args[0])
                    place = Span(first.line, first.column, first.line, first.column)
                    self.put(place, f"{name}, ", "argument", 0.1, f"pass `{name}` first")

    def on_Subscript(self, node: ast.Subscript) -> None:
        index = node.slice
        if isinstance(index, ast.Slice):
            self._slice(index, self.fragment.text(node.value))
        elif isinstance(index, ast.Constant) and index.value == 0:
            self.put(index, "-1", "index", 0.8, "take the last item instead of the first")
        elif isinstance(index, ast.UnaryOp) and self.fragment.text(index) == "-1":
            self.put(index, "0", "index", 0.8, "take the first item instead of the last")
            self.put(index, "-2", "index", 0.4, "take the item before the last")
        elif isinstance(index, ast.Name | ast.BinOp | ast.Attribute):
            self.off_by_one(index, 0.35)

    def _slice(self, node: ast.Slice, value: str) -> None:
        text = {
            part: self.fragment.text(n) if (n := getattr(node, part)) else "" for part in ("lower", "upper", "step")
        }

        def put(weight: float, remark: str, **parts: str) -> None:
            new = {**text, **parts}
            joined = f"{new['lower']}:{new['upper']}" + (f":{new['step']}" if new["step"] else "")
            self.put(node, joined, "slice", weight, remark)

        whose = f"`{short(value)}[...]`"
        for part in ("lower", "upper"):
            if not text[part]:
                continue
            put(0.25, f"leave the {part} bound of {whose} open", **{part: ""})
            if not text[part].lstrip("-").isdigit():
                put(0.5, f"move the {part} bound of {whose} up by one", **{part: f"{text[part]} + 1"})
                put(0.5, f"move the {part} bound of {whose} down by one", **{part: f"{text[part]} - 1"})
                put(0.2, f"count the {part} bound of {whose} from the end", **{part: f"-{text[part]}"})
            else:
                number = int(text[part])
                for new in (number + 1, number - 1, -number):
                    put(0.6, f"use {new} as the {part} bound of {whose}", **{part: str(new)})
        if text["lower"] and not text["upper"]:
            put(0.6, f"make the bound of {whose} its end", lower="", upper=text["lower"])
        if text["upper"] and not text["lower"]:
            put(0.6, f"make the bound of {whose} its start", lower=text["upper"], upper="")
            put(0.5, f"start {whose} at 1", lower="1")
        if not text["upper"]:
            put(0.5, f"end {whose} before its last item", upper="-1")
        if not text["lower"] and not text["upper"]:
            put(0.5, f"start {whose} at 1", lower="1")
            for name in self.local[:6]:
                put(0.3, f"start {whose} at `{name}`", lower=name)
                put(0.3, f"end {whose} at `{name}`", upper=name)
        elif not text["upper"]:
            for name in self.local[:6]:
                put(0.15, f"end {whose} at `{name}`", upper=name)
        elif not text["lower"]:
            for name in self.local[:6]:
                put(0.15, f"start {whose} at `{name}`", lower=name)
        if text["step"]:
            put(0.3, f"take every item of {whose}", step="")
            put(
                0.3,
                f"turn {whose} round",
                step=text["step"][1:] if text["step"][:1] == "-" else "-" + text["step"],
            )

    def on_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            return
        for name in self.local:
            if name != node.id and node.id in self.local:
                self.put(
                    node,
                    name,
                    "variable",
                    0.35 if name in self.unused else 0.1,
                    f"use `{name}` instead of `{node.id}`",
                )
