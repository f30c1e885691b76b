"""The byte code of a suite and of what it tests, in an image of its own: a run of a few tests is mostly reading it.

Pytest rewrites the assertions of each test module, which takes seconds for a large one, and sandboxes write no byte
code. So the tests are collected once, what Python and pytest compiled is laid over the repository's image, and
mutants run there. A mutated file is newer than its byte code, which is then not used. Grading has none of this.
"""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile

from msgspec import structs

from forager.errors import CapExceeded
from forager.forage.validate import CAPS, Suite
from forager.images.archive import Member, clean_tar
from forager.images.build import Report, image_id
from forager.images.layer import add_layer
from forager.records import digest
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

_LARGEST = 32 * 1024**2
"""Bytes of byte code, all together."""


async def with_byte_code(
    engine: Engine, suite: Suite, seconds: float, report: Report | None = None, attempt: str = ""
) -> Suite:
    """The suite in an image that holds its byte code; as it is where there is none to be had.

    `seconds` is what collecting the tests is given. Raises `InfrastructureError` when the engine fails.
    """
    tag = f"forager/compiled:{digest(suite)[:16]}"
    if await image_id(engine, tag) is None:
        found = await _byte_code(engine, suite, seconds, attempt)
        if not found:
            return suite
        files = clean_tar(iter(found))
        await add_layer(engine, parent=suite.image, tag=tag, kind="compiled", script=":", files=files, report=report)
    return structs.replace(suite, image=tag)


async def _byte_code(engine: Engine, suite: Suite, seconds: float, attempt: str) -> list[Member]:
    """Paths are without the first slash; empty where the tests cannot be collected in peace."""
    folder = shlex.quote(suite.workdir)
    async with await open_sandbox(
        engine, suite.image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS
    ) as sandbox:
        try:
            run = await sandbox.run(f"{suite.test_command} --collect-only -q -p no:cacheprovider", seconds)
            if run.timed_out:
                return []
            _, tar = await sandbox.control(
                f"cd / && find {folder} -path '*/__pycache__/*.pyc' -type f -print0 |"
                f" tar -c --null -T - 2>/dev/null | head -c {_LARGEST}"
            )
        except CapExceeded:
            return []
    return compiled_files(tar, suite.workdir)


def compiled_files(tar: bytes, workdir: str) -> list[Member]:
    """What of an archive is byte code under `workdir`: hostile code made it. Empty if it is torn."""
    found = []
    root = workdir.strip("/") + "/"
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for entry in archive:
                name = entry.name.lstrip("/")
                plain = posixpath.normpath(name) == name and name.startswith(root) and name.endswith(".pyc")
                if plain and entry.isreg() and (content := archive.extractfile(entry)) is not None:
                    found.append(Member(path=name, data=content.read()))
    except (tarfile.TarError, EOFError, ValueError, OSError):
        return []
    return found
