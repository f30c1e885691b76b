"""A small real task: a package with an injected bug, its tests, in a sealed image."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import importlib.metadata
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from forager.errors import ForagerError
from forager.images.build import image_id
from forager.images.layer import add_layer
from forager.images.task import TaskImage, ensure_task_image, remove_task_image
from forager.records import Task
from forager.sandbox.engine import Engine

RUNNER = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
"""All that pytest needs, pure Python: copied from here, so that no test needs a network."""

SITE = "usr/local/lib/python3.11/dist-packages"

TREE = {
    "calc/__init__.py": "from calc.core import add, mean\n",
    "calc/core.py": (
        "def add(a, b):\n    return a + b\n\n\n"
        "def mean(values):\n    values = list(values)\n    return sum(values) / len(values)\n"
    ),
    "tests/__init__.py": "",
    "tests/helpers.py": "def same(a, b):\n    assert a == b\n",
    "tests/test_core.py": (
        "import unittest\n\nimport pytest\n\nfrom calc import add, mean\nfrom tests.helpers import same\n\n\n"
        "@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (0, 0, 0)], ids=['one two', 'zeros'])\n"
        "def test_add(a, b, c):\n    same(add(a, b), c)\n\n\n"
        "def test_mean():\n    assert mean([1, 2, 3]) == 2\n\n\n"
        "class TestUnit(unittest.TestCase):\n    def test_unit(self):\n        self.assertEqual(mean([4]), 4)\n\n\n"
        "@pytest.mark.xfail\ndef test_empty():\n    assert mean([]) == 5\n"
    ),
    "tests/test_other.py": "from calc import add\n\n\ndef test_other():\n    assert add(2, 2) == 4\n",
    "setup.cfg": "[metadata]\nname = calc\n\n[tool:pytest]\naddopts = -x\n",
    "README.md": "# calc\n",
}
BUG = {"calc/core.py": TREE["calc/core.py"].replace("/ len(values)", "/ (len(values) + 1)")}
"""The starting tree differs from `TREE` by this: `mean` is wrong."""


def diff(before: Mapping[str, str], after: Mapping[str, str | None]) -> str:
    """A git diff of text files from `before` to `before` updated by `after` (None: deleted)."""
    parts = []
    for path, new in after.items():
        old = before.get(path)
        head = f"diff --git a/{path} b/{path}\n"
        if old is None:
            head += "new file mode 100644\n"
        if new is None:
            head += "deleted file mode 100644\n"
        lines = difflib.unified_diff(
            (old or "").splitlines(keepends=True),
            (new or "").splitlines(keepends=True),
            "/dev/null" if old is None else f"a/{path}",
            "/dev/null" if new is None else f"b/{path}",
        )
        parts.append(head + "".join(lines))
    return "".join(parts)


def bugged(changes: Mapping[str, str | None] | None = None) -> str:
    """A patch from the starting tree, of these changes."""
    return diff({**TREE, **BUG}, changes or {})


GOLD = bugged({"calc/core.py": TREE["calc/core.py"]})
CORE = "tests/test_core.py"


def calc_task(image: str) -> Task:
    return Task(
        instance_id=f"calc__{hashlib.sha256(image.encode()).hexdigest()[:8]}",
        repo="calc",
        problem_statement="The mean is wrong.",
        source="mutation",
        image=image,
        patch=GOLD,
        setup=diff(TREE, BUG),
        FAIL_TO_PASS=(f"{CORE}::test_mean", f"{CORE}::TestUnit::test_unit"),
        PASS_TO_PASS=(
            f"{CORE}::test_add[one two]",
            f"{CORE}::test_add[zeros]",
            f"{CORE}::test_empty",
            "tests/test_other.py::test_other",
        ),
        test_seconds=60.0,
    )


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
        return task, await ensure_task_image(engine, task)

    task, image = asyncio.run(make())
    yield task, image

    async def remove() -> None:
        for _ in range(40):  # the last container may still be on its way out
            await remove_task_image(engine, image)
            if await image_id(engine, image.tag) is None:
                break
            await asyncio.sleep(0.25)
        await engine.call(engine.api.remove_image, tag)

    # Another worker may still need it; the last one removes it.
    with contextlib.suppress(ForagerError):
        asyncio.run(remove())
