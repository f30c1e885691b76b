"""Sealed task images: what an agent can find in them, and what it cannot."""

from __future__ import annotations

import asyncio
import difflib
import uuid
from collections.abc import AsyncIterator

import pytest

from forager.errors import BuildError, UsageError
from forager.images.environment import ensure_environment
from forager.images.layer import add_layer
from forager.images.task import TaskImage, ensure_task_image, prune_task_images, remove_task_image
from forager.records import Environment, Task
from forager.sandbox.engine import Engine
from tests.images.repositories import crafted, shell

pytestmark = pytest.mark.docker

CLEAN = '''"""Boxes."""

MARK = "the-clean-code-itself"


def room(size: int) -> int:
    """What fits."""
    if size < 17:
        return size * 3
    return size - 4
'''
BUGGY = CLEAN.replace("the-clean-code-itself", "the-buggy-code-itself").replace("< 17", "<=17")
FILES: dict[str, str | bytes] = {
    "box.py": CLEAN,
    "lib/other.py": "def other():\n    return 1\n",
    "lib/dos.txt": b"one\r\ntwo\r\n",
    "lib/with space\tand tab.txt": "odd name\n",
    "lib/[a]*?.txt": "odder name\n",
    "data/generated.log": "ignored by name, released all the same\n",
    "tests/test_box.py": "from box import room\n\n\ndef test_room():\n    assert room(17) == 13\n",
    "tests/test_hidden.py": "from box import room\n\n\ndef test_hidden():\n    assert room(18) == 14\n",
    ".gitignore": "# a comment\n*.log\n/only-here\nlib/sub/*.tmp\n!keep.log\nfolder/\n",
    "lib/.gitignore": "*.gen\n!keep.gen\n/top.txt\nsub/x\n",
    "odd[x]/.gitignore": "*.odd",
    ".gitattributes": "*.txt text eol=lf\n*.py filter=evil diff=none\n",
}
INSTALL = (
    "echo /testbed >$(python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')/box.pth;"
    "python -m compileall -q . /testbed; cp box.py /tmp/; mkdir -p ~/.cache build/lib dist made.egg-info;"
    "cp box.py build/lib; cp box.py dist; touch made.egg-info/PKG-INFO speed.so"
)
HARNESS = "git --git-dir=/.forager/git --work-tree=/testbed"


def diff(path: str, old: str, new: str) -> str:
    return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{path}", f"b/{path}"))


def make_task(environment: Environment | None, **fields: object) -> Task:
    given: dict[str, object] = {"setup": diff("box.py", CLEAN, BUGGY), **fields}
    return Task(instance_id="forager test/1", repo="x", problem_statement="x", environment=environment, **given)  # type: ignore[arg-type]


@pytest.fixture
def environment() -> Environment:
    return crafted("forager-test-box", FILES, install=INSTALL)


@pytest.fixture
async def sealed(engine: Engine, environment: Environment) -> AsyncIterator[TaskImage]:
    hidden = {"tests/test_hidden.py": "...", f"tests/{uuid.uuid4().hex}.py": "..."}  # an image of its own
    image = await ensure_task_image(engine, make_task(environment, hidden_tests=hidden))
    yield image
    await remove_task_image(engine, image)


async def test_the_clean_code_is_nowhere(engine: Engine, environment: Environment, sealed: TaskImage) -> None:
    search = (
        "grep -rlaE 'the-clean-code-itself|size < 17' / --exclude-dir=proc --exclude-dir=sys 2>/dev/null | sort;"
        "for git in /testbed/.git /.forager/git; do"
        "  git --git-dir=$git cat-file --batch-all-objects --batch 2>&1 | grep -ac the-clean-code-itself; done;"
        "find /testbed -name '*.pyc' | wc -l"
    )
    clean = await shell(engine, await ensure_environment(engine, environment), search)
    assert clean.splitlines()[0] == "/testbed/box.py", "the search finds what is there"
    assert await shell(engine, sealed.tag, search) == "0\n0\n0\n"


async def test_there_is_one_commit_and_no_trace_of_another(engine: Engine, sealed: TaskImage) -> None:
    for git in ("git", HARNESS):
        said = await shell(
            engine,
            sealed.tag,
            f"{git} log --all --format='%an %ae %ad %cd %s'; {git} for-each-ref --format='%(refname)'; {git} remote;"
            f"{git} status --short; {git} fsck --unreachable --no-reflogs 2>&1; {git} reflog --all; {git} stash list",
        )
        date = "Fri Mar 1 12:00:00 2024 +0000"
        assert said == f"forager forager@localhost {date} {date} Initial commit\nrefs/heads/main\n"


async def test_no_files_time_tells_which_was_changed(engine: Engine, sealed: TaskImage) -> None:
    said = await shell(engine, sealed.tag, "cd /testbed; find . -name .git -prune -o -printf '%T@ %C@ %p\\n'")
    rows = [line.split(" ", 2) for line in said.splitlines()]
    assert len(rows) > len(FILES)
    assert {float(row[0]) for row in rows} == {1709294400.0}
    changed = [float(row[1]) for row in rows]
    assert max(changed) - min(changed) < 5, "one layer holds them all, whatever was touched"


async def test_the_tree_is_the_released_one_with_the_bug(engine: Engine, sealed: TaskImage) -> None:
    said = await shell(
        engine, sealed.tag, "cat box.py; od -c lib/dos.txt | head -1; git ls-files -z | tr '\\0' '\\n'"
    )
    assert said.startswith(BUGGY)
    assert "\\r  \\n" in said, "line endings are kept, whatever .gitattributes says"
    tracked = sorted(said.split("\n", BUGGY.count("\n") + 1)[-1].splitlines())
    assert tracked == sorted(set(FILES) - {"tests/test_hidden.py"})
    assert (
        await shell(engine, sealed.tag, "ls tests; python -m pytest -q 2>&1 | tail -1; git status --short")
    ).split()[:3] == ["test_box.py", "1", "failed"]


async def test_a_change_is_seen_whatever_hides_it(engine: Engine, sealed: TaskImage) -> None:
    said = await shell(
        engine,
        sealed.tag,
        "sed -i 's/<=17/< 17/' box.py; touch -d @1709294400 box.py;"  # same size, same time
        "printf 'one\\ntwo\\n' >lib/dos.txt; echo '*' >>.gitattributes; rm -rf .git; touch a.log new.txt speed2.so;"
        f"{HARNESS} diff --numstat; {HARNESS} ls-files --others --exclude-from=/.forager/exclude",
    )
    assert said.splitlines() == [
        "1\t0\t.gitattributes",
        "1\t1\tbox.py",
        "2\t2\tlib/dos.txt",
        "new.txt",
        "speed2.so",
    ]


async def test_the_exclude_file_means_what_the_gitignores_mean(engine: Engine, sealed: TaskImage) -> None:
    paths = (
        "a.log keep.log only-here lib/only-here lib/sub/a.tmp lib/a.tmp folder/x lib/folder/x lib/a.gen "
        "lib/deep/a.gen lib/keep.gen lib/top.txt lib/deep/top.txt lib/sub/x "
        "lib/deep/sub/x a.gen odd[x]/a.odd oddx/a.odd x/a.odd"
    )
    said = await shell(
        engine,
        sealed.tag,
        f"for path in {paths}; do mkdir -p $(dirname $path); touch $path; done; touch 'lib/# a comment';"
        f"git ls-files -o -i --exclude-standard | sort >/tmp/a;"
        f"{HARNESS} ls-files -o -i -X /.forager/exclude | sort >/tmp/b; diff /tmp/a /tmp/b && wc -l </tmp/a",
    )
    assert said.strip().isdigit(), said
    assert int(said) > 10


async def test_an_installed_copy_stops_the_task(engine: Engine) -> None:
    environment = crafted("forager-test-copy", {"box.py": CLEAN}, install="mkdir /usr/lib/copies; cp box.py $_/kept")
    with pytest.raises(BuildError, match="the clean version of a changed file is also at /usr/lib/copies/kept"):
        await ensure_task_image(engine, make_task(environment))


@pytest.mark.parametrize(
    ("setup", "complaint"),
    [
        (diff("box.py", "nothing like it\n", "x\n"), r"box\.py"),
        (diff("../../etc/passwd", "root\n", "x\n"), r"invalid path '\.\./\.\./etc/passwd'"),
        ("this is no patch\n", "(?i)no valid patches|unrecognized input"),
    ],
)
async def test_a_setup_that_does_not_apply_says_so(
    engine: Engine, environment: Environment, setup: str, complaint: str
) -> None:
    with pytest.raises(BuildError, match=complaint):
        await ensure_task_image(engine, make_task(environment, setup=setup))


async def test_made_once_removed_when_free_and_made_again(engine: Engine, environment: Environment) -> None:
    task = make_task(environment)
    images = await asyncio.gather(*(ensure_task_image(engine, task) for _ in range(4)))
    assert len({image.digest for image in images}) == 1
    image = images[0]
    assert image.digest == (await engine.call(engine.client.images.get, image.tag)).id

    container = await engine.call(engine.client.containers.create, image.tag, ["true"])
    try:
        await remove_task_image(engine, image)
        assert image.tag not in await prune_task_images(engine)
        assert (await ensure_task_image(engine, task)).digest == image.digest, "a container uses it: it stays"
    finally:
        await engine.call(container.remove)
    await remove_task_image(engine, image)
    await remove_task_image(engine, image)
    again = await ensure_task_image(engine, task)
    assert again.digest != image.digest
    await remove_task_image(engine, again)


async def test_a_published_image_loses_its_history(engine: Engine, base_image: str) -> None:
    published = "forager/test:published"
    await add_layer(
        engine,
        parent=base_image,
        tag=published,
        kind="test",
        script="mkdir /repo; cd /repo; git init -q; echo future-fix >a; echo b >b; git add .; git commit -qm future;"
        "git tag v2; echo now >a; git commit -qam now; git branch other v2; echo built >untracked; mkdir sub; cd sub;"
        "git init -q; echo history-of-sub >c; git add .; git commit -qm sub; cd ..; git add sub 2>/dev/null;"
        "git commit -qm 'with sub'; chmod 664 a b; chown -R 1000:1000 /repo",
    )
    image = await ensure_task_image(
        engine, make_task(None, image=published, workdir="/repo", setup=diff("a", "now\n", "bug\n"))
    )
    try:
        said = await shell(
            engine,
            image.tag,
            "pwd; git log --oneline --all | wc -l; git ls-files; git status --short; cat a untracked; git tag;"
            "git cat-file --batch-all-objects --batch | grep -aE 'future-fix|now'; find / -xdev -name .git;"
            "find . -path './.git/*' -o -type f -printf '%m%u\\n' | sort | uniq -c; find . -user root",
        )
        assert said.split() == [
            "/repo",
            "1",
            "a",
            "b",
            "sub/c",
            "bug",
            "built",
            "/repo/.git",
            *["2", "6441000", "2", "6641000"],
        ]
    finally:
        await remove_task_image(engine, image)
        await engine.call(engine.client.images.remove, published)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "'environment' is missing"),
        ({"workdir": "testbed"}, "'workdir'"),
        ({"workdir": "/testbed/../etc"}, "'workdir'"),
        ({"hidden_tests": {"../x": ""}}, "'hidden_tests'"),
        ({"hidden_tests": {"/etc/passwd": ""}}, "'hidden_tests'"),
    ],
)
async def test_a_task_that_says_nothing_right_is_told(
    engine: Engine, environment: Environment, fields: dict[str, object], complaint: str
) -> None:
    with pytest.raises(UsageError, match=f"forager test/1: field {complaint}"):
        await ensure_task_image(engine, make_task(environment if "hidden_tests" in fields else None, **fields))


async def test_an_image_that_is_not_here_says_how_to_get_it(engine: Engine) -> None:
    with pytest.raises(BuildError, match="docker pull forager/no-such:image"):
        await ensure_task_image(engine, make_task(None, image="forager/no-such:image"))
