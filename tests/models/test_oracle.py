"""The oracle model: whatever the reference patch does, its tool calls do to a real tree."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from forager.edits import EditError, replace_lines
from forager.models import oracle
from forager.models.nop import NopModel
from forager.models.oracle import OracleModel
from forager.records import Message, Task

Tree = dict[str, bytes]

NUMBERED = b"".join(b"line %d\n" % n for n in range(100))


@pytest.fixture(autouse=True)
def diff_file(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the oracle writes a diff: in a container the one path is enough, here tests run side by side."""
    path = tmp_path_factory.mktemp("outside") / "reference.diff"
    monkeypatch.setattr(oracle, "_DIFF_FILE", str(path))
    return path


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def act(root: Path, name: str, arguments: dict[str, str]) -> str:
    """One action on a real folder, with the tools' own words."""
    match name:
        case "bash":
            command = ["bash", "-c", arguments["command"]]
            done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return f"{done.stdout}[exit code {done.returncode}]"
        case "edit":
            path = root / arguments["path"]
            try:
                path.write_bytes(replace_lines(path.read_bytes(), arguments["search"], arguments["replace"]).content)
            except (EditError, OSError) as error:
                return f"Error: {error}"
            return f"Edited {arguments['path']}; lines 1-2 are now:"
        case "create":
            path = root / arguments["path"]
            if path.exists() or not path.parent.is_dir():
                return "Error: it exists, or its folder does not"
            path.write_bytes(arguments["content"].encode())
            return f"Created {arguments['path']} (1 line)."
    assert name == "submit"
    return "Submitted."


async def play(patch: str, root: Path, start: list[Message] | None = None) -> tuple[list[str], list[Message]]:
    """The tools an oracle used until it submitted or spoke, and the conversation."""
    task = Task(instance_id="a", repo="r", problem_statement="p", patch=patch)
    messages = start or [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}]
    used: list[str] = []
    while len(messages) < 200:
        reply = await OracleModel(task).complete(messages, [])  # a new one each turn: it keeps no state
        messages.append(reply.message)
        if not reply.tool_calls:
            return used, messages
        (call,) = reply.tool_calls
        used.append(call.name)
        observation = act(root, call.name, json.loads(call.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": observation})
        if call.name == "submit":
            return used, messages
    raise AssertionError("the oracle never ended")


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True).stdout.decode()


def write(root: Path, tree: Tree) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(root: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def reference(root: Path, before: Tree, after: Tree, executable: str = "", **options: Any) -> str:
    """A repository at `before`, and the patch from there to `after` as git writes it."""
    git(root, "init", "-q")
    write(root, before)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    for name in before.keys() - after.keys():
        (root / name).unlink()
    write(root, after)
    if executable:
        (root / executable).chmod(0o755)
    git(root, "add", "-A")
    return git(root, "diff", "--cached", "--binary", *options.get("flags", ()))


CASES: dict[str, tuple[Tree, Tree, list[str]]] = {
    "one hunk": ({"a.py": NUMBERED}, {"a.py": NUMBERED.replace(b"line 50\n", b"new\n")}, ["edit", "submit"]),
    "two hunks and two files": (
        {"a.py": NUMBERED, "b/c.py": b"x = 1\n"},
        {"a.py": NUMBERED.replace(b"line 9\n", b"").replace(b"line 80\n", b"\n\n"), "b/c.py": b"x = 2\n\n"},
        ["edit", "edit", "edit", "submit"],
    ),
    "blank lines at the edges": (
        {"a.py": b"\n\na\n\n\nb\n\n"},
        {"a.py": b"\n\na\n\n\nc\n\n"},
        ["edit", "submit"],
    ),
    "everything goes but the file": (
        {"a.py": b"a\nb\n", "b": b"x\n"},
        {"a.py": b"", "b": b"x\n"},
        ["edit", "submit"],
    ),
    "the same lines twice": (
        {"a.py": b"def f():\n    pass\n    return 1\n    pass\n" * 9},
        {
            "a.py": b"def f():\n    pass\n    return 1\n    pass\n" * 4
            + b"def f():\n    pass\n    return 2\n    pass\n"
            + b"def f():\n    pass\n    return 1\n    pass\n" * 4
        },
        ["edit", "create", "bash", "submit"],
    ),
    "a hunk that can be edited before one that cannot": (
        {"a.py": NUMBERED + b"same\n" * 40},
        {"a.py": b"top\n" + NUMBERED + b"same\n" * 20 + b"other\n" + b"same\n" * 20},
        ["edit", "edit", "create", "bash", "submit"],
    ),
    "a new file in a new folder": (
        {"a.py": b"a\n"},
        {"a.py": b"a\n", "new/deep er/b.py": b"\nb\n"},
        ["bash", "create", "submit"],
    ),
    "a new file without a last newline": (
        {"a.py": b"a\n"},
        {"a.py": b"a\n", "b.py": b"x\ny"},
        ["create", "submit"],
    ),
    "a file goes": ({"a.py": b"a\n", "-b c.py": b"b\n"}, {"a.py": b"a\n"}, ["bash", "submit"]),
    "an empty file comes": ({"a.py": b"a\n"}, {"a.py": b"a\n", "__init__.py": b""}, ["create", "bash", "submit"]),
    "no newline at the end": ({"a.py": b"a\nb"}, {"a.py": b"a\nc\n"}, ["create", "bash", "submit"]),
    "carriage returns": ({"a.py": b"a\r\nb\r\n"}, {"a.py": b"a\r\nc\r\n"}, ["create", "bash", "submit"]),
    "a form feed in a line": ({"a.py": b"a\n\x0c\nb\n"}, {"a.py": b"a\n\x0c\nc\n"}, ["edit", "submit"]),
    "a rename with a change": ({"a.py": NUMBERED}, {"b.py": NUMBERED + b"z\n"}, ["create", "bash", "submit"]),
    "a binary file": ({"a.bin": bytes(range(256))}, {"a.bin": bytes(range(255))}, ["create", "bash", "submit"]),
    "a name that git quotes": ({"é.py": b"a\n"}, {"é.py": b"b\n"}, ["create", "bash", "submit"]),
    "lines that look like a diff": (
        {"a.patch": b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"},
        {"a.patch": b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+c\n-- \n"},
        ["edit", "submit"],
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_tree_ends_as_the_reference_patch_has_it(tmp_path: Path, name: str) -> None:
    before, after, tools = CASES[name]
    patch = reference(tmp_path, before, after)
    wanted = read(tmp_path)
    git(tmp_path, "reset", "-q", "--hard")
    used, _ = await play(patch, tmp_path)
    assert read(tmp_path) == wanted
    assert used == tools


async def test_a_new_program_is_executable(tmp_path: Path) -> None:
    patch = reference(tmp_path, {"a": b"a\n"}, {"a": b"a\n", "run": b"#!/bin/sh\n"}, executable="run")
    wanted = read(tmp_path)
    git(tmp_path, "reset", "-q", "--hard")
    used, _ = await play(patch, tmp_path)
    assert read(tmp_path) == wanted and used == ["create", "bash", "submit"]


async def test_a_diff_without_git_headers_is_applied_too(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(NUMBERED)
    (tmp_path / "b.py").write_bytes(b"x\n")
    one = "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n-line 0\n+zero\n line 1\n"
    two = "--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-x\n+y\n"
    assert (await play(one, tmp_path))[0] == ["edit", "submit"]
    (tmp_path / "a.py").write_bytes(NUMBERED)
    assert (await play(one + two, tmp_path))[0] == ["create", "bash", "submit"]
    assert (tmp_path / "a.py").read_text().startswith("zero\nline 1\n") and (tmp_path / "b.py").read_text() == "y\n"


async def test_a_patch_that_does_not_apply_is_never_submitted(tmp_path: Path, diff_file: Path) -> None:
    patch = reference(tmp_path, {"a.py": NUMBERED}, {"a.py": NUMBERED + b"z\n"})
    git(tmp_path, "reset", "-q", "--hard")
    (tmp_path / "a.py").write_bytes(b"something else\n")
    used, messages = await play(patch, tmp_path)
    assert "submit" not in used
    assert "does not apply" in messages[-1]["content"]
    assert str(diff_file) in repr(messages) and files(diff_file.parent) == []


async def test_a_task_without_a_reference_patch_is_not_submitted(tmp_path: Path) -> None:
    used, messages = await play("", tmp_path)
    assert used == [] and "no reference patch" in messages[-1]["content"]


async def test_a_continued_attempt_goes_on_where_it_was(tmp_path: Path) -> None:
    before, after, _ = CASES["two hunks and two files"]
    patch = reference(tmp_path, before, after)
    wanted = read(tmp_path)
    git(tmp_path, "reset", "-q", "--hard")
    _, messages = await play(patch, tmp_path)
    git(tmp_path, "reset", "-q", "--hard")
    kept = messages[:4]  # one action and its observation
    call = kept[2]["tool_calls"][0]["function"]
    act(tmp_path, call["name"], json.loads(call["arguments"]))
    used, _ = await play(patch, tmp_path, list(kept))
    assert read(tmp_path) == wanted and used == ["edit", "edit", "submit"]


async def test_nop_never_calls_a_tool_and_costs_nothing() -> None:
    model = NopModel()
    for _ in range(3):
        reply = await model.complete([{"role": "user", "content": "p"}], [])
        assert reply.tool_calls == [] and reply.cost == 0.0 and reply.message["content"]
    assert model.ref.provider == "forager"
