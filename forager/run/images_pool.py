"""Task images while a run needs them: made on first use, shared by all samples of a task, removed after the last."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from forager.errors import BuildError, InfrastructureError, UnfitError
from forager.records import Task

if TYPE_CHECKING:
    from forager.images import TaskImage
    from forager.sandbox.engine import Engine


class TaskImages:
    """The images of the tasks under way. Use as an asynchronous context manager: leaving it lets go of all.

    Two runs, or two tasks, may need the same image: each holds a shared lock on its tag, and whoever gets the lock
    for itself alone removes the image.
    """

    def __init__(self, engine: Engine, report: Callable[[str], None] | None = None) -> None:
        self._engine = engine
        self._report = report
        self._held: dict[str, _Held] = {}

    async def ensure(self, task: Task, *, fresh: bool = False) -> TaskImage:
        """The image of a task. `fresh` looks again whether it is still there.

        Raises `BuildError` (also to everyone else who asks for the image of this task), `SandboxError`, `UnfitError`.
        """
        from forager.images import ensure_task_image

        held = self._held.setdefault(task.instance_id, _Held())
        async with held.making:
            if held.error is not None:
                raise held.error
            if held.image is not None and not fresh:
                return held.image
            try:
                image = await ensure_task_image(self._engine, task, self._report)
                if not held.holds(image.tag):
                    await asyncio.to_thread(held.hold, image.tag)
                    # Another run may have removed it just before this one said that it needs it.
                    image = await ensure_task_image(self._engine, task, self._report)
            except BuildError as error:
                held.error = error
                raise
            held.image = image
            return image

    async def release(self, task: Task) -> None:
        """No attempt of this run needs the image of `task` any more. Never raises over an image that stays behind:
        `forager images prune` finds it."""
        held = self._held.pop(task.instance_id, None)
        if held is not None:
            await self._let_go(held)

    async def close(self) -> None:
        """Release every image."""
        while self._held:
            await self._let_go(self._held.popitem()[1])

    async def __aenter__(self) -> TaskImages:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _let_go(self, held: _Held) -> None:
        from forager.images import remove_task_image

        try:
            if held.image is not None and held.alone():
                await remove_task_image(self._engine, held.image)
        except (InfrastructureError, UnfitError, BuildError):
            pass
        finally:
            held.drop()


class _Held:
    """One task's image and the lock that says it is needed."""

    def __init__(self) -> None:
        self.making = asyncio.Lock()
        self.image: TaskImage | None = None
        self.error: BuildError | None = None
        self._tag = ""
        self._fd = -1

    def holds(self, tag: str) -> bool:
        return self._fd >= 0 and self._tag == tag

    def hold(self, tag: str) -> None:
        """Wait while another removes the image, then say that it is needed. Raises `UnfitError`."""
        self.drop()
        try:
            folder = Path(tempfile.gettempdir()) / f"forager-{os.getuid()}"
            folder.mkdir(mode=0o700, exist_ok=True)
            name = hashlib.sha256(tag.encode()).hexdigest()[:32]
            fd = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_SH)
        except OSError as error:
            raise UnfitError(f"cannot lock an image in {tempfile.gettempdir()}: {error.strerror}") from error
        self._fd, self._tag = fd, tag

    def alone(self) -> bool:
        """Whether nobody else needs the image; from now on others wait until `drop`."""
        if self._fd < 0:
            return False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def drop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
