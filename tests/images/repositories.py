"""Repositories made for tests: put into the cache as a real source distribution, built by the real code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from forager.images.lock import cache_dir
from forager.records import Environment
from forager.sandbox.engine import Engine
from tests.support.index_server import Fill, tar_of


def crafted(
    name: str, files: Mapping[str, str | bytes], *, fill: Fill | None = None, install: str = ""
) -> Environment:
    """The environment of a source distribution made of `files`. No network: its hash is known and cached."""
    named = {f"{name}-1.0/{path}": data if isinstance(data, bytes) else data.encode() for path, data in files.items()}
    data = tar_of(named, "xz", fill)  # no time in its header: same files, same hash, same image
    sha256 = hashlib.sha256(data).hexdigest()
    folder = cache_dir() / "sdists"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{sha256}.tar.xz").write_bytes(data)
    return Environment(source=f"pypi:{name}==1.0", sha256=sha256, packages=("pytest",), install=install)


async def shell(engine: Engine, image: str, script: str) -> str:
    """What a script prints in a fresh container of the image, as an agent without network would see it."""
    output: bytes = await engine.call(
        engine.client.containers.run, image, ["bash", "-c", script], remove=True, network_mode="none", stderr=True
    )
    return output.decode("utf-8", "replace")
