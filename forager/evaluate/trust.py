"""Which files of a patched tree decide the grade instead of the product, and go back to their trusted version.

Pure functions over paths; `grading.py` carries the plan out. Paths are relative to the tree, with `/`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Set
from pathlib import PurePosixPath

from forager.evaluate.testrun import file_of
from forager.records import Record, Task

CONFIGURATION = frozenset(
    {
        "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg",
        "pyproject.toml", ".coveragerc", "sitecustomize.py", "usercustomize.py",
    }
)  # fmt: skip
"""Names of files that configure tests, wherever they lie."""

CUSTOMISE = frozenset({"conftest", "sitecustomize", "usercustomize"})
"""Modules that are imported by their name alone, in whatever form they come: package, extension module, bytecode."""

RUNNER = frozenset({"pytest", "_pytest", "pluggy"})
RUNNER_NEEDS = RUNNER | {"iniconfig", "packaging", "exceptiongroup", "py", "attr", "xdist", "execnet", "pytest_cov"}
"""Modules of the test runner. A patch that brings one along where the starting tree has none shadows the real one."""

IMPORT_ROOTS = frozenset({"", "src", "lib"})
"""Folders that are on Python's path in tests: a new module there, named like the standard library's, hides it."""

TEST_FOLDERS = frozenset({"test", "tests"})


class Plan(Record, frozen=True):
    """What to put back."""

    restore: tuple[str, ...] = ()
    """Files of the starting tree, changed or deleted."""
    remove: tuple[str, ...] = ()
    """Paths that the starting tree lacks; whole folders possible."""
    from_reference: tuple[str, ...] = ()
    """Configuration that the reference patch changes too: after `restore`, the reference's change is applied."""
    flags: tuple[str, ...] = ()


def patch_paths(patch: str) -> set[str]:
    """Every path a git or unified diff names, old and new."""
    paths: set[str] = set()
    left = right = 0
    for line in patch.splitlines():
        if left > 0 or right > 0:  # inside a hunk, where a line may look like a header
            left -= line[:1] in ("-", " ", "")
            right -= line[:1] in ("+", " ", "")
            continue
        if hunk := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            left, right = (int(count) if count is not None else 1 for count in hunk.groups())
        elif line.startswith(("--- ", "+++ ")):
            name = _unquote(line[4:].split("\t")[0] if not line[4:].startswith('"') else line[4:])
            if name != "/dev/null":
                paths.add(name.partition("/")[2] if name.startswith(("a/", "b/")) else name)
        elif match := re.match(r"(?:rename|copy) (?:from|to) (.+)", line):
            paths.add(_unquote(match[1]))
        elif match := re.fullmatch(r"diff --git (?:a/(.+) b/\1|\"a/(.+)\" \"b/\2\")", line):
            paths.add(match[1] if match[1] is not None else _unquote(f'"{match[2]}"'))
    return paths - {""}


def test_files(tests: Iterable[str], tree: Set[str]) -> set[str]:
    """The files that hold these tests. Ids are relative to pytest's root folder, which may lie deeper than the tree's
    root: a path that is not in the tree stands for every path of the tree that ends in it."""
    files = {_normal(file_of(test)) for test in tests}
    missing = tuple("/" + file for file in files - tree)
    return files | {path for path in tree if missing and path.endswith(missing)}


def plan(task: Task, changed: Set[str], added: Set[str], tree: Set[str]) -> Plan:
    """What of a patch to undo before its tests run.

    `changed`: files of the starting tree that differ or are gone; `added`: files it lacks; `tree`: all its files.
    """
    reference = patch_paths(task.patch)
    given = patch_paths(task.test_patch) | set(task.hidden_tests)
    tests = test_files((*task.FAIL_TO_PASS, *task.PASS_TO_PASS), tree | given) | given
    folders = {folder for test in tests for folder in _parents(test) if PurePosixPath(folder).name in TEST_FOLDERS}
    folders -= _parents_of(path for path in reference if not is_configuration(path))  # the product, whatever its name
    inside = _parents_of(tree)
    restore, remove, from_reference, flags = set(), set(), set(), set()

    def kind(path: str) -> str:
        """Why a path is not the product's, or an empty string."""
        if path in tests:
            return "test_files_restored"
        if is_configuration(path) or _is_bytecode(path):
            return "config_restored"
        if any(folder in folders for folder in _parents(path)):
            return "test_files_restored"  # what tests import: helpers, data, packages
        return ""

    for path in changed:
        if why := kind(path):
            restore.add(path)
            flags.add(why)
            if why == "config_restored" and path in reference:
                from_reference.add(path)
    for path in added:
        if file := next((parent for parent in _parents(path) if parent in tests), ""):  # a folder in a file's place
            remove.add(file)
            flags.add("test_files_restored")
        elif why := kind(path):
            remove.add(path)
            flags.add(why)
            if why == "config_restored" and path in reference:
                from_reference.add(path)
        elif shadow := _shadow(path, tree, inside):
            remove.add(shadow)
            flags.add("runner_shadowed")
        elif any(test.startswith(path + "/") for test in tests):  # a file or link in a folder's place
            remove.add(path)
            flags.add("test_files_restored")
    left = (path for path in changed | added if not ({path, *_parents(path)} & (remove | restore)))
    if any(RUNNER & set(_stems(path)) for path in left):
        flags.add("runner_touched")
    return Plan(
        restore=tuple(sorted(restore)),
        remove=tuple(sorted(remove)),
        from_reference=tuple(sorted(from_reference)),
        flags=tuple(sorted(flags)),
    )


def is_configuration(path: str) -> bool:
    """Whether a file configures tests or the interpreter that runs them, by its name and place."""
    *folders, name = path.split("/")
    return (
        name in CONFIGURATION
        or name.endswith((".pth", ".egg-link"))
        or name.split(".")[0] in CUSTOMISE
        or any(folder in CUSTOMISE or folder.endswith((".egg-info", ".dist-info")) for folder in (*folders, name))
    )


def _is_bytecode(path: str) -> bool:
    """Compiled Python, which Python and pytest take for the source if its stamp says so."""
    return path.endswith((".pyc", ".pyo")) or "__pycache__" in path.split("/")


def _shadow(path: str, tree: Set[str], inside: Set[str]) -> str:
    """The part of an added path that hides a module of the runner or of the standard library, or an empty string."""
    parts = path.split("/")
    for depth, part in enumerate(parts):
        place, stem = "/".join(parts[:depth]), part.split(".")[0]
        here = f"{place}/{stem}" if place else stem
        if stem in RUNNER_NEEDS:
            if f"{place}/__init__.py" in tree:  # inside a package it hides nothing
                continue
        elif not (place in IMPORT_ROOTS and stem in sys.stdlib_module_names):
            continue
        if not any(name in inside or name in tree for name in (here, f"{here}.py")):
            return "/".join(parts[: depth + 1])
    return ""


def _stems(path: str) -> list[str]:
    return [part.split(".")[0] for part in path.split("/")]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _parents_of(paths: Iterable[str]) -> set[str]:
    return {parent for path in paths for parent in _parents(path)}


def _normal(path: str) -> str:
    """A path without `.`, `..` and doubled slashes; what leads out of the tree loses its way out."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}


def _unquote(name: str) -> str:
    """A path as git writes it: in C quotes with octal bytes when it holds anything odd."""
    if not (len(name) >= 2 and name[0] == name[-1] == '"'):
        return name
    raw = bytearray()
    position, body = 0, name[1:-1]
    while position < len(body):
        char = body[position]
        if char != "\\":
            raw += char.encode("utf-8", "surrogateescape")
            position += 1
        elif octal := re.match(r"[0-7]{1,3}", body[position + 1 :]):
            raw.append(int(octal[0], 8) & 255)
            position += 1 + len(octal[0])
        else:
            raw.append(_ESCAPES.get(body[position + 1 : position + 2], 63))
            position += 2
    return raw.decode("utf-8", "surrogateescape")
