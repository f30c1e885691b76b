"""The model behind any OpenAI-compatible chat completions server: OpenAI, vLLM, SGLang, llama.cpp, gateways."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from forager.errors import ModelError, PromptRefused, UnfitError, UsageError
from forager.models.faults import Busy, Fault, unreachable
from forager.models.prices import Prices, cost
from forager.models.replies import Completion, ServerError, parse
from forager.models.server import Server
from forager.records import Message, ModelRef, Reply, Usage

_OURS = {"model", "messages", "tools", "stream", "n"}
"""Request keys that Forager sets, or that would make a reply it cannot read."""


class OpenAIModel:
    """Asks a server for the next message, again where asking again may help."""

    def __init__(
        self,
        server: Server,
        *,
        sampling: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        prices: Prices | None = None,
        protocol: str = "tools",
        owns_server: bool = False,
    ) -> None:
        """`sampling` (temperature, top_p, max_tokens, seed, stop, ...) and `extra_body` go into each request as they
        are. `owns_server`: `close` closes the server too. Raises `UsageError` for a key that is Forager's to set."""
        self._extra = {**(sampling or {}), **(extra_body or {})}
        if taken := _OURS & self._extra.keys():
            raise UsageError(f"request parameter {min(taken)!r} is set by Forager: leave it out")
        recorded = {**(sampling or {}), **({"extra_body": dict(extra_body)} if extra_body else {})}
        self.ref = ModelRef(name=server.where.model, provider="openai", protocol=protocol, sampling=recorded)
        self._server = server
        self._prices = prices
        self._owns_server = owns_server

    async def complete(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        """The next message. `Reply.seconds` is the time of the request that was answered, waits left out.

        Raises `ModelError`, `UnfitError` and `ContextOverflow` as `Model.complete` says.
        """
        server, retries = self._server, self._server.retries
        failing = 0.0

        def give_up(state: RetryCallState) -> bool:
            nonlocal failing
            fault = state.outcome.exception() if state.outcome else None
            assert isinstance(fault, Fault)
            failing += fault.seconds
            absent = (fault.unreachable or fault.not_a_server) and not server.answered
            most = min(retries.attempts, retries.unreachable_attempts) if absent else retries.attempts
            return state.attempt_number >= most or failing >= retries.seconds

        wait = wait_random_exponential(retries.first_wait, retries.longest_wait, min=retries.first_wait / 2)
        retrying = AsyncRetrying(retry=retry_if_exception_type(Fault), wait=wait, stop=give_up, reraise=True)
        try:
            return await retrying(self._ask, messages, tools)
        except Fault as fault:
            attempts = retrying.statistics["attempt_number"]
            raise self._given_up(fault, attempts) from None

    async def close(self) -> None:
        if self._owns_server:
            await self._server.close()

    async def _ask(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Reply:
        """One request that the server took; while it is busy, wait with everybody else."""
        pace = self._server.pace
        asked = time.monotonic()
        while True:
            started = await pace.turn(asked)
            try:
                completion = await self._request(messages, tools)
            except Busy as busy:
                self._server.answered = True
                pace.refused(started, busy.retry_after)
            except Fault as fault:
                fault.seconds = time.monotonic() - started
                raise
            else:
                pace.answered()
                return self._reply(completion, time.monotonic() - started)

    async def _request(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Completion:
        server = self._server
        body = {"model": server.where.model, "messages": self._sent(messages), **self._extra}
        if tools:
            body["tools"] = list(tools)
        text = await server.post(body)
        try:
            completion = parse(text, messages)
        except ServerError as error:
            raise server.refusal(error.status, error.body, {}) from None
        server.answered = True
        server.reasoning_key = completion.reasoning_key or server.reasoning_key
        for note in completion.notes:
            server.note(note)
        if completion.finish_reason == "content_filter":
            raise PromptRefused("the server's content filter cut the reply off")
        return completion

    def _reply(self, completion: Completion, seconds: float) -> Reply:
        return Reply(
            message=completion.message,
            usage=completion.usage or Usage(),
            cost=cost(completion.usage, self._prices),
            finish_reason=completion.finish_reason,
            seconds=seconds,
            tokens=completion.tokens,
        )

    def _sent(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation as the server knows it: reasoning under the server's own name."""
        name = self._server.reasoning_key
        if name == "reasoning_content":
            return list(messages)
        return [{name if key == "reasoning_content" else key: value for key, value in m.items()} for m in messages]

    def _given_up(self, fault: Fault, attempts: int) -> ModelError | UnfitError:
        if not self._server.answered and fault.unreachable:
            return unreachable(self._server.where, str(fault))
        if not self._server.answered and fault.not_a_server:
            return UnfitError(f"{self._server.where.base_url} is no model server ({fault}): check --base-url")
        return ModelError(f"{fault} (tries: {attempts}, at {self._server.where.base_url})")
