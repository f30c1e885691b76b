"""The four tools on a real container: what they do, and what they answer when they don't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from forager.images.task import TaskImage, ensure_task_image
from forager.records import Limits, Task
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine
from forager.tools import Observation, Tools
from tests.images.repositories import crafted

pytestmark = pytest.mark.docker

FILES: dict[str, str | bytes] = {
    "pyproject.toml": '[project]\nname = "toolbox"\nversion = "1.0"\n',
    "src/box.py": "def size(n):\n    if n < 0:\n        return 0\n    return n + 1\n",
    "latin.txt": "caf\xe9\n".encode("latin-1"),
    "run.sh": "#!/bin/sh\necho hi\n",
    ".gitignore": "*.log\n/build/\n",
    ".gitattributes": "*.txt text eol=crlf\n",
    "data.bin": bytes(range(256)),
}


@pytest.fixture(scope="session")
def image(engine: Engine) -> TaskImage:
    task = Task(
        instance_id="toolbox",
        repo="toolbox",
        problem_statement="",
        source="mutation",
        environment=crafted("forager-test-toolbox", FILES),
    )
    return asyncio.run(ensure_task_image(engine, task))


@pytest.fixture
async def box(engine: Engine, image: TaskImage) -> AsyncIterator[DockerSandbox]:
    async with await open_sandbox(engine, image.digest, workdir="/testbed", run="tests") as sandbox:
        yield sandbox


@pytest.fixture
def tools(box: DockerSandbox) -> Tools:
    return Tools(box, "/testbed", Limits(command_seconds=10))


async def bash(tools: Tools, command: str) -> Observation:
    return await tools.execute("bash", {"command": command})


async def test_bash_tells_output_exit_code_and_notices(tools: Tools) -> None:
    assert (await bash(tools, "echo hi")).text == "hi\n[exit code 0]"
    assert (await bash(tools, "printf hi; exit 4")).text.startswith("hi\n[the shell ended with status 4;")
    assert (await bash(tools, "printf ''")).text == "[exit code 0]"
    assert (await bash(tools, "  ")).text == "Error: the command is empty"


async def test_a_test_run_is_recorded_as_such(tools: Tools) -> None:
    report = "printf 'FAILED t.py::a - assert 1\\n=== 1 failed, 2 passed in 0.10s ===\\n'; false # pytest"
    observation = await bash(tools, report)
    assert observation.tests is not None
    assert (observation.tests.passed, observation.tests.failed) == (2, 1)


async def test_edit_and_create_follow_the_shells_directory(tools: Tools) -> None:
    await bash(tools, "cd src")
    observation = await tools.execute(
        "edit", {"path": "box.py", "search": "    return n + 1", "replace": "    return n"}
    )
    assert observation.text == "Edited box.py; lines 4-4 are now:\n     4\t    return n"
    observation = await tools.execute("create", {"path": "new.py", "content": "x = 1\ny = 2\n"})
    assert observation.text == "Created new.py (2 lines)."
    assert "x = 1" in (await bash(tools, "cat /testbed/src/new.py; tail -1 box.py")).text
    deleted = await tools.execute("edit", {"path": "/testbed/src/new.py", "search": "x = 1", "replace": ""})
    assert deleted.text == "Edited /testbed/src/new.py; deleted what was at line 1."


async def test_editing_keeps_the_mode(tools: Tools) -> None:
    await bash(tools, "chmod 751 run.sh")
    await tools.execute("edit", {"path": "run.sh", "search": "echo hi", "replace": "echo ho"})
    assert (await bash(tools, "stat -c %a run.sh")).text.startswith("751\n")


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("edit", {"path": "nope.py", "search": "a", "replace": "b"}, "Error: nope.py does not exist"),
        ("edit", {"path": "src", "search": "a", "replace": "b"}, "Error: src is a directory"),
        (
            "edit",
            {"path": "src/box.py", "search": "zzzzzzzz", "replace": "b"},
            "Error: src/box.py: search was not found",
        ),
        ("edit", {"path": "data.bin", "search": "a", "replace": "b"}, "Error: data.bin: is a binary file"),
        ("create", {"path": "src/box.py", "content": ""}, "Error: src/box.py exists already"),
        ("create", {"path": "a/b/c.py", "content": ""}, "Error: the folder /testbed/a/b does not exist"),
        ("submit", {}, "Error: not submitted: nothing in /testbed has changed"),
        ("submit", {"path": "nope.diff"}, "Error: not submitted: nope.diff does not exist"),
        ("submit", {"path": "run.sh"}, "Error: not submitted: error: "),
        ("bash", {}, "Error: wrong arguments for bash: "),
        ("bash", {"command": 5}, "Error: wrong arguments for bash: "),
        ("bash", {"command": "ls", "cwd": "/"}, "Error: wrong arguments for bash: "),
        ("python", {}, "Error: there is no tool 'python'; the tools are bash, edit, create, submit"),
    ],
)
async def test_a_wrong_action_is_answered_with_the_reason(
    tools: Tools, tool: str, arguments: dict[str, object], told: str
) -> None:
    observation = await tools.execute(tool, arguments)
    assert observation.text.startswith(told), observation.text
    assert observation.patch is None and observation.exit_code == 1


# ------------------------------------------------------------------------------------------------ submit


async def submit(tools: Tools) -> str:
    observation = await tools.execute("submit", {})
    assert observation.patch is not None, observation.text
    return observation.patch


async def applied(engine: Engine, image: TaskImage, patch: str, show: str) -> str:
    """What `show` prints in a fresh container after the patch was applied."""
    async with await open_sandbox(engine, image.digest, workdir="/testbed", run="tests") as fresh:
        await fresh.write_file("/tmp/patch", patch.encode())
        result = await fresh.run(f"git apply /tmp/patch 2>/tmp/said && {show}", 10)
        assert result.exit_code == 0, result.output
        return result.output


CHANGES = """
sed -i 's/n + 1/n/' src/box.py
mkdir -p new/sub && echo new >new/sub/file.py && printf 'no newline' >new/plain
rm run.sh; chmod +x src/box.py; ln -s box.py src/link.py
head -c 5000 /dev/urandom >blob; md5sum blob >/tmp/sum
printf 'caf\\351 changed\\n' >latin.txt
printf 'crlf\\r\\n' >crlf.txt
echo ignored >x.log; mkdir build; echo ignored >build/out
"""


async def test_the_patch_holds_every_change_and_nothing_ignored(
    engine: Engine, image: TaskImage, tools: Tools, box: DockerSandbox
) -> None:
    await bash(tools, CHANGES)
    patch = await submit(tools)
    show = (
        "cat src/box.py new/sub/file.py new/plain; stat -c %a src/box.py; readlink src/link.py; ls;"
        "od -c latin.txt; od -c crlf.txt; md5sum blob"
    )
    assert await applied(engine, image, patch, show) == (await box.run("rm -rf x.log build;" + show, 10)).output
    assert "ignored" not in patch


@pytest.mark.parametrize(
    "meddling",
    [
        "git add -A && git -c user.name=a -c user.email=b commit -qm mine",
        "rm -rf .git",
        "rm -rf .git && git init -q . && git add -A",
        "echo '*' >.gitignore",
        "printf '* -diff\\n*.py binary\\n*.py filter=x\\n* text eol=crlf ident\\n' >.gitattributes",
        "git config filter.x.clean 'sed s/n/BAD/'; echo '*.py filter=x' >.git/info/attributes",
        "echo '*' >.git/info/exclude; git config diff.external /bin/true; git config core.fsmonitor 'touch /tmp/ran'",
        "git update-index --assume-unchanged src/box.py; git rm -q --cached src/box.py",
        "export GIT_DIR=/nonexistent GIT_INDEX_FILE=/nonexistent GIT_EXTERNAL_DIFF=/bin/true",
        "export HOME=/tmp; git config --global core.excludesFile /tmp/all; echo '*' >/tmp/all",
        "touch -d @1709294400 src/box.py new.py",
        "git stash -q -u && git stash pop -q",
    ],
)
async def test_nothing_in_the_agents_tree_changes_what_the_patch_holds(
    engine: Engine, image: TaskImage, tools: Tools, meddling: str
) -> None:
    await bash(tools, "sed -i 's/n + 1/n + 2/' src/box.py; echo 'x = 1' >new.py")
    await bash(tools, meddling)
    patch = await submit(tools)
    assert await applied(engine, image, patch, "tail -1 src/box.py; cat new.py") == "    return n + 2\nx = 1\n"


async def test_submitting_changes_nothing_in_the_tree(tools: Tools) -> None:
    await bash(tools, "echo 'x = 1' >new.py; git add new.py; echo 'y = 1' >>src/box.py")
    before = (
        await bash(tools, "git status --porcelain; find . -newer pyproject.toml | sort | md5sum; ls -a / /tmp")
    ).text
    first = await submit(tools)
    assert await submit(tools) == first
    after = await bash(tools, "git status --porcelain; find . -newer pyproject.toml | sort | md5sum; ls -a / /tmp")
    assert after.text == before


async def test_a_diff_file_can_be_submitted(tools: Tools) -> None:
    await bash(
        tools, "sed -i 's/n + 1/n/' src/box.py; git diff >/tmp/mine.diff; git checkout -q .; : >/tmp/empty.diff"
    )
    observation = await tools.execute("submit", {"path": "/tmp/mine.diff"})
    assert observation.patch is not None and "+    return n\n" in observation.patch
    assert "is empty" in (await tools.execute("submit", {"path": "/tmp/empty.diff"})).text
    await bash(tools, "sed -i 's/n + 1/other/' /tmp/mine.diff")
    refused = await tools.execute("submit", {"path": "/tmp/mine.diff"})
    assert refused.text.startswith("Error: not submitted: error: patch failed: src/box.py")


async def test_a_patch_too_large_is_refused(tools: Tools) -> None:
    await bash(tools, "head -c 12M /dev/urandom >huge")
    observation = await tools.execute("submit", {})
    assert observation.patch is None and "larger than 8 MiB" in observation.text
