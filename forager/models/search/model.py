"""`SearchModel`: the repair session spoken as a conversation, one tool call a reply."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from forager.models.search.policy import Repair
from forager.models.search.session import Action
from forager.records import Limits, Message, ModelRef, Reply, Task


class SearchModel:
    """The embedded default model: generate-and-validate program repair; needs no server and no key.

    Of the task it reads the test command only; everything else comes from the conversation, as for any model.
    It follows the conversation it is given: a new instance that is handed the messages of an interrupted session of
    its own goes on where that stopped.
    """

    def __init__(self, task: Task, limits: Limits) -> None:
        self._test_command = task.test_command
        self._limits = limits
        self._restart(0)

    def _restart(self, heard: int) -> None:
        self._repair = Repair(self._test_command, self._limits)
        self._session: Any = None
        self._asked: Action | None = None
        self._heard = heard
        """Observations of the conversation that the session has had."""
        self._farewell = ""

    @property
    def ref(self) -> ModelRef:
        return ModelRef(name="search", provider="forager")

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        if self._session is None:
            self._session = self._repair.play(_statement(messages))
            await asyncio.to_thread(self._advance, None)
        observations = [m for m in messages if m.get("role") == "tool"]
        calls = {c["id"]: c["function"] for m in messages for c in m.get("tool_calls") or ()}
        for message in observations[self._heard :]:
            if self._asked is None or not _same(calls.get(message.get("tool_call_id", ""), {}), self._asked):
                self._restart(len(observations))  # somebody else's session: start one of our own
                return await self.complete(messages, tools)
            self._heard += 1
            await asyncio.to_thread(self._advance, _text(message.get("content")))
        if self._asked is None:
            return Reply(message={"role": "assistant", "content": self._farewell}, finish_reason="stop")
        return Reply(message=_message(self._asked, len(observations) + 1), finish_reason="tool_calls")

    def _advance(self, observation: str | None) -> None:
        try:
            self._asked = self._session.send(observation)
        except StopIteration as end:
            self._asked, self._farewell = None, end.value

    async def close(self) -> None:
        if self._session is not None:
            self._session.close()


def _message(action: Action, number: int) -> Message:
    call = {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": action.tool, "arguments": json.dumps(action.arguments, ensure_ascii=False)},
    }
    return {"role": "assistant", "content": action.remark, "tool_calls": [call]}


def _same(function: dict[str, Any], action: Action) -> bool:
    try:
        return function.get("name") == action.tool and json.loads(function["arguments"]) == action.arguments
    except (KeyError, ValueError):
        return False


def _statement(messages: Sequence[Message]) -> str:
    return "\n".join(_text(m.get("content")) for m in messages if m.get("role") == "user")


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
