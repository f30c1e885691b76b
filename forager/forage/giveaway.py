"""Whether a report that a model wrote gives away where the bug is, or what it is; and if so, by what.

Stricter than `statement.gives_away`, which is for texts made of what failing tests print: a model has seen the change
and can tell it in words of its own. What the tests show anyway (their code, their values, the messages that come) may
be told.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from forager.forage.diffs import changed_lines
from forager.forage.statement import SHORTEST, gives_away
from forager.records import Record

_NAME = re.compile(r"[A-Za-z_]\w{2,}")
_SPAN = re.compile(r"(`+)([^`\n]+)\1")
_FENCED = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_LINE = re.compile(r"\b(lines?|L|#L) ?\d+\b", re.IGNORECASE)
_OPERATOR = re.compile(r"[<>=!+\-*/%&|^~]{1,3}|\b(?:is not|not in|and|or|not|in|is)\b")
_ON_PURPOSE = re.compile(
    r"\b(mutants?|mutated|mutations?|injected|on purpose|deliberately|exercise)\b", re.IGNORECASE
)
_CODE_WORDS = re.compile(
    r"\b(off[- ]by[- ]one|code path|implementation|(if|return|else|raise|except) (statement|branch|clause|block)"
    r"|the (condition|comparison|loop|guard|branch|assignment|decorator)"
    r"|(wrong|inverted|reversed|missing|negated|swapped|boundary|comparison|logical|boolean|arithmetic)"
    r" (condition|comparison|loop|guard|branch|operators?|assignment|decorator|index|check))\b",
    re.IGNORECASE,
)
"""How who has read the code speaks of it; a user says what comes."""
_DEFINITION = re.compile(r"^(?:@@ .*@@ | |\+|-)\s*(?:async )?def (\w+)", re.MULTILINE)
_COMMON = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"self", "cls"}


class Secrets(Record, frozen=True):
    """What must not be told, and what may be told all the same."""

    files: tuple[str, ...]
    """Paths that the bug is in."""
    functions: tuple[str, ...]
    """Qualified names of the functions that it is in."""
    diff: str
    """The change, in either direction."""
    shown: str
    """What who runs the tests sees anyway."""
    tests: tuple[str, ...] = ()
    """Node ids of failing tests that are hidden."""


def functions_in(diff: str) -> tuple[str, ...]:
    """Names of the functions that a diff is in, as far as it shows them."""
    return tuple(dict.fromkeys(_DEFINITION.findall(diff)))


def giveaway(text: str, secrets: Secrets) -> str:
    """What in a text gives the bug away, in words for who wrote it; empty if nothing does."""
    known = frozenset(_NAME.findall(secrets.shown)) | _COMMON
    code = list(_code(text))
    for path in secrets.files:
        name = PurePosixPath(path).name
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) and name not in secrets.shown:
            return f"it names the file {name}"
        module = path.removesuffix(".py")
        if "/" in module and re.search(rf"(?<![\w/]){re.escape(module)}\b", text):
            return f"it names the file {path}"
    if (found := _LINE.search(text)) and found[0] not in secrets.shown:
        return f"it names a line ({found[0]})"
    for function in secrets.functions:
        name = function.rpartition(".")[2]
        if name not in known and _tells(name, text, code):
            return f"it names the function {name}, which the tests do not call themselves"
    for test in secrets.tests:
        name = test.rpartition("::")[2].split("[")[0]
        if name in text or PurePosixPath(test.split("::")[0]).name in text:
            return f"it names the test {name}, which nobody can see"
    if (found := _ON_PURPOSE.search(text)) and found[0].lower() not in secrets.shown.lower():
        return f"it says that the bug was made ({found[0]})"
    if (found := _CODE_WORDS.search(text)) and found[0].lower() not in secrets.shown.lower():
        return f"it speaks of the code ({found[0]}), not of what a user sees"
    if problem := _quotes(code, secrets):
        return problem
    old, new = changed_lines(secrets.diff)
    for name in sorted({name for line in (*old, *new) for name in _NAME.findall(line)} - known):
        if _tells(name, text, code):
            return f"it names {name}, which is of the changed lines"
    if any(gives_away(text, path, secrets.diff) for path in secrets.files):
        return "it has the text of a changed line"
    return ""


def _code(text: str) -> Iterator[str]:
    """Pieces of code in a text of Markdown: spans, and the lines of blocks without a prompt."""
    for block in _FENCED.findall(text):
        for line in block.splitlines():
            yield re.sub(r"^\s*(>>>|\.\.\.) ?", "", line).strip()
    for span in _SPAN.finditer(_FENCED.sub("", text)):
        yield span[2].strip()


def _tells(name: str, text: str, code: list[str]) -> bool:
    """Whether a text uses a name of the code: in code, with a call, or anywhere if it is no plain word."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    if "_" in name or re.search(r"\d|[a-z][A-Z]", name):
        return word.search(text) is not None
    return re.search(rf"(?<!\w){re.escape(name)}\(", text) is not None or any(word.search(piece) for piece in code)


def _quotes(code: list[str], secrets: Secrets) -> str:
    """Whether a piece of code is part of the changed lines, or is an operator that changed."""
    shown = _tight(secrets.shown)
    old, new = changed_lines(secrets.diff)
    changed = [_tight(line) for line in (*old, *new)]
    around = [_tight(line) for line in secrets.diff.split("\n") if line.startswith(" ")]
    operators = {*_OPERATOR.findall(" ".join(old))} ^ {*_OPERATOR.findall(" ".join(new))}
    for piece in filter(None, code):
        tight = _tight(piece)
        if _OPERATOR.fullmatch(piece):
            if piece in operators and piece not in secrets.shown:
                return f"it names the operator {piece}, which is of the changed lines"
        elif tight in shown or not re.search(r"[A-Za-z]", tight) or _NAME.fullmatch(piece):
            continue
        elif len(tight) >= 3 and any(tight in line for line in changed):
            return f"it quotes code of the changed lines ({piece[:60]})"
        elif len(tight) >= SHORTEST and any(tight in line for line in around):
            return f"it quotes code beside the changed lines ({piece[:60]})"
    return ""


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)
