"""Grades remembered: the same patch in the same image, by the same harness, is answered without a container.

An entry is keyed by the digests of image, task, patch and of this package's own code, and by what else decides a
grade (limits, threshold). A task's image is removed when a run needs it no more, so what it was is remembered too, by
the task's digest: a task's record says everything its image is made of, except what a tag of the engine stands for,
and that is looked up.

The cache is a convenience: what is damaged or cannot be written is graded again, and nothing is said.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from forager.records import Evaluation, Record, Task, digest, encode
from forager.sandbox import Caps

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.sandbox.engine import Engine

R = TypeVar("R", bound=Record)

MAXIMUM = 512 * 1024**2
"""Bytes of all entries; the oldest go first."""
LOG_LIMIT = 256 * 1024
"""Characters of a log that are kept."""
UNSTEADY = frozenset({"timeout", "memory", "disk", "incomplete", "ungradable"})
"""Flags of evaluations that another try may end differently."""
_TRIM_EVERY = 64


class _Image(Record, frozen=True):
    """The image a task was last graded in."""

    digest: str
    parent: str
    """Id of the image that the task's `image` tag stood for; empty for tasks that name none."""


class _Entry(Record, frozen=True):
    evaluation: Evaluation
    log: str = ""


@cache
def harness_digest() -> str:
    """Hex SHA-256 of the code that decides grades: this package, as it is on the disk."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name != "attacks.py":
            found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


class GradeCache:
    """Grades on the disk of this machine, for this user."""

    def __init__(self, folder: Path | None = None, maximum: int = MAXIMUM) -> None:
        """`folder` is by default the user's cache directory; `maximum` in bytes."""
        self._folder = folder
        self._maximum = maximum
        self._written = 0

    async def recall(
        self, engine: Engine, task: Task, patch: str, *, caps: Caps | None = None, threshold: float = 0.5
    ) -> tuple[Evaluation, str] | None:
        """The evaluation and log that `grade` gave for the same input; None if it has to be graded.

        Needs no image, and no engine either unless the task names an image by a tag.
        """
        image = await asyncio.to_thread(self._read, f"images/{_task_key(task)}", _Image)
        if image is None or (task.image and image.parent != await _parent(engine, task)):
            return None
        key = _key(task, image.digest, patch, caps or Caps(), threshold)
        entry = await asyncio.to_thread(self._read, f"{key[:2]}/{key}", _Entry)
        return None if entry is None else (entry.evaluation, entry.log)

    async def remember(
        self,
        engine: Engine,
        task: Task,
        image: TaskImage,
        patch: str,
        evaluation: Evaluation,
        log: str,
        *,
        caps: Caps | None = None,
        threshold: float = 0.5,
    ) -> None:
        """Keep what `grade` gave, unless it may end differently another time."""
        if UNSTEADY.intersection(evaluation.flags):
            return
        parent = await _parent(engine, task) if task.image else ""
        key = _key(task, image.digest, patch, caps or Caps(), threshold)
        entry = _Entry(evaluation=evaluation, log=log[-LOG_LIMIT:])
        known = _Image(digest=image.digest, parent=parent)
        await asyncio.to_thread(self._keep, f"{key[:2]}/{key}", encode(entry))
        await asyncio.to_thread(self._keep, f"images/{_task_key(task)}", encode(known))

    def _root(self) -> Path:
        if self._folder is None:
            from forager.images.lock import cache_dir

            self._folder = cache_dir() / "grades"
        return self._folder

    def _read(self, name: str, kind: type[R]) -> R | None:
        path = self._root() / f"{name}.json"
        try:
            record = msgspec.json.decode(path.read_bytes(), type=kind)
            os.utime(path)  # so that the oldest are those that nobody asks for
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return record

    def _keep(self, name: str, data: bytes) -> None:
        path = self._root() / f"{name}.json"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, draft = tempfile.mkstemp(dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                Path(draft).replace(path)
            except OSError:
                Path(draft).unlink(missing_ok=True)
                raise
        self._written += 1
        if self._written % _TRIM_EVERY == 1:
            self.trim()

    def trim(self) -> None:
        """Remove the entries that were not asked for longest, until the rest is small enough."""
        found = []
        for path in self._root().rglob("*"):
            with contextlib.suppress(OSError):
                state = path.lstat()
                if path.is_file():
                    found.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._maximum:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def _task_key(task: Task) -> str:
    return hashlib.sha256(f"{digest(task)} {harness_digest()}".encode()).hexdigest()


def _key(task: Task, image: str, patch: str, caps: Caps, threshold: float) -> str:
    parts = [image, digest(task), _patch_digest(patch), harness_digest(), digest(caps), str(threshold)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _patch_digest(patch: str) -> str:
    return hashlib.sha256(patch.encode("utf-8", "surrogatepass")).hexdigest()


async def _parent(engine: Engine, task: Task) -> str:
    from forager.images.build import image_id

    return await image_id(engine, task.image) or "none"
