"""What a model server's refusal means: wait, try again, this attempt's error, or the end of the run.

The one place where HTTP statuses and the wordings of OpenAI, vLLM, SGLang, llama.cpp and others are read.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from forager.errors import ContextOverflow, ForagerError, PromptRefused, UnfitError
from forager.records import Record


class Busy(Exception):
    """The server takes no request now; wait `retry_after` seconds, or as long as seems right if None."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("busy")
        self.retry_after = retry_after


class Fault(Exception):
    """One request failed in a way that the next may not: 5xx, timeout, dropped connection, malformed reply."""

    def __init__(self, detail: str, *, unreachable: bool = False, not_a_server: bool = False) -> None:
        super().__init__(detail)
        self.unreachable = unreachable
        """No connection came about."""
        self.not_a_server = not_a_server
        """What answered speaks HTTP but is no model server."""
        self.seconds = 0.0
        """How long the request took to fail."""


class Where(Record, frozen=True):
    """What an error line names. No secret in it."""

    model: str
    base_url: str
    key_variable: str
    has_key: bool


# OpenAI and vLLM "maximum context length", SGLang "model's context length", llama.cpp "available context size" and
# its error type, Anthropic "prompt is too long", Gemini "input token count ... exceeds", xAI "maximum prompt length".
_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|(maximum|max|model'?s?) (model |prompt |context )+length"
    r"|longer than the (maximum )?model|available context size|context window|prompt is too long"
    r"|(input|requested) token (count|length)s?\b.*exceed|input length .*exceeds|tokens? exceeds? .*context"
    r"|(reduce|shorten) (the|your) (length of the )?(messages|prompt|input)|max_tokens must be at least 1, got -",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(r"content_filter|content_policy|content management policy|moderation|flagged", re.IGNORECASE)
_NO_MODEL = re.compile(r"model_not_found|invalid model (id|name)|model not exist|unknown model", re.IGNORECASE)
_NO_CREDIT = re.compile(r"insufficient_quota|insufficient_balance", re.IGNORECASE)


def refusal(
    status: int, body: object, headers: Mapping[str, str], where: Where, redacted: Callable[[str], str]
) -> Busy | Fault | ForagerError:
    """What to raise for a reply with an HTTP error status.

    `body` is decoded JSON or text; `redacted` takes secrets out of what the server says, before it is quoted.
    """
    said, codes = _wording(body, redacted)
    wording = f"{codes} {said}"
    tail = f": {said}" if said else ""
    wait = retry_after(headers)
    if status in (400, 413, 422, 500) and _OVERFLOW.search(wording):
        return ContextOverflow(f"the prompt does not fit the model's context window{tail}")
    if status in (400, 403, 422) and _FILTERED.search(wording):
        return PromptRefused(f"the server's content filter refused the prompt ({status}){tail}")
    if status == 402 or (status == 429 and _NO_CREDIT.search(codes)):
        return UnfitError(f"the account of ${where.key_variable} has no credit left at {where.base_url} ({status})")
    if status == 429 or (status in (503, 529) and wait is not None):
        return Busy(wait)
    if status in (401, 403):
        if not where.has_key:
            return UnfitError(
                f"the server at {where.base_url} wants an API key ({status}): set ${where.key_variable}"
            )
        return UnfitError(
            f"the server at {where.base_url} refused the API key in ${where.key_variable} for model "
            f"{where.model!r} ({status}): check the key and what it may use"
        )
    if status in (404, 405) or (status == 400 and _NO_MODEL.search(wording)):
        return UnfitError(
            f"no model {where.model!r} at {where.base_url} ({status}): check --model and --base-url"
            + (f" (the server said: {said})" if said else "")
        )
    if status in (408, 409, 425) or status >= 500:
        return Fault(f"the server answered {status}{tail}")
    return PromptRefused(f"the server refused the request ({status}){tail}")


def unreachable(where: Where, why: str) -> UnfitError:
    return UnfitError(f"no model server answers at {where.base_url} ({why}): start it, or check --base-url")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` (seconds or an HTTP date: RFC 9110); None if unsaid."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        try:
            seconds = max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    return seconds


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _wording(body: object, redacted: Callable[[str], str]) -> tuple[str, str]:
    """The message of an error body, one line of at most 300 characters, and its codes.

    Bodies seen: `{"error": {"message", "type", "code"}}`, the inner object alone, `{"detail": ...}` and plain text.
    """
    inner: Any = body
    while isinstance(inner, dict) and isinstance(inner.get("error"), (dict, str)):
        inner = inner["error"]
    codes = ""
    if isinstance(inner, dict):
        codes = " ".join(str(inner[key]) for key in ("code", "type") if inner.get(key))
        inner = inner.get("message") or inner.get("detail") or ""
    text = inner if isinstance(inner, str) else str(inner or "")
    if text.lstrip().startswith("<"):  # a web page says nothing worth a line
        text = ""
    text = redacted(" ".join(text.split()))
    return (text if len(text) <= 300 else f"{text[:297]}..."), codes
