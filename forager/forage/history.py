"""A git repository's files and commits, read out of its mirror: by git's plumbing, nothing checked out or run.

All that comes back is hostile text. Paths that git would have to quote, and objects past the bounds, are left out.
"""

from __future__ import annotations

import ast
import configparser
import re
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forager.errors import ForageError
from forager.forage.syntax import parse
from forager.images.index import TIME_FORMAT
from forager.images.safe_git import Git
from forager.records import Record

MAX_FILES = 50_000
"""Of one tree; a larger one is refused."""
MAX_FILE_BYTES = 2 * 1024**2
MAX_BYTES = 256 * 1024**2
"""Of all files of a tree whose content is read."""
BATCH = 200
"""Commits asked for at a time."""
LONGEST_MESSAGE = 20_000

_READ = re.compile(
    r".*\.(py|toml|cfg|ini|txt|in|pip|ya?ml|rst|md|pyi)|(.*/)?(PKG-INFO|Pipfile|uv\.lock|poetry\.lock|pdm\.lock|\.gitmodules|\.gitattributes)"
)
"""Paths whose content says something about the project; of others it is enough that they are there."""
_NUMSTAT = re.compile(r"(\d+|-)\t(\d+|-)\t(.+)", re.DOTALL)
_RAW = re.compile(r":(\d{6}) (\d{6}) [0-9a-f]+\.* [0-9a-f]+\.* ([A-Z])\d*")

_NAMING = ("pyproject.toml", "setup.cfg", "setup.py")

_PACKAGE = re.compile(r"(?:src/)?(?!(?:tests?|docs?|examples?|tools)/)([A-Za-z]\w{0,80})/__init__\.py")

FILE, EXECUTABLE = "100644", "100755"


class Change(Record, frozen=True):
    """What a commit does to one file."""

    path: str
    kind: str
    """`A`dded, `M`odified, `D`eleted, `T`ype changed."""
    modes: tuple[str, str]
    """Before and after, `000000` for none."""
    added: int
    removed: int
    binary: bool

    @property
    def plain(self) -> bool:
        """Whether it is about a regular text file."""
        return not self.binary and {*self.modes} <= {FILE, EXECUTABLE, "000000"}


class Commit(Record, frozen=True):
    """One commit, and what it changes against its only parent (nothing is said of merges and of first commits)."""

    id: str
    parents: tuple[str, ...]
    time: int
    """When it was made, seconds since 1970."""
    message: str
    changes: tuple[Change, ...] = ()


def read_tree(mirror: Path, commit: str) -> dict[str, bytes]:
    """The regular files of a commit by path. What is no text about a project has no content here (`b""`).

    Links and submodules are left out. Raises `ForageError` for a tree past the bounds.
    """
    listed = Git(mirror)("ls-tree", "-r", "-z", "-l", "--full-tree", commit).decode("utf-8", "surrogateescape")
    wanted: list[tuple[str, str]] = []
    found: dict[str, bytes] = {}
    total = 0
    for entry in filter(None, listed.split("\0")):
        about, _, path = entry.partition("\t")
        mode, _, blob, size = about.split()
        if mode not in (FILE, EXECUTABLE):
            continue
        found[path] = b""
        if len(found) > MAX_FILES:
            raise ForageError(f"more than {MAX_FILES:,} files; refused")
        if _READ.fullmatch(path) and int(size) <= MAX_FILE_BYTES:
            total += int(size)
            wanted.append((path, blob))
    if total > MAX_BYTES:
        raise ForageError(f"more than {MAX_BYTES >> 20:,} MiB of source; refused")
    contents = read_blobs(mirror, [blob for _, blob in wanted])
    return found | {path: content or b"" for (path, _), content in zip(wanted, contents, strict=True)}


def made_at(mirror: Path, commit: str) -> str:
    """When a commit was made, ISO 8601; empty for a time that no calendar has."""
    said = Git(mirror)("log", "--no-walk", "--format=%ct", "--no-show-signature", commit).decode().strip()
    return iso(int(said))


def iso(seconds: int) -> str:
    """Seconds since 1970 as ISO 8601; empty for a time that no calendar has (whoever commits chooses it)."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(TIME_FORMAT) if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def read_blobs(mirror: Path, names: Sequence[str]) -> list[bytes | None]:
    """The contents of objects, named as git does (`ID`, `COMMIT:PATH`), in their order; None for what is absent."""
    asked = [name for name in names if "\n" not in name]
    if not asked:
        return [None] * len(names)
    data = Git(mirror)(
        "cat-file", "--batch", stdin="".join(f"{n}\n" for n in asked).encode("utf-8", "surrogateescape")
    )
    found: dict[str, bytes | None] = {}
    place = 0
    for name in asked:
        end = data.index(b"\n", place)
        head = data[place:end].split()
        place = end + 1
        found[name] = None
        if len(head) == 3 and re.fullmatch(rb"[0-9a-f]{40}", head[0]):
            size = int(head[2])
            found[name] = data[place : place + size] if head[1] == b"blob" else None
            place += size + 1
    return [found.get(name) for name in names]


def commits(mirror: Path, head: str) -> Iterator[Commit]:
    """The commit `head` and its ancestors, the newest first."""
    git = Git(mirror)
    ids = git("rev-list", "--date-order", head).decode().split()
    for start in range(0, len(ids), BATCH):
        yield from _read_commits(git, ids[start : start + BATCH])


def _read_commits(git: Git, ids: Sequence[str]) -> Iterator[Commit]:
    mark = secrets.token_hex(16)  # a message can hold anything but this
    said = git(
        *("log", "--no-walk=unsorted", "--stdin", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff"),
        *("--no-textconv", "--no-color", "--no-show-signature", "--no-notes", "--encoding=UTF-8"),
        f"--format={mark}<%H%x00%P%x00%ct%x00%B{mark}>",
        stdin="".join(f"{commit}\n" for commit in ids).encode(),
    ).decode("utf-8", "replace")
    for block in said.split(f"{mark}<")[1:]:
        head, _, rest = block.partition(f"{mark}>")
        commit, parents, when, *message = head.split("\0")
        yield Commit(
            id=commit,
            parents=tuple(parents.split()),
            time=int(when),
            message="\n".join(message)[:LONGEST_MESSAGE],
            changes=tuple(_changes(rest)),
        )


def _changes(text: str) -> Iterator[Change]:
    items = [item.lstrip("\n") for item in text.split("\0")]
    kinds: dict[str, tuple[str, tuple[str, str]]] = {}
    position = 0
    while position < len(items):
        item = items[position]
        if (raw := _RAW.fullmatch(item)) and position + 1 < len(items):
            kinds[items[position + 1]] = (raw[3], (raw[1], raw[2]))
            position += 1
        elif (stat := _NUMSTAT.fullmatch(item)) and stat[3] in kinds:
            kind, modes = kinds[stat[3]]
            counts = [0 if count == "-" else int(count) for count in (stat[1], stat[2])]
            yield Change(
                path=stat[3],
                kind=kind,
                modes=modes,
                added=counts[0],
                removed=counts[1],
                binary=stat[1] == "-",
            )
        position += 1


def diff(mirror: Path, before: str, after: str, paths: Sequence[str]) -> str:
    """The diff of some files between two commits, as `git apply` takes it; empty without paths.

    Raises `ForageError` for one that is not UTF-8.
    """
    if not paths:
        return ""
    told = Git(mirror)(
        *("diff-tree", "-r", "-p", "--binary", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"),
        *("--full-index", "--src-prefix=a/", "--dst-prefix=b/", "-U3", before, after, "--"),
        *(f":(top,literal){path}" for path in paths),
    )
    try:
        return told.decode()
    except UnicodeDecodeError:
        raise ForageError("the change is not UTF-8 text") from None


def declared_name(mirror: Path, commit: str) -> str:
    """The name that a project gives itself, in lower case: in its own files read as text, or as its only package.

    Empty if none can be made out.
    """
    texts = read_blobs(mirror, [f"{commit}:{name}" for name in _NAMING])
    if name := project_name({name: text for name, text in zip(_NAMING, texts, strict=True) if text}):
        return name.lower()
    listed = Git(mirror)("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).decode("utf-8", "replace")
    found = {match[1] for path in listed.split("\0") if (match := _PACKAGE.fullmatch(path))}
    return found.pop().lower() if len(found) == 1 else ""


def project_name(files: dict[str, bytes]) -> str:
    """The name in `pyproject.toml`, `setup.cfg` or `setup.py`, if it is a plain one."""
    pyproject, cfg, setup = (files.get(n, b"").decode("utf-8", "replace") for n in _NAMING)
    found: object = ""
    try:
        table = tomllib.loads(pyproject)
        found = table.get("project", {}).get("name") or table.get("tool", {}).get("poetry", {}).get("name")
    except (tomllib.TOMLDecodeError, AttributeError):
        pass
    if not found:
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read_string(cfg)
            found = parser.get("metadata", "name", fallback="")
        except configparser.Error:
            pass
    if not found:
        for node in ast.walk(parse(setup) or ast.Module(body=[], type_ignores=[])):
            if isinstance(node, ast.keyword) and node.arg == "name" and isinstance(node.value, ast.Constant):
                found = node.value.value
                break
    name = str(found or "")
    return name if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name) else ""
