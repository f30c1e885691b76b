"""Lists of repositories: what a user names on the command line, or in a file under `tasks/`.

Two kinds of file: plain text, one repository a line, `#` begins a comment; and TOML:

    mutations = 4
    seed = 0
    repositories = ["pypi:itsdangerous==2.2.0", "https://github.com/pallets/flask@3.1.0", "../clones/toolz"]

A path in a list is looked for from the folder that the list is in.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from forager.errors import UsageError
from forager.forage.source import looks_like_address, split_commit
from forager.records import Record


class RepositoryList(Record, frozen=True, forbid_unknown_fields=True):
    """Repositories to forage, and what the list itself asks for (flags on the command line go before it)."""

    repositories: tuple[str, ...]
    mutations: int | None = None
    """Tasks a repository."""
    implementations: int | None = None
    """Tasks a repository to write a function again."""
    rewrites: int | None = None
    """Tasks a repository with a function that a model rewrites with a bug."""
    commits: int | None = None
    """Tasks a repository from its history."""
    seed: int | None = None


def read_list(path: Path) -> RepositoryList:
    """The list in a file. Raises `UsageError` naming the file and what is wrong in it."""
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read list {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file") from None
    if path.suffix == ".toml":
        try:
            found = msgspec.convert(tomllib.loads(text), RepositoryList)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise UsageError(f"{path}: {error}") from None
    else:
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        found = RepositoryList(repositories=tuple(line for line in lines if line))
    if not found.repositories:
        raise UsageError(f"{path} names no repository")
    return structs.replace(found, repositories=tuple(_from(path.parent, name) for name in found.repositories))


def _from(folder: Path, name: str) -> str:
    """A repository's name, as it is meant in a list in `folder`."""
    if name.startswith("pypi:") or looks_like_address(name):
        return name
    path = folder / Path(split_commit(name)[0]).expanduser()
    return str(folder / Path(name).expanduser()) if path.is_dir() else name


def expand(arguments: Sequence[str]) -> RepositoryList:
    """All repositories that arguments name, each once, in order: by their names, or in files that list them.

    A name is `pypi:NAME[==VERSION]`, a git address or the path of a clone, both with `@COMMIT` if need be. Of several
    files' numbers the first counts. Raises `UsageError`.
    """
    repositories: dict[str, None] = {}
    lists: list[RepositoryList] = []
    for argument in arguments:
        if Path(argument).is_file():
            lists.append(read_list(Path(argument)))
            repositories |= dict.fromkeys(lists[-1].repositories)
            continue
        if not (argument.startswith("pypi:") or looks_like_address(argument)) and not _is_path(argument):
            raise UsageError(
                f"{argument!r} is neither pypi:NAME==VERSION, a git address, a clone, nor a file that lists them"
            )
        repositories[argument] = None
    if not repositories:
        raise UsageError("no repository given; name one as pypi:NAME==VERSION, or a file that lists them")

    def first(name: str) -> int | None:
        return next((value for found in lists if (value := getattr(found, name)) is not None), None)

    return RepositoryList(
        repositories=tuple(repositories),
        mutations=first("mutations"),
        implementations=first("implementations"),
        rewrites=first("rewrites"),
        commits=first("commits"),
        seed=first("seed"),
    )


def _is_path(name: str) -> bool:
    """Whether a name is the path of a folder, or `OWNER/NAME` as GitHub has it."""
    address, _ = split_commit(name)
    return Path(address).expanduser().is_dir() or re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", address) is not None
