"""The package index: which one is configured, which release a specification means, and its source distribution.

A distribution is downloaded, checked against its hash and kept on disk under that hash. It is never built, imported
or unpacked on the host (`pip download` would run its build code).
"""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit, urlunsplit

import pypi_simple
import requests
import tenacity
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from forager.errors import ForageError, InfrastructureError, UsageError
from forager.images.archive import SUFFIXES
from forager.images.lock import cache_dir
from forager.records import Record

MAX_DOWNLOAD = 256 * 1024**2
"""Bytes of one source distribution."""
TIMEOUT = (15.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""
ATTEMPTS = 4
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_ASKED = "pytest"
"""A package that any index has that environments are built from."""

_NAME, _VERSION = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", r"[A-Za-z0-9][A-Za-z0-9.!+_-]*"
_SPEC = re.compile(rf"pypi:\s*({_NAME})\s*(?:==\s*({_VERSION}))?\s*$")

Report = Callable[[str], None]
P = ParamSpec("P")
T = TypeVar("T")


class Sdist(Record, frozen=True):
    """A source distribution on this disk, its hash checked."""

    name: str
    """Canonical: lower case, `-` between words."""
    version: str
    sha256: str
    path: Path
    uploaded: str = ""
    """When, ISO 8601; empty where the index does not tell, or was not asked."""

    @property
    def spec(self) -> str:
        """`pypi:NAME==VERSION`"""
        return f"pypi:{self.name}=={self.version}"


def parse_spec(spec: str) -> tuple[str, str]:
    """Name and version (empty: the newest) of `pypi:NAME==VERSION`. Raises `UsageError`."""
    if not (match := _SPEC.match(spec)):
        raise UsageError(f"{spec!r} is not pypi:NAME==VERSION (or pypi:NAME for the newest release)")
    name, version = str(canonicalize_name(match[1])), match[2] or ""
    if version:
        try:
            Version(version)
        except InvalidVersion:
            raise UsageError(f"{spec!r}: {version!r} is not a version") from None
    return name, version


async def fetch(spec: str, *, sha256: str = "", report: Report | None = None) -> Sdist:
    """The source distribution that `spec` (`pypi:NAME==VERSION`, `pypi:NAME`) means, from the cache or the index.

    `sha256` (hex), where given, must be the file's; a cached file of that hash needs no network. Raises `UsageError`
    for a specification that means nothing, `ForageError` for an unknown package or version, one without a source
    distribution and a wrong hash, `InfrastructureError` when the index cannot be reached.
    """
    return await asyncio.to_thread(_fetch, spec, sha256.lower(), report or (lambda _: None))


def _fetch(spec: str, sha256: str, report: Report) -> Sdist:
    name, version = parse_spec(spec)
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UsageError(f"{spec}: sha256 {sha256!r} is not 64 hexadecimal digits")
    if version and sha256 and (path := _cached(sha256)):
        return Sdist(name=name, version=version, sha256=sha256, path=path)
    with requests.Session() as session:
        session.verify = ca_bundle() or True
        client = pypi_simple.PyPISimple(index_url(), session=session)
        package = _choose(name, version, _releases(client, name))
        listed = (package.digests or {}).get("sha256", "").lower()
        if sha256 and listed and listed != sha256:
            raise ForageError(f"{name} {package.version}: the index has sha256 {listed}, the task wants {sha256}")
        wanted = sha256 or listed
        if not re.fullmatch(r"[0-9a-f]{64}", wanted):
            raise ForageError(f"{name} {package.version}: the index gives no sha256 for {package.filename}; refused")
        path = _cached(wanted)
        if path is None:
            report(f"fetching {package.filename}")
            path = _download(client, package, wanted)
    uploaded = package.upload_time.strftime(TIME_FORMAT) if package.upload_time else ""
    return Sdist(name=name, version=str(package.version), sha256=wanted, path=path, uploaded=uploaded)


async def tells_times() -> bool:
    """Whether the configured index tells when its files were uploaded (PEP 700): only then can it be asked for the
    releases of before a date. Asked once for each index; False if it cannot be reached."""
    return await asyncio.to_thread(_tells_times, index_url())


@functools.lru_cache(maxsize=8)
def _tells_times(url: str) -> bool:
    with requests.Session() as session:
        session.verify = ca_bundle() or True
        try:
            packages = _releases(pypi_simple.PyPISimple(url, session=session), _ASKED)
        except (ForageError, InfrastructureError):
            return False
    return bool(packages) and all(package.upload_time is not None for package in packages)


# --------------------------------------------------------------------------------------- the index


def index_url() -> str:
    """The configured index: `PIP_INDEX_URL`, `UV_DEFAULT_INDEX`, `UV_INDEX_URL`, pip's files, or the public one.

    It may hold credentials: show it through `public_url` only.
    """
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if url := os.environ.get(name, "").strip():
            break
    else:
        url = pip_setting("index-url") or pypi_simple.PYPI_SIMPLE_ENDPOINT
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"the package index {public_url(url)!r} is not an http(s) address; set PIP_INDEX_URL to one")
    return url


def pip_setting(key: str) -> str:
    """A value of pip's configuration files (`[global]`, then `[install]`), the last file that has it; or empty."""
    home = Path.home()
    files = [Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf"), home / ".pip" / "pip.conf"]
    files.append(Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    if own := os.environ.get("PIP_CONFIG_FILE"):
        files = [] if own == os.devnull else [*files, Path(own)]
    value = ""
    for file in files:
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
            parser.read(file)
        for section in ("global", "install"):
            value = parser.get(section, key, fallback="").strip() or value
    return value


def ca_bundle() -> str:
    """The host's bundle of certificate authorities as a path, or empty for the library's own."""
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        if (path := os.environ.get(name, "")) and Path(path).is_file():
            return path
    for path in (pip_setting("cert"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if path and Path(path).is_file():
            return path
    return ""


def public_url(url: str) -> str:
    """An address without the user and password it may hold, fit for logs."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _releases(client: pypi_simple.PyPISimple, name: str) -> list[pypi_simple.DistributionPackage]:
    where = public_url(client.endpoint)
    try:
        page = _retrying(where, client.get_project_page, name, timeout=TIMEOUT)
    except pypi_simple.NoSuchProjectError:
        raise ForageError(f"no package {name!r} on the index {where}") from None
    except (pypi_simple.UnsupportedContentTypeError, pypi_simple.UnsupportedRepoVersionError, ValueError) as error:
        raise ForageError(f"the index {where} answered something that is no package index: {error}") from None
    return [p for p in page.packages if _version(p.version or "") and canonicalize_name(p.project or "") == name]


def _choose(
    name: str, version: str, packages: Iterable[pypi_simple.DistributionPackage]
) -> pypi_simple.DistributionPackage:
    """The source distribution of the wanted release, or of the newest that is not yanked (finals first)."""
    by_version: dict[Version, list[pypi_simple.DistributionPackage]] = {}
    for package in packages:
        by_version.setdefault(Version(package.version or ""), []).append(package)
    if not by_version:
        raise ForageError(f"{name}: the index lists no release of it")

    def sdist(of: Version) -> pypi_simple.DistributionPackage | None:
        found = [p for p in by_version[of] if p.package_type == "sdist" and p.filename.lower().endswith(SUFFIXES)]
        return min(found, key=lambda p: [p.filename.lower().endswith(s) for s in SUFFIXES].index(True), default=None)

    if version:
        wanted = Version(version)
        if wanted not in by_version:
            ordered = sorted({*by_version, wanted})
            at = ordered.index(wanted)
            near = [str(v) for v in ordered[max(0, at - 3) : at + 4] if v != wanted]
            raise ForageError(f"{name} has no version {version} on the index; near it: {', '.join(near)}")
        if (chosen := sdist(wanted)) is None:
            raise ForageError(f"{name} {version} has no source distribution on the index, only built ones")
        return chosen
    order = sorted(by_version, key=lambda v: (not v.is_prerelease, v), reverse=True)
    for candidate in order:
        if not all(p.is_yanked for p in by_version[candidate]) and (chosen := sdist(candidate)) is not None:
            return chosen
    raise ForageError(f"{name}: no release on the index has a source distribution")


def _version(text: str) -> Version | None:
    with contextlib.suppress(InvalidVersion):
        return Version(text)
    return None


# ------------------------------------------------------------------------------- download and cache


def _cached(sha256: str) -> Path | None:
    """The cached file of this hash; one whose content has changed is removed."""
    for suffix in SUFFIXES:
        path = cache_dir() / "sdists" / f"{sha256}{suffix}"
        if path.is_file():
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                    return path
            path.unlink(missing_ok=True)
    return None


def _download(client: pypi_simple.PyPISimple, package: pypi_simple.DistributionPackage, sha256: str) -> Path:
    suffix = next(s for s in SUFFIXES if package.filename.lower().endswith(s))
    final = cache_dir() / "sdists" / f"{sha256}{suffix}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=final.parent, prefix=".fetch-")
    except OSError as error:
        raise UsageError(f"cannot write the cache folder {final.parent}: {error.strerror}") from None
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path

            def attempt() -> str:
                file.seek(0)
                file.truncate()
                digest, size = hashlib.sha256(), 0
                with client.s.get(package.url, stream=True, timeout=TIMEOUT) as response:
                    response.raise_for_status()
                    for chunk in response.iter_content(1 << 16):
                        size += len(chunk)
                        if size > MAX_DOWNLOAD:
                            raise ForageError(f"{package.filename}: larger than {MAX_DOWNLOAD >> 20} MiB; refused")
                        digest.update(chunk)
                        file.write(chunk)
                return digest.hexdigest()

            found = _retrying(public_url(package.url), attempt)
            if found != sha256:
                raise ForageError(f"{package.filename}: sha256 is {found}, the index says {sha256}; refused")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(final)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return final


def _retrying(where: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call until it works, a few times; what is left of a failure then is one line without credentials."""

    def transient(error: BaseException) -> bool:
        if isinstance(error, requests.HTTPError):
            return error.response.status_code in (408, 425, 429) or error.response.status_code >= 500
        return isinstance(error, requests.RequestException) and not isinstance(error, requests.exceptions.SSLError)

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.3, max=8),
        retry=tenacity.retry_if_exception(transient),
        reraise=True,
    )
    try:
        return retrying(function, *args, **kwargs)
    except requests.RequestException as error:
        raise _network_error(where, error, retrying.statistics["attempt_number"]) from None


def _network_error(where: str, error: requests.RequestException, attempts: int) -> InfrastructureError:
    if isinstance(error, requests.HTTPError):
        what = f"answered {error.response.status_code}"
    elif isinstance(error, requests.exceptions.SSLError):
        what = "has a certificate that is not trusted here; set SSL_CERT_FILE to your authority's bundle"
    elif isinstance(error, requests.Timeout):
        what = "did not answer in time"
    else:
        what = f"cannot be reached ({type(error).__name__})"
    tries = f" ({attempts} tries)" if attempts > 1 else ""
    return InfrastructureError(f"the package index at {where} {what}{tries}")
