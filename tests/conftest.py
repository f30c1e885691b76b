"""What every test may ask for: the engine, the base image, a sandbox. Nothing here skips: no engine is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from forager.images.base import ensure_base
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with Engine.connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """The tag of the base image; built by whichever worker comes first."""
    return asyncio.run(ensure_base(engine))


@pytest.fixture
async def sandbox(engine: Engine, base_image: str) -> AsyncIterator[DockerSandbox]:
    """A container of the base image, its agent's shell in /tmp."""
    async with await open_sandbox(engine, base_image, workdir="/tmp", run="tests") as opened:
        yield opened
