"""The loop, over a real container and a real model server: how it ends, and what it keeps of the way there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from forager.agent import Agent
from forager.models.openai import OpenAIModel
from forager.models.prices import Prices
from forager.models.server import Retries, Server
from forager.protocols import ToolsProtocol
from forager.records import Limits, Message, Outcome, Reply, Step, Task
from forager.sandbox.docker import DockerSandbox
from forager.sandbox.engine import Engine
from forager.tools import Tools
from tests.support.openai_script import Script, Turn
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

TASK = Task(instance_id="t", repo="r", problem_statement="It is broken.", workdir="/tmp")


@pytest.fixture
def http() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


class Played:
    """An agent's work against a script, and everything its listener heard."""

    def __init__(self, sandbox: DockerSandbox, http: OpenAIServer) -> None:
        self.sandbox = sandbox
        self.http = http
        self.heard: list[tuple[Reply | Step | None, Message]] = []
        self.agent: Agent

    async def run(self, turns: list[Turn], *, prices: Prices | None = None, **limits: Any) -> Outcome:
        self.http.answer = Script(turns=turns)
        retries = Retries(attempts=2, first_wait=0.01)
        async with Server("m", self.http.base_url, timeout=30, retries=retries) as server:
            limit = Limits(**{"command_seconds": 10.0, **limits})
            tools = Tools(self.sandbox, "/tmp", limit)
            model = OpenAIModel(server, prices=prices)
            listen = lambda part, message: self.heard.append((part, message))  # noqa: E731
            self.agent = Agent(TASK, model, tools, ToolsProtocol(), limit, listen)
            return await self.agent.run()


@pytest.fixture
def played(sandbox: DockerSandbox, http: OpenAIServer) -> Played:
    return Played(sandbox, http)


async def test_a_conversation_is_kept_as_it_was(played: Played) -> None:
    two: Turn = {
        "calls": [["bash", {"command": "echo one; pwd"}], ["bash", {"command": "cd /usr"}]],
        "reasoning": "hm",
    }
    outcome = await played.run([two, {"text": "I think."}, {"bash": "pwd"}], steps=3)
    agent = played.agent
    assert outcome.status == "step_limit"
    assert [message["role"] for message in agent.messages] == [
        *("system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant", "tool"),
    ]
    assert "It is broken." in agent.messages[1]["content"] and "/tmp" in agent.messages[1]["content"]
    assert agent.messages[2]["reasoning_content"] == "hm"
    asked = [call["id"] for call in agent.messages[2]["tool_calls"]]
    assert asked == [agent.messages[n]["tool_call_id"] for n in (3, 4)]
    assert agent.messages[3]["content"] == "one\n/tmp\n[exit code 0]"
    assert agent.messages[8]["content"] == "/usr\n[exit code 0]"
    assert [(step.n, step.assistant, step.observation) for step in agent.steps] == [(1, 2, 3), (2, 2, 4), (3, 7, 8)]
    # the model call counts once, with the first action of its reply
    assert agent.steps[0].usage is not None and agent.steps[1].usage is None
    total = sum(step.usage.total for step in agent.steps if step.usage)
    assert 0 < total < agent.usage.total  # the reply without a call has no step
    assert [message for _, message in played.heard] == agent.messages
    assert [type(part).__name__ for part, _ in played.heard if part is not None] == [
        *("Reply", "Step", "Step", "Reply", "Reply", "Step"),
    ]


async def test_what_the_server_saw_is_what_is_kept(played: Played) -> None:
    await played.run([{"bash": "echo hi"}, {"bash": "true"}], steps=2)
    last = played.http.requests[-1].body
    assert last["messages"] == played.agent.messages[:4]
    assert [tool["function"]["name"] for tool in last["tools"]] == ["bash", "edit", "create", "submit"]


@pytest.mark.parametrize(
    ("turns", "limits", "status"),
    [
        ([{"bash": "true"}] * 9, {"steps": 4}, "step_limit"),
        ([{"bash": "true"}] * 9, {"tokens": 2000}, "token_limit"),
        ([{"bash": "seq 100000"}] * 9, {"context": 6000}, "context_limit"),
        ([{"bash": "sleep 0.1"}] * 99, {"seconds": 0.5}, "time_limit"),
        ([{"bash": "sleep 60"}], {"seconds": 0.5}, "time_limit"),
        ([{"text": "Done, I believe."}] * 9, {}, "no_submission"),
        ([{"calls": [["bash", '{"command": "ls']]}] * 9, {}, "format_error"),
        ([{"text": "x"}, {"calls": [["bash", "[]"]]}, {"text": "y"}], {}, "format_error"),
        ([{"text": "x"}, {"text": "x"}, {"bash": "true"}] * 2 + [{"text": "x"}] * 3, {}, "no_submission"),
    ],
)
async def test_every_limit_ends_it_with_its_own_status(
    played: Played, turns: list[Turn], limits: dict[str, Any], status: str
) -> None:
    outcome = await played.run(turns, **limits)
    assert outcome.status == status and outcome.detail and outcome.counts
    assert played.agent.patch is None


async def test_the_cost_limit_counts_dollars(played: Played) -> None:
    outcome = await played.run([{"bash": "true"}] * 99, prices=Prices(prompt=100.0, completion=100.0), cost=0.5)
    assert outcome.status == "cost_limit"
    assert played.agent.cost is not None and 0.5 <= played.agent.cost < 2
    assert played.agent.cost == pytest.approx(played.agent.usage.total / 10_000)


async def test_an_unknown_price_is_never_zero(played: Played) -> None:
    await played.run([{"bash": "true"}], steps=1)
    assert played.agent.cost is None


async def test_actions_after_the_last_step_are_answered_not_carried_out(played: Played) -> None:
    many: Turn = {"calls": [["bash", {"command": f"touch /tmp/did{n}"}] for n in range(4)]}
    outcome = await played.run([many], steps=2)
    assert outcome.status == "step_limit" and len(played.agent.steps) == 2
    answers = [message["content"] for message in played.agent.messages if message["role"] == "tool"]
    assert len(answers) == 4 and answers[2] == answers[3] == "Error: not carried out: no steps are left"
    assert (await played.sandbox.run("ls /tmp/did*", 5)).output == "/tmp/did0\n/tmp/did1\n"


async def test_a_wrong_call_is_answered_and_the_work_goes_on(played: Played) -> None:
    turns: list[Turn] = [
        {"calls": [["bash", '{"command": "ls']]},
        {"calls": [["python", {"code": "1"}]]},
        {"calls": [["bash", '{"command": "echo cut'], ["bash", {"command": "echo good"}]], "finish_reason": "length"},
    ]
    await played.run(turns, steps=2)
    answers = [message["content"] for message in played.agent.messages if message["role"] == "tool"]
    assert answers[0].startswith("Error: the arguments are not JSON")
    assert answers[1].startswith("Error: there is no tool 'python'")
    assert "cut off" in answers[2] and answers[3] == "good\n[exit code 0]"
    assert [step.tool for step in played.agent.steps] == ["python", "bash"]


async def test_a_container_that_dies_ends_it_before_another_paid_call(
    played: Played, engine: Engine, http: OpenAIServer
) -> None:
    running = asyncio.create_task(played.run([{"bash": "sleep 1000"}] * 9, command_seconds=1000.0))
    while not http.count:  # noqa: ASYNC110 - another thread counts
        await asyncio.sleep(0.01)
    engine.api.kill(played.sandbox.container)
    outcome = await asyncio.wait_for(running, 60)
    assert outcome.status == "sandbox_error" and not outcome.counts
    assert http.count == 1


async def test_a_server_that_refuses_the_prompt_is_a_context_limit(played: Played) -> None:
    played.http.answer = Script()
    http = played.http

    async def run() -> Outcome:
        async with Server("m", http.base_url, timeout=30, retries=Retries(attempts=2, first_wait=0.01)) as server:
            tools = Tools(played.sandbox, "/tmp", Limits())
            agent = Agent(TASK, OpenAIModel(server), tools, ToolsProtocol(), Limits(), lambda part, message: None)
            http.answer = Script(turns=[{"bash": "seq 3000"}] * 9, context=30_000)
            return await agent.run()

    assert (await run()).status == "context_limit"
