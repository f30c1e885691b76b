"""The statement of a task to write a function again: its name, what it is documented to do, what the tests show."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from forager.forage.failures import clean
from forager.forage.mutate import Mutant
from forager.forage.statement import Detail, behaviour, closing, gives_away

WRITE = "write the function"

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def implement_statement(
    name: str,
    version: str,
    failures: Mapping[str, str],
    sources: Mapping[str, bytes],
    *,
    mutant: Mutant,
    source: bytes,
    diff: str,
    count: int,
    detail: Detail = "full",
    hidden: bool = False,
) -> str:
    """What is wanted of who writes the function that `mutant` took the body from; `source` is its clean file.

    `full` shows its documentation and what tests expect, `symptom` its documentation, `terse` its name. The other
    arguments are those of `statement.make_statement`.
    """
    levels: list[Detail] = ["full", "symptom", "terse"]
    statement = ""
    for level in levels[levels.index(detail) :]:
        parts = [
            f"# Write `{mutant.function}` of {name}",
            f"`{mutant.function}` of {name} {version} has no body: it only raises `NotImplementedError`.",
        ]
        if level != "terse":
            parts += ["This is how it is called, and what it is documented to do:", _documented(mutant, source)]
        if level == "full":
            parts += behaviour(failures, sources, "full")
        parts.append(closing(count, hidden, WRITE))
        statement = "\n\n".join(parts) + "\n"
        if not gives_away(statement, mutant.file, diff):
            break
    return statement


def _documented(mutant: Mutant, source: bytes) -> str:
    """The function's header and docstring, as a block."""
    tree = ast.parse(source)
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, _Function) and node.lineno < mutant.line <= (node.end_lineno or 0)
    ]
    function = around[0]  # the outermost comes first
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    documented = ast.get_docstring(function) or ""
    return f"```\n{kind} {function.name}({ast.unparse(function.args)}){returned}\n\n{clean(documented)}\n```"
