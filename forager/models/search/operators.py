"""Changes to operators and conditions: comparisons, arithmetic, and/or/not, conditional expressions."""

from __future__ import annotations

import ast
import re

from forager.models.search.changes import Changes, short
from forager.models.search.syntax import is_plain

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


class Operators(Changes):
    def on_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            token, others = _COMPARE[type(op)]
            self._swap_token(left, right, token, others, "comparison")
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            self.off_by_one(node.comparators[0], 0.15)

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
            self._negate(value, 0.8 if isinstance(value, ast.BoolOp) else 0.5)

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
        self.put(node, f"not {text}" if bare else f"not ({text})", "negation", weight, f"negate `{short(text)}`")

    def on_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        self._negate(node.test, 0.9)

    def on_While(self, node: ast.While) -> None:
        self._negate(node.test, 0.4)

    def on_Assert(self, node: ast.Assert) -> None:
        self._negate(node.test, 0.5)

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
