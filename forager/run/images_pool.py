"""Task images while a run needs them: made on first use, shared by all samples of a task, removed after the last."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from forager.errors import BuildError, ForageError, ForagerError, InfrastructureError, UnfitError, UsageError
from forager.records import Task

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.sandbox.engine import Engine

NO_IMAGE = (BuildError, ForageError, UsageError)
"""What keeps a task from ever having an image; trying again would end the same way."""
POLL_SECONDS = 0.1


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

        Raises one of `NO_IMAGE` (the same to everyone who asks for this task), `SandboxError`, `UnfitError`.
        """
        from forager.images.task import ensure_task_image

        held = self._held.setdefault(task.instance_id, _Held())
        async with held.making:
            if held.error is not None:
                raise held.error
            if held.image is not None and not fresh:
                return held.image
            try:
                image = await ensure_task_image(self._engine, task, self._report)
                if not held.holds(image.tag):
                    await held.hold(image.tag)
                    # Another run may have removed it just before this one said that it needs it.
                    image = await ensure_task_image(self._engine, task, self._report)
            except NO_IMAGE as error:
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
        from forager.images.task import remove_task_image

        try:
            if held.image is not None and held.alone():
                await remove_task_image(self._engine, held.image)
        except (InfrastructureError, UnfitError):
            pass
        finally:
            held.drop()


class _Held:
    """One task's image and the lock that says it is needed."""

    def __init__(self) -> None:
        self.making = asyncio.Lock()
        self.image: TaskImage | None = None
        self.error: ForagerError | None = None
        self._tag = ""
        self._fd = -1

    def holds(self, tag: str) -> bool:
        return self._tag == tag

    async def hold(self, tag: str) -> None:
        """Wait while another removes the image, then say that it is needed. Raises `UnfitError`."""
        from forager.images.lock import needed_lock

        self.drop()
        try:
            self._fd = os.open(needed_lock(tag), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnfitError(f"cannot write {error.filename}: {error.strerror}") from error
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # a blocking flock would hold a thread that nothing can cancel
                await asyncio.sleep(POLL_SECONDS)
        self._tag = tag

    def alone(self) -> bool:
        """Whether nobody else needs the image; from now on others wait until `drop`."""
        if not self._tag:
            return False
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def drop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self._tag = -1, ""
