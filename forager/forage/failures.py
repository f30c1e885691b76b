"""What a failing test says: pytest's failure text and the test's source, read into what was called and what came.

The text comes out of a container, so it is taken as hostile: bounded, cleaned, parsed, never evaluated.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec.structs import replace

from forager.forage.helpers import Called, caller_of
from forager.forage.sides import is_reversed
from forager.forage.syntax import calls_in, dotted, names_in
from forager.forage.tracebacks import (
    LINES,
    Level,
    compare,
    known,
    local_values,
    parse_file,
    parse_statement,
    read_frames,
    whole_values,
)
from forager.records import Record

WIDTH = 160
"""The most characters of a line that are kept of any text, of `LINES` lines."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_CHANGING = (
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "0x..."),
    (re.compile(r"/pytest-of-\w+/pytest-\d+"), "/pytest"),
    (re.compile(r"""([\w/.-]+\.py)(:\d+\b|["']?,? (on )?line \d+)"""), r"\1"),
)
"""What differs from run to run, or names a place in the code."""

_CHAINED = re.compile(
    r"(The above exception was the direct cause of|During handling of the above exception, another).*"
)
_OPAQUE = re.compile(r"<|.* at 0x|functools\.partial")
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

    `sources` maps the paths of test files, relative to the repository's root, to their content: only frames in
    these are shown.
    """
    lines = text[:20_000].split("\n")
    if (doctest := _doctest(test, lines)) is not None:
        return doctest
    last = max((n for n, line in enumerate(lines) if _CHAINED.fullmatch(line)), default=-1)
    frames = read_frames(lines[last + 1 :])
    error = _error_lines(frames[-1].lines) if frames else []
    own = [(frame, sources[name]) for frame in frames if (name := known(frame.path, sources))]
    failed = Level.at(*own[-1]) if own else Level([])
    called = caller_of(failed, own[-2::-1]) if own and own[-1][0] is frames[-1] else None
    shown = called.level if called is not None else failed
    common = Failure(
        kind="unknown",
        test=test,
        code=clean(shown.code),
        values=clean(", ".join(_values(shown))),
        subject=_subject(shown, called.name if called is not None else ""),
        message=clean("\n".join(error)),
    )
    return _classify(common, error, failed, called)


def _values(level: Level) -> list[str]:
    """`name = value` for what the shown code uses and does not itself assign: parameters, variables of a loop."""
    statement, function = level.statement, level.function
    if statement is None or function is None:
        return []
    arguments = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    loaded = names_in(statement)
    assigned = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in ast.walk(ast.Tuple(elts=node.targets, ctx=ast.Store()))
        if isinstance(target, ast.Name)
    }
    used = names_in(function)
    wanted = ((arguments & used) | loaded) - assigned - {"self", "cls", "request"}
    values = {n: value for n, value in local_values(level).items() if n in wanted and not _OPAQUE.match(value)}
    return [
        f"{name} = {value}" for name, value in sorted(values.items(), key=lambda item: (item[0] not in loaded, item))
    ]


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
    statement = parse_statement(code)
    return Failure(
        kind="wrong",
        test=test,
        code=clean(code),
        subject=_subject(Level([], statement=statement)),
        expected=clean(textwrap.dedent("\n".join(lines[expected + 1 : got]))),
        got=clean(textwrap.dedent("\n".join(lines[got + 1 : end]))),
    )


def _error_lines(lines: list[str]) -> list[str]:
    """The lines that pytest marks with E."""
    marked = [" " + line[1:] for line in lines if re.match(r"E(\s|$)", line)]
    return textwrap.dedent("\n".join(marked)).split("\n") if marked else []


def _classify(failure: Failure, error: list[str], failed: Level, called: Called | None) -> Failure:
    first = error[0] if error else ""
    if match := _NOT_RAISED.fullmatch(first):
        name = re.sub(r"<class '([\w.]+)'>", r"\1", match["a"] or match["b"])
        return replace(failure, kind="not_raised", expected=clean(name))
    if first.startswith(("assert ", "AssertionError", "Failed")):
        where = next((m for line in error if (m := _WHERE.fullmatch(line))), None)
        expected, got = _sides(error, failed, called)
        call = where["call"] if where and where["value"] == got else ""
        return replace(failure, kind="wrong", expected=clean(expected), got=clean(got), call=clean(call))
    if match := _RAISED.fullmatch(first):
        got = match["type"].rpartition(".")[2] + (f": {match['message']}" if match["message"] else "")
        return replace(failure, kind="raised", got=clean(got))
    return failure


def _sides(error: list[str], failed: Level, called: Called | None) -> tuple[str, str]:
    """What was expected and what came, from `assert GOT == EXPECTED` with values. Empty where that is not sure."""
    line = next((line for line in error if line.removeprefix("AssertionError: ").startswith("assert ")), "")
    text = line.removeprefix("AssertionError: ")
    shown, written = compare(parse_statement(text)), compare(failed.statement)
    if shown is not None:
        left, right = (ast.get_source_segment(text, side) or "" for side in shown)
    elif called is not None and written is not None and error == ["AssertionError"]:  # pytest rewrites no helpers
        values = whole_values(failed)
        left, right = (values.get(dotted(side), "") for side in written)
    else:
        return "", ""
    if not (left and right) or clean(left) == clean(right):
        return "", ""
    places = [(called.given, called.level.function)] if called is not None else []
    places += [(written, failed.function)] if written is not None else []
    for (a, b), function in places:
        if is_reversed(a, b, function):
            return left, right
        if is_reversed(b, a, function):
            return right, left
    return (right, left) if shown is not None else ("", "")


_HELPERS = re.compile(
    r"(pytest|self|unittest|mock|re|math|copy|pickle|json|itertools|operator|collections|datetime|time|os|sys"
    r"|capsys|capfd|caplog|monkeypatch|tmp_path|tmpdir)\..*"
    r"|.*\.([lr]?strip|startswith|endswith|splitlines)"
)
"""Calls that no test is about; nor is one about what is built in."""


def _subject(level: Level, helper: str = "") -> str:
    """The dotted name of what a statement calls, other than a `helper`; the side of a comparison that is the result
    comes first. Where that is only a name, of the call that bound it."""
    statement, function = level.statement, level.function
    if statement is None:
        return ""
    file = parse_file(level.source) or ast.Module(body=[], type_ignores=[])

    def calls(part: ast.AST) -> Iterator[ast.Call]:
        yield from sorted(calls_in(part), key=lambda call: (call.lineno, call.col_offset))
        names = names_in(part)
        bound = [
            node
            for node in ast.walk(file)
            if isinstance(node, ast.Assign)
            and 0 < statement.lineno - node.lineno < LINES
            and any(isinstance(target, ast.Name) and target.id in names for target in node.targets)
        ]
        yield from (n.value for n in sorted(bound, key=lambda n: -n.lineno) if isinstance(n.value, ast.Call))

    def is_subject(name: str) -> bool:
        if name in ("", helper) or _HELPERS.fullmatch(name):
            return False
        return name not in vars(builtins) or any(
            name == (alias.asname or alias.name)
            for node in ast.walk(file)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        )

    parts: list[ast.AST] = [statement]
    if (written := compare(statement)) is not None:
        parts.insert(0, written[is_reversed(*written, function)])
    called = (dotted(call.func) for part in parts for call in calls(part))
    return next(filter(is_subject, called), "")
