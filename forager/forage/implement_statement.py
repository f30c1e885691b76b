"""The statement of a task to write a function again: its name, what it is documented to do, what the tests show."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from forager.forage.failures import clean
from forager.forage.mutate import Mutant
from forager.forage.statement import Detail, closing, gives_away, shown_failures
from forager.forage.syntax import Function

WRITE = "write the function"
LONGEST = 100
"""Lines of a docstring that are shown; all of it is in the tree."""


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
            parts += _examples(failures, sources)
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
        if isinstance(node, Function) and node.lineno < mutant.line <= (node.end_lineno or 0)
    ]
    function = around[0]  # the outermost comes first
    kind = "async def" if isinstance(function, ast.AsyncFunctionDef) else "def"
    returned = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    lines = (ast.get_docstring(function) or "").splitlines()
    documented = "\n".join([*map(clean, lines[:LONGEST]), *(["..."] if len(lines) > LONGEST else [])])
    return f"```\n{kind} {function.name}({ast.unparse(function.args)}){returned}\n\n{documented}\n```"


def _examples(failures: Mapping[str, str], sources: Mapping[str, bytes]) -> list[str]:
    """Code of tests that comes to the function itself."""
    codes = [f.code for f in shown_failures(failures, sources) if f.code and "NotImplementedError" in f.message]
    blocks = [f"```python\n{code}\n```" for code in dict.fromkeys(codes)]
    return ["Among other things, this has to work:", *blocks] if blocks else []
