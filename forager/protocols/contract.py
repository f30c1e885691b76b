"""What the loop asks of a protocol, whatever the protocol is."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from forager.records import Limits, Message, Record, Reply, Task
from forager.tools import Observation


class Action(Record, frozen=True):
    """One tool call of a reply, as understood."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    problem: str = ""
    """Why it can't be carried out as it was written; empty if it can."""
    note: str = ""
    """What the model should know about how its reply was read; empty if there is nothing to say."""


class Left(NamedTuple):
    """What an attempt has left."""

    turns: int
    tokens: int
    """About; 0 at least."""


class Protocol(typing.Protocol):
    """How a conversation is opened, read and answered. Keeps no state: everything follows from its arguments."""

    @property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """Tool schemas to send with each request."""
        ...

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts that every model is told, whatever its task."""
        ...

    def opening(self, task: Task, limits: Limits) -> list[Message]:
        """The messages before the model's first reply."""
        ...

    def actions(self, reply: Reply) -> Sequence[Action]:
        """What a reply asks for, in order; empty if it calls no tool."""
        ...

    def observation(self, action: Action, observation: Observation, left: Left) -> Message:
        """The message that answers one action. `left` is counted before this message is."""
        ...

    def reminder(self, reply: Reply, *, submitted: bool) -> Message:
        """The message that answers a reply without a tool call."""
        ...

    def is_final(self, reply: Reply) -> bool:
        """Whether the attempt is over with this reply, if something was submitted in it or before it."""
        ...
