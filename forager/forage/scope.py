"""What is never mutated: files that are not the package's own code, and code no test could tell apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import libcst as cst

FOLDERS = re.compile(
    r"tests?|testing|docs?|examples?|samples?|demos?|benchmarks?|bench|scripts?|tools?|ci|tasks|notebooks?|build|dist"
    r"|_?vendor(ed|s)?|third_?party|extern(al|s)?|node_modules|site-packages|\..*|.*\.egg-info|__pycache__|e?nv|venv"
)
FILES = re.compile(
    r"setup|conftest|noxfile|tasks|fabfile|manage|versioneer|_?version|__?about__?|__version__|test_.*|.*_tests?|tests?"
    r"|.*_pb2(_grpc)?|conf|release|bootstrap|ez_setup"
)
GENERATED = re.compile(
    r"@generated|do not (edit|modify)|auto(matically)?[- ]?generated|generated (by|from|with)", re.IGNORECASE
)
LARGEST = 300_000
"""Bytes; larger files are mostly tables."""

NAMES = {"version", "VERSION", "version_info", "version_tuple", "TYPE_CHECKING", "logger", "log", "LOGGER"}
"""Assigned names that are about the package, not what it does. Dunder names are left alone too."""

LOGGING = re.compile(
    r"(.*\.)?_?(log|logger|logging|LOG|LOGGER|warnings)"
    r"\.(debug|info|warn|warning|warn_explicit|error|exception|critical|log|\w*filter\w*|basicConfig)"
)
TYPING = re.compile(r"(.*\.)?(TypeVar|ParamSpec|TypeVarTuple|NewType|cast|TypedDict|NamedTuple|namedtuple)")
PLATFORM = re.compile(
    r"\b(TYPE_CHECKING|__debug__|sys\.version_info|sys\.platform|sys\.version|os\.name|PY[23]\d*|IS_PYPY|PYPY)\b"
    r"|__name__ == .__main__.|implementation\.name|platform\.\w+\("
)


def wanted_file(path: str) -> bool:
    """Whether a path, relative to the repository's root, may be the package's own code."""
    pure = PurePosixPath(path)
    if pure.suffix != ".py" or FILES.fullmatch(pure.stem):
        return False
    return not any(FOLDERS.fullmatch(folder) for folder in pure.parts[:-1])


def wanted_files(files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The files that are the package's own code, by path. Generated, huge and non-UTF-8 ones are left out."""
    for path in sorted(files):
        content = files[path]
        if not wanted_file(path) or len(content) > LARGEST:
            continue
        try:
            content.decode()
        except UnicodeDecodeError:
            continue
        if GENERATED.search(content[:600].decode(errors="replace")) is None:
            yield path, content


def barred(node: cst.CSTNode, text: str) -> bool:
    """Whether neither the node nor anything inside may be mutated. `text` is the node's source."""
    if isinstance(node, cst.BaseParenthesizableWhitespace | cst.EmptyLine | cst.TrailingWhitespace):
        return True
    if isinstance(node, cst.FunctionDef):
        return any("overload" in _NO_MODULE.code_for_node(d.decorator) for d in node.decorators)
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.SimpleString | cst.ConcatenatedString)
    if isinstance(node, cst.Assign):
        return any(_about(target.target) for target in node.targets)
    if isinstance(node, cst.AnnAssign):
        return _about(node.target) or "TypeAlias" in text.split("=", 1)[0]
    if isinstance(node, cst.Call):
        called = text.split("(", 1)[0].strip()
        return bool(TYPING.fullmatch(called) or LOGGING.fullmatch(called))
    return isinstance(node, cst.TypeAlias) or _untested(node, text)


def inner(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The children of a node that may be mutated."""
    if isinstance(node, cst.Annotation | cst.Decorator | cst.Import | cst.ImportFrom):
        return
    if isinstance(node, cst.ClassDef):
        yield node.body
    elif isinstance(node, cst.FunctionDef):
        yield from (node.params, node.body)
    else:
        yield from node.children


def platform_switch(node: cst.CSTNode, text: str) -> bool:
    """Whether this `if` asks for the platform, the Python version or a type checker: only its `else` is of use."""
    return isinstance(node, cst.If) and PLATFORM.search(text.split("\n", 1)[0]) is not None


def _untested(node: cst.CSTNode, text: str) -> bool:
    """Whether a statement is out of any test's reach: logging, or marked as not covered."""
    if isinstance(node, cst.SimpleStatementLine):
        first = node.body[0]
        call = isinstance(first, cst.Expr) and isinstance(first.value, cst.Call)
        if call and LOGGING.fullmatch(text.split("(", 1)[0].strip()):
            return True
        comment = node.trailing_whitespace.comment
    elif isinstance(node, cst.BaseCompoundStatement | cst.Else | cst.ExceptHandler | cst.Finally):
        body = getattr(node, "body", None)
        if not isinstance(body, cst.IndentedBlock):
            return False
        comment = body.header.comment
    else:
        return False
    return comment is not None and "no cover" in comment.value


def _about(target: cst.BaseExpression) -> bool:
    """Whether an assignment to this target says something about the package, not what the package does."""
    return isinstance(target, cst.Name) and (target.value in NAMES or target.value.startswith("__"))


_NO_MODULE = cst.Module([])
