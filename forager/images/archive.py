"""Source archives, read as hostile: what leaves its folder is refused, the rest is streamed out as a clean tar.

Nothing is ever unpacked on the host: members go from the archive to memory to a new tar for the engine.
"""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from forager.errors import ForageError
from forager.records import Record

MAX_BYTES = 1024**3
"""Of all members of one archive, unpacked."""
MAX_MEMBERS = 50_000
MAX_MEMBER_BYTES = 256 * 1024**2

SUFFIXES = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz")

TIME = 1_704_067_200
"""Every file's mtime in the repository layer: 2024-01-01. The task layer uses another one, see `task.py`."""

_STRIPPED_FOLDERS = {".git", ".hg", ".svn", ".bzr", "__pycache__", ".tox", ".nox", ".eggs", ".venv"}
_STRIPPED_FOLDERS |= {".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
_STRIPPED_SUFFIXES = (".pyc", ".pyo")


class Member(Record, frozen=True):
    """One entry of an archive, safe to place under any folder."""

    path: str
    """Relative to the archive's top folder, with `/`, normal form."""
    data: bytes = b""
    link: str = ""
    """Target of a symbolic link; relative, stays inside the tree."""
    executable: bool = False


def read(path: Path) -> Iterator[Member]:
    """The files and links of a source archive, its single top folder taken off.

    Version control folders, compiled caches and earlier builds are left out: they may hold what a task has to hide.
    Raises `ForageError` naming the member that leaves the folder (`..`, absolute, a link out, through a link), is a
    device, or breaks the bounds on size and number; or saying that the archive is broken.
    """
    return _without_leftovers(_without_top(_checked(path)))


def clean_tar(members: Iterator[Member]) -> bytes:
    """A tar of `members`: owner root, modes 0644 and 0755, one mtime for everything, order as given."""
    out = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, TIME
            return info

        for member in members:
            for parent in reversed(PurePosixPath(member.path).parents[:-1]):
                if str(parent) not in folders:
                    folders.add(str(parent))
                    tar.addfile(entry(str(parent), tarfile.DIRTYPE, 0o755))
            if member.link:
                link = entry(member.path, tarfile.SYMTYPE, 0o777)
                link.linkname = member.link
                tar.addfile(link)
            else:
                file = entry(member.path, tarfile.REGTYPE, 0o755 if member.executable else 0o644)
                file.size = len(member.data)
                tar.addfile(file, io.BytesIO(member.data))
    return out.getvalue()


# ------------------------------------------------------------------------------------------- checking


def _checked(path: Path) -> dict[str, Member]:
    """Every member by its path. A path that comes twice means its last content, as `tar` has it."""
    members: dict[str, Member] = {}
    total = 0
    try:
        for count, member in enumerate(_zip(path) if path.name.endswith(".zip") else _tar(path, members), 1):
            total += len(member.data)
            if count > MAX_MEMBERS:
                raise ForageError(f"{path.name}: more than {MAX_MEMBERS:,} members; refused")
            if total > MAX_BYTES:
                raise ForageError(f"{path.name}: more than {MAX_BYTES >> 20:,} MiB unpacked; refused")
            members[member.path] = member
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise ForageError(f"{path.name}: cannot be read as a source archive: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # zipfile: unknown compression, encryption
        raise ForageError(f"{path.name}: cannot be read as a source archive: {error}") from None
    for member in members.values():
        for parent in PurePosixPath(member.path).parents[:-1]:
            if (other := members.get(str(parent))) is not None:
                how = "goes through a link" if other.link else "lies under a file"
                raise ForageError(f"{path.name}: member {member.path!r} {how}; refused")
    return members


def _tar(path: Path, seen: dict[str, Member]) -> Iterator[Member]:
    """Members of a tar, as they stream by."""
    with tarfile.open(path, "r|*") as tar:
        for info in tar:
            if info.isdir():
                _inside(path, info.name)
                continue
            name = _inside(path, info.name)
            if info.issym():
                yield Member(path=name, link=_inside_link(path, name, info.linkname))
            elif info.islnk():
                target = seen.get(_inside(path, info.linkname))
                if target is None or target.link:
                    raise ForageError(f"{path.name}: member {info.name!r} links to nothing before it; refused")
                yield Member(path=name, data=target.data, executable=target.executable)
            elif info.isreg():
                _bounded(path, info.name, info.size)
                file = tar.extractfile(info)
                data = file.read() if file else b""
                yield Member(path=name, data=data, executable=bool(info.mode & 0o111))
            else:
                raise ForageError(f"{path.name}: member {info.name!r} is a device or a pipe; refused")


def _zip(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _inside(path, info.filename)
            mode = info.external_attr >> 16
            if info.is_dir():
                continue
            _bounded(path, info.filename, info.file_size)
            with archive.open(info) as file:
                data = file.read(MAX_MEMBER_BYTES + 1)  # the header's size may lie
            _bounded(path, info.filename, len(data))
            if stat.S_ISLNK(mode):
                yield Member(path=name, link=_inside_link(path, name, data.decode("utf-8", "surrogateescape")))
            elif mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise ForageError(f"{path.name}: member {info.filename!r} is a device or a pipe; refused")
            else:
                yield Member(path=name, data=data, executable=bool(mode & 0o111))


def _bounded(path: Path, name: str, size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise ForageError(f"{path.name}: member {name!r} is larger than {MAX_MEMBER_BYTES >> 20} MiB; refused")


def _inside(path: Path, name: str) -> str:
    """The normal form of a member's name, or the refusal of one that leaves the folder."""
    parts = PurePosixPath(name).parts
    if name.startswith(("/", "\\")) or "\0" in name or ".." in parts or "\\" in name or ":" in name[:2]:
        raise ForageError(f"{path.name}: member {name!r} leaves the folder; refused")
    return "/".join(parts)


def _inside_link(path: Path, name: str, target: str) -> str:
    """The target of a symbolic link that stays inside the archive's top folder, or the refusal."""
    depth = len(PurePosixPath(name).parts) - 1
    top = 1 if depth else 0  # `pkg-1.0/a` may not point to `pkg-1.0/..`
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < top or target.startswith("/") or "\0" in target:
            raise ForageError(f"{path.name}: member {name!r} links to {target!r}, out of the folder; refused")
    return target


# -------------------------------------------------------------------------------------------- shaping


def _without_top(members: dict[str, Member]) -> Iterator[Member]:
    tops = {path.split("/", 1)[0] for path in members}
    single = len(tops) == 1 and all("/" in path for path in members)
    for path in sorted(members):
        member = members[path]
        yield Member(
            path=path.split("/", 1)[1] if single else path,
            data=member.data,
            link=member.link,
            executable=member.executable,
        )


def _without_leftovers(members: Iterator[Member]) -> Iterator[Member]:
    for member in members:
        parts = PurePosixPath(member.path).parts
        if _STRIPPED_FOLDERS.intersection(parts) or member.path.endswith(_STRIPPED_SUFFIXES):
            continue
        if parts[0] == "build" and len(parts) > 2 and parts[1].startswith(("lib", "bdist.", "temp.")):
            continue
        if parts[0] == "dist" and member.path.endswith((".whl", ".egg", *SUFFIXES)):
            continue
        yield member
