"""Build one image through the engine's builder API, which every engine has (no BuildKit, no docker command)."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import json
import os
import re
import socket
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import docker.errors
import requests

from forager.errors import BuildError, UnfitError
from forager.images.lock import only_one
from forager.sandbox.engine import Engine, no_disk

Report = Callable[[str], None]

LOG_BYTES = 256 * 1024
"""Of a build's output, the tail that is kept."""

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def proxies() -> dict[str, str]:
    """The host's proxy variables, in both spellings: for builds (build arguments that Docker keeps out of the
    image's history and environment) and for what runs while an image is made. Never to be stored."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        if value := os.environ.get(name) or os.environ.get(name.upper()):
            found[name] = found[name.upper()] = value
    return found


async def image_exists(engine: Engine, tag: str) -> bool:
    """Whether the engine has an image under this tag or id."""
    return await image_id(engine, tag) is not None


async def image_id(engine: Engine, tag: str) -> str | None:
    """The id (`sha256:...`) of the image under this tag; None if there is none."""

    def look() -> str | None:
        try:
            return str(engine.client.images.get(tag).id)
        except docker.errors.ImageNotFound:
            return None

    return await engine.call(look)


async def build(
    engine: Engine,
    *,
    tag: str,
    dockerfile: str,
    files: Mapping[str, bytes | Path] | None = None,
    labels: Mapping[str, str] | None = None,
    buildargs: Mapping[str, str] | None = None,
    report: Report | None = None,
    timeout: float = 3600.0,
) -> str:
    """The id (`sha256:...`) of the image `tag`, built now unless the engine has it already.

    A tag is expected to be keyed by what it is built from, so one that exists is right. `files` is the build
    context: a name in it to its bytes, or to a file or folder of the host; a file keeps only its execute bit.
    The host's proxies are passed on. `timeout` in seconds. The build stops when the caller is cancelled.

    Raises `BuildError` (`str(error)` has the line that matters, `error.log` the output) and `UnfitError` (disk
    full, no engine).
    """
    async with only_one(f"image-{tag}"):
        if found := await image_id(engine, tag):
            return found
        with tempfile.TemporaryFile(prefix="forager-") as context:
            try:
                await asyncio.to_thread(_write_context, context, dockerfile, files or {})
            except OSError as error:
                if full := no_disk(str(error)):
                    raise UnfitError(f"no space left in {tempfile.gettempdir()}; free some, or set TMPDIR") from full
                raise BuildError(f"{tag}: cannot read {error.filename}: {error.strerror}") from None
            arguments = proxies()
            params: dict[str, Any] = {
                "t": tag,
                "rm": 1,
                "forcerm": 1,
                "labels": json.dumps(dict(labels or {})),
                "buildargs": json.dumps({**arguments, **(buildargs or {})}),
            }
            if any(_is_loopback(value) for name, value in arguments.items() if not name.lower().startswith("no_")):
                params["networkmode"] = "host"  # this host's own loopback: a bridge network cannot see it
            request = _Request(engine, "build", params, context, tag, report)
            try:
                await asyncio.wait_for(request.run(), timeout)
            except TimeoutError:
                raise BuildError(f"{tag}: not built within {timeout:.0f} s", request.log) from None
    found = await image_id(engine, tag)
    if found is None:
        raise BuildError(f"{tag}: the engine built it and does not have it", request.log)
    return found


class _Request:
    """One long call of the engine that answers with a stream of JSON lines; it can be cut short."""

    def __init__(
        self, engine: Engine, path: str, params: dict[str, Any], body: IO[bytes], tag: str, report: Report | None
    ) -> None:
        self._engine = engine
        self._url = f"{engine.api.base_url}/v{engine.api.api_version}/{path}"
        self._params = params
        self._body = body
        self._tag = tag
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._response: requests.Response | None = None
        self._cut = False
        self._log: deque[str] = deque()
        self._log_size = 0

    @property
    def log(self) -> str:
        return "".join(self._log)

    async def run(self) -> None:
        work = asyncio.ensure_future(self._engine.call(self._work))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # Closing the connection is what makes the engine stop the build and remove its container.
            self._cut = True
            self._close()
            await asyncio.wait([work])
            work.cancelled() or work.exception()
            raise

    def _work(self) -> None:
        if self._cut:
            return
        self._body.seek(0)
        try:
            with self._engine.api.post(
                self._url,
                params=self._params,
                data=self._body,
                headers={"Content-Type": "application/tar"},
                stream=True,
                timeout=(30, None),
            ) as self._response:
                if self._cut:
                    return
                if self._response.status_code != 200:
                    raise self._failure(_message(self._response.text))
                for line in self._response.iter_lines(chunk_size=None):
                    self._take(line)
        except requests.exceptions.RequestException:
            if not self._cut:
                raise

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            return
        if not isinstance(event, dict):
            return
        if "error" in event:
            raise self._failure(str(event["error"]))
        text = _COLOUR.sub("", str(event.get("stream") or ""))
        if not text and event.get("status") and "progressDetail" not in event:
            text = f"{event['status']}\n"
        self._log.append(text)
        self._log_size += len(text)
        while self._log_size > LOG_BYTES and len(self._log) > 1:
            self._log_size -= len(self._log.popleft())
        if self._report and (step := re.match(r"Step (\d+)/(\d+) : (.*)", text)):
            message = f"{self._tag}: step {step[1]} of {step[2]}: {step[3][:80].strip()}"
            self._loop.call_soon_threadsafe(self._report, message)

    def _failure(self, message: str) -> BuildError | UnfitError:
        self._log.append(message + "\n")
        return no_disk(self.log) or BuildError(f"{self._tag}: {telling_line(self.log)}", self.log)

    def _close(self) -> None:
        if self._response is None:
            return
        try:
            api: Any = self._engine.api
            raw = api._get_raw_response_socket(self._response)
            getattr(raw, "_sock", raw).shutdown(socket.SHUT_RDWR)
        except (OSError, AttributeError, docker.errors.DockerException):
            self._response.close()


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TELLING = re.compile(
    r"^\s*(E: |ERROR: |error: |fatal: |\w+(Error|Exception|NotFound): )|"
    r"\b(not found|no such file|permission denied|failed|cannot|could not|unable to)\b",
    re.IGNORECASE,
)
_HOLLOW = re.compile(
    r"returned a non-zero code|hint: |notice|This error originates from a subprocess|^\s*[^\x00-\x7f]|"
    r"Some index files failed|mmdebstrap failed to run|^E: apt-get .* failed$|received signal|"
    r"metadata-generation-failed|subprocess-exited-with-error|WARNING:",
)


def telling_line(log: str) -> str:
    """The line of a failed build's output that says why, as far as can be told: at most 300 characters."""
    lines = [_COLOUR.sub("", line).strip() for line in log.splitlines()]
    lines = [line for line in lines if line and not re.match(r"(Step \d+/\d+ : |--->|Removing intermediate)", line)]
    candidates = [line for line in lines[-60:] if not _HOLLOW.search(line)]
    strong = [line for line in candidates if _TELLING.match(line)]
    weak = [line for line in candidates if _TELLING.search(line)]
    found = (strong or weak or candidates or lines or ["the build failed without a word"])[-1]
    return found[:300]


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip() or "no answer"


def _write_context(target: IO[bytes], dockerfile: str, files: Mapping[str, bytes | Path]) -> None:
    """The build context as a tar file: same content, same bytes, so that the engine's cache can hit."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "Dockerfile", dockerfile.encode())
        for name, content in sorted(files.items()):
            if isinstance(content, bytes):
                _add(tar, name, content)
            elif content.is_dir():
                tar.add(content, name, filter=_plain)
            else:
                tar.add(content.resolve(), name, filter=_plain)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o755 if data.startswith(b"#!") else 0o644
    tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info


def _is_loopback(proxy: str) -> bool:
    host = urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
