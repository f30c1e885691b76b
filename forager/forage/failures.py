"""What a failing test says: pytest's failure text and the test's source, read into what was called and what came.

The text comes out of a container, so it is taken as hostile: bounded, cleaned, parsed, never evaluated.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec.structs import replace

from forager.forage.sides import calls_in, is_reversed, names_in
from forager.records import Record

LINES, WIDTH = 24, 160
"""The most lines, and characters of a line, that are kept of any one text."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef

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
_LOCATION = re.compile(r"(?P<path>[^\s:][^:]*):(?P<line>\d+):(?P<opens> in \S.*)?(?: .*)?")
_LOCAL = re.compile(r"(?: {8})?(?=.{10,} = )(?P<name>[A-Za-z_]\w*) * = (?P<value>.+)")
"""How pytest's `--showlocals` writes a variable: its name filled up to ten characters."""
_OPAQUE = re.compile(r"<|.* at 0x|functools\.partial")
VALUES, VALUE_WIDTH = 5, 200
"""The most variables that are shown, and characters of one."""
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


class _Frame:
    """One level of a traceback: where, and the lines that belong to it."""

    def __init__(self) -> None:
        self.path = ""
        self.line = 0
        self.lines: list[str] = []


class _Level(NamedTuple):
    """A frame in a test file, and the code there."""

    lines: list[str]
    """Of the traceback."""
    statement: ast.stmt | None = None
    function: _Function | None = None
    code: str = ""


def read_failure(test: str, text: str, sources: Mapping[str, bytes]) -> Failure:
    """What pytest's failure text (its `longrepr`, style `long` or `short`) says of a test.

    `sources` maps the paths of test files, relative to the repository's root, to their content: only frames in
    these are shown.
    """
    lines = text[:20_000].split("\n")
    if (doctest := _doctest(test, lines)) is not None:
        return doctest
    last = max((n for n, line in enumerate(lines) if _CHAINED.fullmatch(line)), default=-1)
    frames = _frames(lines[last + 1 :])
    error = _error_lines(frames[-1].lines) if frames else []
    own = [(frame, sources[name]) for frame in frames if (name := _known(frame.path, sources))]
    levels, subject = _levels(own)
    shown = levels[-1]
    common = Failure(
        kind="unknown",
        test=test,
        code=clean(shown.code),
        values=clean(", ".join(_values(shown))),
        subject=subject,
        message=clean("\n".join(error)),
    )
    return _classify(common, error, levels)


def _known(path: str, sources: Mapping[str, bytes]) -> str:
    """The source that a traceback's path means; empty if it is none of them."""
    parts = path.split("/")
    candidates = ("/".join(parts[n:]) for n in range(len(parts)))
    return next((candidate for candidate in candidates if candidate in sources), "")


def _frames(lines: list[str]) -> list[_Frame]:
    """The frames of a traceback, outermost first.

    `path:12: in name` opens a frame; in the long style `path:12: Error` ends one, and a row of underscores parts two.
    """
    frames = [_Frame()]
    for line in lines:
        match = _LOCATION.fullmatch(line)
        if _SEPARATOR.fullmatch(line) or (match and match["opens"] and frames[-1].path):
            frames.append(_Frame())
        if match and not frames[-1].path:
            frames[-1].path, frames[-1].line = match["path"], int(match["line"])
        elif not _SEPARATOR.fullmatch(line):
            frames[-1].lines.append(line)
    return [frame for frame in frames if frame.path or any(line.strip() for line in frame.lines)]


def _levels(own: Sequence[tuple[_Frame, bytes]]) -> tuple[list[_Level], str]:
    """Frames in test files, from the innermost out to the first that tells something, and what that calls: a helper
    that only compares what it was given is called from where something is tested."""
    levels: list[_Level] = []
    helpers: set[str] = set()
    subject = ""
    for frame, source in reversed(own):
        level = _Level(frame.lines, *_statement(source, frame.line))
        levels.append(level)
        subject = _subject(level.statement, level.function, source, helpers)
        if subject or level.function is None or not _only_compares(level.statement, helpers):
            break
        helpers.add(level.function.name)
    return levels or [_Level([])], subject


def _only_compares(statement: ast.stmt | None, helpers: Collection[str]) -> bool:
    """Whether a statement asserts something of bare names, or hands things to `helpers` that do."""
    functions = {call.func for call in calls_in(statement)} if statement is not None else set()
    names = {ast.unparse(function).rpartition(".")[2] for function in functions} - {*helpers}
    if isinstance(statement, ast.Expr):
        return not names
    if isinstance(statement, ast.Raise):
        return names == {"AssertionError"}
    return (
        isinstance(statement, ast.Assert)
        and names <= vars(builtins).keys()
        and not any(isinstance(n, ast.Attribute | ast.Subscript) and n not in functions for n in ast.walk(statement))
    )


def _locals(level: _Level) -> dict[str, str]:
    """The variables that pytest shows of a frame."""
    return {match["name"]: match["value"] for line in level.lines if (match := _LOCAL.fullmatch(line))}


def _values(level: _Level) -> list[str]:
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
    values = {n: value for n, value in _locals(level).items() if n in wanted and not _OPAQUE.match(value)}
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
    statement = _parse_statement(code)
    return Failure(
        kind="wrong",
        test=test,
        code=clean(code),
        subject=_subject(statement, None, b""),
        expected=clean(textwrap.dedent("\n".join(lines[expected + 1 : got]))),
        got=clean(textwrap.dedent("\n".join(lines[got + 1 : end]))),
    )


def _error_lines(lines: list[str]) -> list[str]:
    """The lines that pytest marks with E."""
    marked = [" " + line[1:] for line in lines if re.match(r"E(\s|$)", line)]
    return textwrap.dedent("\n".join(marked)).split("\n") if marked else []


def _classify(failure: Failure, error: list[str], levels: Sequence[_Level]) -> Failure:
    first = error[0] if error else ""
    if match := _NOT_RAISED.fullmatch(first):
        name = re.sub(r"<class '([\w.]+)'>", r"\1", match["a"] or match["b"])
        return replace(failure, kind="not_raised", expected=clean(name))
    if first.startswith(("assert ", "AssertionError", "Failed")):
        where = next((m for line in error if (m := _WHERE.fullmatch(line))), None)
        expected, got = _sides(error, levels)
        call = where["call"] if where and where["value"] == got else ""
        return replace(failure, kind="wrong", expected=clean(expected), got=clean(got), call=clean(call))
    if match := _RAISED.fullmatch(first):
        got = match["type"].rpartition(".")[2] + (f": {match['message']}" if match["message"] else "")
        return replace(failure, kind="raised", got=clean(got))
    return failure


def _sides(error: list[str], levels: Sequence[_Level]) -> tuple[str, str]:
    """What was expected and what came, from `assert GOT == EXPECTED` with values. Empty where that is not sure."""
    line = next((line for line in error if line.removeprefix("AssertionError: ").startswith("assert ")), "")
    text = line.removeprefix("AssertionError: ")
    shown, compared, known = _compare(_parse_statement(text)), _compare(levels[0].statement), _locals(levels[0])
    if shown is not None:
        left, right = (ast.get_source_segment(text, side) or "" for side in shown)
    elif compared is not None and error == ["AssertionError"]:  # in a module that pytest does not rewrite
        left, right = (known.get(ast.unparse(side), "") for side in compared)
    else:
        return "", ""
    if left == right or not (left and right):
        return "", ""
    if compared is not None and is_reversed(*_as_called(*compared, levels)):
        return left, right
    return right, left


def _as_called(
    left: ast.expr, right: ast.expr, levels: Sequence[_Level]
) -> tuple[ast.expr, ast.expr, _Function | None]:
    """The sides of a comparison as whoever called the function it is in has written them, and that caller."""
    function = levels[0].function
    for outer in levels[1:]:
        given = _given(function, outer.statement)
        sides = [given.get(side.id) if isinstance(side, ast.Name) else None for side in (left, right)]
        if sides[0] is None or sides[1] is None:
            break
        left, right, function = sides[0], sides[1], outer.function
    return left, right, function


def _given(function: _Function | None, statement: ast.stmt | None) -> dict[str, ast.expr]:
    """What a statement that calls a function gives for its parameters."""
    for call in calls_in(statement) if statement is not None else []:
        if function is not None and ast.unparse(call.func).rpartition(".")[2] == function.name:
            names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
            names = names[1:] if names[:1] in (["self"], ["cls"]) else names
            return dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    return {}


def _compare(statement: ast.stmt | None) -> tuple[ast.expr, ast.expr] | None:
    """The `a` and `b` of an `assert a == b`."""
    if isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare):
        compare = statement.test
        if len(compare.ops) == 1 and isinstance(compare.ops[0], ast.Eq | ast.Is):
            return compare.left, compare.comparators[0]
    return None


def _parse(source: str | bytes) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@lru_cache(maxsize=8)
def _parse_file(source: bytes) -> ast.Module | None:
    """A test file, which many failures of one bug are in; not to be changed."""
    return _parse(source)


def _parse_statement(text: str) -> ast.stmt | None:
    tree = _parse(text)
    return tree.body[0] if tree is not None and len(tree.body) == 1 else None


def _statement(source: bytes, line: int) -> tuple[ast.stmt | None, _Function | None, str]:
    """The statement at a line of a test file, its function, and the code from the function's start to its end."""
    tree = _parse_file(source)
    if tree is None or not line:
        return None, None, ""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    functions = [node for node in around if isinstance(node, _Function)]
    inner = [node for node in around if not isinstance(node, _Function | ast.ClassDef)]
    if not functions or not inner:
        return None, None, ""
    # from the inside: an `assert` in a `for` is what failed; a `with pytest.raises` that failed begins at the line
    statement = max(inner, key=lambda node: (node.lineno, -(node.end_lineno or node.lineno)))
    body = functions[-1].body
    if ast.get_docstring(functions[-1]) is not None and len(body) > 1:
        body = body[1:]
    rows = source.decode(errors="replace").split("\n")[body[0].lineno - 1 : statement.end_lineno]
    rows = rows if len(rows) <= LINES else ["# ...", *rows[-LINES + 1 :]]
    indent = " " * body[0].col_offset
    return statement, functions[-1], "\n".join(row.removeprefix(indent) for row in rows)


_HELPERS = re.compile(
    r"(pytest|self|unittest|mock|re|math|copy|pickle|json|itertools|operator|collections|datetime|time|os|sys"
    r"|capsys|capfd|caplog|monkeypatch|tmp_path|tmpdir)\..*"
    r"|.*\.([lr]?strip|startswith|endswith|splitlines)"
)
"""Calls that no test is about; nor is one about what is built in."""


def _subject(
    statement: ast.stmt | None, function: _Function | None, source: bytes, helpers: Collection[str] = ()
) -> str:
    """The dotted name of what a statement calls, on the side of a comparison that is the result at first; where that
    is only a name, of the call that bound it. Functions named as `helpers` are none."""
    if statement is None:
        return ""
    file = _parse_file(source) or ast.Module(body=[], type_ignores=[])

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
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name) or _HELPERS.fullmatch(name):
            return False
        if name.rpartition(".")[2] in helpers:
            return False
        return name not in vars(builtins) or any(
            name == (alias.asname or alias.name)
            for node in ast.walk(file)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        )

    parts: list[ast.AST] = [statement]
    if (written := _compare(statement)) is not None:
        parts.insert(0, written[is_reversed(*written, function)])
    called = (ast.unparse(call.func) for part in parts for call in calls(part))
    return next(filter(is_subject, called), "")
