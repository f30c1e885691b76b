"""The cache of mirrors: found, filled, shared, and safe from what a repository would like to run."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forager.errors import ForageError, UsageError
from forager.images import mirrors
from tests.images.histories import History, git, make_history

ABSENT = "0" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def history(tmp_path: Path) -> History:
    return make_history(
        tmp_path / "clones/owner__name", {"a.py": "old\n", "sub/b.txt": "b\n"}, {"a.py": "text of the fix\n"}
    )


def objects(path: Path) -> str:
    output = subprocess.run(
        ["git", f"--git-dir={path}", "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    ).stdout
    return output.decode("latin-1")


@pytest.mark.parametrize(
    "place",
    [
        "owner__name",
        "owner/name",
        "owner+name/repo",
        "owner+name",
        "name",
        "name.git",
        "owner__name.git",
        "owner-name",
    ],
)
def test_clones_are_found_under_the_names_people_give_them(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    git(tmp_path / place, "init", "-q", *(["--bare"] if place.endswith((".git", "repo")) else []))
    assert mirrors.find_clone(tmp_path, "owner/name") is not None
    assert mirrors.find_clone(tmp_path / place, "owner/other") is None
    assert mirrors.find_clone(tmp_path, "other/thing") is None


async def test_a_local_clone_becomes_a_mirror_of_the_address(history: History) -> None:
    source = mirrors.address("owner/name")
    path = await mirrors.mirror(source, [history.base, ABSENT][:1], clones=history.path.parent)
    assert mirrors.missing(path, [history.base, history.future, ABSENT]) == [ABSENT]
    assert mirrors.read_file(path, history.base, "sub/b.txt") == b"b\n"
    assert mirrors.read_file(path, history.base, "none") is None
    assert mirrors.version_at(path, history.base) == "1.3.dev1"
    assert mirrors.version_at(path, history.past) == "1.2"
    (history.path / ".git").rename(history.path / "gone")
    assert await mirrors.mirror(source, [history.base]) == path, "the clone is not needed again"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_a_pack_holds_the_ancestors_and_nothing_else(history: History, tmp_path: Path) -> None:
    path = await mirrors.mirror(str(history.path), [history.base])
    target = tmp_path / "out"
    git(tmp_path, "init", "-q", "--bare", "out")
    mirrors.write_pack(path, history.base, target / "objects/pack")
    held = objects(target)
    assert "the past" in held and "old" in held
    for text in ("text of the fix", "text of a side branch", "text of a stash", "v1.2", "v2.0"):
        assert text not in held
    assert "text of the fix" in objects(path), "the mirror itself has all of it"


async def test_nothing_of_a_hostile_clone_runs(history: History, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    inner = history.path / ".git"
    for hook in ("post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"):
        (inner / "hooks").mkdir(exist_ok=True)
        (inner / "hooks" / hook).write_text(script.read_text())
        (inner / "hooks" / hook).chmod(0o755)
    with (inner / "config").open("a") as config:
        config.write(
            f"[core]\n fsmonitor={script}\n sshCommand={script}\n pager={script}\n hooksPath={inner}/hooks\n"
            f" alternateRefsCommand={script}\n gitProxy={script}\n askPass={script}\n"
            f'[filter "evil"]\n smudge={script}\n clean={script}\n required=true\n'
            f"[credential]\n helper={script}\n[uploadpack]\n packObjectsHook={script}\n"
            f'[remote "origin"]\n url=ext::{script}\n uploadpack={script}\n promisor=true\n'
            f'[extensions]\n partialClone=origin\n[include]\n path={script}\n[protocol "ext"]\n allow=always\n'
        )
    (history.path / ".gitattributes").write_text("* filter=evil\n")
    (history.path / ".gitmodules").write_text(f'[submodule "x"]\n path=x\n url=ext::{script}\n update=!{script}\n')
    path = await mirrors.mirror(str(history.path), [history.base])
    mirrors.missing(path, [ABSENT])
    (tmp_path / "pack").mkdir()
    mirrors.write_pack(path, history.base, tmp_path / "pack")
    mirrors.read_file(path, history.base, "a.py")
    mirrors.version_at(path, history.base)
    assert not trap.exists()
    assert "evil" not in (path / "config").read_text() and not (path / "hooks").exists()


@pytest.mark.parametrize(
    "source", ["ext::sh -c 'touch x'", "--upload-pack=touch x", "fd::3", "rsync://host/x", "a\nb://"]
)
async def test_a_source_that_would_run_something_is_refused(source: str) -> None:
    with pytest.raises((UsageError, ForageError)):
        await mirrors.mirror(source, [ABSENT])


async def test_a_missing_commit_is_told_and_stops_nothing(history: History) -> None:
    path = await mirrors.mirror(str(history.path), [history.base, ABSENT])
    assert mirrors.missing(path, [history.base, ABSENT]) == [ABSENT]
    with pytest.raises(UsageError, match="not a commit"):
        await mirrors.mirror(str(history.path), ["main"])


async def test_whoever_gives_a_clone_does_not_get_the_network(history: History) -> None:
    # An address that nothing answers at: were it asked, this would be an error.
    source = "https://127.0.0.1:9/owner/name.git"
    path = await mirrors.mirror(source, [history.base, ABSENT], clones=history.path.parent)
    assert mirrors.missing(path, [history.base, ABSENT]) == [ABSENT]


async def test_a_clone_with_damaged_objects_is_one_line(history: History) -> None:
    for file in (history.path / ".git/objects").glob("??/*"):
        file.chmod(0o644)
        file.write_bytes(b"no object")
    with pytest.raises(ForageError) as caught:
        path = await mirrors.mirror(str(history.path), [history.base])
        mirrors.write_pack(path, history.base, history.path)
    assert "\n" not in str(caught.value)


async def test_a_shallow_clone_is_told_apart(history: History, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{history.path}", "shallow")
    path = await mirrors.mirror(str(tmp_path / "shallow"), [history.future])
    with pytest.raises(ForageError, match=r"history of commit .* is not complete in the clone"):
        mirrors.write_pack(path, history.future, tmp_path)


async def test_borrowed_objects_come_along(history: History, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--shared", str(history.path), "borrower")
    path = await mirrors.mirror(str(tmp_path / "borrower"), [history.base])
    assert mirrors.missing(path, [history.past, history.base]) == []


@pytest.fixture
def server(tmp_path: Path, history: History) -> Iterator[str]:
    """The history behind a real HTTP server, as any static file server can serve it."""
    git(tmp_path, "clone", "-q", "--bare", str(history.path), "served/name.git")
    git(tmp_path / "served/name.git", "update-server-info")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/name.git"
        running.shutdown()


async def test_an_address_is_fetched_once_for_all_who_ask(
    server: str, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    said: list[str] = []
    paths = await asyncio.gather(*(mirrors.mirror(server, [history.base], report=said.append) for _ in range(4)))
    assert len(set(paths)) == 1
    assert said == [f"fetching {server}"]
    assert mirrors.missing(paths[0], [history.base, history.side]) == []


async def test_an_address_that_does_not_answer_says_what_would_do(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(ForageError, match=r"cannot be fetched: .*--repos DIR") as caught:
        await mirrors.mirror("http://user:secret@127.0.0.1:9/x.git", [ABSENT])
    assert "secret" not in str(caught.value)
    assert not list((cache / "forager/mirrors").iterdir()), "nothing half made stays"
