"""Models by name, and what the attempts of a run share."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from forager.errors import UnfitError, UsageError
from forager.models.registry import Models, ModelSpec, make_model
from forager.records import Limits, Task
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

ROOT = Path(__file__).parents[2]
TASK = Task(instance_id="a", repo="r", problem_statement="p")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize("name", ["search", "oracle", "nop"])
async def test_embedded_models_need_no_server_and_no_key(name: str) -> None:
    async with Models(ModelSpec(name=name)) as models:
        model = models.make(TASK, Limits())
        assert (model.ref.name, model.ref.provider, model.ref.protocol) == (name, "forager", "tools")
        await model.close()


def test_any_other_name_is_asked_for_at_a_server() -> None:
    with pytest.raises(UnfitError, match="no API key for model 'serach'"):
        Models(ModelSpec(name="serach"))
    with pytest.raises(UsageError, match="is no URL"):
        Models(ModelSpec(name="m", base_url="localhost:8000"))
    with pytest.raises(UsageError, match="set by Forager"):
        Models(ModelSpec(name="m", base_url="http://127.0.0.1:1", extra_body={"n": 4}))
    with pytest.raises(UsageError, match="model name is empty"):
        Models(ModelSpec(name=" "))
    with pytest.raises(UsageError, match="above 0, not 0"):
        Models(ModelSpec(name="m", base_url="http://127.0.0.1:1", timeout=0))


async def test_attempts_share_one_pool_and_run_at_once() -> None:
    with OpenAIServer(Script(delay=0.2)) as http:
        async with Models(ModelSpec(name="m", base_url=http.base_url, sampling={"seed": 1})) as models:
            attempts = [models.make(TASK, Limits()) for _ in range(64)]
            calls = [model.complete([{"role": "user", "content": "p"}], []) for model in attempts]
            await asyncio.gather(*calls)
            for model in attempts:
                await model.close()  # an attempt that ends takes nothing from the others
            await attempts[0].complete([{"role": "user", "content": "p"}], [])
        assert http.most_open == 64 and http.count == 65
        assert http.requests[-1].body["seed"] == 1


async def test_a_model_on_its_own_closes_its_own_connections() -> None:
    with OpenAIServer() as http:
        model = make_model(ModelSpec(name="m", base_url=http.base_url), TASK, Limits())
        await model.complete([{"role": "user", "content": "p"}], [])
        await model.close()
        await asyncio.to_thread(http.wait_for, lambda: not http.connections)


async def test_conversations_of_two_tasks_are_told_apart_by_the_scripted_server() -> None:
    script = Script(
        turns=[{"text": "neither"}],
        conversations=[{"match": "first task", "turns": [{"bash": "one"}, {"bash": "two"}]}],
    )
    with OpenAIServer(script) as http:
        async with Models(ModelSpec(name="m", base_url=http.base_url)) as models:
            model = models.make(TASK, Limits())
            messages = [{"role": "user", "content": "the first task"}]
            for expected in ('{"command": "one"}', '{"command": "two"}', "{}"):
                reply = await model.complete(messages, [])
                assert reply.tool_calls[0].arguments == expected
                messages = [*messages, reply.message]
            other = await model.complete([{"role": "user", "content": "another task"}], [])
            assert other.message["content"] == "neither"


async def test_the_scripted_server_runs_as_a_program_too() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.openai_server", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        base_url = (await process.stdout.readline()).decode().strip()
        async with Models(ModelSpec(name="m", base_url=base_url)) as models:
            reply = await models.make(TASK, Limits()).complete([{"role": "user", "content": "p"}], [])
        assert reply.tool_calls[0].name == "submit"
    finally:
        process.kill()
        await process.wait()


def test_naming_a_model_imports_no_model_library() -> None:
    code = "import sys, forager.models.registry as r; r.ModelSpec(name='m'); print('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
