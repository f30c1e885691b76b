"""Lists of repositories: what a user names on the command line, or in a file under `tasks/`.

Two kinds of file: plain text, one repository a line, `#` begins a comment; and TOML:

    mutations = 4
    seed = 0
    repositories = ["pypi:itsdangerous==2.2.0", "pypi:inflection==0.5.1"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from forager.errors import UsageError
from forager.records import Record


class RepositoryList(Record, frozen=True, forbid_unknown_fields=True):
    """Repositories to forage, and what the list itself asks for (flags on the command line go before it)."""

    repositories: tuple[str, ...]
    mutations: int | None = None
    """Tasks a repository."""
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
    return found


def expand(arguments: Sequence[str]) -> RepositoryList:
    """All repositories that arguments name, each once, in order: `pypi:NAME==VERSION`, or a file that lists them.

    Of several files' `mutations` and `seed`, the first counts. Raises `UsageError`.
    """
    repositories: dict[str, None] = {}
    mutations: int | None = None
    seed: int | None = None
    for argument in arguments:
        if argument.startswith("pypi:"):
            repositories[argument] = None
            continue
        path = Path(argument)
        if not path.is_file():
            raise UsageError(f"{argument!r} is neither pypi:NAME==VERSION nor a file that lists repositories")
        found = read_list(path)
        repositories |= dict.fromkeys(found.repositories)
        mutations = found.mutations if mutations is None else mutations
        seed = found.seed if seed is None else seed
    if not repositories:
        raise UsageError("no repository given; name one as pypi:NAME==VERSION, or a file that lists them")
    return RepositoryList(repositories=tuple(repositories), mutations=mutations, seed=seed)
