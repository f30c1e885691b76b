"""A prompt that was answered is never asked again; a server's faults are told apart. With a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forager.errors import ModelError, UnfitError
from forager.forage.replies import Asking, Replies
from forager.models.registry import Models, ModelSpec
from forager.models.server import Retries
from forager.records import Message
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

RETRIES = Retries(attempts=3, first_wait=0.01, longest_wait=0.02, busy_first_gap=0.01, busy_longest_gap=0.02)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(Script(turns=[{"text": "<think>Hm.</think>\nYes."}])) as running:
        yield running


def prompt(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


async def asked(server: OpenAIServer, path: Path, *texts: str) -> list[str | None]:
    """The answers to some prompts, one after the other, in a session of their own."""
    spec = ModelSpec(name="m", base_url=server.base_url, retries=RETRIES)
    async with Models(spec) as models:
        with Replies(path / "replies.jsonl", path / "torn") as replies:
            asking = Asking(models.openai(), replies)
            found = [await asking.ask(prompt(text)) for text in texts]
            assert asking.usage.total > 0 or found == [None] * len(found)
            return [reply.text if reply else None for reply in found]


async def test_what_was_answered_is_not_asked_again(server: OpenAIServer, tmp_path: Path) -> None:
    assert await asked(server, tmp_path, "a", "b", "a") == ["Yes."] * 3
    assert server.count == 2
    (tmp_path / "replies.jsonl").open("ab").write(b'{"prompt": "torn')
    assert await asked(server, tmp_path, "b", "c") == ["Yes."] * 2
    assert server.count == 3
    with Replies(tmp_path / "replies.jsonl", tmp_path / "torn") as replies:
        assert replies.usage.prompt_tokens > 0
        assert await Asking(None, replies).ask(prompt("d")) is None
        kept = await Asking(None, replies).ask(prompt("c"))
        assert kept is not None
        assert kept.model == "m"


async def test_a_busy_or_failing_server_is_asked_again(server: OpenAIServer, tmp_path: Path) -> None:
    server.answer = Script(
        turns=[{"text": "Yes."}], faults=[{"fault": "429", "requests": [0]}, {"fault": "500", "requests": [1]}]
    )
    assert await asked(server, tmp_path, "a") == ["Yes."]
    assert server.count == 3


@pytest.mark.parametrize(("fault", "error"), [("401", UnfitError), ("404", UnfitError), ("500", ModelError)])
async def test_a_server_that_fails_for_good_stops_it_with_one_line(
    server: OpenAIServer, tmp_path: Path, fault: str, error: type[Exception]
) -> None:
    await asked(server, tmp_path, "a")
    server.answer = Script(faults=[{"fault": fault, "every": 1}])
    with pytest.raises(error) as raised:
        await asked(server, tmp_path, "a", "b")
    assert "\n" not in str(raised.value)
    server.answer = Script(turns=[{"text": "Now."}])
    assert await asked(server, tmp_path, "a", "b") == ["Yes.", "Now."]


async def test_one_prompt_that_is_refused_is_passed_over_and_all_of_them_are_not(
    server: OpenAIServer, tmp_path: Path
) -> None:
    server.answer = Script(
        turns=[{"text": "Yes."}], faults=[{"fault": "context", "requests": [0]}, {"fault": "400", "requests": [1]}]
    )
    assert await asked(server, tmp_path, "a", "b", "c", "a") == [None, None, "Yes.", "Yes."]
    server.answer = Script(faults=[{"fault": "400", "every": 1}])
    with pytest.raises(ModelError, match="first 3 prompts were all refused"):
        await asked(server, tmp_path, "d", "e", "f", "g")
