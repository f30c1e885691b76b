"""Changes to calls: another function or method called, arguments swapped, given back, given by another name."""

from __future__ import annotations

import ast
import re
from itertools import pairwise

from forager.models.search.changes import Changes, short
from forager.models.search.source import Span

_GROUPS = (
    "lower upper title capitalize casefold swapcase", "strip lstrip rstrip", "startswith endswith",
    "find rfind index", "index rindex find", "split rsplit splitlines", "partition rpartition", "ljust rjust center",
    "keys values items", "get pop setdefault", "popleft pop", "append extend appendleft add insert", "discard remove",
    "add discard remove", "update setdefault", "match search fullmatch", "findall search finditer",
    "group groups start end", "isdigit isalpha isalnum", "isupper islower", "union intersection difference",
    "difference symmetric_difference", "issubset issuperset", "read readline", "encode decode", "any all", "min max",
    "list sorted tuple set", "iter reversed", "str repr", "ord chr", "int round float", "bool len",
    "isinstance issubclass", "hasattr getattr", "floor ceil", "first last",
)  # fmt: skip
_ALIKE: dict[str, dict[str, float]] = {}
for _group in _GROUPS:
    _names = _group.split()
    for _name in _names:
        for _place, _other in enumerate(n for n in _names if n != _name):
            _ALIKE.setdefault(_name, {}).setdefault(_other, 1.0 / (1 + 0.3 * _place))

_COMPLETE = {
    "isinstance", "len", "super", "print", "repr", "callable", "hasattr", "lower", "upper", "keys", "values", "items",
    "append", "add", "copy", "startswith", "endswith", "isdigit", "str", "bool",
}  # fmt: skip
"""Called with what they need, mostly."""


class Calls(Changes):
    def on_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        span = self.fragment.span(node.func)
        place = Span(span.end_line, span.end_column - len(name), span.end_line, span.end_column)
        for other, weight in _ALIKE.get(name, {}).items():
            self.put(place, other, "called", weight, f"call `{other}` instead of `{name}`")
        if name == "insert" and len(node.args) == 2:
            last = self.fragment.text(node.args[1])
            self.put(Span(*place[:2], *self.fragment.span(node)[2:]), f"append({last})", "called", 1.0, "append")
        single = len(node.args) == 1 and not node.keywords
        if single and name in ("reversed", "sorted", "abs", "not_", "list", "iter"):
            self.put(node, self.fragment.text(node.args[0]), "called", 0.1, f"drop the call of `{name}`")
        self._swaps(node)
        self._argument(node, name)
        self._keywords(node, name)
        if name == "range":
            for argument in node.args:
                self.off_by_one(argument, 0.4)
            if len(node.args) > 1:
                rest = self.fragment.text(Span(*self.fragment.span(node.args[1])[:2], *self.fragment.span(node)[2:]))
                self.put(Span(*self.fragment.span(node.args[0])[:2], *self.fragment.span(node)[2:]), rest,
                         "off_by_one", 0.5, "start the range at 0")  # fmt: skip

    def _swaps(self, node: ast.Call) -> None:
        plain = [a for a in node.args if not isinstance(a, ast.Starred)] + [k.value for k in node.keywords if k.arg]
        for left, right in pairwise(plain):
            gap = self.fragment.text(self.fragment.between(left, right))
            span = Span(*self.fragment.span(left)[:2], *self.fragment.span(right)[2:])
            if isinstance(left, ast.GeneratorExp) or "*" in gap:
                continue
            swapped = self.fragment.text(right) + gap + self.fragment.text(left)
            weight = 0.7 if type(left) is type(right) else 0.5
            called = short(self.fragment.text(node.func))
            self.put(span, swapped, "arguments", weight, f"swap two arguments of `{called}`")

    def _closing(self, node: ast.Call) -> tuple[Span, str]:
        """Where a last argument goes, and what has to stand before it."""
        end = self.fragment.span(node)
        close = Span(end.end_line, end.end_column - 1, end.end_line, end.end_column - 1)
        before = self.fragment.text(Span(end.line, end.column, end.end_line, end.end_column - 1)).rstrip()
        return close, "" if before.endswith(("(", ",")) else ", "

    def _argument(self, node: ast.Call, called: str) -> None:
        generator = len(node.args) == 1 and isinstance(node.args[0], ast.GeneratorExp) and not node.keywords
        close, comma = self._closing(node)
        if called in _COMPLETE or generator or "\n" in self.fragment.text(node):
            return
        given = {n.id for a in [*node.args, *node.keywords] for n in ast.walk(a) if isinstance(n, ast.Name)}
        for name in self.unused:
            self.put(close, f"{comma}{name}", "argument", 0.8, f"pass `{name}`, which is not used so far")
        for name in [n for n in self.local[:8] if n not in self.unused and n not in given]:
            self.put(close, f"{comma}{name}", "argument", 0.12, f"pass `{name}` too")
        for name in [n for n in self.local[:8] if n not in given]:
            if node.args and not isinstance(node.args[0], ast.Starred):
                first = self.fragment.span(node.args[0])
                place = Span(first.line, first.column, first.line, first.column)
                self.put(place, f"{name}, ", "argument", 0.6 if name in self.unused else 0.1, f"pass `{name}` first")

    def _keywords(self, node: ast.Call, called: str) -> None:
        """Keywords that the function has and the call does not give, or gives by another name."""
        given = {k.arg for k in node.keywords if k.arg}
        text = self.fragment.text(node.func)
        known = [name for name in self.known.parameters.get(called, []) if name not in given]
        wanted = [n for n in sorted(self.hints.missing_arguments) if n not in given]
        if isinstance(node.func, ast.Attribute) and called == "format" and isinstance(node.func.value, ast.Constant):
            wanted += [n for n in re.findall(r"{(\w+)", str(node.func.value.value)) if n not in given]
        for keyword in node.keywords:
            if not keyword.arg:
                continue
            span = self.fragment.span(keyword)
            place = Span(span.line, span.column, span.line, span.column + len(keyword.arg))
            own = [keyword.value.id] if isinstance(keyword.value, ast.Name) else []
            bad = 1.0 if keyword.arg in self.hints.bad_arguments else 0.4
            for rank, name in enumerate(dict.fromkeys([*own, *known, *wanted])):
                weight = bad / (1 + 0.3 * rank)
                self.put(place, name, "keyword", weight, f"pass it to `{short(text)}` as `{name}`")
        close, comma = self._closing(node)
        positional = len(node.args)
        for name in dict.fromkeys([*wanted, *known[positional:], *self.unused]):
            sure = 1.0 if name in wanted else 0.7 if name in self.unused else 0.5
            alike = [n for n in self.local if name in n.split("_") or n in name.split("_")]
            values = [name] if name in self.local else [*alike, *(self.local[:6] if name in wanted else ())]
            values += [f"self.{a}" for a in self.attributes if a.strip("_") == name.strip("_")]
            for rank, value in enumerate(dict.fromkeys(values)):
                remark = f"pass `{name}={value}` to `{short(text)}`"
                if called not in _COMPLETE:
                    self.put(close, f"{comma}{name}={value}", "keyword", sure / (1 + 0.5 * rank), remark)
