"""Models: whatever answers a conversation with a tool call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from forager.records import Message, ModelRef, Reply


class Model(Protocol):
    """Made once per attempt, so it may keep state; closed when the attempt ends."""

    @property
    def ref(self) -> ModelRef:
        """What the trajectory records of this model. Holds no secret."""
        ...

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        """The next message of the conversation.

        `tools` are OpenAI tool schemas (empty in the `text` protocol). Raises `ModelError` (this attempt),
        `UnfitError` (every attempt: 401, 404, no key), `ContextOverflow` (the prompt does not fit).
        """
        ...

    async def close(self) -> None: ...
