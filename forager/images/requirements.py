"""Requirement files of a repository, read from its git, as requirements one by one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

import yaml

from forager.errors import ForageError

_RENAMED = {"types-pkg-resources": "types-setuptools"}
"""Packages that are gone from the index, and what took their place."""

_CONDA_ONLY = re.compile(r"(python|pip|conda|libgcc|c-compiler|cxx-compiler|compilers)$|_|lib(?!cst|rosa|sass)")


def file_requirements(
    path: str, text: str, read: Callable[[str], str | None], _seen: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The requirements in a pip file, and in the files it includes (`-r`); other options and the repository itself
    (`-e .`, `.[test]`) are left out. `read` gives another file of the repository by its path."""
    found: list[str] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        if include := re.match(r"(?:-r|--requirement)[\s=]*(\S+)", line):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(path), include[1]))
            if other not in _seen and (more := read(other)) is not None:
                found += file_requirements(other, more, read, _seen | {path, other})
        elif re.match(r"[A-Za-z0-9]", line):
            requirement = re.sub(r"\s+--\S+", "", line)
            name = re.match(r"[A-Za-z0-9._-]+", requirement)
            replaced = _RENAMED.get(re.sub(r"[-_.]+", "-", name[0]).lower()) if name else None
            found.append(replaced or requirement)
    return tuple(dict.fromkeys(found))


def conda_requirements(text: str) -> tuple[str, ...]:
    """The packages of a conda `environment.yml` as pip knows them, as far as names agree; compilers, system libraries
    and Python itself are left out. Raises `ForageError` for a file that is none."""
    try:
        listed = yaml.safe_load(text)["dependencies"]
    except (yaml.YAMLError, KeyError, TypeError):
        raise ForageError("its environment.yml has no list of dependencies") from None
    found: list[str] = []
    for item in listed or ():
        if isinstance(item, dict):
            found += [line for line in map(str, item.get("pip") or ()) if re.match(r"[A-Za-z0-9]", line)]
            continue
        match = re.match(r"(?:[\w-]+::)?([A-Za-z0-9._-]+)\s*(.*)$", str(item).partition("#")[0].strip())
        if match and not _CONDA_ONLY.match(match[1]):
            version = re.sub(r"^=(?![=])", "==", match[2].split("=*")[0].strip())
            found.append(match[1] + (f"{version}.*" if re.fullmatch(r"==\d+(\.\d+)?", version) else version))
    return tuple(dict.fromkeys(found))
