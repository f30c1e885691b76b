"""Helpers of tests that only compare what they are given: what is tested stands where they are called."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import NamedTuple

from forager.forage.syntax import Function, calls_in, dotted
from forager.forage.tracebacks import Frame, Level, Sides, compare

HELPERS = 4
"""The most functions that hand things on to be compared, one to the other."""


class Called(NamedTuple):
    """A call of a helper that only compares what it is given."""

    level: Level
    """Where it stands."""
    given: Sides
    """What is compared, as it is written there."""
    name: str
    """What the helper is called by there."""


def caller_of(helper: Level, frames: Iterable[tuple[Frame, bytes]]) -> Called | None:
    """Where a helper that only compares what it is given was called: there something is tested. `frames` are those
    around it, the innermost first. None for any other function."""
    found = None
    function = helper.function
    sides = compare(function.body[-1]) if function is not None else None
    for frame, source in islice(frames, HELPERS):
        names = _parameters(function, sides)
        if function is None or names is None:
            break
        caller = Level.at(frame, source)
        call = _call_of(function, caller)
        given = _given(call, function) if call is not None else {}
        if call is None or names[0] not in given or names[1] not in given:
            break
        function, sides = caller.function, (given[names[0]], given[names[1]])
        found = Called(caller, sides, dotted(call.func))
        if function is None or function.body[-1] is not caller.statement:  # if it is, it may only hand things on
            break
    return found


def _call_of(function: Function, level: Level) -> ast.Call | None:
    """The first call of a function, by its name, in a statement."""
    calls = calls_in(level.statement) if level.statement is not None else []
    return next((call for call in calls if dotted(call.func).rpartition(".")[2] == function.name), None)


def _parameters(function: Function | None, sides: Sides | None) -> tuple[str, str] | None:
    """The parameters that the last statement of a function compares, if it does nothing else but print."""
    if function is None or sides is None or function.decorator_list or function.name.startswith("test"):
        return None
    silent = all(
        isinstance(s, ast.Expr)
        and (isinstance(s.value, ast.Constant) or (isinstance(s.value, ast.Call) and dotted(s.value.func) == "print"))
        for s in function.body[:-1]
    )
    left, right = sides
    parameters = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    if not silent or not (isinstance(left, ast.Name) and isinstance(right, ast.Name)):
        return None
    return (left.id, right.id) if {left.id, right.id} <= parameters else None


def _given(call: ast.Call, function: Function) -> dict[str, ast.expr]:
    """What a call gives for the parameters of a function, as far as it is written out."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    if isinstance(call.func, ast.Attribute) and names[:1] in (["self"], ["cls"]):
        names = names[1:]
    plain = takewhile(lambda argument: not isinstance(argument, ast.Starred), call.args)
    return dict(zip(names, plain, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
