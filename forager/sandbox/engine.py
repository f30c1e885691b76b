"""The Docker engine: one connection, a bounded pool of threads for its blocking calls, and the one place where
its errors become ours.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import docker
import docker.errors
import requests.exceptions

from forager.errors import BuildError, ForagerError, SandboxError, UnfitError

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
"""Engine calls under way at once; more only makes a busy engine slower."""

NO_ENGINE = (
    "no Docker engine answers; start one (`sudo systemctl start docker` or `sudo dockerd`), "
    "or set DOCKER_HOST to one that runs"
)
NO_RIGHTS = (
    "the Docker engine refuses this user; add it to the docker group "
    "(`sudo usermod -aG docker $USER`, then log in again), or use sudo"
)


class Engine:
    """A connection to the engine that `DOCKER_HOST` (or the default socket) names.

    Use as a context manager. `client` is the Docker SDK's; call it through `call` so that the event loop never
    blocks and errors are classified.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self.api = client.api
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="engine")

    @classmethod
    def connect(cls, timeout: float = 120.0) -> Engine:
        """Connect, or raise `UnfitError` saying what to do. `timeout` in seconds, of one engine call."""
        try:
            with errors("the Docker engine"):
                client = docker.from_env(timeout=int(timeout), max_pool_size=2 * THREADS)
                client.ping()
        except SandboxError as error:  # whatever it is, without an engine no attempt will do better
            where = os.environ.get("DOCKER_HOST", "")
            raise UnfitError(f"{error}; is DOCKER_HOST={where} right?" if where else str(error)) from None
        return cls(client)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking SDK call in the pool. Docker's errors come out as ours."""

        def work() -> T:
            with errors(getattr(function, "__name__", "engine call").replace("_", " ").strip()):
                return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def version(self) -> str:
        """The engine's version, `20.10.24`."""
        return str((await self.call(self.api.version)).get("Version", "unknown"))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.client.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn whatever the SDK raises inside the block into a `ForagerError`; `what` says what was tried."""
    try:
        yield
    except ForagerError:
        raise
    except docker.errors.BuildError as error:
        log = "".join(str(chunk.get("stream", "")) for chunk in error.build_log if isinstance(chunk, dict))
        raise no_disk(str(error.msg)) or BuildError(f"{what}: {error.msg}", log) from None
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise classify(error, what) from error


def classify(error: BaseException, what: str) -> ForagerError:
    """The `ForagerError` for an exception of the Docker SDK, of the HTTP library under it, or of the socket."""
    text = str(error)
    number = _errno(error)
    if number in (errno.EACCES, errno.EPERM) or ("permission denied" in text.lower() and "sock" in text.lower()):
        return UnfitError(NO_RIGHTS)
    if number in (errno.ENOENT, errno.ECONNREFUSED) or "Connection refused" in text or "FileNotFoundError" in text:
        return UnfitError(NO_ENGINE)
    if full := no_disk(text):
        return full
    if isinstance(error, docker.errors.ImageNotFound):
        return SandboxError(f"{what}: the image is gone: {error.explanation}", 404)
    if isinstance(error, docker.errors.APIError):
        reason = error.explanation or text
        return SandboxError(f"{what}: the engine answered {error.status_code}: {reason}", error.status_code)
    return SandboxError(f"{what}: {text or type(error).__name__}")


def no_disk(text: str) -> UnfitError | None:
    """The error of a full disk, if `text` (an engine's message, a build's log) says so."""
    if "no space left on device" in text.lower() or "disk quota exceeded" in text.lower():
        return UnfitError("the engine's disk is full; free some (`forager clean`, `docker system prune`), then go on")
    return None


def _errno(error: BaseException | None) -> int | None:
    """The errno at the root of a chain of wrapped exceptions."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, OSError) and current.errno is not None:
            return current.errno
        if isinstance(current, BaseException):
            queue += [*current.args, current.__cause__, current.__context__, getattr(current, "reason", None)]
    return None
