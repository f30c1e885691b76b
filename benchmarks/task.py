"""The task that is attempted again and again: a small repository, made here, sealed as every task is."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from forager.errors import SandboxError
from forager.images.base import ensure_base
from forager.images.layer import add_layer
from forager.records import Task, digest
from forager.sandbox.engine import Engine

WORKDIR = "/testbed"
MODULE = "package/module_0.py"
"""A file of 300 lines."""
EDITED_LINE = "    value = value * 3 + 150"
MEGABYTE = "/opt/megabyte"
"""A file of 1,000,000 bytes, outside of the repository."""

COMMANDS = (
    "ls -la",
    "cat README.md",
    "grep -rn step_17 package | head -n 5",
    f"sed -n 100,140p {MODULE}",
    "true",
    f"echo '# changed' >>{MODULE}",
    f"tail -n 3 {MODULE}",
    "wc -l package/*.py",
    "echo done",
)
"""What a scripted trajectory runs before it submits: most start a process, as an agent's commands do."""

_SCRIPT = """
cd /testbed
git init -q -b main
git add -A
git -c user.name=benchmark -c user.email=benchmark@localhost commit -q -m 'A small package'
chmod 644 /opt/megabyte
"""


@asynccontextmanager
async def benchmark_task(engine: Engine, say: Callable[[str], None]) -> AsyncIterator[Task]:
    """The task, with the image of its repository made; the image goes at the end."""
    base = await ensure_base(engine, say)
    files = _tar()
    tag = f"forager/benchmark:{digest([base, _SCRIPT, files.hex()])[:16]}"
    await add_layer(
        engine, parent=base, tag=tag, kind="repository", script=_SCRIPT, files=files, workdir=WORKDIR, report=say
    )
    try:
        yield Task(
            instance_id="benchmark__package-1",
            repo="benchmark/package",
            problem_statement="The last line of the module is missing.",
            source="benchmark",
            image=tag,
            workdir=WORKDIR,
        )
    finally:
        with contextlib.suppress(SandboxError):
            await engine.call(engine.api.remove_image, tag, force=True)


def _tar() -> bytes:
    """The repository: 40 modules of 300 lines, about what a small package has."""
    module = ["def step_{n}(value: int) -> int:", "    value = value * 3 + {n}", "    return value"]
    lines = [line.format(n=n) for n in range(100, 200) for line in module]
    files = {f"{WORKDIR}/package/module_{number}.py": "\n".join(lines) + "\n" for number in range(40)}
    files[f"{WORKDIR}/package/__init__.py"] = ""
    files[f"{WORKDIR}/README.md"] = "# A package\n\nOne hundred steps, forty times.\n"
    files[f"{WORKDIR}/.gitignore"] = "__pycache__/\nbuild/\n"
    files[MEGABYTE] = "".join(f"line {number:5d} of a long output, 40 bytes\n" for number in range(25_000))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
