"""Images of git repositories: what is built once, and what an agent can learn of the time after the base commit."""

from __future__ import annotations

import io
import sys
import tarfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from forager.errors import BuildError, ForageError, UsageError
from forager.images.environment import ensure_environment
from forager.images.interpreter import ensure_python, find_python
from forager.images.inventory import list_images, remove_images
from forager.images.layer import add_layer
from forager.images.making import build_all
from forager.images.task import ensure_task_image, remove_task_image
from forager.records import Environment, Task
from forager.sandbox.engine import Engine
from tests.images.histories import History, git, make_history
from tests.images.repositories import shell

pytestmark = pytest.mark.docker

FILES = {
    "calc.py": "def double(n):\n    return n + n + 1\n",
    "tests/test_calc.py": "from calc import double\n\n\ndef test_double():\n    assert double(2) == 4\n",
    "setup.py": "from setuptools import setup\nsetup(name='calc')\n",
    ".gitattributes": "*.txt text eol=crlf\n*.py filter=evil\n",
    "lines.txt": "one\ntwo\n",
}
FIX = {"calc.py": "def double(n):\n    return n * 2  # text of the fix\n"}
HISTORY = (
    "git log --all --format='%H %s'; git for-each-ref --format='%(refname)'; git tag; git remote; git stash list;"
    "git status --short; git reflog --all; git fsck --unreachable --no-reflogs 2>&1 | grep -v '^notice'; ls -A .git"
)
CLEAN = ["HEAD", "config", "index", "info", "objects", "refs"]


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_history(tmp_path / "owner__calc", FILES, FIX)


def environment(history: History, commit: str = "", **more: object) -> Environment:
    given: dict[str, object] = {"packages": ("pytest",), "install": "true", **more}
    return Environment(source=str(history.path), commit=commit or history.base, **given)  # type: ignore[arg-type]


def make_task(history: History, built: Environment | None, commit: str = "", **more: Any) -> Task:
    commit = commit or history.base
    name = f"owner__calc-{commit[:6]}"
    return Task(
        instance_id=name, repo="owner/calc", base_commit=commit, problem_statement="x", environment=built, **more
    )


async def of_future(engine: Engine, image: str) -> list[str]:
    """Where in an image something of the time after the base commit, or beside it, can be read."""
    words = "text of the fix|text of a side branch|text of a stash"
    search = (
        f"grep -rlaE '{words}' /testbed /tmp /opt /root /.forager 2>/dev/null;"
        "for git in /testbed/.git /.forager/git; do [ -e $git ] || continue;"
        f"  git --git-dir=$git cat-file --batch-all-objects --batch 2>&1 | grep -aE '{words}'; done; true"
    )
    return (await shell(engine, image, search)).splitlines()


@pytest.fixture
async def published(engine: Engine, base_image: str, history: History) -> AsyncIterator[str]:
    """An image as others publish them: the whole clone in it, later commits, tags, stash and all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(history.path, "testbed")
    tag = f"forager/tests-published:{uuid.uuid4().hex[:12]}"
    script = (
        "cd /testbed; mkdir -p .git/info; echo '* -text -eol -filter' >.git/info/attributes;"
        f"git checkout -qf {history.base}; git branch -f main; echo {history.future} >.git/ORIG_HEAD"
    )
    await add_layer(engine, parent=base_image, tag=tag, kind="test", script=script, files=buffer.getvalue())
    yield tag
    await engine.call(engine.api.remove_image, tag)


async def test_the_agent_sees_the_past_and_nothing_else(engine: Engine, history: History) -> None:
    image = await ensure_task_image(engine, make_task(history, environment(history)))
    try:
        said = (await shell(engine, image.tag, HISTORY)).splitlines()
        assert said == [f"{history.base} Base", f"{history.past} Past", "refs/heads/main", *CLEAN]
        assert await of_future(engine, image.tag) == []
        assert await shell(engine, image.tag, "git rev-parse HEAD; git diff HEAD~1 --stat | tail -1") == (
            f"{history.base}\n 5 files changed, 13 insertions(+)\n"
        )
        one = "git --git-dir=/.forager/git --work-tree=/testbed"
        assert (await shell(engine, image.tag, f"{one} rev-list --all --count; {one} status --short")) == "1\n"
        assert "1 failed" in await shell(engine, image.tag, "python -m pytest -q 2>&1 | tail -1")
    finally:
        await remove_task_image(engine, image)


async def test_a_published_image_loses_what_came_later(engine: Engine, history: History, published: str) -> None:
    assert await of_future(engine, published), "the search finds what is there"
    image = await ensure_task_image(engine, make_task(history, None, image=published))
    try:
        said = (await shell(engine, image.tag, HISTORY)).splitlines()
        assert said == [f"{history.base} Base", f"{history.past} Past", "refs/heads/main", *CLEAN]
        assert await of_future(engine, image.tag) == []
    finally:
        await remove_task_image(engine, image)


async def test_a_tree_that_is_not_the_commits_own_comes_on_top(engine: Engine, history: History) -> None:
    task = make_task(history, environment(history), hidden_tests={"tests/test_calc.py": "..."})
    image = await ensure_task_image(engine, task)
    try:
        said = await shell(
            engine, image.tag, "git log --format=%s; git status --short; git fsck 2>&1 | grep -v notice; true"
        )
        assert said == "The tree as it is at the start\nBase\nPast\n"
    finally:
        await remove_task_image(engine, image)


async def test_with_an_injected_bug_no_history_stays(engine: Engine, history: History) -> None:
    setup = "--- a/lines.txt\n+++ b/lines.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    image = await ensure_task_image(engine, make_task(history, environment(history), setup=setup))
    try:
        assert await shell(engine, image.tag, "git log --format=%s; git status --short") == "Initial commit\n"
    finally:
        await remove_task_image(engine, image)


async def test_what_an_install_does_to_tracked_files_is_undone(engine: Engine, history: History) -> None:
    built = environment(
        history,
        prepare="echo broken >calc.py; rm lines.txt",
        install="grep -q broken calc.py; git tag later; touch made.egg-info; python -m compileall -q .",
    )
    tag = await ensure_environment(engine, built)
    said = await shell(engine, tag, "git tag; cat calc.py lines.txt; ls; find . -name '*.pyc'")
    assert (
        said == FILES["calc.py"] + FILES["lines.txt"] + "README\ncalc.py\nlines.txt\nmade.egg-info\nsetup.py\ntests\n"
    )


async def test_a_hundred_tasks_need_one_environment(engine: Engine, history: History, tmp_path: Path) -> None:
    # A requirement for a Python that never was: a new environment each time, and nothing to download.
    needs = (f"never ; python_version == '0.{uuid.uuid4().int % 10**9}'",)
    commits = [history.base, history.past, history.future]
    for n in range(3):
        (history.path / "more.txt").write_text(f"{n}\n")
        git(history.path, "add", "--all")
        git(history.path, "commit", "-q", "-m", f"More {n}")
        commits.append(git(history.path, "rev-parse", "HEAD"))
    tasks = [make_task(history, environment(history, commit, packages=needs), commit) for commit in commits]
    said: list[str] = []
    built = await build_all(engine, tasks, tmp_path / "logs", workers=3, report=said.append)
    assert [one.problem for one in built] == [""] * len(commits)
    assert len({one.tag for one in built}) == len(commits)
    assert sum("making the virtual environment" in line for line in said) == 1
    assert sum("checking out" in line for line in said) == len(commits)
    images = {tag: image for image in await list_images(engine) for tag in image.tags}
    assert all(images[one.tag].own < 5_000_000 < images[one.tag].shared for one in built)
    assert sorted(await remove_images(engine, [one.tag for one in built])) == sorted(one.tag for one in built)
    with pytest.raises(UsageError, match="is no image of Forager's"):
        await remove_images(engine, [built[0].tag])


async def test_each_failure_has_its_line_and_its_log(engine: Engine, history: History, tmp_path: Path) -> None:
    bad = environment(history, install="echo said on the way; echo 'error: no such thing'; exit 3")
    absent = environment(history, "0" * 40)
    nothing = Environment(source="x", problem="nothing says how")
    tasks = [make_task(history, bad), make_task(history, absent, "0" * 40), make_task(history, nothing, history.past)]
    built = await build_all(engine, tasks, tmp_path / "logs")
    assert "no such thing" in built[0].problem
    assert "said on the way" in (tmp_path / "logs" / f"{tasks[0].instance_id}.log").read_text()
    assert (
        built[1].problem
        == f"commit 000000000000 is not in the clone of {history.path}; fetch it there, or give --repos DIR"
    )
    assert built[2].problem == "nothing says how"
    with pytest.raises(ForageError, match="is not in the clone"):
        await ensure_environment(engine, absent)
    with pytest.raises(UsageError, match="is not a commit"):
        await ensure_environment(engine, environment(history, "main"))
    with pytest.raises(UsageError, match=r"not fetched over ext:|address"):
        await ensure_environment(engine, Environment(source="ext::sh -c true", commit=history.base))


async def test_a_python_of_this_host_comes_along(
    engine: Engine, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This very interpreter, into an image that has none of its own."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    (tmp_path / "pyenv/versions").mkdir(parents=True)
    (tmp_path / "pyenv/versions/mine").symlink_to(sys.base_prefix)
    version = "{}.{}.{}".format(*sys.version_info[:3])
    bare = f"forager/tests-bare:{uuid.uuid4().hex[:12]}"
    await add_layer(
        engine, parent=base_image, tag=bare, kind="test", script="rm -rf /usr/bin/python3* /usr/lib/python3*"
    )
    tags = [bare]
    try:
        found = find_python(version)
        assert found is not None and found.prefix == Path(sys.base_prefix)
        tag, name = await ensure_python(engine, bare, version)
        tags.insert(0, tag)
        assert name.startswith(sys.base_prefix)
        said = await shell(
            engine, tag, f"{name} -c 'import sys, ssl, sqlite3; print(sys.version.split()[0], sys.base_prefix)'"
        )
        assert said == f"{version} {sys.base_prefix}\n"
        assert await ensure_python(engine, bare, "0.1") == (bare, "0.1"), "left to uv, which says what is missing"
    finally:
        for made in tags:
            await engine.call(engine.api.remove_image, made)


async def test_a_python_that_is_nowhere_is_named(
    engine: Engine, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BuildError, match=r"no Python 3\.1: neither the base image nor this host has it"):
        await ensure_environment(engine, environment(history, python="3.1"))
