"""Where a repository comes from: what a user names on the command line, fetched and read, never run or checked out.

    fetched = await fetch_source("pypi:itsdangerous==2.2.0")     # or a git address, a clone's path, either @COMMIT
    files = fetched.read()                                       # path to content
    plans = candidates_for(fetched, files)                       # forage/detect.py

The index is in `images/index.py` and the mirrors of git repositories in `images/mirrors.py`, because building an
image of a task needs them too.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path, PurePosixPath

from forager.errors import UsageError
from forager.forage import history
from forager.images import mirrors
from forager.images.archive import read
from forager.images.build import Report
from forager.images.heads import checked_out
from forager.images.index import Sdist, fetch, parse_spec, public_url
from forager.records import Environment, Record

__all__ = [
    "Sdist",
    "Source",
    "check_name",
    "fetch",
    "fetch_source",
    "looks_like_address",
    "of_release",
    "parse_spec",
    "split_commit",
]


class Source(Record, frozen=True):
    """One repository, fetched: a release of a package, or a git repository at a commit."""

    spec: str
    """What it is for good: `pypi:NAME==VERSION` or `ADDRESS@COMMIT`."""
    name: str
    """For people: `flask`."""
    version: str
    """For people: a version, or `at commit 1a2b3c4`."""
    label: str
    """For ids: `pallets__flask`, or a package's name."""
    repo: str
    """`Task.repo`."""
    environment: Environment
    """Where it comes from, and nothing yet of what it needs."""
    path: Path
    """The source distribution, or the mirror."""
    date: str = ""
    """When this version was made, ISO 8601; empty where nobody tells."""

    @property
    def commit(self) -> str:
        """Empty for a release."""
        return self.environment.commit

    @property
    def prefix(self) -> str:
        """What the ids of tasks at this version begin with."""
        return f"{self.label}-{self.commit[:7] or self.version}"

    def read(self) -> dict[str, bytes]:
        """Its files by path; of a git repository those that are text about code have their content, see `history`.

        Raises `ForageError` for an archive or a tree that cannot be read.
        """
        if self.commit:
            return history.read_tree(self.path, self.commit)
        return {member.path: member.data for member in read(self.path) if not member.link}


async def fetch_source(name: str, report: Report | None = None) -> Source:
    """What a name means, fetched. Raises as `images.index.fetch` and `images.heads.checked_out` do."""
    if name.startswith("pypi:"):
        return of_release(await fetch(name, report=report))
    address, wanted, local = await asyncio.to_thread(_located, name)
    mirror, commit = await checked_out(address, wanted, report)
    owner_and_name = mirrors.name_of(address)
    plain = PurePosixPath(owner_and_name).name
    if local:
        declared = await asyncio.to_thread(history.declared_name, mirror, commit)
        plain = owner_and_name = declared or plain
    shown = public_url(address) if address.startswith("http") else address  # its mirror is found without a password
    return Source(
        spec=f"{shown}@{commit}",
        name=plain,
        version=f"at commit {commit[:7]}",
        label=re.sub(r"[^\w.+-]+", "__", owner_and_name.strip("/")),
        repo=owner_and_name,
        environment=Environment(source=shown, commit=commit),
        path=mirror,
        date=await asyncio.to_thread(history.made_at, mirror, commit),
    )


def _located(name: str) -> tuple[str, str, bool]:
    """The address or absolute path that a name means, the commit or tag it asks for, and whether it is local."""
    address, wanted = split_commit(name)
    if looks_like_address(address) and not address.startswith("file://"):
        return address, wanted, False
    path = Path(address.removeprefix("file://")).expanduser()
    if not path.exists() and (known := mirrors.address(address)) != address:
        return known, wanted, False
    mirrors.local_clone(address)
    return str(path.resolve()), wanted, True


def of_release(sdist: Sdist) -> Source:
    """The source that a downloaded release is."""
    return Source(
        spec=sdist.spec,
        name=sdist.name,
        version=sdist.version,
        label=sdist.name,
        repo=sdist.spec,
        environment=Environment(source=sdist.spec, sha256=sdist.sha256),
        path=sdist.path,
        date=sdist.uploaded,
    )


def check_name(name: str) -> None:
    """Raise `UsageError` for what cannot name a repository."""
    if name.startswith("pypi:"):
        parse_spec(name)
        return
    address, _ = split_commit(name)
    path = Path(address).expanduser()
    if not (looks_like_address(address) or re.fullmatch(r"[\w.-]+/[\w.-]+", address) or path.is_dir()):
        raise UsageError(
            f"{name!r} is no repository: name it as pypi:NAME[==VERSION], a git address, or the path of a clone"
        )
    mirrors.check_source(mirrors.address(address) if not path.exists() else address)
    if path.is_dir() and mirrors.git_dir(path) is None:
        raise UsageError(f"{address} is not a git clone; make it one (`git init`, `git commit`), or name its address")


def looks_like_address(name: str) -> bool:
    """Whether a name is written as git addresses are: with a scheme, or `USER@HOST:PATH`."""
    return "://" in name or re.match(r"[\w.-]+@[\w.-]+:", name) is not None


def split_commit(name: str) -> tuple[str, str]:
    """Address and commit or tag (empty if none is named) of `ADDRESS[@COMMIT]`.

    Raises `UsageError` for an `@` with nothing that could be a commit or tag after it.
    """
    address, at, wanted = name.rpartition("@")
    if not at or "/" in wanted or ":" in wanted or (Path(name).expanduser().exists() and "://" not in name):
        return name, ""
    if not address or not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", wanted) or ".." in wanted:
        raise UsageError(f"{public_url(name)!r}: what follows @ is neither a commit nor a tag")
    return address, wanted
