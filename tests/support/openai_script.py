"""What the scripted model server answers: turns of a conversation, and faults in between.

A `Script` is also a JSON file, for `python -m tests.support.openai_server --script FILE`:

    {"turns": [{"bash": "ls"}, {"text": "Hm."}, {"calls": [["bash", {"command": "true"}], ["submit", {}]]}],
     "conversations": [{"match": "text of the task", "turns": [...]}],
     "faults": [{"fault": "429", "retry_after": 1, "first": 20}, {"fault": "drop", "every": 7}],
     "delay": 3.0, "requests_per_second": 5}
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self

Turn = dict[str, Any]
"""One reply: `bash` (a command), `calls` ([name, arguments] pairs; arguments an object or a raw string), `text`,
and optionally `reasoning`, `finish_reason`, `usage` (an object, or null for none), `delay`, `extra` (further keys
of the choice), `top` (further keys of the reply)."""

SUBMIT: Turn = {"calls": [["submit", {}]]}

MODEL_FAULTS: dict[str, Turn] = {
    "bad-arguments": {"calls": [["bash", '{"command": "ls']]},
    "unknown-tool": {"calls": [["python", {"code": "1"}]]},
    "two-calls": {"calls": [["bash", {"command": "echo one"}], ["bash", {"command": "echo two"}]]},
    "no-call": {"text": "I think that the bug is somewhere else."},
    "content-filter": {"text": "", "finish_reason": "content_filter"},
}
"""Replies with status 200 that are the model's fault, not the server's."""

OVERFLOW = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."


@dataclass(frozen=True)
class Request:
    """One chat completions request as it came in."""

    number: int
    """Counts from 0 over the server's life."""
    body: dict[str, Any]
    headers: dict[str, str]
    """By lower-case name."""
    arrived: float
    """Monotonic seconds."""

    @property
    def turn(self) -> int:
        """How many replies the conversation holds already."""
        return sum(message.get("role") == "assistant" for message in self.body.get("messages", ()))


@dataclass(frozen=True)
class Answer:
    """One HTTP reply, or what happens instead."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds."""
    drop: str = ""
    """Close the connection: `before` the reply, or in the middle of its `body`."""


@dataclass
class Script:
    """Answers requests; where a conversation stands follows from its messages. Counts are over the server's life."""

    turns: list[Turn] = field(default_factory=list)
    """The replies of a conversation; after the last one it submits."""
    conversations: list[dict[str, Any]] = field(default_factory=list)
    """`match`: text in the system or first user message; `turns`: the replies of such a conversation."""
    faults: list[dict[str, Any]] = field(default_factory=list)
    """`fault`: a name (see `fault`), its parameters, and when: `requests` (numbers), `first` (so many), `every` (so
    many), `turns` (numbers within a conversation), `chance` (0 to 1), `until` (seconds since the first request)."""
    delay: float = 0.0
    """Seconds that each proper reply takes."""
    requests_per_second: float = 0.0
    """More than this get a 429 (0: no limit), with `retry_after` if given."""
    retry_after: float | None = None
    key: str = ""
    """The one API key that is let in; empty lets everybody in."""
    model: str = ""
    """The one model there is; empty means whichever is asked for."""
    context: int = 0
    """Prompts of more characters than this get a 400; 0 means no limit."""
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._started = 0.0
        self._tokens, self._filled = 1.0, 0.0

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))

    def __call__(self, request: Request) -> Answer:
        self._started = self._started or request.arrived
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return fault("401")
        if self.model and request.body.get("model") != self.model:
            return fault("404", model=request.body.get("model"))
        if self.context and len(json.dumps(request.body["messages"])) > self.context:
            return fault("context")
        for entry in self.faults:
            if self._due(entry, request):
                name = entry["fault"]
                if name in MODEL_FAULTS:
                    return reply(MODEL_FAULTS[name], request, self.delay)
                known = ("status", "message", "code", "retry_after", "delay")
                return fault(name, **{key: entry[key] for key in known if key in entry})
        if self.requests_per_second and not self._admitted(request.arrived):
            return fault("429", retry_after=self.retry_after)
        turns = self.turns
        opening = json.dumps(request.body.get("messages", [])[:2], ensure_ascii=False)
        for conversation in self.conversations:
            if conversation["match"] in opening:
                turns = conversation["turns"]
                break
        turn = turns[request.turn] if request.turn < len(turns) else SUBMIT
        return reply(turn, request, self.delay)

    def _due(self, entry: dict[str, Any], request: Request) -> bool:
        number = request.number
        return (
            number in entry.get("requests", ())
            or number < entry.get("first", 0)
            or ("every" in entry and number % entry["every"] == entry["every"] - 1)
            or request.turn in entry.get("turns", ())
            or ("until" in entry and request.arrived - self._started < entry["until"])
            or ("chance" in entry and self._random.random() < entry["chance"])
        )

    def _admitted(self, now: float) -> bool:
        """A token bucket that holds a tenth of a second's worth of requests, one at least."""
        most = max(1.0, self.requests_per_second / 10)
        if self._filled:
            self._tokens = min(most, self._tokens + (now - self._filled) * self.requests_per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def reply(turn: Turn, request: Request, delay: float = 0.0) -> Answer:
    """A proper chat completion."""
    calls = turn.get("calls", [["bash", {"command": turn["bash"]}]] if "bash" in turn else [])
    message: dict[str, Any] = {"role": "assistant", "content": turn.get("text")}
    if turn.get("reasoning"):
        message["reasoning_content"] = turn["reasoning"]
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{request.number}_{place}",
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for place, (name, arguments) in enumerate(calls)
        ]
    message |= turn.get("message", {})
    prompt = int(request.headers.get("content-length", 0)) // 4
    completion = 1 + len(json.dumps(message)) // 4
    body: dict[str, Any] = {
        "id": f"chatcmpl-{request.number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.body.get("model"),
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": turn.get("finish_reason", "tool_calls" if calls else "stop"),
                **turn.get("extra", {}),
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        **turn.get("top", {}),
    }
    if "usage" in turn:
        body["usage"] = turn["usage"]
    return Answer(json.dumps(body).encode(), delay=turn.get("delay", delay))


def fault(
    name: str,
    *,
    message: str = "",
    code: str | None = None,
    retry_after: float | None = None,
    delay: float = 0.0,
    model: object = None,
) -> Answer:
    """A server's fault by name: an HTTP status (`401`, `429`, `429-date`, `500`, ...) or `context`, `drop`,
    `drop-body`, `empty`, `malformed`, `wrong-shape`, `no-choices`, `web-page`, `silent` (no reply within a day)."""
    match name:
        case "drop":
            return Answer(drop="before", delay=delay)
        case "drop-body":
            return Answer(b'{"choices": [{"message": {"role": "assistant"}}]}', drop="body", delay=delay)
        case "empty":
            return Answer(b"", delay=delay)
        case "malformed":
            return Answer(b'{"choices": [{"message": {"role": "assi', delay=delay)
        case "wrong-shape":
            return Answer(b'{"choices": [{"message": "hello", "finish_reason": 3}]}', delay=delay)
        case "no-choices":
            return Answer(b'{"id": "chatcmpl-0", "object": "chat.completion", "choices": []}', delay=delay)
        case "web-page":
            return Answer(b"<!doctype html><h1>It works!</h1>", headers={"content-type": "text/html"}, delay=delay)
        case "silent":
            return Answer(delay=86_400.0)
        case "context":
            return _error(400, message or OVERFLOW, code or "context_length_exceeded", delay)
        case "404":
            return _error(404, message or f"The model `{model}` does not exist", code or "model_not_found", delay)
    status, _, form = name.partition("-")
    headers = {}
    if form == "date":
        headers["retry-after"] = formatdate(time.time() + (retry_after or 0.0), usegmt=True)
    elif retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return _error(int(status), message or f"scripted {status}", code, delay, headers)


def _error(
    status: int, message: str, code: str | None, delay: float, headers: dict[str, str] | None = None
) -> Answer:
    body = {"error": {"message": message, "type": "scripted", "param": None, "code": code}}
    return Answer(json.dumps(body).encode(), status=status, headers=headers or {}, delay=delay)
