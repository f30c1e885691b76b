"""The nop model: does nothing. With `oracle` it is one of the two ends that validate a task set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forager.records import Message, ModelRef, Reply


class NopModel:
    """Answers every turn with plain text and no tool call, so the attempt ends without a patch."""

    ref = ModelRef(name="nop", provider="forager")

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        message = {"role": "assistant", "content": "I have nothing to submit."}
        return Reply(message=message, cost=0.0, finish_reason="stop")

    async def close(self) -> None:
        pass
