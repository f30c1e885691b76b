"""Operators on control flow: return value, exception, branch, removal."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from forager.forage.operators.base import Change, Site, operator

RELATED = {
    "ValueError": ("TypeError", "KeyError"),
    "TypeError": ("ValueError",),
    "KeyError": ("IndexError", "ValueError"),
    "IndexError": ("KeyError",),
    "AttributeError": ("KeyError", "TypeError"),
    "NotImplementedError": ("TypeError",),
    "StopIteration": ("ValueError",),
    "OverflowError": ("ValueError",),
    "ZeroDivisionError": ("ValueError",),
    "RuntimeError": ("ValueError",),
    "LookupError": ("ValueError",),
    "UnicodeDecodeError": ("TypeError",),
    "UnicodeEncodeError": ("TypeError",),
    "OSError": ("ValueError",),
    "FileNotFoundError": ("PermissionError",),
    "ImportError": ("AttributeError",),
    "Exception": ("ValueError",),
}
"""Exceptions and the ones they get mistaken for. All are builtins, so a mutant never lacks a name."""

LONGEST = 12
"""Lines of both branches together that may change places in one mutant."""


@operator("return", cst.Return)
def return_value(node: cst.Return, site: Site) -> Iterator[Change]:
    """The value forgotten, turned round, or in the wrong order."""
    value = node.value
    if value is None:
        return
    if isinstance(value, cst.Name) and value.value in ("True", "False"):
        yield site.replace(value, str(value.value == "False"))
        return
    if not (isinstance(value, cst.Name) and value.value == "None"):
        yield site.replace(value, "None")
    if isinstance(value, cst.Tuple) and len(value.elements) == 2:
        first, second = value.elements
        if isinstance(first, cst.Element) and isinstance(second, cst.Element):
            yield site.swap(first.value, second.value)
    if isinstance(value, cst.Call) and len(value.args) == 1 and isinstance(value.func, cst.Name):
        argument = value.args[0]
        if not argument.star and argument.keyword is None and not isinstance(argument.value, cst.GeneratorExp):
            yield site.keep(value, argument.value)  # `return tuple(x)` to `return x`


@operator("exception", cst.Raise)
def raised(node: cst.Raise, site: Site) -> Iterator[Change]:
    """Another exception raised."""
    kind = node.exc.func if isinstance(node.exc, cst.Call) else node.exc
    if isinstance(kind, cst.Name):
        # an exception of the package's own is mostly a subclass of some builtin: callers tell them apart by name
        own = ("RuntimeError",) if kind.value[:1].isupper() else ()
        for other in RELATED.get(kind.value, own):
            yield site.replace(kind, other)


@operator("exception", cst.ExceptHandler)
def caught(node: cst.ExceptHandler, site: Site) -> Iterator[Change]:
    """Another exception caught, one of several forgotten, or what was caught let through."""
    if isinstance(node.type, cst.Tuple):
        names = [site.text(element.value) for element in node.type.elements]
        for index in range(len(names)):
            rest = names[:index] + names[index + 1 :]
            if rest:
                yield site.replace(node.type, rest[0] if len(rest) == 1 else f"({', '.join(rest)})")
    elif isinstance(node.type, cst.Name):
        for other in RELATED.get(node.type.value, ()):
            yield site.replace(node.type, other)
    body = node.body.body
    if len(body) == 1 and isinstance(body[0], cst.SimpleStatementLine):
        statement = body[0].body[0]
        if not isinstance(statement, cst.Raise):
            yield site.replace(statement, "raise")


@operator("branch", cst.IfExp)
def choice(node: cst.IfExp, site: Site) -> Iterator[Change]:
    """`a if c else b` to `b if c else a`, or always one of them."""
    yield site.swap(node.body, node.orelse)
    yield site.keep(node, node.body)
    yield site.keep(node, node.orelse)


@operator("branch", cst.If)
def branches(node: cst.If, site: Site) -> Iterator[Change]:
    """The bodies of `if` and `else` changed round; an `else` that always runs; an `elif` that became an `if`."""
    if isinstance(node.orelse, cst.If):
        start, _ = site.span(node.orelse)
        if site.source[start : start + 4] == b"elif":
            yield Change(start, start + 4, "if")
    elif isinstance(node.orelse, cst.Else):
        first, second = node.body, node.orelse.body
        blocks = isinstance(first, cst.IndentedBlock) and isinstance(second, cst.IndentedBlock)
        if blocks and site.text(first).count("\n") + site.text(second).count("\n") + 2 <= LONGEST:
            yield site.swap(first, second)


@operator("removal", cst.Expr, cst.Assign, cst.AnnAssign, cst.AugAssign, cst.Del, cst.Raise)
def statement(node: cst.BaseSmallStatement, site: Site) -> Iterator[Change]:
    """A statement forgotten: a call, an assignment to an attribute or an element, `del`, `raise`.

    A plain name that is never bound only makes a NameError, so such assignments stay.
    """
    target = node.targets[0].target if isinstance(node, cst.Assign) and len(node.targets) == 1 else None
    if isinstance(node, cst.AnnAssign):
        target = node.target
    if isinstance(node, cst.Assign | cst.AnnAssign) and not isinstance(target, cst.Attribute | cst.Subscript):
        return
    if isinstance(node, cst.Expr) and not isinstance(node.value, cst.Call | cst.Await | cst.Yield):
        return
    yield _remove(node, site)


@operator("removal", cst.If)
def guard(node: cst.If, site: Site) -> Iterator[Change]:
    """A guard forgotten: an `if` without `else` whose body only leaves (return, raise, continue, break)."""
    if node.orelse is not None or isinstance(site.parent, cst.If) or not isinstance(node.body, cst.IndentedBlock):
        return
    last = node.body.body[-1]
    leaves = cst.Return | cst.Raise | cst.Continue | cst.Break
    if len(node.body.body) <= 2 and isinstance(last, cst.SimpleStatementLine) and isinstance(last.body[-1], leaves):
        yield _remove(node, site)


def _remove(node: cst.CSTNode, site: Site) -> Change:
    """Whole lines go where the block keeps another statement; otherwise `pass` stands in."""
    line, block = node, site.parent
    if isinstance(block, cst.SimpleStatementLine):
        if len(block.body) > 1:  # a; b on one line
            return site.replace(node, "pass")
        line, block = block, site.parents[-2]
    if not isinstance(block, cst.IndentedBlock | cst.Module) or len(block.body) == 1 + _is_docstring(block.body[0]):
        return site.replace(node, "pass")
    return Change(*site.lines(line), "")


def _is_docstring(node: cst.CSTNode) -> bool:
    return (
        isinstance(node, cst.SimpleStatementLine)
        and isinstance(node.body[0], cst.Expr)
        and isinstance(node.body[0].value, cst.SimpleString | cst.ConcatenatedString)
    )
