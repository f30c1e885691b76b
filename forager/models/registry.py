"""Which model a run asks for, and how one is made for an attempt."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import msgspec

from forager.errors import UsageError
from forager.models import Model
from forager.models.prices import Prices
from forager.models.server import Retries, Server
from forager.records import Limits, Record, Task

EMBEDDED = ("search", "oracle", "nop")
"""Models that need no server and no key. They speak native tool calls whatever the protocol."""
EMBEDDED_PROVIDER = "forager"
"""Their provider in `ModelRef`."""


class ModelSpec(Record, frozen=True):
    """A model as asked for. Holds no secret: the key is read from the environment when the run starts."""

    name: str = "search"
    """`search`, `oracle`, `nop`, or a name that the server knows."""
    base_url: str = ""
    """Of an OpenAI-compatible server; empty means `$OPENAI_BASE_URL`, or else OpenAI's own."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key."""
    sampling: dict[str, Any] = msgspec.field(default_factory=dict)
    """temperature, top_p, max_tokens, seed, stop ...: sent as they are."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further request parameters that only some servers know, such as `return_token_ids`."""
    prices: Prices | None = None
    timeout: float = 600.0
    """Seconds a reply may take."""
    protocol: str = "tools"
    retries: Retries = Retries()

    @classmethod
    def of_server(cls, name: str, base_url: str | None, api_key_env: str | None) -> ModelSpec:
        """A model for work that only a server's can do. Raises `UsageError` for an embedded one."""
        if name in EMBEDDED:
            raise UsageError(f"--model {name} cannot do this: name a model that a server has")
        return cls(name=name, base_url=base_url or "", api_key_env=api_key_env or cls().api_key_env)


class Models:
    """Makes the models of a run's attempts; what they share (one connection pool) closes with it.

    Raises `UsageError` and `UnfitError` (no key) when made, before any container is started.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._server: Server | None = None
        if spec.name not in EMBEDDED:
            if not spec.name.strip():
                raise UsageError("the model name is empty: give one with --model")
            if not spec.timeout > 0:
                raise UsageError(f"a reply's time limit is a number of seconds above 0, not {spec.timeout:g}")
            self._server = Server(spec.name, spec.base_url, spec.api_key_env, spec.timeout, spec.retries)
            self.openai()  # wrong request parameters show now, not in the first attempt

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()

    def make(self, task: Task, limits: Limits) -> Model:
        """A fresh model for one attempt of a task."""
        match self.spec.name:
            case "search":
                from forager.models.search import SearchModel

                return SearchModel(task, limits)
            case "oracle":
                from forager.models.oracle import OracleModel

                return OracleModel(task)
            case "nop":
                from forager.models.nop import NopModel

                return NopModel()
            case _:
                return self.openai()

    def openai(self, *, owns_server: bool = False) -> Model:
        """A model that asks the server. `owns_server`: closing it closes the connections too."""
        from forager.models.openai import OpenAIModel

        assert self._server is not None
        spec = self.spec
        return OpenAIModel(
            self._server,
            sampling=spec.sampling,
            extra_body=spec.extra_body,
            prices=spec.prices,
            protocol=spec.protocol,
            owns_server=owns_server,
        )


def make_model(spec: ModelSpec, task: Task, limits: Limits) -> Model:
    """A model for one attempt, with a connection of its own. The attempts of a run share a `Models` instead."""
    models = Models(spec)
    return models.make(task, limits) if spec.name in EMBEDDED else models.openai(owns_server=True)
