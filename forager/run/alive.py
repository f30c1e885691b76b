"""A model asked on behalf of a container that may die meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from forager.models import Model
from forager.records import Message, ModelRef, Reply
from forager.sandbox.arriving import Arriving


class WhileAlive:
    """A model that is not waited for when there is nothing left to act in."""

    def __init__(self, model: Model, sandbox: Arriving) -> None:
        self._model = model
        self._sandbox = sandbox

    @property
    def ref(self) -> ModelRef:
        return self._model.ref

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        asking = asyncio.create_task(self._model.complete(messages, tools))
        watching = asyncio.create_task(self._sandbox.lost())
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            return await asking if asking.done() else await watching
        finally:
            for task in (asking, watching):
                task.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def close(self) -> None:
        await self._model.close()
