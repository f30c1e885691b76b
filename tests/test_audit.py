"""The audit finds what was planted, wherever it was, and nothing where nothing is."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import time
import zipfile

import pytest
from msgspec import structs

from forager.audit import audit_task
from forager.evaluate.attacks import ANSWER, BUG, FIXED, TREE
from forager.evidence import Windows, windows_of
from forager.images.contents import unpacked
from forager.images.layer import add_layer
from forager.images.task import TaskImage, remove_task_image
from forager.records import Task
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine
from tests.evaluate.conftest import calc

__all__ = ["calc"]

Calc = tuple[Task, TaskImage]

_GIT = "git -c safe.directory='*' -c user.name=a -c user.email=a@b -C /testbed"
_FIX = "sed -i 's/(len(values) + 1)/len(values)/' /testbed/calc/core.py"
_BACK = f"{_GIT} checkout -q -- calc"

PLANTED = {
    "packed object": f"{_FIX}; {_GIT} hash-object -w calc/core.py; {_BACK}; {_GIT} repack -adkq; {_GIT} prune-packed;"
    f" {_GIT} count-objects -v",
    "unreachable object": f"{_FIX}; {_GIT} hash-object -w calc/core.py; {_BACK}",
    "reflog": f"{_FIX}; {_GIT} commit -qam fix; {_GIT} reset -q --hard HEAD~1",
    "stash": f"{_FIX}; {_GIT} stash -q",
    "another branch": f"{_FIX}; {_GIT} checkout -qb other; {_GIT} commit -qam fix; {_GIT} checkout -q main;"
    f" {_GIT} gc -q",
    "__pycache__": f"{_FIX}; python3 -m compileall -q /testbed/calc; {_BACK}",
    "site-packages": f"{_FIX}; cp -r /testbed/calc /usr/local/lib/python3.11/dist-packages/; {_BACK}",
    "a wheel": f"{_FIX}; cd /testbed; python3 -m zipfile -c /opt/calc.whl calc; {_BACK}",
    "a patch": f"{_FIX}; {_GIT} diff >/var/lib/fix.patch; {_BACK}",
    "a task file": f"{_FIX}; python3 -c 'import json; print(json.dumps(open(\"/testbed/calc/core.py\").read()))' "
    f">/srv/tasks.json; {_BACK}",
    "an untracked copy": f"{_FIX}; mkdir -p /testbed/build/lib; cp -r /testbed/calc /testbed/build/lib; {_BACK}",
}


async def planted(engine: Engine, calc: Calc, name: str, script: str, env: dict[str, str] | None = None) -> TaskImage:
    tag = f"forager/tests-audit:{hashlib.sha256((calc[1].digest + name).encode()).hexdigest()[:16]}"
    digest = await add_layer(
        engine, parent=calc[1].digest, tag=tag, kind="test", script=f"set -e; {script}", env=env, workdir="/testbed"
    )
    return TaskImage(tag=tag, digest=digest)


@pytest.mark.docker
async def test_a_sealed_image_has_nothing(engine: Engine, calc: Calc) -> None:
    found = await audit_task(engine, *calc)
    assert found.leaks == () and not found.problem
    assert found.windows > 0 and found.files > 100 and found.objects > 5 and found.megabytes > 10


@pytest.mark.docker
@pytest.mark.parametrize("name", PLANTED)
async def test_a_leak_is_found(engine: Engine, calc: Calc, name: str) -> None:
    image = await planted(engine, calc, name, PLANTED[name])
    try:
        found = await audit_task(engine, calc[0], image)
    finally:
        await remove_task_image(engine, image)
    assert found.leaks, name


@pytest.mark.docker
async def test_what_an_ancestor_had_is_told_and_no_leak_but_a_descendant_is(engine: Engine, calc: Calc) -> None:
    commit = f"{_GIT} commit -qam"
    past = f"{_FIX}; {commit} was-right; {_GIT} revert --no-edit HEAD >&2"
    for later, leaks in (
        ("", False),
        (f"; {_FIX}; echo >>/testbed/calc/core.py; {commit} fix; {_GIT} tag v2; {_GIT} reset -q --hard HEAD~1", True),
    ):
        image = await planted(engine, calc, f"history {leaks}", past + later)
        try:
            async with await open_sandbox(engine, image.digest, workdir="/testbed") as sandbox:
                head = (await sandbox.run(f"{_GIT} rev-parse HEAD", 10)).output.strip()
            found = await audit_task(engine, structs.replace(calc[0], setup="", base_commit=head), image)
        finally:
            await remove_task_image(engine, image)
        assert bool(found.leaks) is leaks and found.past, found


@pytest.mark.docker
async def test_an_environment_variable(engine: Engine, calc: Calc) -> None:
    image = await planted(engine, calc, "environment", ":", {"HINT": f"x; {ANSWER}"})
    try:
        found = await audit_task(engine, calc[0], image)
    finally:
        await remove_task_image(engine, image)
    assert [leak.where for leak in found.leaks][:1] == ["environment variable HINT"]


def test_windows_are_found_in_every_shape() -> None:
    windows = Windows({"calc/core.py": FIXED.encode()}, [text.encode() for text in {**TREE, **BUG}.values()])
    assert windows.windows and windows.lines == (ANSWER.encode(),)
    assert windows.find(b"x\n" + FIXED.encode())
    assert windows.find(FIXED.replace("    ", "\t").replace("\n", "\r\n").encode())
    assert windows.find(b"@@ -1 +1 @@\n" + b"".join(b"+" + row + b"\n" for row in FIXED.encode().splitlines()))
    assert windows.find(b'{"text": "' + FIXED.replace("\n", "\\n").encode() + b'"}')
    assert windows.find_line(f"{ANSWER}  # so".encode())


def test_look_alikes_do_not_count() -> None:
    windows = Windows({"calc/core.py": FIXED.encode()}, [text.encode() for text in {**TREE, **BUG}.values()])
    assert not windows.find(f"def average(values):\n    {ANSWER}\n".encode())
    assert not windows.find(BUG["calc/core.py"].encode())
    assert not Windows({"a": b"x = 1\ny = 2\n"}, [b"x = 1\ny = 2\n"]).windows
    usage = b"try:\n    opts, args = getopt.getopt(\n        sys.argv[1:],\n        'ho:s', ['help'],\n    )\n"
    assert Windows({"a": usage}, []).find(usage)
    assert not Windows({"a": usage}, []).find(usage.replace(b"ho:s", b"ad:D"))
    end = b"def first(values):\n    return values[0]\nif __name__ == '__main__':\n    main()\n"
    assert Windows({"a": end}, []).find(end)
    assert not Windows({"a": end}, []).find(end.replace(b"first", b"last"))
    warning = (
        b'warnings.warn(\n    "use hour() now",\n    DeprecationWarning,\n    stacklevel=2,\n)\nreturn hour(at)\n'
    )
    assert Windows({"a": warning}, []).find(warning)
    assert not Windows({"a": warning}, []).find(warning.replace(b"hour", b"day"))
    imports = b"import logging\nimport os\nfrom pathlib import Path\n"
    assert not Windows({"a": imports}, []).windows
    assert Windows({"a": imports + b"x = os.environ[Path.home().name]\n"}, []).find(
        imports[15:] + b"x = os.environ[Path.home().name]\n"
    )


def test_a_broken_archive_stops_nothing() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("calc/core.py", "größe.py"):
            archive.writestr(name, FIXED * 9)
    whole = made.getvalue()
    assert [name for name, _ in unpacked(whole)] == ["calc/core.py", "größe.py"]
    chance = random.Random(5)
    for _ in range(3000):
        broken = bytearray(whole)
        for place in chance.sample(range(4, len(whole)), 6):
            broken[place] = chance.randrange(256)
        list(unpacked(bytes(broken)))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        long = whole * 2000
        assert list(unpacked(pack(whole) + pack(whole))) == [("", whole * 2)]
        ((_, part),) = unpacked(pack(long)[:-1000] if pack is gzip.compress else pack(whole) + b"more")
        assert long.startswith(part) and part
    assert [name for name, _ in unpacked(b"#!/bin/sh\n" + whole)] == ["calc/core.py", "größe.py"]


def test_lines_with_next_to_nothing_in_them_take_no_time() -> None:
    began = time.process_time()
    windows = list(windows_of(b"pass\n" * 20_000))
    assert max(map(len, windows)) < 50 and time.process_time() - began < 20
