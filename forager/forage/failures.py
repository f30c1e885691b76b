"""What a failing test says: pytest's failure text and the test's source, read into what was called and what came.

The text comes out of a container, so it is taken as hostile: bounded, cleaned, parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Mapping
from typing import Literal

from msgspec.structs import replace

from forager.records import Record

LINES, WIDTH = 24, 160
"""The most lines, and characters of a line, that are kept of any one text."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_CHANGING = (
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "0x..."),
    (re.compile(r"/pytest-of-\w+/pytest-\d+"), "/pytest"),
    (re.compile(r"""([\w/.-]+\.py)(:\d+\b|["']?,? (on )?line \d+)"""), r"\1"),
)
"""What differs from run to run, or names a place in the code."""

_SEPARATOR = re.compile(r"(_ ){8,}_?\s*")
_CHAINED = re.compile(
    r"(The above exception was the direct cause of|During handling of the above exception, another).*"
)
_LOCATION = re.compile(r"(?P<path>[^\s:][^:]*):(?P<line>\d+):(?: .*)?")
_VALUES = re.compile(r"(?!self\b|request\b|monkeypatch\b|caplog\b|tmp_?path\b|capsys\b)\w+ = .+")
_NOT_RAISED = re.compile(r"(?:Failed: )?DID NOT RAISE (?P<a>.+)|AssertionError: (?P<b>[\w.]+) not raised.*")
_RAISED = re.compile(r"(?P<type>(?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: (?P<message>.*))?")
_WHERE = re.compile(r"\s*\+\s+where (?P<value>.+?) = (?P<call>[\w.]+\(.*\))")


class Failure(Record, frozen=True):
    """One failing test, in the terms of who sees it fail."""

    kind: Literal["wrong", "raised", "not_raised", "unknown"]
    test: str
    """Node id."""
    code: str = ""
    """The test's own lines up to the end of the statement that failed."""
    values: str = ""
    """Values of the test's parameters, `a = 1, b = 2`."""
    subject: str = ""
    """What was called, as a dotted name: `humanize.naturalsize`."""
    call: str = ""
    """The call with its values, where pytest shows it: `naturalsize(1000)`."""
    expected: str = ""
    """A value, or the name of an exception."""
    got: str = ""
    """A value, or `Type: message`."""
    message: str = ""
    """The failure's own text, without any traceback."""


def clean(text: str) -> str:
    """Text fit for a statement: no control characters, no addresses, no line numbers of files, bounded."""
    text = _ESCAPES.sub("", text).replace("```", "'''")
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    lines = [line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..." for line in text.rstrip().split("\n")]
    return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."])


def read_failure(test: str, text: str, sources: Mapping[str, bytes]) -> Failure:
    """What pytest's failure text (its `longrepr`, style `long` or `short`) says of a test.

    `sources` maps the paths of test files, relative to the repository's root, to their content.
    """
    file = test.split("::")[0]
    lines = text[:20_000].split("\n")
    last = max((n for n, line in enumerate(lines) if _CHAINED.fullmatch(line)), default=-1)
    entries = _entries(lines[last + 1 :])
    error = _error_lines(entries[-1]) if entries else []
    place = None
    frame: list[str] = []
    for entry in entries:
        for line in entry:
            match = _LOCATION.fullmatch(line)
            if match and match["path"].endswith(file):
                place, frame = int(match["line"]), entry
    if (doctest := _doctest(test, lines)) is not None:
        return doctest
    statement, code = _statement(sources.get(file, b""), place)
    if not code and any(line.startswith(">") for line in frame):
        code = textwrap.dedent(
            "\n".join(line[1:] for line in frame if re.match(r"[ >]   ", line) and "^^" not in line)
        )
    values = [line for line in frame if _VALUES.fullmatch(line)]
    common = Failure(
        kind="unknown",
        test=test,
        code=clean(code),
        values=clean(", ".join(values)),
        subject=_subject(statement, sources.get(file, b"")),
        message=clean("\n".join(error)),
    )
    return _classify(common, error, statement)


def _doctest(test: str, lines: list[str]) -> Failure | None:
    """A failing doctest: its example is in the text, between line numbers and `Expected:` and `Got:`."""
    if "Expected:" not in lines or "Got:" not in lines[lines.index("Expected:") :]:
        return None
    expected = lines.index("Expected:")
    got = lines.index("Got:", expected)
    end = next((n for n in range(got + 1, len(lines)) if not lines[n].startswith("    ")), len(lines))
    example: list[str] = []
    for line in reversed(lines[:expected]):
        if not (match := re.fullmatch(r"\d{3,} \s*((?:>>>|\.\.\.)(?: (.*))?)", line)):
            break
        example.insert(0, match[2] or "")
        if match[1].startswith(">>>"):
            break
    code = "\n".join(example)
    statement = _parse_statement(code)
    return Failure(
        kind="wrong",
        test=test,
        code=clean(code),
        subject=_subject(statement, b""),
        expected=clean(textwrap.dedent("\n".join(lines[expected + 1 : got]))),
        got=clean(textwrap.dedent("\n".join(lines[got + 1 : end]))),
    )


def _entries(lines: list[str]) -> list[list[str]]:
    """The frames of a traceback, outermost first."""
    entries: list[list[str]] = [[]]
    for line in lines:
        if _SEPARATOR.fullmatch(line):
            entries.append([])
        else:
            entries[-1].append(line)
    return [entry for entry in entries if any(line.strip() for line in entry)]


def _error_lines(entry: list[str]) -> list[str]:
    """The lines that pytest marks with E."""
    marked = [" " + line[1:] for line in entry if re.match(r"E(\s|$)", line)]
    return textwrap.dedent("\n".join(marked)).split("\n") if marked else []


def _classify(failure: Failure, error: list[str], statement: ast.stmt | None) -> Failure:
    first = error[0] if error else ""
    if match := _NOT_RAISED.fullmatch(first):
        name = re.sub(r"<class '([\w.]+)'>", r"\1", match["a"] or match["b"])
        return replace(failure, kind="not_raised", expected=clean(name))
    if first.startswith(("assert ", "AssertionError", "Failed")):
        where = next((m for line in error if (m := _WHERE.fullmatch(line))), None)
        expected, got = _sides(error, statement)
        call = where["call"] if where and where["value"] == got else ""
        return replace(failure, kind="wrong", expected=clean(expected), got=clean(got), call=clean(call))
    if match := _RAISED.fullmatch(first):
        got = match["type"].rpartition(".")[2] + (f": {match['message']}" if match["message"] else "")
        return replace(failure, kind="raised", got=clean(got))
    return failure


def _sides(error: list[str], statement: ast.stmt | None) -> tuple[str, str]:
    """What was expected and what came, from `assert GOT == EXPECTED` with values. Empty where that is not sure."""
    line = next((line for line in error if line.removeprefix("AssertionError: ").startswith("assert ")), "")
    text = line.removeprefix("AssertionError: ")
    shown = _compare(_parse_statement(text))
    if shown is None:
        return "", ""
    left, right = (ast.get_source_segment(text, side) or "" for side in (shown.left, shown.comparators[0]))
    written = _compare(statement)
    if written is not None and _calls(written.comparators[0]) and not _calls(written.left):
        return left, right
    return right, left


def _compare(statement: ast.stmt | None) -> ast.Compare | None:
    """The `a == b` of an `assert a == b`."""
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        compare = statement.test
        if len(compare.ops) == 1 and isinstance(compare.ops[0], ast.Eq | ast.Is):
            return compare
    return None


def _calls(node: ast.AST) -> list[ast.Call]:
    return [child for child in ast.walk(node) if isinstance(child, ast.Call)]


def _parse(source: str | bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _parse_statement(text: str) -> ast.stmt | None:
    tree = _parse(text)
    return tree.body[0] if tree is not None and len(tree.body) == 1 else None


def _statement(source: bytes, line: int | None) -> tuple[ast.stmt | None, str]:
    """The statement at a line of a test file, and the code from the start of its function to the statement's end."""
    tree = _parse(source)
    if tree is None or line is None:
        return None, ""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    functions = [node for node in around if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = [node for node in around if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if not functions or not inner:
        return None, ""
    # from the inside: an `assert` in a `for` is what failed; a `with pytest.raises` that failed begins at the line
    statement = max(inner, key=lambda node: (node.lineno, -(node.end_lineno or node.lineno)))
    body = functions[-1].body
    if ast.get_docstring(functions[-1]) is not None and len(body) > 1:
        body = body[1:]
    rows = source.decode(errors="replace").split("\n")[body[0].lineno - 1 : statement.end_lineno]
    rows = rows if len(rows) <= LINES else ["# ...", *rows[-LINES + 1 :]]
    indent = " " * body[0].col_offset
    return statement, "\n".join(row.removeprefix(indent) for row in rows)


_HELPERS = re.compile(
    r"(pytest|self|unittest|mock|re|math|copy|pickle|json|itertools|operator|collections|datetime|time|os|sys)\..*"
    r"|isinstance|len|list|set|dict|tuple|str|repr|int|float|bool|sorted|next|iter|type|hasattr|getattr|all|any"
    r"|range|map|filter|zip|sum|min|max|abs|bytes|print|callable|issubclass|id|hash|vars|dir|super|enumerate|reversed"
)


def _subject(statement: ast.stmt | None, source: bytes) -> str:
    """The dotted name of what a statement calls; where it only compares a name, of the call that bound the name."""
    if statement is None:
        return ""
    names = [ast.unparse(call.func) for call in sorted(_calls(statement), key=lambda c: (c.lineno, c.col_offset))]
    for name in names:
        if re.fullmatch(r"[A-Za-z_][\w.]*", name) and not _HELPERS.fullmatch(name):
            return name
    compared = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    bound = [
        node
        for node in ast.walk(_parse(source) or ast.Module(body=[], type_ignores=[]))
        if isinstance(node, ast.Assign)
        and node.lineno < statement.lineno
        and statement.lineno - node.lineno < LINES
        and any(isinstance(target, ast.Name) and target.id in compared for target in node.targets)
    ]
    for node in sorted(bound, key=lambda node: -node.lineno):
        if isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            if re.fullmatch(r"[A-Za-z_][\w.]*", name) and not _HELPERS.fullmatch(name):
                return name
    return ""
