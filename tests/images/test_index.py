"""The package index: which file a specification means, that its hash is checked, and what faults look like."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from forager.errors import ForageError, ForagerError, InfrastructureError, UsageError
from forager.images import index as indexes
from forager.images.index import fetch, index_url, public_url
from tests.support.index_server import Index, serve, tar_of

SOURCE = tar_of({"pkg-1.0/pkg.py": b"x = 1\n"})


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    """An index of our own, and a cache that starts empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as served:
        monkeypatch.setenv("PIP_INDEX_URL", served.url)
        yield served


async def test_the_named_version_comes_checked_and_is_kept(index: Index) -> None:
    true = index.add("pkg-1.0.tar.gz", SOURCE)
    index.add("pkg-2.0.tar.gz", tar_of({"pkg-2.0/pkg.py": b"x = 2\n"}))
    sdist = await fetch("pypi:Pkg==1.0")
    assert (sdist.name, sdist.version, sdist.sha256, sdist.spec) == ("pkg", "1.0", true, "pypi:pkg==1.0")
    assert sdist.path.read_bytes() == SOURCE

    asked = len(index.requests)
    again = await fetch(sdist.spec, sha256=true)
    assert again == sdist
    assert len(index.requests) == asked, "a cached file of a known hash needs no network"

    await fetch(sdist.spec)
    assert index.requests[asked:] == ["/simple/pkg/"], "without a hash the index is asked for it, not for the file"


async def test_a_changed_cache_is_fetched_again(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    sdist = await fetch("pypi:pkg==1.0")
    sdist.path.write_bytes(b"changed")
    assert (await fetch("pypi:pkg==1.0", sha256=sdist.sha256)).path.read_bytes() == SOURCE


async def test_no_version_means_the_newest_final_release_with_source(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    index.add("pkg-1.10.tar.gz", tar_of({"pkg-1.10/a": b"1"}))
    index.add("pkg-1.9.tar.gz", tar_of({"pkg-1.9/a": b"2"}))
    index.add("pkg-2.0.tar.gz", tar_of({"pkg-2.0/a": b"3"}), yanked=True)
    index.add("pkg-3.0rc1.tar.gz", tar_of({"pkg-3.0rc1/a": b"4"}))
    index.add("pkg-4.0-py3-none-any.whl", b"wheel")
    assert (await fetch("pypi:pkg")).version == "1.10"


async def test_a_wrong_hash_is_refused_and_nothing_is_kept(index: Index, tmp_path: Path) -> None:
    lie = hashlib.sha256(b"something else").hexdigest()
    index.add("pkg-1.0.tar.gz", SOURCE, digest=lie)
    with pytest.raises(ForageError, match=f"sha256 is {hashlib.sha256(SOURCE).hexdigest()}, the index says {lie}"):
        await fetch("pypi:pkg==1.0")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


async def test_the_tasks_hash_must_be_the_indexs(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    with pytest.raises(ForageError, match="the task wants 000"):
        await fetch("pypi:pkg==1.0", sha256="0" * 64)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        await fetch("pypi:pkg==1.0", sha256="../../etc/passwd")


async def test_a_file_without_any_hash_is_refused(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE, digest="")
    with pytest.raises(ForageError, match="gives no sha256"):
        await fetch("pypi:pkg==1.0")
    true = hashlib.sha256(SOURCE).hexdigest()
    assert (await fetch("pypi:pkg==1.0", sha256=true)).sha256 == true


async def test_what_is_not_there_says_what_is(index: Index) -> None:
    for version in ("1.0", "1.1", "1.2", "2.0", "3.0"):
        index.add(f"pkg-{version}.tar.gz", tar_of({f"pkg-{version}/a": version.encode()}))
    index.add("wheels_only-1.0-py3-none-any.whl", b"wheel")
    with pytest.raises(ForageError, match=r"pkg has no version 1\.3 .* near it: 1\.0, 1\.1, 1\.2, 2\.0, 3"):
        await fetch("pypi:pkg==1.3")
    with pytest.raises(ForageError, match="no package 'nothing' on the index"):
        await fetch("pypi:nothing")
    with pytest.raises(ForageError, match=r"wheels-only 1\.0 has no source distribution"):
        await fetch("pypi:wheels_only==1.0")
    with pytest.raises(ForageError, match="no release on the index has a source distribution"):
        await fetch("pypi:wheels_only")


@pytest.mark.parametrize("spec", ["pkg", "pypi:", "pypi:pkg==", "pypi:../etc", "pypi:pkg==1/../2", "pypi:pkg==one"])
async def test_a_specification_that_means_nothing(spec: str) -> None:
    with pytest.raises(UsageError):
        await fetch(spec)


async def test_a_server_that_stumbles_is_asked_again(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    index.faults = [503, 429]
    assert (await fetch("pypi:pkg==1.0")).path.read_bytes() == SOURCE


async def test_a_server_that_stays_down_is_one_line_without_the_password(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//user:hunter2@"))
    said: list[str] = []
    await fetch("pypi:pkg==1.0", report=said.append)
    assert index.authorization[0] is not None, "the password is used"
    index.faults = [500] * indexes.ATTEMPTS
    with pytest.raises(InfrastructureError, match=r"answered 500 \(4 tries\)") as caught:
        await fetch("pypi:pkg==1.0")
    index.faults = [401]
    with pytest.raises(InfrastructureError, match=r"answered 401$") as refused:
        await fetch("pypi:pkg==1.0")
    assert "hunter2" not in f"{caught.value} {refused.value} {said}"


async def test_an_index_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as served:
        address = served.url
    monkeypatch.setenv("PIP_INDEX_URL", address)
    with pytest.raises(InfrastructureError, match="cannot be reached"):
        await fetch("pypi:pkg==1.0")


async def test_a_page_that_is_no_index(index: Index) -> None:
    index.faults = [b"<html><body>Log in first</body></html>"]
    with pytest.raises(ForagerError, match="lists no release"):
        await fetch("pypi:pkg==1.0")


async def test_several_at_once_get_the_same_file(index: Index) -> None:
    index.add("pkg-1.0.tar.gz", SOURCE)
    found = await asyncio.gather(*(fetch("pypi:pkg==1.0") for _ in range(6)))
    assert len(set(found)) == 1
    assert [path.name for path in found[0].path.parent.iterdir()] == [found[0].path.name]


def test_the_index_comes_from_pips_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://user:hunter2@mirror.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert index_url() == "https://user:hunter2@mirror.example/simple"
    assert public_url(index_url()) == "https://mirror.example/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "file:///srv/user:hunter2@index")
    with pytest.raises(UsageError, match=r"not an http\(s\) address"):
        index_url()
