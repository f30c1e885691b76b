"""A model asked for one thing at a time, and what it answered kept: no prompt is paid for twice.

The replies of a repository are in a file of their own, so that nothing that makes other results stale takes what was
paid for with it. A prompt that has its reply is not asked again, by whatever model.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from forager.errors import ContextOverflow, ModelError, PromptRefused
from forager.files import LineFile
from forager.models import Model
from forager.records import Message, Record, Usage, digest, encode, text_of

AT_ONCE = 8
"""Requests of one repository under way at once."""
REFUSED = 3
"""Prompts refused before any was answered, from which the model or how it is asked is at fault."""

_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


class KeptReply(Record, frozen=True):
    """One line: what a model answered to one prompt."""

    prompt: str
    """Digest of the messages."""
    model: str
    text: str
    usage: Usage = Usage()


class Replies:
    """The replies kept of one repository; every line is durable when `add` returns. Use as a context manager."""

    def __init__(self, path: Path, torn: Path) -> None:
        """`torn` is the folder for lines that a kill cut short. Raises `UnfitError` if it cannot be opened."""
        self.usage = Usage()
        """Tokens of all that is kept, those of earlier calls too."""
        self._kept: dict[str, KeptReply] = {}
        self._file = LineFile(path, torn)
        for line in path.read_bytes().splitlines():
            try:
                self._take(msgspec.json.decode(line, type=KeptReply))
            except msgspec.MsgspecError:  # an older version's
                continue

    def get(self, prompt: str) -> KeptReply | None:
        return self._kept.get(prompt)

    def add(self, reply: KeptReply) -> None:
        self._file.append(encode(reply))
        self._take(reply)

    def close(self) -> None:
        self._file.close()

    def _take(self, reply: KeptReply) -> None:
        self._kept[reply.prompt] = reply
        self.usage += reply.usage

    def __enter__(self) -> Replies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Asking:
    """Asks a model, or what is kept of its replies."""

    def __init__(self, model: Model | None, replies: Replies) -> None:
        """Without a model, only what is kept is answered."""
        self._model = model
        self._replies = replies
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._answered = False
        self._refused = 0

    @property
    def usage(self) -> Usage:
        """Tokens of all replies of this repository."""
        return self._replies.usage

    async def ask(self, messages: Sequence[Message]) -> KeptReply | None:
        """The reply, without thoughts written in front of it; None where nobody answers this prompt.

        Raises `ModelError` where the server fails or refuses whatever it is asked, `UnfitError` as `Model.complete`.
        """
        prompt = digest(list(messages))
        async with self._slots:
            if (kept := self._replies.get(prompt)) is not None:
                return kept
            if self._model is None:
                return None
            try:
                reply = await self._model.complete(messages, [])
            except (ContextOverflow, PromptRefused) as error:
                self._refused += 1
                if not self._answered and self._refused >= REFUSED:
                    raise ModelError(f"the first {REFUSED} prompts were all refused: {error}") from None
                return None
            self._answered = True
            kept = KeptReply(
                prompt=prompt,
                model=self._model.ref.name,
                text=_THOUGHT.sub("", text_of(reply.message)),
                usage=reply.usage,
            )
            self._replies.add(kept)
            return kept
