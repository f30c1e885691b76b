"""Operators on expressions: comparison, boolean, arithmetic, constant, negation."""

from __future__ import annotations

import re
from collections.abc import Iterator

import libcst as cst

from forager.forage.operators.base import STRINGS, Change, Site, operator, wrapped

COMPARISONS: dict[type[cst.BaseCompOp], tuple[str, ...]] = {
    cst.LessThan: ("<=", ">="),
    cst.LessThanEqual: ("<", ">"),
    cst.GreaterThan: (">=", "<="),
    cst.GreaterThanEqual: (">", "<"),
    cst.Equal: ("!=",),
    cst.NotEqual: ("==",),
    cst.Is: ("is not",),
    cst.IsNot: ("is",),
    cst.In: ("not in",),
    cst.NotIn: ("in",),
}

ARITHMETIC: dict[type[cst.CSTNode], tuple[str, ...]] = {
    cst.Add: ("-",),
    cst.Subtract: ("+",),
    cst.Multiply: ("/", "+"),
    cst.Divide: ("*", "//"),
    cst.FloorDivide: ("/", "%"),
    cst.Modulo: ("//",),
    cst.Power: ("*",),
    cst.LeftShift: (">>",),
    cst.RightShift: ("<<",),
    cst.BitAnd: ("|",),
    cst.BitOr: ("&",),
    cst.BitXor: ("|",),
    cst.AddAssign: ("-=", "="),
    cst.SubtractAssign: ("+=",),
    cst.MultiplyAssign: ("/=", "+="),
    cst.DivideAssign: ("*=",),
    cst.FloorDivideAssign: ("/=",),
    cst.ModuloAssign: ("//=",),
    cst.BitAndAssign: ("|=",),
    cst.BitOrAssign: ("&=",),
    cst.LeftShiftAssign: (">>=",),
    cst.RightShiftAssign: ("<<=",),
}

SEPARATORS = {"-": "_", "_": "-", " ": "", ",": ";", ".": ",", "/": "-", ":": ";", "\\n": " ", "": " "}
"""Strings that programs join and split with, and what someone might write by mistake."""


@operator("comparison", cst.ComparisonTarget)
def comparison(node: cst.ComparisonTarget, site: Site) -> Iterator[Change]:
    """Another boundary, or the opposite: `<` to `<=` or `>=`, `==` to `!=`, `in` to `not in`."""
    for text in COMPARISONS.get(type(node.operator), ()):
        yield site.replace(node.operator, text)


@operator("boolean", cst.BooleanOperation)
def boolean(node: cst.BooleanOperation, site: Site) -> Iterator[Change]:
    """`and` for `or`, and an operand forgotten."""
    yield site.replace(node.operator, "or" if isinstance(node.operator, cst.And) else "and")
    yield site.keep(node, node.left)
    yield site.keep(node, node.right)


@operator("arithmetic", cst.BinaryOperation, cst.AugAssign)
def arithmetic(node: cst.BinaryOperation | cst.AugAssign, site: Site) -> Iterator[Change]:
    """Another arithmetic or bit operator. Not where a string shows that it is no arithmetic."""
    operands = (node.left, node.right) if isinstance(node, cst.BinaryOperation) else (node.value,)
    if not any(isinstance(operand, STRINGS) for operand in operands):
        for text in ARITHMETIC.get(type(node.operator), ()):
            yield site.replace(node.operator, text)


@operator("arithmetic", cst.UnaryOperation)
def sign(node: cst.UnaryOperation, site: Site) -> Iterator[Change]:
    """A sign lost: `-x` to `x`."""
    if isinstance(node.operator, cst.Minus | cst.BitInvert) and not isinstance(site.parent, cst.Index | cst.Slice):
        yield site.keep(node, node.expression)


@operator("negation", cst.UnaryOperation)
def negation_lost(node: cst.UnaryOperation, site: Site) -> Iterator[Change]:
    """`not x` to `x`."""
    if isinstance(node.operator, cst.Not):
        yield site.keep(node, node.expression)


@operator("negation", cst.If, cst.While, cst.IfExp, cst.CompIf, cst.Assert)
def negation_added(node: cst.If | cst.While | cst.IfExp | cst.CompIf | cst.Assert, site: Site) -> Iterator[Change]:
    """A condition turned round. Comparisons and `not` have their own operators."""
    if isinstance(node.test, cst.Comparison) and len(node.test.comparisons) == 1:
        return
    if not (isinstance(node.test, cst.UnaryOperation) and isinstance(node.test.operator, cst.Not)):
        yield site.replace(node.test, f"not {wrapped(site, node.test)}")


@operator("constant", cst.Integer)
def integer(node: cst.Integer, site: Site) -> Iterator[Change]:
    """A whole number off by one."""
    if isinstance(site.parent, cst.Index | cst.Slice) or re.fullmatch(r"[1-9]\d*|0", node.value) is None:
        return  # the slice operator's; other bases are bit masks and code points
    value = int(node.value)
    yield site.replace(node, str(value + 1))
    if value:
        yield site.replace(node, str(value - 1))


@operator("constant", cst.Float)
def floating(node: cst.Float, site: Site) -> Iterator[Change]:
    """A number off by one."""
    if re.fullmatch(r"\d+\.\d+", node.value) and len(node.value) < 12:
        whole, fraction = node.value.split(".")
        yield site.replace(node, f"{int(whole) + 1}.{fraction}")


@operator("constant", cst.Name)
def truth(node: cst.Name, site: Site) -> Iterator[Change]:
    """`True` for `False`, and the other way."""
    if node.value in ("True", "False") and not isinstance(site.parent, cst.Return):
        yield site.replace(node, str(node.value == "False"))


@operator("constant", cst.SimpleString)
def string(node: cst.SimpleString, site: Site) -> Iterator[Change]:
    """A separator mistaken, or the last letter of a short word lost. Texts for people are left alone."""
    if site.inside(cst.Raise, cst.Assert) or node.prefix or len(node.quote) > 1:
        return
    content = node.raw_value
    if content in SEPARATORS:
        yield site.replace(node, node.quote + SEPARATORS[content] + node.quote)
    elif re.fullmatch(r"(?!__)\w{2,20}", content):
        yield site.replace(node, node.quote + content[:-1] + node.quote)
