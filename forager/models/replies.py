"""Chat completions as they come off the wire, made into the message and the counts that Forager keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from forager.models.faults import Fault
from forager.records import Message, Record, Tokens, Usage


class _Function(msgspec.Struct):
    name: str
    arguments: Any = ""


class _Call(msgspec.Struct):
    function: _Function
    id: Any = None
    extra_content: Any = None


class _Message(msgspec.Struct):
    content: Any = None
    tool_calls: list[_Call] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None


class _LogProb(msgspec.Struct):
    logprob: float


class _LogProbs(msgspec.Struct):
    content: list[_LogProb] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _LogProbs | None = None
    token_ids: list[int] | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Completion)


class ServerError(Exception):
    """A reply with status 200 that holds an error instead (OpenRouter and other gateways)."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"error {status} in a reply with status 200")
        self.status = status
        self.body = body


class Completion(Record, frozen=True):
    """What one reply holds."""

    message: Message
    usage: Usage | None
    """None when the server gave none."""
    finish_reason: str
    tokens: Tokens | None
    reasoning_key: str
    """The server's name for reasoning, `reasoning_content` or `reasoning`; empty if none came."""
    notes: tuple[str, ...]
    """What was wrong with the reply though it could be used."""


def parse(text: str, conversation: Sequence[Message]) -> Completion:
    """Read a chat completion. `conversation` is what it answers, so that tool-call ids stay unique in it.

    Raises `Fault` when it is malformed or empty, `ServerError` when it is an error in disguise.
    """
    if not text.strip():
        raise Fault("the server's reply is empty")
    if text.lstrip().startswith("<"):
        raise Fault("the server answered with a web page, not a chat completion", not_a_server=True)
    try:
        completion = _decoder.decode(text)
    except msgspec.MsgspecError as error:
        raise Fault(f"the server's reply is malformed: {error}") from None
    if not completion.choices:
        if completion.error:
            raise ServerError(_status_of(completion.error), {"error": completion.error})
        raise Fault("the server's reply is malformed: no choices")
    choice = completion.choices[0]
    usage = _usage(completion.usage)
    message, reasoning_key = _message(choice.message, conversation)
    silent = not (message["content"] or "tool_calls" in message or reasoning_key)
    if silent and not (usage and usage.completion_tokens):  # with tokens, saying nothing was the model's own choice
        raise Fault("the server's reply is empty: no content, no tool call, no tokens")
    notes: tuple[str, ...] = ()
    if usage is None:
        notes += ("the server reports no token usage: tokens count as 0, and the cost is unknown",)
    ids = choice.token_ids or []
    logprobs = [entry.logprob for entry in (choice.logprobs or _LogProbs()).content or ()]
    tokens = None
    if ids and logprobs and len(ids) != len(logprobs):
        notes += (f"token ids ({len(ids)}) and log-probabilities ({len(logprobs)}) differ in number: left out",)
    elif ids or logprobs or completion.prompt_token_ids:
        prompt_ids = tuple(completion.prompt_token_ids or ())
        tokens = Tokens(prompt_ids=prompt_ids, completion_ids=tuple(ids), logprobs=tuple(logprobs))
    return Completion(
        message=message,
        usage=usage,
        finish_reason=choice.finish_reason or "",
        tokens=tokens,
        reasoning_key=reasoning_key,
        notes=notes,
    )


def _status_of(error: Any) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
        return None
    cached = (usage.prompt_tokens_details or _PromptDetails()).cached_tokens or usage.prompt_cache_hit_tokens
    reasoning = (usage.completion_tokens_details or _CompletionDetails()).reasoning_tokens
    return Usage(
        prompt_tokens=max(0, usage.prompt_tokens or 0),
        completion_tokens=max(0, usage.completion_tokens or 0),
        cached_tokens=max(0, cached or 0),
        reasoning_tokens=max(0, reasoning or 0),
    )


def _message(raw: _Message, conversation: Sequence[Message]) -> tuple[Message, str]:
    """The message in chat form, with only the keys that a conversation needs, and the server's name for reasoning."""
    message: Message = {"role": "assistant", "content": _text(raw.content) or _text(raw.refusal)}
    reasoning_key = ""
    if reasoning := _text(raw.reasoning_content):
        reasoning_key, message["reasoning_content"] = "reasoning_content", reasoning
    elif reasoning := _text(raw.reasoning):
        reasoning_key, message["reasoning_content"] = "reasoning", reasoning
    if raw.reasoning_details:  # opaque, and some providers refuse the next request without it
        message["reasoning_details"] = raw.reasoning_details
    if raw.tool_calls:
        used = {call["id"] for earlier in conversation for call in earlier.get("tool_calls") or ()}
        message["tool_calls"] = [
            _call(call, f"call_{len(conversation)}_{number}", used) for number, call in enumerate(raw.tool_calls)
        ]
    return message, reasoning_key


def _call(call: _Call, spare_id: str, used: set[str]) -> dict[str, Any]:
    """One tool call; an id that is missing or was used before is replaced by one that follows from its place."""
    identifier = call.id if isinstance(call.id, str) and call.id and call.id not in used else spare_id
    used.add(identifier)
    arguments = call.function.arguments
    if not isinstance(arguments, str):  # some servers send the object itself
        arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
    cleaned = {
        "id": identifier,
        "type": "function",
        "function": {"name": call.function.name, "arguments": arguments},
    }
    if call.extra_content:  # Gemini's thought signature: the next request is refused without it
        cleaned["extra_content"] = call.extra_content
    return cleaned


def _text(content: Any) -> str:
    """The text of a string, or of a list of content parts; empty for anything else."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return ""
