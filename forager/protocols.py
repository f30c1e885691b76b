"""How tool calls are spoken: what the model is told, what its replies mean, how observations go back.

`ToolsProtocol` speaks native function calls. (CWM's text tags are the second protocol.)
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

import msgspec

from forager.errors import UsageError
from forager.records import Limits, Message, Record, Reply, Task
from forager.tools import SCHEMAS

SYSTEM = """\
You are a software engineer who repairs a repository. You work in a Linux container through four tools:
- bash runs a command in a persistent session. It has no network, and no input: everything must run unattended.
- edit replaces whole lines of a file; the lines to be replaced must match exactly and occur once.
- create makes a new file.
- submit hands in your changes and ends the session.

Reproduce the problem first, find its cause, and change as little as is needed to fix it for good. Then run the tests
again, and submit. Do not change the tests unless they are wrong. You are alone: nobody answers questions."""

PROBLEM = """\
Working directory: {workdir}

# Problem statement

{statement}

# What to do

Fix the problem in the repository under {workdir}, then call submit. A command may take {command_seconds:g} seconds;
there are {steps} steps in all."""

NO_TOOL_CALL = "Your reply called no tool. Go on with bash, edit or create, or hand in your work with submit."
CUT_OFF = "Your reply was cut off because it reached the token limit of one reply. Make it shorter."


class Action(Record, frozen=True):
    """One tool call of a reply, as understood."""

    call_id: str
    tool: str
    arguments: dict[str, Any]
    problem: str = ""
    """Why it can't be carried out as it was written; empty if it can."""


class Protocol(typing.Protocol):
    """How a conversation is opened, read and answered."""

    @property
    def schemas(self) -> tuple[dict[str, Any], ...]:
        """Tool schemas to send with each request."""
        ...

    def opening(self, task: Task, limits: Limits) -> list[Message]:
        """The messages before the model's first reply."""
        ...

    def actions(self, reply: Reply) -> Sequence[Action]:
        """What a reply asks for, in order; empty if it calls no tool."""
        ...

    def observation(self, action: Action, text: str) -> Message:
        """The message that answers one action."""
        ...

    def reminder(self, reply: Reply) -> Message:
        """The message that answers a reply without a tool call."""
        ...


class ToolsProtocol:
    """Native function calling, as OpenAI-compatible servers offer it."""

    schemas = SCHEMAS

    def opening(self, task: Task, limits: Limits) -> list[Message]:
        problem = PROBLEM.format(
            workdir=task.workdir,
            statement=task.problem_statement.strip(),
            command_seconds=limits.command_seconds,
            steps=limits.steps,
        )
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": problem}]

    def actions(self, reply: Reply) -> list[Action]:
        return [self._action(call.id, call.name, call.arguments, reply) for call in reply.tool_calls]

    def observation(self, action: Action, text: str) -> Message:
        return {"role": "tool", "tool_call_id": action.call_id, "content": text}

    def reminder(self, reply: Reply) -> Message:
        return {"role": "user", "content": CUT_OFF if reply.finish_reason == "length" else NO_TOOL_CALL}

    @staticmethod
    def _action(call_id: str, tool: str, text: str, reply: Reply) -> Action:
        try:
            arguments = msgspec.json.decode(text or "{}")
        except msgspec.DecodeError as error:
            hint = f" {CUT_OFF}" if reply.finish_reason == "length" else ""
            return Action(
                call_id=call_id, tool=tool, arguments={}, problem=f"the arguments are not JSON: {error}.{hint}"
            )
        if not isinstance(arguments, dict):
            return Action(call_id=call_id, tool=tool, arguments={}, problem="the arguments are not a JSON object")
        return Action(call_id=call_id, tool=tool, arguments=arguments)


def make_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises `UsageError` for another name."""
    if name == "tools":
        return ToolsProtocol()
    raise UsageError(f"there is no protocol {name!r}; use tools")
