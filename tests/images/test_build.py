"""Building through the engine: what comes back, what a failure says, and what is never left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forager.errors import BuildError, UnfitError
from forager.images.build import build, image_exists, telling_line
from forager.sandbox.engine import Engine


@pytest.fixture
def tag(engine: Engine) -> Iterator[str]:
    """A tag of this test's own, removed afterwards."""
    name = f"forager-tests/build:{time.time_ns()}"
    yield name
    if engine.client.images.list(name):
        engine.client.images.remove(name)


@pytest.mark.docker
async def test_files_labels_and_progress(engine: Engine, base_image: str, tag: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "sub" / "run.sh").chmod(0o755)
    lines: list[str] = []
    made = await build(
        engine,
        tag=tag,
        dockerfile=f"""FROM {base_image}
ARG WHO
COPY a.txt /a.txt
COPY sub /sub
RUN test "$WHO $(/sub/run.sh)" = "me ran"
""",
        files={"a.txt": b"text", "sub": tmp_path / "sub"},
        labels={"forager.image": "test"},
        buildargs={"WHO": "me"},
        report=lines.append,
    )
    assert made.startswith("sha256:")
    assert engine.client.images.get(tag).labels["forager.image"] == "test"
    steps = len(lines)  # the engine makes a step of the labels
    assert [line.split(": ")[1] for line in lines] == [f"step {n} of {steps}" for n in range(1, steps + 1)]
    assert await image_exists(engine, tag)
    assert await build(engine, tag=tag, dockerfile="FROM nothing-to-build") == made


@pytest.mark.docker
@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("RUN foobarbaz", "/bin/sh: 1: foobarbaz: not found"),
        ("RUN echo working; echo 'fatal: it broke' >&2; echo '[notice] new release'; exit 3", "fatal: it broke"),
        ("RUN python3 -c 'raise ValueError(17)'", "ValueError: 17"),
        ("COPY nothing /x", "COPY failed"),
        ("FRUM x", "unknown instruction: FRUM"),
    ],
)
async def test_a_failure_says_why_in_one_line(
    engine: Engine, base_image: str, tag: str, step: str, line: str
) -> None:
    with pytest.raises(BuildError) as caught:
        await build(engine, tag=tag, dockerfile=f"FROM {base_image}\n{step}\n")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert line in caught.value.log
    assert not await image_exists(engine, tag)


@pytest.mark.docker
async def test_a_full_disk_stops_everything(engine: Engine, base_image: str, tag: str) -> None:
    with pytest.raises(UnfitError, match="disk is full"):
        await build(engine, tag=tag, dockerfile=f"FROM {base_image}\nRUN dd if=/dev/zero of=/dev/full bs=1 count=1\n")


@pytest.mark.docker
async def test_proxies_reach_the_build_and_stay_out_of_the_image(
    engine: Engine, base_image: str, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.example:3128")
    dockerfile = (
        f"FROM {base_image}\nRUN case $HTTPS_PROXY in http://user:se*@proxy.example:3128) ;; *) exit 1 ;; esac\n"
    )
    await build(engine, tag=tag, dockerfile=dockerfile)
    image = engine.client.images.get(tag)
    assert "secret" not in str(image.history()) + str(image.attrs)


@pytest.mark.docker
async def test_a_cancelled_build_stops_and_leaves_no_container(engine: Engine, base_image: str, tag: str) -> None:
    command = f"sleep {time.time_ns()}"
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(build(engine, tag=tag, dockerfile=f"FROM {base_image}\nRUN {command}\n"), 3)
    assert time.monotonic() - started < 60

    def left() -> list[object]:
        return [c for c in engine.api.containers(all=True) if command in c["Command"]]

    deadline = time.monotonic() + 10
    while left() and time.monotonic() < deadline:  # noqa: ASYNC110 - no event tells of a build that was given up
        await asyncio.sleep(0.1)
    assert not left()


@pytest.mark.docker
async def test_a_build_that_takes_too_long_is_stopped(engine: Engine, base_image: str, tag: str) -> None:
    with pytest.raises(BuildError, match="not built within 1 s"):
        await build(engine, tag=tag, dockerfile=f"FROM {base_image}\nRUN sleep {time.time_ns()}\n", timeout=1)


@pytest.mark.docker
def test_two_processes_build_a_tag_once(base_image: str, tag: str) -> None:
    code = f"""
import asyncio
from forager.images.build import build
from forager.sandbox.engine import Engine
with Engine.connect() as engine:
    # without the cache's help: each build of this would give another image
    dockerfile = "FROM {base_image}\\nARG N\\nRUN head -c 16 /dev/urandom >/r; sleep 1"
    import os
    print(asyncio.run(build(engine, tag={tag!r}, dockerfile=dockerfile, buildargs={{"N": str(os.getpid())}})))
"""
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate(timeout=120)[0].strip() for process in both)
    assert first == second
    assert first.startswith("sha256:")


def test_a_missing_file_of_the_context_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot read .*gone: No such file"):
        asyncio.run(
            build(engine, tag="forager-tests/none:1", dockerfile="FROM scratch", files={"a": tmp_path / "gone"})
        )


def test_the_line_that_matters() -> None:
    log = """Step 3/4 : RUN pip install x
Collecting x
  \x1b[31mERROR: Could not find a version that satisfies the requirement x==9\x1b[0m
ERROR: No matching distribution found for x==9
[notice] A new release of pip is available
The command '/bin/sh -c pip install x' returned a non-zero code: 1
"""
    assert telling_line(log) == "ERROR: No matching distribution found for x==9"
    assert telling_line("") == "the build failed without a word"
    assert telling_line("only this\n") == "only this"
    assert len(telling_line("E: " + "x" * 5000)) == 300
