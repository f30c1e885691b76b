"""The byte code of a suite and of what it tests, in an image of its own: a run of a few tests is mostly reading it.

Pytest rewrites the assertions of each test module, which takes seconds for a large one, and sandboxes write no byte
code. So the tests are collected once, what Python and pytest compiled is laid over the repository's image, and
mutants run there, once the suite has passed there as it did before. A mutated file is newer than its byte code,
which is then not used. Grading has none of this.
"""

from __future__ import annotations

import io
import posixpath
import shlex
import tarfile

from msgspec import structs

from forager.errors import BuildError, CapExceeded, SandboxError
from forager.forage.baseline import Baseline
from forager.forage.judge import steady
from forager.forage.validate import CAPS, Suite, run_suite
from forager.images.archive import Member, clean_tar
from forager.images.build import Report, image_id
from forager.images.layer import add_layer, drop_image
from forager.images.lock import only_one
from forager.records import digest
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

_LARGEST = 32 * 1024**2
"""Bytes of byte code, all together."""


async def with_byte_code(
    engine: Engine, suite: Suite, baseline: Baseline, report: Report, attempt: str = ""
) -> Suite:
    """The suite in an image that holds its byte code; as it is where that cannot be had or makes a difference.

    Raises `UnfitError` when nothing will work.
    """
    tag = f"forager/compiled:{digest(suite)[:16]}"
    async with only_one(f"image-{tag}"):
        if await image_id(engine, tag) is None:
            try:
                problem = await steady(_make)(engine, suite, tag, baseline, attempt)
            except (BuildError, SandboxError) as error:
                problem = str(error)
            if problem:
                report(f"mutants run without byte code: {problem}")
                return suite
    return structs.replace(suite, image=tag)


async def _make(engine: Engine, suite: Suite, tag: str, baseline: Baseline, attempt: str) -> str:
    """Make the image; what is wrong with it where it is not made."""
    draft = f"{tag}-draft"
    try:
        found = await _byte_code(engine, suite, baseline.limit, attempt)
        if not found:
            return "collecting the tests left none"
        await add_layer(
            engine, parent=suite.image, tag=draft, kind="compiled", script=":", files=clean_tar(iter(found))
        )
        run = await run_suite(
            engine,
            structs.replace(suite, image=draft),
            timeout=baseline.limit,
            tests=baseline.passing if baseline.slow else (),
            texts=0,
            attempt=attempt,
        )
        odd = [test for test in baseline.passing if run.outcomes.get(test) != "passed"]
        if odd:
            return f"{len(odd)} tests do not pass with it, {odd[0]} for one"
        repository, version = tag.split(":")
        await engine.call(engine.api.tag, draft, repository, version)
    except CapExceeded as error:
        return str(error)
    finally:
        await drop_image(engine, draft)
    return ""


async def _byte_code(engine: Engine, suite: Suite, seconds: float, attempt: str) -> list[Member]:
    """What collecting the tests compiles. `seconds` is what it is given."""
    folder = shlex.quote(suite.workdir)
    async with await open_sandbox(
        engine, suite.image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS
    ) as sandbox:
        run = await sandbox.run(f"{suite.test_command} --collect-only -q -p no:cacheprovider", seconds)
        if run.timed_out:
            return []
        _, tar = await sandbox.control(
            f"cd / && timeout -k 1 30 find {folder} -path '*/__pycache__/*.pyc' -type f -print0 |"
            f" timeout -k 1 30 tar -c --null -T - 2>/dev/null | head -c {_LARGEST}"
        )
    return compiled_files(tar, suite.workdir)


def compiled_files(tar: bytes, workdir: str) -> list[Member]:
    """The byte code under `workdir` in an archive that hostile code may have made; none of a broken one."""
    found = []
    root = workdir.strip("/") + "/"
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            for entry in archive:
                name = entry.name.lstrip("/")
                plain = posixpath.normpath(name) == name and name.startswith(root) and name.endswith(".pyc")
                plain = plain and entry.isreg() and not entry.issparse() and entry.size <= len(tar)
                if plain and (content := archive.extractfile(entry)) is not None:
                    found.append(Member(path=name, data=content.read()))
    except (tarfile.TarError, EOFError, ValueError, OSError, RuntimeError, OverflowError):
        return []
    return found
