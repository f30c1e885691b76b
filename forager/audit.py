"""Proof that nothing of the fix can be found where the agent works.

The whole file system of a task's image is streamed to this side and searched, with every git object in it (loose,
packed, unreachable), archives, compiled Python and the image's settings. Nothing of the image runs, except its own
Python where a compiled file has to be read.

What is looked for: windows of consecutive lines that the fixed tree has and the starting tree has nowhere, blank
lines left out and white space evened (`forager/evidence.py`). The image's settings (environment variables, labels,
history) are small, so there one line of the fix is a leak.

An agent of a real commit's task sees the ancestors of that commit, as its author did. What one of them had of the fix
(it was reverted, say, or moved) is told, and is no leak.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import docker.errors

from forager.errors import BuildError, ForageError, UsageError
from forager.evidence import Windows
from forager.images.contents import PIECE, files, unpacked, unstarted
from forager.images.task import visible_history
from forager.records import Record, Task

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.run.images_pool import TaskImages
    from forager.sandbox.engine import Engine

OVERLAP = 64 * 1024
LEAKS = 20
"""Leaks that are kept of a task; the others are only counted by there being this many."""

_GIT_OBJECT = re.compile(r"(.*/)?objects/(pack/[^/]+\.(?:pack|idx)|[0-9a-f]{2}/[0-9a-f]{38,62})$")


class Leak(Record, frozen=True):
    """One place that has something of the fix."""

    where: str
    """A path in the container, `GITDIR object ID`, or `environment` and the like."""
    line: str
    """A line of the fix that is there."""


class Audit(Record, frozen=True):
    """What the search of one task's image found."""

    instance_id: str
    leaks: tuple[Leak, ...] = ()
    past: tuple[Leak, ...] = ()
    """What an ancestor of the base commit had of the fix: no leak, it was there when the fix was made."""
    files: int = 0
    objects: int = 0
    """Git objects."""
    megabytes: float = 0.0
    seconds: float = 0.0
    windows: int = 0
    """What was looked for. Zero: the fixed tree has nothing that the starting tree has not."""
    problem: str = ""
    """Why the image could not be searched."""


async def audit_tasks(
    engine: Engine,
    tasks: Sequence[Task],
    images: TaskImages,
    *,
    workers: int = 2,
    report: Callable[[Audit], None] | None = None,
) -> list[Audit]:
    """Search the image of every task, made if it is not there. One that can't be had is a `problem` of its audit.

    Raises `SandboxError`, `UnfitError` when the engine fails.
    """
    room = asyncio.Semaphore(workers)

    async def one(task: Task) -> Audit:
        async with room:
            try:
                found = await audit_task(engine, task, await images.ensure(task))
            except (BuildError, ForageError, UsageError) as error:
                found = Audit(instance_id=task.instance_id, problem=str(error))
            finally:
                await images.release(task)
        if report is not None:
            report(found)
        return found

    return list(await asyncio.gather(*(one(task) for task in tasks)))


async def audit_task(engine: Engine, task: Task, image: TaskImage) -> Audit:
    """Search the image of `task`. Raises `SandboxError`, `UnfitError` when the engine fails."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="forager-audit-") as folder:
        search = _Search(engine, task, image, Path(folder))
        await engine.call(search.run)
        leaks = list(search.leaks)
        if search.compiled and search.sources and len(leaks) < LEAKS:
            leaks += await search.look_into_compiled()
    return Audit(
        instance_id=task.instance_id,
        leaks=tuple(leaks[:LEAKS]),
        past=tuple(search.past),
        files=search.files,
        objects=search.objects,
        megabytes=round(search.size / 1e6, 1),
        seconds=round(time.perf_counter() - started, 1),
        windows=len(search.windows.windows) if search.windows else 0,
        problem=search.problem,
    )


class _Search:
    """One image: the harness's own git first, which tells what to look for, then its whole file system."""

    def __init__(self, engine: Engine, task: Task, image: TaskImage, folder: Path) -> None:
        self._engine = engine
        self._task = task
        self._image = image
        self._folder = folder
        self._workdir = task.workdir.strip("/")
        self.windows: Windows | None = None
        self.leaks: list[Leak] = []
        self.past: list[Leak] = []
        self.files = self.objects = self.size = 0
        self.problem = ""
        self.sources: dict[str, tuple[bytes, bytes]] = {}
        """Changed Python files: as they start, as the fix leaves them."""
        self.compiled: list[str] = []
        """Compiled files that may come from them."""

    def run(self) -> None:
        api: Any = self._engine.api
        with unstarted(self._engine, self._image.digest, "audit") as container:
            try:
                own: dict[str, Path] = {}
                for member, file in files(api.get_archive(container, "/.forager/git")[0]):
                    self._keep_git(f".forager/{member.name}", file, own)
                if self._what_to_look_for(own):
                    self._settings(api)
                    places = dict(own)
                    self._everything(files(api.export(container)), places)
                    for place, directory in places.items():
                        self._git_objects(place, directory)
            except docker.errors.NotFound:
                self.problem = "the image is not sealed: it has no /.forager/git"

    def _keep_git(self, name: str, file: IO[bytes], places: dict[str, Path]) -> None:
        """Copy a file of a git directory's objects into an empty repository of our own."""
        match = _GIT_OBJECT.fullmatch(name)
        if match is None and name not in (".forager/git/refs/heads/main", ".forager/git/packed-refs"):
            return
        place = (match[1] or "").rstrip("/") if match else ".forager/git"
        if place not in places:
            places[place] = self._folder / f"git{len(places)}"
            _git(places[place], "init", "--quiet", "--bare", "--template=", str(places[place]), init=True)
        target = places[place] / (f"objects/{match[2]}" if match else name.removeprefix(".forager/git/"))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy:
                shutil.copyfileobj(file, copy)

    # ----------------------------------------------------------------------------------- what to look for

    def _what_to_look_for(self, places: Mapping[str, Path]) -> bool:
        """Read the starting tree, make the fixed one of it, and take what only that has."""
        own = places.get(".forager/git")
        if own is None:
            self.problem = "the image is not sealed: it has no /.forager/git"
            return False
        made = self._folder / "made"  # the fixed files go here, beside what was found
        made.mkdir()
        env = {
            "GIT_INDEX_FILE": str(self._folder / "index"),
            "GIT_OBJECT_DIRECTORY": str(made),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(own / "objects"),
        }
        try:
            _git(own, "read-tree", "refs/heads/main", env=env)
            listing = _git(own, "ls-tree", "-r", "-z", "refs/heads/main")
            for patch in (self._task.patch, self._task.test_patch):
                if patch.strip():
                    _git(own, "apply", "--cached", "--whitespace=nowarn", env=env, data=_patch(patch))
            changed = _git(own, "diff-index", "--cached", "-z", "--name-only", "refs/heads/main", env=env)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
            self.problem = f"the fix does not apply to the starting tree: {said[0][:200]}"
            return False
        entries = [entry.split(b"\t", 1) for entry in listing.split(b"\0") if entry]
        self._start = {blob.split()[2].decode(): name for blob, name in entries if blob.split()[1] == b"blob"}
        start = dict(_objects(own, self._start))
        by_name = {self._start[identifier]: data for identifier, data in start.items()}
        fixed: dict[str, bytes] = {name: text.encode() for name, text in self._task.hidden_tests.items()}
        for raw in changed.split(b"\0"):
            with contextlib.suppress(subprocess.CalledProcessError):
                if raw:
                    name = os.fsdecode(raw)
                    fixed[name] = _git(own, "cat-file", "blob", f":{name}", env=env)
                    if name.endswith(".py"):
                        self.sources[name] = (by_name.get(raw, b""), fixed[name])
        self.windows = Windows(fixed, start.values())
        return bool(self.windows.windows)

    # ------------------------------------------------------------------------------------------- the search

    def _settings(self, api: Any) -> None:
        """Environment variables, labels and whatever else the image's record holds, its history too."""
        assert self.windows is not None
        config = api.inspect_image(self._image.digest).get("Config") or {}
        variables = config.pop("Env", None) or []
        for variable in variables:
            name, _, value = variable.partition("=")
            texts = [value.encode("utf-8", "replace")]
            with contextlib.suppress(binascii.Error, ValueError):
                texts.append(base64.b64decode(value, validate=True))
            for text in texts:
                if line := self.windows.find_line(text):
                    self._leak(f"environment variable {name}", line)
                    break
        for where, record in (("settings", config), ("history", api.history(self._image.digest))):
            if line := self.windows.find_line(json.dumps(record).encode()):
                self._leak(f"the image's {where}", line)

    def _git_objects(self, place: str, directory: Path) -> None:
        ancestors = self._ancestors(directory)
        for identifier, data in _objects(directory, None):
            self.objects += 1
            self.size += len(data)
            if identifier not in self._start:
                found = self.past if identifier in ancestors else self.leaks
                self._look(f"/{place} object {identifier[:12]}", data, found)

    def _ancestors(self, directory: Path) -> frozenset[str]:
        """The objects that the base commit's history is made of; nothing where the agent is to see no history."""
        base = visible_history(self._task)
        with contextlib.suppress(subprocess.CalledProcessError):
            if base:
                listed = _git(directory, "rev-list", "--objects", base)
                return frozenset(line.split()[0].decode() for line in listed.splitlines())
        return frozenset()

    def _everything(self, files: Iterable[tuple[tarfile.TarInfo, IO[bytes]]], places: dict[str, Path]) -> None:
        stems = {Path(name).stem for name in self.sources}
        tracked = {f"{self._workdir}/{os.fsdecode(name)}" for name in self._start.values()}
        for member, file in files:
            name = member.name.removeprefix("./")
            if _GIT_OBJECT.fullmatch(name):
                self._keep_git(name, file, places)
                continue
            if name in tracked:
                continue
            self.files += 1
            self.size += member.size
            if name.endswith((".pyc", ".pyo")) and Path(name).name.split(".")[0] in stems:
                self.compiled.append(f"/{name}")
            where, data = f"/{name}", file.read(PIECE)
            self._look(where, data)
            if len(data) == member.size:
                for inner, content in unpacked(data):
                    self._look(f"{where}!{inner}", content)
            while more := file.read(PIECE):
                self._look(where, data[-OVERLAP:] + more)
                data = more

    def _look(self, where: str, data: bytes, found: list[Leak] | None = None) -> None:
        assert self.windows is not None
        if window := self.windows.find(data):
            new = next((line for line in window.split(b"\n") if line in self.windows.lines), window.split(b"\n")[0])
            self._leak(where, new, found)

    def _leak(self, where: str, line: bytes, found: list[Leak] | None = None) -> None:
        found = self.leaks if found is None else found
        leak = Leak(
            where=where.encode("utf-8", "backslashreplace").decode(), line=line.decode("utf-8", "replace")[:200]
        )
        # A file that many ancestors changed has each line in as many objects: one of them is enough to say.
        new = leak.line not in {known.line for known in found} if found is self.past else True
        if new and len(found) < LEAKS and all(known.where != leak.where for known in found):
            found.append(leak)

    # ------------------------------------------------------------------------------------------ compiled

    async def look_into_compiled(self) -> list[Leak]:
        """Which compiled files hold a function as only the fix has it, asked of the image's own Python."""
        from forager.sandbox.docker import open_sandbox

        job = {
            "files": self.compiled[:2000],
            "sources": [[a.decode("latin-1"), b.decode("latin-1")] for a, b in self.sources.values()],
        }
        async with await open_sandbox(
            self._engine, self._image.digest, workdir=self._task.workdir, run="audit"
        ) as sandbox:
            await sandbox.write_file("/tmp/job.json", json.dumps(job).encode())
            await sandbox.write_file("/tmp/look.py", _COMPILED.encode())
            found: set[str] = set()
            read: set[str] = set()
            for python in ("python", "python3", "/usr/bin/python3"):
                ran = await sandbox.run(f"{python} -I -B /tmp/look.py /tmp/job.json /tmp/answer", 120)
                with contextlib.suppress(OSError, ValueError):
                    answer = json.loads(await sandbox.read_file("/tmp/answer"))
                    if ran.exit_code == 0:
                        found.update(answer["found"])
                        read.update(answer["read"])
        leaks = [Leak(where=path, line="compiled from the fixed source") for path in sorted(found)]
        unread = [path for path in self.compiled if path not in read and path.startswith(f"/{self._workdir}/")]
        return leaks + [Leak(where=path, line="compiled by another Python, cannot be read") for path in unread]


_COMPILED = """
import importlib.util, json, marshal, sys, types

job = json.load(open(sys.argv[1]))

def shape(code):
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    plain = tuple(repr(c) for c in code.co_consts if not isinstance(c, types.CodeType))
    yield (code.co_name, code.co_code, plain, code.co_names, code.co_varnames)
    for c in inner:
        for s in shape(c):
            yield s

wanted = set()
for before, after in job["sources"]:
    for optimise in (0, 1, 2):
        try:
            texts = (text.encode("latin-1") for text in (before, after))
            old, new = (set(shape(compile(text, "x", "exec", 0, True, optimise))) for text in texts)
        except (SyntaxError, ValueError):
            continue
        wanted |= new - old
found, read = [], []
for path in job["files"]:
    try:
        data = open(path, "rb").read()
        if data[:4] != importlib.util.MAGIC_NUMBER:
            continue
        code = marshal.loads(data[16:])
    except (OSError, ValueError, EOFError, TypeError):
        continue
    read.append(path)
    if wanted.intersection(shape(code)):
        found.append(path)
json.dump({"found": found, "read": read}, open(sys.argv[2], "w"))
"""


def _objects(directory: Path, only: Iterable[str] | None) -> Iterator[tuple[str, bytes]]:
    """Git objects' ids and contents; `only` these or all there are. Trees are left out: they hold names."""
    which = ["--batch"] if only is not None else ["--batch-all-objects", "--unordered", "--batch"]
    with tempfile.TemporaryFile() as asked:
        if only is not None:
            asked.write("".join(f"{identifier}\n" for identifier in only).encode())
            asked.seek(0)
        with subprocess.Popen(
            ["git", f"--git-dir={directory}", "cat-file", *which],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENV,
        ) as process:
            assert process.stdout is not None
            while head := process.stdout.readline():
                parts = head.split()
                if len(parts) != 3 or not parts[2].isdigit():
                    continue
                data = process.stdout.read(int(parts[2]))
                process.stdout.read(1)
                if parts[1] != b"tree":
                    yield parts[0].decode(), data


_ENV = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}


def _git(
    directory: Path, *arguments: str, env: Mapping[str, str] | None = None, data: bytes = b"", init: bool = False
) -> bytes:
    """Run git on a repository of our own that holds foreign objects."""
    where = [] if init else [f"--git-dir={directory}"]
    return subprocess.run(
        ["git", *where, *arguments], input=data, capture_output=True, check=True, env={**_ENV, **(env or {})}
    ).stdout


def _patch(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return data if data.endswith(b"\n") else data + b"\n"
