"""A small real task: the target of the attacks, with the pytest of this environment, in a sealed image."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from forager.errors import ForagerError
from forager.evaluate.attacks import TREE, calc_task
from forager.images.build import image_id
from forager.images.layer import add_layer
from forager.images.task import TaskImage
from forager.records import Task
from forager.run.images_pool import TaskImages
from forager.sandbox.engine import Engine

RUNNER = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
"""All that pytest needs, pure Python: copied from here, so that no test needs a network."""

SITE = "usr/local/lib/python3.11/dist-packages"


def repository_tar() -> bytes:
    """The tree at /testbed, and the running pytest where Debian's Python finds it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, text in TREE.items():
            entry = tarfile.TarInfo(f"testbed/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        for name in RUNNER:
            for file in importlib.metadata.files(name) or ():
                source = Path(str(file.locate()))
                if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                    tar.add(source, f"{SITE}/{file}")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def calc(engine: Engine, base_image: str) -> Iterator[tuple[Task, TaskImage]]:
    """The task and its sealed image."""
    files = repository_tar()
    script = (
        "set -e; cd /testbed; git init -q; git add -A; "
        "git -c user.name=a -c user.email=a@b commit -qm released; python3 -m pytest --version; "
        "printf '#!/usr/bin/python3\\nraise SystemExit(9)\\n' >/usr/local/bin/pytest; chmod +x /usr/local/bin/pytest"
    )
    tag = f"forager/tests-calc:{hashlib.sha256((base_image + script).encode() + files).hexdigest()[:16]}"

    async def make() -> tuple[Task, TaskImage]:
        await add_layer(
            engine, parent=base_image, tag=tag, kind="test", script=script, files=files, workdir="/testbed"
        )
        task = calc_task(tag)
        return task, await images.ensure(task)

    # Several workers, and two folders of tests, share the image: whoever is last removes it.
    images = TaskImages(engine)
    task, image = asyncio.run(make())
    yield task, image

    async def remove() -> None:
        await images.close()
        if await image_id(engine, image.tag) is None:
            await engine.call(engine.api.remove_image, tag)

    with contextlib.suppress(ForagerError):
        asyncio.run(remove())
