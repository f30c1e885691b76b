"""A whole session in a real container: what a user sees of the embedded model."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from forager.agent import Agent
from forager.models.search import SearchModel
from forager.protocols import ToolsProtocol
from forager.records import Limits, Message, Outcome, Task
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine
from forager.tools import SCHEMAS, Tools

pytestmark = pytest.mark.docker

TEXT = '''\
"""A tiny package."""


def clip(value, low, high):
    """Bring a value between two bounds."""
    if value < low:
        return low
    if value > high:
        return high
    return value


def chunks(items, size):
    """Cut a list into pieces."""
    if size < 1:
        raise ValueError("size must be at least 1")
    return [items[i : i + size] for i in range(0, len(items), size)]


def wait(count):
    """Count down."""
    while count > 0:
        count -= 1
    return count
'''

TESTS = """\
import pytest

from tiny import chunks, clip, wait


@pytest.mark.parametrize("value,want", [(-1, 0), (0, 0), (5, 5), (10, 10), (11, 10)])
def test_clip(value, want):
    assert clip(value, 0, 10) == want


def test_chunks():
    assert chunks([1, 2, 3], 2) == [[1, 2], [3]]
    assert chunks([1, 2, 3], 1) == [[1], [2], [3]]


def test_size():
    with pytest.raises(ValueError):
        chunks([1], 0)


def test_wait():
    assert wait(3) == 0
"""

PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py")


@pytest.fixture(scope="module")
def runner() -> bytes:
    """Pytest as an archive, from this environment: the container has no network."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in PYTEST:
            spec = find_spec(name)
            assert spec and spec.origin
            path = Path(spec.origin)
            path, name = (path.parent, name) if spec.submodule_search_locations else (path, path.name)
            tar.add(path, name)
    return out.getvalue()


@pytest.fixture
async def box(engine: Engine, base_image: str, runner: bytes) -> AsyncIterator[DockerSandbox]:
    async with await open_sandbox(engine, base_image, workdir="/tmp", run="tests") as sandbox:
        await sandbox.write_file("/tmp/site.tar", runner)
        await sandbox.run(
            "mkdir -p /testbed/src /testbed/tests /opt/site && tar xf /tmp/site.tar -C /opt/site && "
            "export PYTHONPATH=/opt/site:/testbed/src && cd /testbed && git init -q",
            30,
        )
        yield sandbox


async def attempt(
    box: DockerSandbox, source: str, limits: Limits, tests: str = TESTS, statement: str = "The package is wrong."
) -> tuple[Agent, Outcome]:
    await box.write_file("/testbed/src/tiny.py", source.encode())
    await box.write_file("/testbed/tests/test_tiny.py", tests.encode())
    await box.run("git add -A && git -c user.name=a -c user.email=a@a commit -qm start", 30)
    task = Task(instance_id="tiny", repo="tiny", problem_statement=statement, patch="secret", setup="secret")
    model = SearchModel(task, limits)
    heard: list[Message] = []
    agent = Agent(task, model, Tools(box, "/testbed", limits), ToolsProtocol(), limits, lambda _, m: heard.append(m))
    outcome = await agent.run()
    await model.close()
    assert heard == agent.messages
    return agent, outcome


def planted(old: str, new: str) -> str:
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("value > high", "value < high"),
        ("range(0, len", "range(1, len"),
        ('raise ValueError("size', 'raise KeyError("size'),
        ("count -= 1", "count += 1"),  # a test that never ends
    ],
)
async def test_a_planted_bug_is_found_and_submitted(box: DockerSandbox, old: str, new: str) -> None:
    limits = Limits(steps=90, command_seconds=20)  # the time limit is for the bug that hangs
    agent, outcome = await attempt(box, planted(old, new), limits)
    status, _ = await box.control("cd /testbed && git diff --quiet")
    assert status == 1
    checked = await box.run("python -m pytest -q -p no:cacheprovider", 60)
    assert checked.exit_code == 0, checked.output
    assert agent.steps[-1].tool == "submit" or outcome.status == "submitted"
    assert {step.tool for step in agent.steps} == {"bash", "create", "edit", "submit"}
    left = await box.run("git status --porcelain", 30)
    assert left.output.split() == ["M", "src/tiny.py"]


async def test_what_is_not_among_the_likeliest_a_script_finds(box: DockerSandbox) -> None:
    """The script's tries show in its output; the change itself is one edit, and nothing else is left behind."""
    source = planted("return low", "return high")
    agent, outcome = await attempt(box, source, Limits())
    assert outcome.status == "submitted" or agent.steps[-1].tool == "submit"
    assert len(agent.steps) < 40
    created = [step.arguments["path"] for step in agent.steps if step.tool == "create"]
    assert created == ["/tmp/localise/ochiai_plugin.py", "/tmp/localise/trials.py"]
    told = "\n".join(str(m.get("content")) for m in agent.messages)
    assert "unchanged: fails after 0 tests" in told and "passes, 1 tests" in told
    assert (await box.run("python -m pytest -q -p no:cacheprovider", 60)).exit_code == 0
    assert (await box.run("git status --porcelain", 30)).output.split() == ["M", "src/tiny.py"]


async def test_what_it_cannot_solve_it_gives_up_and_leaves_as_it_was(box: DockerSandbox) -> None:
    impossible = TESTS + "\n\ndef test_answer():\n    assert clip(7, 0, 10) == 'seven' and clip(7, 0, 10) == 7\n"
    agent, outcome = await attempt(box, TEXT, Limits(steps=30), impossible)
    assert outcome.status == "no_submission"
    assert len(agent.steps) <= 30
    assert any(step.tool == "edit" for step in agent.steps)
    assert (await box.run("git status --porcelain", 30)).output == ""
    assert "tool_calls" not in agent.messages[-1]


async def test_nothing_fails_nothing_is_changed(box: DockerSandbox) -> None:
    agent, outcome = await attempt(box, TEXT, Limits())
    assert outcome.status == "no_submission"
    assert "All tests pass" in agent.messages[-1]["content"]
    assert {step.tool for step in agent.steps} == {"bash"}


async def test_no_tests_at_all_ends_politely(box: DockerSandbox) -> None:
    _, outcome = await attempt(box, TEXT, Limits(), tests="")
    assert outcome.status == "no_submission"


async def test_its_messages_form_a_valid_conversation_and_tell_why(box: DockerSandbox) -> None:
    agent, _ = await attempt(box, planted("value > high", "value >= low"), Limits(steps=40))
    open_calls: dict[str, dict[str, Any]] = {}
    schemas = {s["function"]["name"]: s["function"]["parameters"] for s in SCHEMAS}
    used: set[str] = set()
    for message in agent.messages:
        assert message["role"] in ("system", "user", "assistant", "tool")
        if message["role"] == "tool":
            open_calls.pop(message["tool_call_id"])
            continue
        assert not open_calls
        for call in message.get("tool_calls", ()):
            assert call["id"] not in used
            used.add(call["id"])
            open_calls[call["id"]] = call
            arguments = json.loads(call["function"]["arguments"])
            assert set(schemas[call["function"]["name"]]["required"]) <= set(arguments)
            assert len(message["content"]) > 10
    assert not open_calls
    told = json.dumps(agent.messages)
    assert "secret" not in told


async def test_a_session_goes_on_from_its_messages(box: DockerSandbox) -> None:
    """A new instance given the first half of a conversation asks for what the first one asked for."""
    agent, _ = await attempt(box, planted("value > high", "value < high"), Limits(steps=60))
    replies = [i for i, m in enumerate(agent.messages) if m["role"] == "assistant"]
    middle = replies[len(replies) // 2]
    again = SearchModel(agent.task, agent.limits)
    reply = await again.complete(agent.messages[:middle], SCHEMAS)
    assert reply.message == agent.messages[middle]
