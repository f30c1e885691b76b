"""One layer: a script run in a container of the parent image, and what it left committed.

Why not a Dockerfile: a package index's address may hold a password, and a build argument is written into the image's
history. The environment of an exec is written nowhere. It is also several times faster than the builder: a task's
layer takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pypi_simple
import tenacity

from forager.errors import BuildError, ForagerError, InfrastructureError, SandboxError
from forager.images.build import LOG_BYTES, Report, image_id, proxies, telling_line
from forager.images.index import index_url, pip_setting
from forager.images.lock import only_one
from forager.sandbox import labels as owners
from forager.sandbox.engine import Engine, no_disk

LABEL = "forager.image"

TRIES = 4
"""Of a layer while the network fails."""
FIRST_PAUSE = 4.0
"""Seconds before the second try; four times as many before each further one."""

_MEMORY = 8 * 1024**3
_PROCESSES = 4096
_PROGRESS = "==> "
"""A line of a script's output that starts so is shown as progress."""

_UNREACHABLE = re.compile(
    r"Request failed after|error sending request|Temporary failure (in name resolution|resolving)|"
    r"Network is unreachable|Connection (reset|timed out|refused)|Could not connect to|Read timed out"
)


def network_settings() -> dict[str, str]:
    """The host's proxies and package index, for what runs while an image is made. Secret: for an exec only."""
    settings = {**proxies(), "UV_HTTP_TIMEOUT": "120", "PIP_DEFAULT_TIMEOUT": "120", "UV_NO_CACHE": "1"}
    settings["PIP_NO_CACHE_DIR"] = "1"
    if (index := index_url()) != pypi_simple.PYPI_SIMPLE_ENDPOINT:
        settings |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
    extra = os.environ.get("PIP_EXTRA_INDEX_URL") or pip_setting("extra-index-url")
    if reachable := [url for url in extra.split() if urlsplit(url).scheme in ("http", "https")]:
        settings |= {"PIP_EXTRA_INDEX_URL": " ".join(reachable), "UV_INDEX": " ".join(reachable)}
    if trusted := os.environ.get("PIP_TRUSTED_HOST") or pip_setting("trusted-host"):
        settings |= {"PIP_TRUSTED_HOST": trusted, "UV_INSECURE_HOST": " ".join(trusted.split())}
    return settings


async def add_layer(
    engine: Engine,
    *,
    parent: str,
    tag: str,
    kind: str,
    script: str,
    files: bytes | Path = b"",
    settings: Mapping[str, str] | None = None,
    network: bool = False,
    env: Mapping[str, str] | None = None,
    workdir: str = "",
    timeout: float = 1800.0,
    report: Report | None = None,
) -> str:
    """The id of the image `tag`: `parent` with what `script` (bash, as root) changed. Made unless it exists already.

    `files` is a tar (its bytes, or a file) laid over `/` first. `settings` are environment variables of the script
    only, kept out of the image and out of the log; `env` and `workdir` go into the image. Lines of output that start
    with `==> ` are reported. `timeout` in seconds. One builder at a time for a tag; the others wait.

    Raises `BuildError` (with the line that matters, and the log), `UnfitError` (disk full, no engine) and another
    `InfrastructureError` when the engine or the network failed: nothing is wrong with what was to be built.
    """
    if found := await image_id(engine, tag):
        return found
    async with only_one(f"image-{tag}"):
        if found := await image_id(engine, tag):
            return found
        secrets = dict(settings or {}) | (network_settings() if network else {})
        conf = {
            "Cmd": ["bash"],
            "Env": [f"{key}={value}" for key, value in (env or {}).items()],
            "WorkingDir": workdir or None,
            # a container's labels end in its image: without this, every container of the image had a dead owner
            "Labels": {**dict.fromkeys(owners.labels("", "", 0), ""), LABEL: kind},
        }

        async def make() -> str:
            async with _container(engine, parent, _network(secrets) if network else "none", timeout) as container:
                if files:
                    await engine.call(_put, engine, container, files)
                await engine.call(engine.api.start, container)
                await _Run(engine, container, tag, secrets.values(), report).script(script, secrets, timeout)
                return await _commit(engine, container, tag, conf)

        def told(state: tenacity.RetryCallState) -> None:
            if report and state.outcome and state.next_action:
                report(f"{state.outcome.exception()}; trying again in {state.next_action.sleep:.0f} s")

        return await tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(NetworkFailure),
            stop=tenacity.stop_after_attempt(TRIES if network else 1),
            wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE, exp_base=4),
            before_sleep=told,
            reraise=True,
        )(make)


async def drop_image(engine: Engine, tag: str) -> None:
    """Remove an image that nothing needs any more, unless something still does."""
    for _ in range(50):  # the engine takes a moment to let go of the container that used it
        try:
            await engine.call(engine.api.remove_image, tag)
        except SandboxError as error:
            if error.engine_status != 409:
                return
            await asyncio.sleep(0.2)
        else:
            return


class NetworkFailure(InfrastructureError):
    """An index or a mirror could not be reached while an image was made."""


@asynccontextmanager
async def _container(engine: Engine, image: str, network: str, timeout: float) -> AsyncIterator[str]:
    """A container, not started, that waits `timeout` seconds for what is run in it; removed at the block's end."""
    creating = asyncio.ensure_future(
        engine.call(
            engine.api.create_container,
            image=image,
            command=["sleep", str(int(timeout) + 60)],  # should we die, it ends on its own
            entrypoint=[],
            working_dir="/",
            labels=owners.labels("", "", timeout + 60),
            host_config=engine.api.create_host_config(
                auto_remove=True, network_mode=network, mem_limit=_MEMORY, pids_limit=_PROCESSES
            ),
        )
    )
    try:
        yield str((await asyncio.shield(creating))["Id"])
    finally:
        await asyncio.shield(_remove(engine, creating))  # a call under way goes on when we are cancelled


def _put(engine: Engine, container: str, files: bytes | Path) -> None:
    if isinstance(files, bytes):
        engine.api.put_archive(container, "/", files)
        return
    with files.open("rb") as tar:
        engine.api.put_archive(container, "/", tar)


async def _commit(engine: Engine, container: str, tag: str, conf: Mapping[str, object]) -> str:
    repository, version = tag.rsplit(":", 1)
    committed = await engine.call(
        engine.api.commit, container, repository=repository, tag=version, pause=False, conf=conf
    )
    return str(committed["Id"])


async def _remove(engine: Engine, creating: asyncio.Future[dict[str, str]]) -> None:
    with contextlib.suppress(ForagerError):
        await owners.remove(engine, (await creating)["Id"])


class _Run:
    """A script under way in a container, and the tail of what it prints."""

    def __init__(
        self, engine: Engine, container: str, tag: str, settings: Iterable[str], report: Report | None
    ) -> None:
        self._engine = engine
        self._container = container
        self._tag = tag
        self._secrets = sorted(filter(None, map(_secret, settings)), key=len, reverse=True)
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[str] = deque()
        self._size = 0

    @property
    def log(self) -> str:
        """The tail of the output, passwords blotted out."""
        text = "".join(self._chunks)
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    async def script(self, script: str, settings: Mapping[str, str], timeout: float) -> None:
        """Run it to its end. Raises `BuildError` when it fails, is killed or takes too long."""
        made = await self._engine.call(
            self._engine.api.exec_create,
            self._container,
            ["bash", "-c", script],
            environment=dict(settings),
            workdir="/",
            user="0:0",
        )
        work = asyncio.ensure_future(self._engine.call(self._drain, made["Id"]))
        try:
            await asyncio.wait_for(asyncio.shield(work), timeout)
        except TimeoutError:
            raise BuildError(f"{self._tag}: not built within {timeout:.0f} s", self.log) from None
        finally:
            if not work.done():  # removing the container is what ends the stream
                await asyncio.shield(self._stop())
                await asyncio.wait([work])
                work.cancelled() or work.exception()
        code = (await self._engine.call(self._engine.api.exec_inspect, made["Id"]))["ExitCode"]
        if code == 0:
            return
        if full := no_disk(self.log):
            raise full
        if _UNREACHABLE.search(self.log):
            raise NetworkFailure(f"{self._tag}: the network failed while it was built: {self._why(code)}")
        raise BuildError(f"{self._tag}: {self._why(code)}", self.log)

    async def _stop(self) -> None:
        with contextlib.suppress(ForagerError):
            await owners.remove(self._engine, self._container)

    def _drain(self, exec_id: str) -> None:
        line = ""
        for chunk in self._engine.api.exec_start(exec_id, stream=True):
            text = chunk.decode("utf-8", "replace")
            self._chunks.append(text)
            self._size += len(text)
            while self._size > LOG_BYTES and len(self._chunks) > 1:
                self._size -= len(self._chunks.popleft())
            *whole, line = (line + text)[-4096:].split("\n")
            for said in whole:
                if self._report and said.startswith(_PROGRESS):
                    message = f"{self._tag}: {said.removeprefix(_PROGRESS)[:120]}"
                    self._loop.call_soon_threadsafe(self._report, message)

    def _why(self, code: int | None) -> str:
        if code in (None, 137):
            return f"its build was killed, most likely by the memory limit of {_MEMORY >> 30} GiB"
        said = [line for line in self.log.splitlines() if not line.startswith(_PROGRESS)]
        causes = [line.split("cause: ", 1)[1] for line in said if line.startswith("  cause: ")]
        if causes and said[-1].startswith("  cause: "):  # how uv says it: each line is the cause of the one before
            return causes[-1][:300]
        return telling_line("\n".join(said))


def _secret(setting: str) -> str:
    """The user and password in an address, or nothing."""
    return urlsplit(setting).netloc.rpartition("@")[0] if re.match(r"\w+://[^/\s]+@", setting) else ""


def _network(settings: Mapping[str, str]) -> str:
    """`bridge`, or `host` where a proxy or an index listens on this host's loopback, which a bridge cannot see."""
    for name, value in settings.items():
        if not name.upper().endswith(("_PROXY", "_URL", "_INDEX")) or name.upper() == "NO_PROXY":
            continue
        for url in value.split():
            host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
            with contextlib.suppress(ValueError):
                if host == "localhost" or ipaddress.ip_address(host).is_loopback:
                    return "host"
    return "bridge"
