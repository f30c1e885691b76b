"""Environments of before a date, from an index that tells when its files were uploaded."""

from __future__ import annotations

import pytest
from msgspec import structs

from forager.images.environment import ensure_environment, environment_tag, freeze
from forager.images.index import fetch, tells_times
from forager.sandbox.engine import Engine
from tests.images.repositories import crafted
from tests.support.index_server import Index, serve, tar_of, zip_of

OLD, NEW = "2020-02-03T04:05:06Z", "2024-01-01T00:00:00.123456Z"


def add_wheel(index: Index, name: str, version: str, time: str) -> None:
    folder = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{folder}/RECORD": b"",
    }
    filename = f"{name}-{version}-py3-none-any.whl"
    index.add(filename, zip_of(files))
    index.times[filename] = time


@pytest.mark.docker
async def test_what_came_later_is_not_installed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    start = structs.replace(
        crafted("dated", {"dated.py": "X = 1\n"}, install=":"), packages=("stamp",), before="2022-01-01T00:00:00Z"
    )
    with serve() as index:
        for tool in ("pip", "setuptools", "wheel"):  # in every virtual environment, however old its packages
            add_wheel(index, tool, "60.0", NEW)
        add_wheel(index, "stamp", "1.0", OLD)
        add_wheel(index, "stamp", "2.0", NEW)
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        dated = await freeze(engine, start)
        latest = await freeze(engine, structs.replace(start, before=""))
        assert environment_tag(start) != environment_tag(structs.replace(start, before=""))
        assert "stamp==1.0" in dated.packages
        assert dated.before == ""
        assert "stamp==2.0" in latest.packages
        index.requests.clear()
        await ensure_environment(engine, dated)
        assert not index.requests


async def test_an_index_is_asked_whether_it_tells_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for times, told in (({}, False), ({"pytest-1.0.tar.gz": OLD}, True)):
        with serve() as index:
            index.add("pytest-1.0.tar.gz", tar_of({"pytest-1.0/a": b""}))
            index.times = times
            monkeypatch.setenv("PIP_INDEX_URL", index.url)
            assert await tells_times() is told
            asked = len(index.requests)
            assert await tells_times() is told
            assert len(index.requests) == asked
            assert (await fetch("pypi:pytest==1.0")).uploaded == (OLD if told else "")
