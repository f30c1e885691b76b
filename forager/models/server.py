"""One OpenAI-compatible server: its address, its key, one connection pool and one pace for all attempts of a run."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, urlsplit

from forager.errors import ForagerError, ModelError, UnfitError, UsageError
from forager.models.faults import Busy, Fault, Where, refusal
from forager.models.pace import Pace
from forager.records import Record

PUBLIC_BASE_URL = "https://api.openai.com/v1"
_CONNECT_SECONDS = 10.0

log = logging.getLogger("forager.models")


class Retries(Record, frozen=True):
    """How long to try again. Seconds; waits grow twofold from the first to the longest, cut short at random."""

    attempts: int = 10
    """Requests of one model call that may fail (5xx, timeout, dropped connection, malformed reply)."""
    seconds: float = 900.0
    """All of a model call's failing requests together."""
    first_wait: float = 0.5
    longest_wait: float = 30.0
    unreachable_attempts: int = 4
    """Failing connections, or web pages, before it is clear that there is no server, when it has never answered."""
    busy_seconds: float = 900.0
    """How long a server may refuse everybody with 429 before a model call gives up."""
    busy_first_gap: float = 0.1
    """The gap that all requests together keep from each other after a first 429; it doubles with the next ones."""
    busy_longest_gap: float = 10.0
    busy_recovery: float = 2.0
    """Without another 429, the gap halves in this time."""


class Server:
    """A chat completions server. Opened once a run, closed with it; its `repr` and its errors hold no secret."""

    def __init__(
        self,
        model: str,
        base_url: str = "",
        key_variable: str = "OPENAI_API_KEY",
        timeout: float = 600.0,
        retries: Retries | None = None,
    ) -> None:
        """`base_url` may lack its `/v1`; empty means `$OPENAI_BASE_URL` or else OpenAI's own server.

        `timeout`: seconds a reply may take. Raises `UsageError` when the base URL is no URL, `UnfitError` when the
        public server is asked for without a key (a server of one's own may need none).
        """
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout  # 0.4 s: only who asks a server pays

        asked_for = base_url or os.environ.get("OPENAI_BASE_URL", "")
        url = split_base_url(asked_for or PUBLIC_BASE_URL)
        key = os.environ.get(key_variable, "").strip()
        if not key and not asked_for:
            raise UnfitError(f"no API key for model {model!r}: set ${key_variable}, or give a --base-url")
        if not key.isascii() or not key.isprintable():
            raise UnfitError(f"${key_variable} holds characters that no API key has: set it again")
        shown = url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()
        self.where = Where(model=model, base_url=shown, key_variable=key_variable, has_key=bool(key))
        self.retries = retries or Retries()
        self.pace = Pace(
            self.retries.busy_first_gap,
            self.retries.busy_longest_gap,
            self.retries.busy_recovery,
            self.retries.busy_seconds,
        )
        self.reasoning_key = "reasoning_content"
        """What this server calls reasoning, known from its replies."""
        self.answered = False
        """Whether it ever answered as a model server does."""
        self._timeout = timeout
        self._limits = Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout))
        query = dict(parse_qsl(url.query))
        # Shorter than this it is a placeholder or a version, and taking it out would only garble the line.
        self._secrets = tuple(secret for secret in (key, url.password or "", *query.values()) if len(secret) >= 6)
        self._noted: set[str] = set()
        # A proxy of the environment has no business between this machine and itself.
        self._http = DefaultAsyncHttpxClient(trust_env=not _is_loopback(url.hostname or ""))
        self._client = AsyncOpenAI(
            api_key=key or "none",
            base_url=url._replace(query="").geturl(),
            default_query=query,
            max_retries=0,
            timeout=self._limits,
            http_client=self._http,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._client.close()

    def __repr__(self) -> str:
        return f"Server({self.where.model!r} at {self.where.base_url})"

    async def post(self, body: Mapping[str, Any]) -> str:
        """Send one request: the text of a reply with status 200.

        Raises `Busy`, `Fault`, and what `Model.complete` raises.
        """
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            async with asyncio.timeout(self._timeout):  # the client's own limit is for each read, and starts anew
                # Text, not the SDK's types: what other servers add to a reply must stay, and what is wrong must show.
                return await self._client.post("/chat/completions", cast_to=str, body=dict(body))
        except APIStatusError as error:
            raise self.refusal(error.status_code, error.body, error.response.headers) from None
        except (TimeoutError, APITimeoutError) as error:
            if _is_named(error, "ConnectTimeout"):
                raise Fault("connecting timed out", unreachable=True) from None
            raise Fault(f"no reply within {self._timeout:g} s") from None
        except APIConnectionError as error:
            why = self._redacted(_root(error))
            raise Fault(why, unreachable=_is_named(error, "ConnectError")) from None
        except UnicodeEncodeError as error:
            raise ModelError(f"the conversation cannot be sent as UTF-8: {error.reason}") from None
        except OpenAIError as error:
            raise ModelError(f"the request could not be made: {self._redacted(str(error))}") from None

    def refusal(self, status: int, body: object, headers: Mapping[str, str]) -> Busy | Fault | ForagerError:
        """The exception for an error that this server answered with."""
        return refusal(status, body, headers, self.where, self._redacted)

    def note(self, text: str) -> None:
        """Log once what is odd about this server's replies."""
        if text not in self._noted:
            self._noted.add(text)
            log.warning("%s: %s", self.where.base_url, text)

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def split_base_url(base_url: str) -> SplitResult:
    """A base URL in its normal form: no trailing slash, no `/chat/completions`, `/v1` where there is no path.

    Raises `UsageError` when it is no URL.
    """
    wrong = UsageError(f"base URL {base_url!r} is no URL: write it as http://HOST:PORT/v1")
    try:
        url = urlsplit(base_url.strip())
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        raise wrong from None
    if not usable or any(character.isspace() for character in url.geturl()):
        raise wrong
    path = url.path.rstrip("/").removesuffix("/chat/completions").rstrip("/")
    return url._replace(path=path or "/v1", fragment="")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_named(error: BaseException, name: str) -> bool:
    """Whether an exception or one of its causes has this class name.

    By name, because the SDK's HTTP library is `httpx` up to version 2 and `httpx2` from 3 on.
    """
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == name:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _root(error: BaseException) -> str:
    """One line from the HTTP library's own error, which says more than the SDK's "Connection error."."""
    cause = error.__cause__
    return " ".join((str(cause) or type(cause).__name__ if cause else str(error)).split())[:200]
