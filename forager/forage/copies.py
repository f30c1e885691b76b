"""Whether an image holds a second copy of a repository's code, which its tests may import instead of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from forager.forage.validate import CAPS
from forager.images.environment import WORKDIR
from forager.sandbox.control import quote
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

LEAST = 100
"""Bytes: shorter files are like others by chance."""
MOST = 1000
"""Files that are compared."""
LIMIT = 8 * 1024**2
"""Bytes read of the list of an image's files."""

_LIST = (
    f"find / -xdev \\( -path /proc -o -path /sys -o -path {WORKDIR} \\) -prune -o "
    "-type f -name '*.py' -printf '%s %p\\0' 2>/dev/null"
)


async def copies(engine: Engine, image: str, sources: Mapping[str, bytes]) -> list[str]:
    """Paths outside the working directory that hold the same as one of `sources` (by path), under its name.

    Raises `SandboxError` and `CapExceeded`.
    """
    wanted: dict[tuple[str, str], list[str]] = {}
    for path, data in sources.items():
        if len(data) >= LEAST:
            wanted.setdefault((PurePosixPath(path).name, str(len(data))), []).append(f"{WORKDIR}/{path}")
    async with await open_sandbox(engine, image, workdir=WORKDIR, run="forage", caps=CAPS) as sandbox:
        _, listed = await sandbox.control(_LIST, timeout=120, limit=LIMIT)
        entries = [entry.partition(" ") for entry in listed.decode("utf-8", "replace").split("\0")]
        pairs = [(own, path) for size, _, path in entries for own in wanted.get((path.rpartition("/")[2], size), ())]
        found = []
        for own, path in pairs[:MOST]:
            status, _ = await sandbox.control(f"cmp -s -- {quote(own)} {quote(path)}")
            if status == 0:
                found.append(path)
    return sorted(found)
