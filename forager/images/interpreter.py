"""A Python that the base image does not have: taken from this host and laid into a layer, at the same path.

Interpreters are made to be at one place, so theirs is kept. What a repository needs of one goes along: the
executable, the standard library, the headers, and those shared libraries that the image lacks.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from forager.images import images_dir
from forager.images.build import Report, image_exists
from forager.images.layer import add_layer
from forager.records import Record, digest
from forager.sandbox.engine import Engine

_ASK = "import json,sys,sysconfig as s;print(json.dumps([list(sys.version_info[:3]),sys.base_prefix,s.get_paths()]))"

_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "share"}


class HostPython(Record, frozen=True):
    """An interpreter of this host that runs."""

    version: tuple[int, ...]
    executable: Path
    prefix: Path
    stdlib: Path
    include: Path


def find_python(version: str) -> HostPython | None:
    """The newest interpreter of this host that is `version` (`3.9`: any 3.9; `3.9.18`: that one); None if there is
    none. Looked for with pyenv, with uv, and where a system has its own."""
    wanted = tuple(int(part) for part in version.split("."))
    short = ".".join(version.split(".")[:2])
    found = [python for path in _candidates(short) if (python := _ask(path))]
    fitting = [python for python in found if python.version[: len(wanted)] == wanted]
    return max(fitting, key=lambda python: python.version, default=None)


async def ensure_python(engine: Engine, image: str, version: str, report: Report | None = None) -> tuple[str, str]:
    """The image that has a Python of this version, and how to name that Python there.

    `image` itself when its own Python is meant or is of that version; otherwise a layer on it with this host's. Where
    the host has none either, uv is left to find or download one. Raises `BuildError` when the host's does not run in
    the image.
    """
    if not version or await _has(engine, image, version):
        return image, "/usr/bin/python3" if version else ""
    python = await asyncio.to_thread(find_python, version)
    if python is None:
        return image, version
    key = digest([image, str(python.executable), _script()])
    tag = f"forager/python:{'.'.join(map(str, python.version))}-{key[:16]}"
    if not await image_exists(engine, tag):
        with tempfile.TemporaryDirectory(prefix="forager-") as folder:
            tar = Path(folder) / "python.tar"
            await asyncio.to_thread(_write_tar, python, tar)
            await add_layer(
                engine,
                parent=image,
                tag=tag,
                kind="python",
                script=_script(),
                files=tar,
                settings={"PYTHON": str(python.executable), "PREFIX": str(python.prefix)},
                report=report,
            )
    return tag, str(python.executable)


def missing_python(version: str) -> str:
    """What to say of a Python that is nowhere."""
    return (
        f"no Python {version}: neither the base image nor this host has it (pyenv, uv and the system were asked), "
        f"and it cannot be downloaded; `uv python install {version}` or `pyenv install {version}` brings it"
    )


async def _has(engine: Engine, image: str, version: str) -> bool:
    """Whether `/usr/bin/python3` of an image is of this version."""
    command = ["sh", "-c", "/usr/bin/python3 -I -c 'import sys; print(*sys.version_info[:3], sep=\".\")' || true"]
    said = await engine.call(
        engine.client.containers.run, image, command, entrypoint=[], remove=True, network_mode="none", user="0:0"
    )
    return re.fullmatch(rf"{re.escape(version)}(\.\d+)*", bytes(said).decode("utf-8", "replace").strip()) is not None


def _candidates(short: str) -> Iterator[Path]:
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python")
    for folder in (pyenv, managed):
        if folder.is_dir():
            yield from sorted(path / f"bin/python{short}" for path in folder.iterdir())
    for place in ("/usr/local/bin", "/usr/bin"):
        yield Path(place) / f"python{short}"


def _ask(path: Path) -> HostPython | None:
    if not path.is_file():
        return None
    path = path.resolve()  # where it lies, not what a link to it is called
    try:
        said = subprocess.run([path, "-I", "-c", _ASK], capture_output=True, timeout=20, check=True).stdout
        version, prefix, paths = json.loads(said)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    own = Path(prefix, "bin", f"python{version[0]}.{version[1]}")
    return HostPython(
        version=tuple(version),
        executable=own if own.is_file() else path,
        prefix=Path(prefix),
        stdlib=Path(paths["stdlib"]),
        include=Path(paths["include"]),
    )


def _write_tar(python: HostPython, target: Path) -> None:
    """The interpreter at its own path, and the shared libraries it needs in `/.forager/in/lib`."""
    shared = python.prefix in (Path("/usr"), Path("/usr/local"))
    folders = [python.stdlib, python.include] if shared else [python.prefix]
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        if shared:
            for path in (python.executable, python.executable.resolve()):
                tar.add(path, str(path)[1:], filter=_plain)
        for folder in folders:
            for path in _files(folder):
                tar.add(path, str(path)[1:], recursive=False, filter=_plain)
        for name, path in sorted(_libraries(python, folders).items()):
            tar.add(path.resolve(), f".forager/in/lib/{name}", filter=_plain)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT or path.suffix in (".a", ".pyc"):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_symlink() or path.is_file():
            yield path


def _libraries(python: HostPython, folders: list[Path]) -> dict[str, Path]:
    """The shared libraries, by name, that the interpreter and its modules are linked to and that lie elsewhere."""
    modules = [python.executable, *(python.stdlib / "lib-dynload").glob("*.so")]
    said = subprocess.run(["ldd", *modules], capture_output=True, timeout=60, check=False).stdout.decode()
    found = {name: Path(path) for name, path in re.findall(r"^\s*(\S+) => (/\S+) \(", said, re.MULTILINE)}
    return {
        name: path
        for name, path in found.items()
        if not any(path.is_relative_to(folder) for folder in folders) and not re.match(r"(libc|libm|ld-.*)\.so", name)
    }


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _script() -> str:
    return (images_dir() / "environment" / "interpreter").read_text()
