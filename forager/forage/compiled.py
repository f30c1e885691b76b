"""The byte code of a suite and of what it tests, in an image of its own: a run of a few tests is mostly reading it.

Pytest rewrites the assertions of each test module, which takes seconds for a large one, and sandboxes write no byte
code. So the tests are collected once, what Python and pytest compiled is laid over the repository's image, and
mutants run there, once the suite has passed there as it did before. A mutated file is newer than its byte code,
which is then not used. Grading has none of this.
"""

from __future__ import annotations

import contextlib
import posixpath
import shlex

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
_MOST = 2000
"""Files of it."""
_LONGEST = 500
"""Characters of a path."""


async def with_byte_code(
    engine: Engine, suite: Suite, baseline: Baseline, report: Report, attempt: str = ""
) -> Suite:
    """The suite in an image that holds its byte code; as it is where that cannot be had or makes a difference.

    Raises `UnfitError` when nothing will work.
    """
    tag = f"forager/compiled:{digest([suite, baseline.passing])[:16]}"
    problem = ""
    try:
        async with only_one(f"image-{tag}"):
            if await image_id(engine, tag) is None:
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
            return "collecting the tests gave none, or too much"
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
    """What collecting the tests compiles; nothing where it is too much. `seconds` is what collecting is given."""
    found, size = [], 0
    async with await open_sandbox(
        engine, suite.image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS
    ) as sandbox:
        run = await sandbox.run(f"{suite.test_command} --collect-only -q -p no:cacheprovider", seconds)
        if run.timed_out:
            return []
        _, names = await sandbox.control(
            f"timeout -k 1 30 find {shlex.quote(suite.workdir)} -path '*/__pycache__/*.pyc' -type f -size -4096k"
            f" -print0 | head -c {_LARGEST}"
        )
        for path in byte_code_paths(names, suite.workdir):
            with contextlib.suppress(OSError):
                data = await sandbox.read_file(path)
                found.append(Member(path=path.lstrip("/"), data=data))
                size += len(data)
            if size > _LARGEST or len(found) > _MOST:
                return []
    return found


def byte_code_paths(names: bytes, workdir: str) -> list[str]:
    """Of paths that end in a null byte and that hostile code may have made up, those of byte code under `workdir`."""
    paths = [name.decode("utf-8", "replace") for name in names.split(b"\0")[:-1]]
    return [
        path
        for path in paths
        if path.startswith(f"{workdir}/") and path.endswith(".pyc") and posixpath.normpath(path) == path
        if len(path) < _LONGEST and path.isprintable()
    ]
