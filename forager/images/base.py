"""The base image: Debian with git, Python and a compiler, from a registry or bootstrapped from packages.

What is in it is written down in `images/base/`; its tag is keyed by those files and by the CA certificates that
this host trusts, so it is built again only when one of them changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import requests

from forager.errors import BuildError, ForagerError, UnfitError
from forager.images import debian, images_dir
from forager.images.build import Report, build, image_exists, proxies, telling_line
from forager.images.lock import only_one
from forager.sandbox.engine import Engine, no_disk

SUITE = "bookworm"
REGISTRY_IMAGE = f"debian:{SUITE}-slim"
LABEL = "forager.image"

_REGISTRY_SECONDS = 5.0
_no_registry: set[str] = set()
"""Engines (by address) whose registry did not answer: asked once a process."""


def base_tag() -> str:
    """The tag that the base image has, or will have, on this host."""
    state = hashlib.sha256(SUITE.encode())
    for path in sorted(_folder().iterdir()):
        if path.is_file():
            state.update(f"\0{path.name}\0".encode() + path.read_bytes())
    state.update(b"\0" + host_ca())
    return f"forager/base:{state.hexdigest()[:16]}"


def host_ca() -> bytes:
    """The CA certificates that this host trusts (PEM); empty if it has no bundle of its own."""
    places = (
        os.environ.get("SSL_CERT_FILE"),
        os.environ.get("REQUESTS_CA_BUNDLE"),
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    )
    for place in places:
        if place and Path(place).is_file():
            try:
                return Path(place).read_bytes()
            except OSError as error:
                raise UnfitError(f"cannot read the CA certificates in {place}: {error.strerror}") from None
    return b""


async def ensure_base(engine: Engine, report: Report | None = None) -> str:
    """The tag of the base image, built first if the engine does not have it (a minute where no registry answers).

    Raises `BuildError` and `UnfitError` (disk full, no way to get a Debian).
    """
    tag = base_tag()
    if await image_exists(engine, tag):
        return tag
    async with only_one(f"base-{tag}"):
        if await image_exists(engine, tag):
            return tag
        say = report or (lambda line: None)
        if not await _from_registry(engine, say) or not await _finished(engine, tag, REGISTRY_IMAGE, say):
            root = await _bootstrapped(engine, say)
            try:
                await _build(engine, tag, root)
            finally:  # its layer lives on in the base image; a failed build must not keep it
                await _forget(engine, root)
        say("base image: ready")
    return tag


async def _build(engine: Engine, tag: str, root: str) -> None:
    folder = _folder()
    files = {name: folder / name for name in ("packages", "dpkg.cfg", "apt.conf", "gitconfig", "trust.py")}
    await build(
        engine,
        tag=tag,
        dockerfile=(folder / "Dockerfile").read_text(),
        files={"host-ca.crt": host_ca(), **files},
        labels={LABEL: "base"},
        buildargs={"ROOT": root},
    )


async def _finished(engine: Engine, tag: str, root: str, say: Report) -> bool:
    """Build on a registry's Debian; False if it went wrong and there is another way (a host that reaches Debian's
    packages over a mirror of its own, for one)."""
    try:
        await _build(engine, tag, root)
    except BuildError as error:
        if bootstrap_advice():
            raise
        say(f"{error}; bootstrapping instead")
        return False
    return True


async def registry_answers(engine: Engine) -> bool:
    """Whether a registry gives the engine (its own proxy and mirrors) the Debian image, asked for a few seconds."""
    address = str(engine.api.base_url)
    if address in _no_registry:
        return False

    def ask() -> bool:
        url = f"{address}/v{engine.api.api_version}/distribution/{REGISTRY_IMAGE}/json"
        try:
            return bool(engine.api.get(url, timeout=_REGISTRY_SECONDS).status_code == 200)
        except requests.exceptions.RequestException:
            return False

    if await engine.call(ask):
        return True
    _no_registry.add(address)
    return False


def bootstrap_packages() -> list[str]:
    """The Debian packages that a bootstrap needs and this host lacks."""
    missing = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
    return missing if debian.keyring() else [*missing, "debian-archive-keyring"]


def bootstrap_advice() -> str:
    """What to do so that this host and user can bootstrap; empty if nothing."""
    if missing := bootstrap_packages():
        return f"`sudo apt-get install {' '.join(missing)}`"
    if not _ways():
        return "run as root, or have passwordless sudo, or `sudo apt-get install uidmap` and a line in /etc/subuid"
    return ""


async def _from_registry(engine: Engine, say: Report) -> bool:
    """Whether the engine has the registry's Debian, or gets it now."""
    if await image_exists(engine, REGISTRY_IMAGE):
        return True
    if not await registry_answers(engine):
        return False
    say(f"base image: fetching {REGISTRY_IMAGE}")
    try:
        await engine.call(engine.client.images.pull, REGISTRY_IMAGE)
    except UnfitError:
        raise
    except ForagerError as error:
        say(f"base image: the registry gave up ({error}); bootstrapping instead")
        _no_registry.add(str(engine.api.base_url))
        return False
    return True


async def _bootstrapped(engine: Engine, say: Report) -> str:
    """The id of an image that holds a fresh Debian root, streamed from mmdebstrap into the engine."""
    if lacking := bootstrap_advice():
        raise UnfitError(f"no registry answers, so the base image comes from Debian packages: {lacking}")
    failure: ForagerError | None = None
    for prefix, options in _ways():
        say("base image: no registry answers; bootstrapping Debian packages (about a minute)")
        command = [*prefix, "sh", str(_folder() / "bootstrap"), SUITE, str(debian.keyring()), *options]
        try:
            return await _import(engine, [*command, *debian.proxy_options()])
        except BuildError as error:
            failure = error
    assert failure is not None
    raise failure


def _ways() -> list[tuple[list[str], list[str]]]:
    """How this user can run mmdebstrap: command prefix and options, best first."""
    if os.geteuid() == 0:
        return [([], ["--mode=root"])]
    ways: list[tuple[list[str], list[str]]] = []
    if shutil.which("newuidmap") and debian.has_subuids():
        ways.append(([], ["--mode=unshare"]))
    if debian.sudo_works():
        kept = ",".join(["TMPDIR", *proxies()])
        ways.append((["sudo", "-n", f"--preserve-env={kept}"], ["--mode=root"]))
    return ways


async def _import(engine: Engine, command: list[str]) -> str:
    """Run a command whose output is a tar file of a root file system; the id of the image made of it."""
    env = {**os.environ, **proxies(), "TMPDIR": os.environ.get("TMPDIR", "/var/tmp")}
    with tempfile.TemporaryFile(prefix="forager-") as log:
        reader, writer = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=writer, stderr=log, env=env, start_new_session=True
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        importing = asyncio.ensure_future(engine.call(_send, engine, reader))
        try:
            await process.communicate(debian.sources(SUITE).encode())
            await asyncio.wait([importing])
        except asyncio.CancelledError:
            _end(process)
            await process.wait()
            await asyncio.wait([importing])
            if not importing.exception():
                await _forget(engine, importing.result())
            raise
        log.seek(0)
        text = log.read()[-256 * 1024 :].decode(errors="replace")
    if process.returncode == 0:
        return importing.result()
    if not importing.exception():
        await _forget(engine, importing.result())
    if no_disk(text):
        raise UnfitError(f"no space left in {env['TMPDIR']} for a bootstrap (1 GB); free some, or set TMPDIR")
    raise BuildError(f"base image: mmdebstrap failed: {telling_line(text)}", text)


def _end(process: asyncio.subprocess.Process) -> None:
    """Ask mmdebstrap to stop; it removes its directory first."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except PermissionError:  # it runs under sudo
        subprocess.run(["sudo", "-n", "kill", "--", f"-{process.pid}"], check=False, capture_output=True)
    except ProcessLookupError:
        pass


def _send(engine: Engine, pipe: int) -> str:
    """Stream a tar file from a pipe into a new, untagged image; its id."""

    def blocks() -> Iterator[bytes]:
        while block := os.read(pipe, 1 << 20):
            yield block

    try:
        url = f"{engine.api.base_url}/v{engine.api.api_version}/images/create"
        params = {"fromSrc": "-"}
        response = engine.api.post(url, params=params, data=blocks(), timeout=(30, 600), stream=False)
    finally:
        for _ in blocks():  # the engine gave up: mmdebstrap would die of a closed pipe without clearing up
            pass
        os.close(pipe)
    events: list[dict[str, Any]] = [json.loads(line) for line in response.text.splitlines() if line.strip()]
    for event in events:
        if message := event.get("error") or event.get("message"):
            raise no_disk(str(message)) or BuildError(f"base image: the engine refused the import: {message}")
    return str(events[-1]["status"])


async def _forget(engine: Engine, image: str) -> None:
    """Remove an image if it is there and nothing needs it."""

    def remove() -> None:
        with contextlib.suppress(docker.errors.APIError):
            engine.client.images.remove(image)

    with contextlib.suppress(ForagerError):
        await engine.call(remove)


def _folder() -> Path:
    return images_dir() / "base"
