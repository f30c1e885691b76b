"""Changes to expressions that may undo a fault: operators, constants, calls, indexes, names."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Set
from itertools import pairwise

from forager.models.search.hints import Hints
from forager.models.search.source import Fragment, Span
from forager.models.search.syntax import Names, is_docstring, is_plain

Change = tuple[Span, str, str, float, str]
"""Where, the new text, kind, weight, remark."""

_COMPARE: dict[type[ast.cmpop], tuple[str, dict[str, float]]] = {
    ast.Lt: ("<", {"<=": 1.0, ">=": 0.8, ">": 0.6, "==": 0.15, "!=": 0.15}),
    ast.LtE: ("<=", {"<": 1.0, ">": 0.8, ">=": 0.6, "==": 0.2, "!=": 0.1}),
    ast.Gt: (">", {">=": 1.0, "<=": 0.8, "<": 0.6, "==": 0.15, "!=": 0.15}),
    ast.GtE: (">=", {">": 1.0, "<": 0.8, "<=": 0.6, "==": 0.2, "!=": 0.1}),
    ast.Eq: ("==", {"!=": 1.0, "<=": 0.2, ">=": 0.2, "<": 0.1, ">": 0.1}),
    ast.NotEq: ("!=", {"==": 1.0, "<": 0.2, ">": 0.2}),
    ast.Is: ("is", {"is not": 1.0, "==": 0.1}),
    ast.IsNot: ("is not", {"is": 1.0, "!=": 0.1}),
    ast.In: ("in", {"not in": 1.0, "==": 0.05}),
    ast.NotIn: ("not in", {"in": 1.0}),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, dict[str, float]]] = {
    ast.Add: ("+", {"-": 1.0, "*": 0.3}),
    ast.Sub: ("-", {"+": 1.0, "*": 0.1}),
    ast.Mult: ("*", {"/": 0.7, "+": 0.5, "//": 0.4, "**": 0.3}),
    ast.Div: ("/", {"*": 0.8, "//": 0.7}),
    ast.FloorDiv: ("//", {"/": 0.8, "*": 0.6, "%": 0.5}),
    ast.Mod: ("%", {"//": 0.7, "*": 0.5, "/": 0.4}),
    ast.Pow: ("**", {"*": 1.0}),
    ast.BitAnd: ("&", {"|": 1.0, "^": 0.2}),
    ast.BitOr: ("|", {"&": 1.0, "^": 0.2}),
    ast.BitXor: ("^", {"|": 0.7, "&": 0.6}),
    ast.LShift: ("<<", {">>": 1.0}),
    ast.RShift: (">>", {"<<": 1.0}),
}
_CALLED = {
    "min": "max", "any": "all", "startswith": "endswith", "lower": "upper", "lstrip": "rstrip", "append": "extend",
    "find": "rfind", "index": "rindex", "split": "rsplit", "partition": "rpartition", "floor": "ceil",
    "add": "discard",
    "popleft": "pop", "appendleft": "append", "keys": "values", "first": "last", "isinstance": "issubclass",
}  # fmt: skip
_CALLED.update({b: a for a, b in list(_CALLED.items()) if b not in _CALLED})


class Expressions:
    """Collects `changes` for one function or statement. `words` is what a misspelt constant may have been."""

    def __init__(self, fragment: Fragment, hints: Hints, names: Names, words: Set[str]) -> None:
        self.fragment = fragment
        self.hints = hints
        self.local = names.bound
        self.unused = names.unused
        self.words = words
        self.changes: list[Change] = []

    def put(self, place: ast.AST | Span, text: str, kind: str, weight: float, remark: str) -> None:
        span = place if isinstance(place, Span) else self.fragment.span(place)
        if text != self.fragment.text(span):
            self.changes.append((span, text, kind, weight, remark))

    def visit(self, node: ast.AST) -> None:
        method: Callable[[ast.AST], None] | None = getattr(self, "on_" + type(node).__name__, None)
        if method:
            method(node)
        for child in _children(node):
            self.visit(child)

    # -- operators ---------------------------------------------------------------------------------------

    def on_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            token, others = _COMPARE[type(op)]
            self._swap_token(left, right, token, others, "comparison")
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            self._off_by_one(node.comparators[0], 0.15)

    def on_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant | ast.JoinedStr):
            return  # string formatting
        if type(node.op) in _ARITHMETIC:
            token, others = _ARITHMETIC[type(node.op)]
            strings = any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in (node.left, node.right))
            if not strings:
                self._swap_token(node.left, node.right, token, others, "arithmetic")
            if isinstance(node.op, ast.Add | ast.Sub | ast.Div | ast.FloorDiv | ast.Mod):
                weight = 0.15 if isinstance(node.op, ast.Add) else 0.4
                swapped = self._both(node.right, node.left, token)
                self.put(node, swapped, "operands", weight, f"swap the sides of `{token}`")

            if isinstance(node.op, ast.Add | ast.Sub) and self.fragment.text(node.right) == "1":
                self.put(node, self.fragment.text(node.left), "off_by_one", 1.0, f"drop the `{token} 1`")
            elif not strings:
                self.put(node, self.fragment.text(node.left), "operands", 0.1, f"drop what is after `{token}`")

    def _both(self, left: ast.AST, right: ast.AST, token: str) -> str:
        return f"{self._wrapped(left)} {token} {self._wrapped(right)}"

    def _wrapped(self, node: ast.AST) -> str:
        text = self.fragment.text(node)
        return (
            text
            if isinstance(node, ast.Name | ast.Call | ast.Attribute | ast.Constant | ast.Subscript)
            else f"({text})"
        )

    def on_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in _ARITHMETIC:
            token, others = _ARITHMETIC[type(node.op)]
            self._swap_token(
                node.target, node.value, token + "=", {o + "=": w for o, w in others.items()}, "arithmetic"
            )
            self._swap_token(node.target, node.value, token + "=", {"=": 0.2}, "assignment")

    def _swap_token(self, left: ast.AST, right: ast.AST, token: str, others: dict[str, float], kind: str) -> None:
        gap = self.fragment.between(left, right)
        text = self.fragment.text(gap)
        pattern = r"\s+".join(re.escape(part) for part in token.split())
        if len(re.findall(pattern, text)) != 1:
            return
        for other, weight in others.items():
            new = re.sub(pattern, other.replace("\\", r"\\"), text)
            self.put(gap, new, kind, weight, f"use `{other}` instead of `{token}`")

    def on_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        parts = [self.fragment.text(node.values[0])]
        for left, right in zip(node.values, node.values[1:], strict=False):
            gap = self.fragment.text(self.fragment.between(left, right))
            parts += [re.sub(rf"\b{old}\b", new, gap), self.fragment.text(right)]
        self.put(node, "".join(parts), "boolean", 1.0, f"use `{new}` instead of `{old}`")
        for value in node.values:
            self._negate(value, 0.5)

    def on_UnaryOp(self, node: ast.UnaryOp) -> None:
        operand = self.fragment.text(node.operand)
        if isinstance(node.op, ast.Not):
            self.put(node, operand, "negation", 1.0, "drop the `not`")
        elif isinstance(node.op, ast.USub):
            self.put(node, operand, "sign", 0.8, "drop the minus sign")
        elif isinstance(node.op, ast.UAdd):
            self.put(node, "-" + operand, "sign", 1.0, "use a minus sign")
        elif isinstance(node.op, ast.Invert):
            self.put(node, operand, "sign", 0.6, "drop the `~`")

    def _negate(self, node: ast.expr, weight: float) -> None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return  # the comparison's own opposite is tried
        if isinstance(node, ast.Constant):
            return
        text = self.fragment.text(node)
        bare = is_plain(node)
        self.put(node, f"not {text}" if bare else f"not ({text})", "negation", weight, f"negate `{_short(text)}`")

    def on_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        self._negate(node.test, 0.9)
        self._condition(node.test)

    def on_While(self, node: ast.While) -> None:
        self._negate(node.test, 0.4)

    def on_Assert(self, node: ast.Assert) -> None:
        self._negate(node.test, 0.5)

    def _condition(self, test: ast.expr) -> None:
        if isinstance(test, ast.Constant):
            for name in self.unused:
                self.put(test, name, "variable", 0.5, f"test `{name}`")
                self.put(test, f"not {name}", "variable", 0.4, f"test `not {name}`")
                self.put(test, f"{name} is None", "variable", 0.4, f"test `{name} is None`")

    def on_IfExp(self, node: ast.IfExp) -> None:
        body, test, other = (self.fragment.text(n) for n in (node.body, node.test, node.orelse))
        self.put(node, f"{other} if {test} else {body}", "branch", 1.0, "swap the two values of the conditional")

    def on_Dict(self, node: ast.Dict | ast.List) -> None:
        if not (node.keys if isinstance(node, ast.Dict) else node.elts):
            text = self.fragment.text(node)
            for name in self.unused[:3]:
                self.put(
                    node, f"{name} or {text}", "none", 1.0, f"use `{name}`, which is not used so far, if it is given"
                )
                self.put(node, name, "none", 0.5, f"use `{name}`, which is not used so far")

    on_List = on_Dict

    def on_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test, 0.9)

    # -- constants ---------------------------------------------------------------------------------------

    def on_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.put(node, str(not value), "truth", 1.0, f"use {not value} instead of {value}")
        elif isinstance(value, int):
            self._integer(node, value)
        elif isinstance(value, float):
            for new, weight in (
                (value + 1, 0.7),
                (value - 1, 0.7),
                (value * 2, 0.3),
                (value / 2, 0.3),
                (-value, 0.2),
            ):
                self.put(node, repr(new), "number", weight, f"use {new!r} instead of {value!r}")
        elif isinstance(value, str):
            self._string(node, value)
        elif value is None:
            for name in self.unused[:3]:
                self.put(node, name, "none", 0.5, f"use `{name}` instead of None")
            for text, weight in (("True", 0.15), ("False", 0.15), ("0", 0.05), ("''", 0.05), ("[]", 0.05)):
                self.put(node, text, "none", weight, f"use {text} instead of None")

    def _integer(self, node: ast.Constant, value: int) -> None:
        alternatives = {value - 1: 1.0, value + 1: 1.0}
        for new, weight in ((0, 0.35), (1, 0.35), (-1, 0.2), (2, 0.1), (-value, 0.3)):
            alternatives.setdefault(new, weight)
        if abs(value) > 2:
            for new, weight in ((value * 10, 0.1), (value // 10, 0.1), (value * 2, 0.15), (value // 2, 0.15)):
                alternatives.setdefault(new, weight)
        for text in self.hints.numbers:
            if "." not in text:
                alternatives.setdefault(int(text), 0.12)
        for new, weight in alternatives.items():
            self.put(node, str(new), "number", weight, f"use {new} instead of {self.fragment.text(node)}")

    def _string(self, node: ast.Constant, value: str) -> None:
        text = self.fragment.text(node)
        quote = text[-1:]
        if text[:1] in "fF" or quote not in "'\"" or "\n" in text or len(value) > 200:
            return
        stripped = re.fullmatch(r"XX(.*)XX", value, re.DOTALL)
        if stripped:
            self.put(node, text.replace("XX", ""), "string", 1.0, "drop the placeholder letters")
        for got, want in self.hints.pairs:
            if got and (len(got) > 1 or got == value) and got in value and "\\" not in want and quote not in want:
                self.put(
                    node, text.replace(got, want), "string", 0.8, f"say {_short(want)!r} instead of {_short(got)!r}"
                )
            elif not got and not value and "\\" not in want and quote not in want:
                self.put(
                    node, quote + want + quote, "string", 0.8, f"use {_short(want)!r} instead of the empty string"
                )
        for word in self._spelt(value):
            self.put(node, text.replace(value, word), "string", 0.9, f"say {word!r} instead of {value!r}")
        if value == "":
            self.put(node, quote + " " + quote, "string", 0.3, "use a space instead of the empty string")
        elif len(value) <= 3:
            self.put(node, quote + quote, "string", 0.15, "use the empty string")
        if value.upper() != value.lower():
            for new in (value.lower(), value.upper()):
                if text.count(value) == 1:
                    self.put(node, text.replace(value, new), "string", 0.15, f"write {_short(new)!r}")

    def _spelt(self, value: str) -> list[str]:
        """Words that differ from this one by one letter, more or less or another."""
        if not re.fullmatch(r"\w{2,30}", value):
            return []
        near = [w for w in self.words if abs(len(w) - len(value)) <= 1 and w != value and _one_off(w, value)]
        return sorted(near, key=lambda w: (-len(w), w))[:4]

    # -- calls, indexes, names ---------------------------------------------------------------------------

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
                span, swapped, "arguments", weight, f"swap two arguments of `{_short(self.fragment.text(node.func))}`"
            )
        self._restore_argument(node, name)
        if name == "range":
            for argument in node.args:
                self._off_by_one(argument, 0.4)

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
            self._off_by_one(index, 0.35)

    def _slice(self, node: ast.Slice, value: str) -> None:
        text = {
            part: self.fragment.text(n) if (n := getattr(node, part)) else "" for part in ("lower", "upper", "step")
        }

        def put(weight: float, remark: str, **parts: str) -> None:
            new = {**text, **parts}
            joined = f"{new['lower']}:{new['upper']}" + (f":{new['step']}" if new["step"] else "")
            self.put(node, joined, "slice", weight, remark)

        short = _short(value)
        for part in ("lower", "upper"):
            if not text[part]:
                continue
            put(0.25, f"leave the {part} bound of `{short}[...]` open", **{part: ""})
            if not text[part].lstrip("-").isdigit():
                put(0.5, f"move the {part} bound of `{short}[...]` up by one", **{part: f"{text[part]} + 1"})
                put(0.5, f"move the {part} bound of `{short}[...]` down by one", **{part: f"{text[part]} - 1"})
                put(0.2, f"count the {part} bound of `{short}[...]` from the end", **{part: f"-{text[part]}"})
            else:
                number = int(text[part])
                for new in (number + 1, number - 1, -number):
                    put(0.6, f"use {new} as the {part} bound of `{short}[...]`", **{part: str(new)})
        if text["lower"] and not text["upper"]:
            put(0.6, f"make the bound of `{short}[...]` its end", lower="", upper=text["lower"])
        if text["upper"] and not text["lower"]:
            put(0.6, f"make the bound of `{short}[...]` its start", lower=text["upper"], upper="")
            put(0.5, f"start `{short}[...]` at 1", lower="1")
        if not text["upper"]:
            put(0.5, f"end `{short}[...]` before its last item", upper="-1")
        if not text["lower"] and not text["upper"]:
            put(0.5, f"start `{short}[...]` at 1", lower="1")
            for name in self.local[:6]:
                put(0.3, f"start `{short}[...]` at `{name}`", lower=name)
                put(0.3, f"end `{short}[...]` at `{name}`", upper=name)
        elif not text["upper"]:
            for name in self.local[:6]:
                put(0.15, f"end `{short}[...]` at `{name}`", upper=name)
        elif not text["lower"]:
            for name in self.local[:6]:
                put(0.15, f"start `{short}[...]` at `{name}`", lower=name)
        if text["step"]:
            put(0.3, f"take every item of `{short}[...]`", step="")
            put(
                0.3,
                f"turn `{short}[...]` round",
                step=text["step"][1:] if text["step"][:1] == "-" else "-" + text["step"],
            )

    def _off_by_one(self, node: ast.expr, weight: float) -> None:
        if isinstance(node, ast.Constant) or (isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant)):
            return  # the constant itself is tried
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.BinOp):
            text = self.fragment.text(node)
            for sign in "+-":
                self.put(node, f"{text} {sign} 1", "off_by_one", weight, f"use `{_short(text)} {sign} 1`")

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

    # -- exceptions --------------------------------------------------------------------------------------

    def on_Raise(self, node: ast.Raise) -> None:
        target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(target, ast.Name | ast.Attribute):
            self._exception(target, "raise")
        if isinstance(node.exc, ast.Name) and node.exc.id in self.local:
            return
        if node.exc is None:
            for name in ("return", "pass"):
                self.put(node, name, "raise", 0.05, f"do not raise again, `{name}`")

    def on_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            text = self.fragment.text(node.type)
            inner = text[1:-1].rstrip(", ") if isinstance(node.type, ast.Tuple) and text[:1] == "(" else text
            for name in sorted(self.hints.raised):
                if name not in text:
                    self.put(node.type, f"({inner}, {name})", "exception", 0.9, f"catch {name} too")
        if isinstance(node.type, ast.Tuple):
            for item in node.type.elts:
                self._exception(item, "catch")
        elif node.type is not None:
            self._exception(node.type, "catch")

    def _exception(self, node: ast.expr, verb: str) -> None:
        old = self.fragment.text(node)
        likely = dict.fromkeys([*sorted(self.hints.raised | self.hints.not_raised), *self.hints.exceptions], 1.0)
        for name, weight in _EXCEPTIONS.items():
            likely.setdefault(name, weight)
        for name, weight in likely.items():
            if name not in ("AssertionError", "TooSlow"):
                self.put(node, name, "exception", weight, f"{verb} {name} instead of {old}")


_EXCEPTIONS = {"ValueError": 0.4, "TypeError": 0.4, "KeyError": 0.35, "AttributeError": 0.3, "IndexError": 0.3,
               "StopIteration": 0.2, "Exception": 0.15, "ImportError": 0.1, "NotImplementedError": 0.1,
               "RuntimeError": 0.1, "OSError": 0.1, "UnicodeDecodeError": 0.05, "OverflowError": 0.05}  # fmt: skip


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes inside whose changes could matter and whose place is known: no annotations, docstrings, old f-strings."""
    if isinstance(node, ast.JoinedStr) and sys.version_info < (3, 12):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "format_spec", "type_params", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not is_docstring(child):
                yield child


def _one_off(a: str, b: str) -> bool:
    """Whether one letter added, left out or replaced leads from one to the other."""
    if len(a) < len(b):
        a, b = b, a
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(b))
    return a[start + 1 :] == (b[start + 1 :] if len(a) == len(b) else b[start:])


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
