"""One builder at a time for a tag, over all processes of this user on this machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from forager.records import safe_name


def cache_dir() -> Path:
    """The per-user cache directory, made if missing: `$XDG_CACHE_HOME/forager`, `~/.cache/forager`, or, where
    neither can be written, a directory of this user's own under the temporary one."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    for path in (home / "forager", Path(tempfile.gettempdir()) / f"forager-{os.getuid()}"):
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (OSError, RuntimeError):
            continue
        if os.access(path, os.W_OK) and path.stat().st_uid == os.getuid():
            return path
    return Path(tempfile.mkdtemp(prefix="forager-"))


@asynccontextmanager
async def only_one(name: str) -> AsyncIterator[None]:
    """Hold the lock `name` inside the block; whoever else wants it waits. The kernel frees it if we die."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / safe_name(name)).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # a blocking flock would hold a thread that nothing can cancel
                await asyncio.sleep(0.1)
        yield


def needed_lock(tag: str) -> Path:
    """The file that runs lock (shared) while they need the image `tag`; who locks it alone may remove the image."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    return folder / f"needed-{safe_name(tag)}"
