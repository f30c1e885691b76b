"""The options of `run`, `replay --then` and `forage` on which model is asked, how, and where it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from forager.errors import UsageError

RUN = "Model and server"
SIZE = "Size of the run"
LIMITS = "Limits of an attempt"
SANDBOX = "Sandbox"
OUTPUT = "Output"

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.", rich_help_panel=OUTPUT)]
Workers = Annotated[
    int | None, typer.Option(help="Attempts at once. Default: 2.", show_default=False, rich_help_panel=SIZE)
]
BaseUrl = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible server: http://127.0.0.1:8000/v1", rich_help_panel=RUN)
]
ApiKeyEnv = Annotated[
    str | None,
    typer.Option(
        help="Environment variable with the key. Default: OPENAI_API_KEY.", show_default=False, rich_help_panel=RUN
    ),
]
Temperature = Annotated[
    float | None, typer.Option(help="Default: the server's.", show_default=False, rich_help_panel=RUN)
]
TopP = Annotated[float | None, typer.Option(help="Default: the server's.", show_default=False, rich_help_panel=RUN)]
MaxReplyTokens = Annotated[
    int | None,
    typer.Option(help="Tokens of one reply. Default: the server's.", show_default=False, rich_help_panel=RUN),
]
Sampling = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A further sampling parameter; may be repeated.", rich_help_panel=RUN),
]
ExtraBody = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="Request parameters that only some servers know.", rich_help_panel=RUN),
]
Prices = Annotated[
    Path | None, typer.Option(help="File with dollars per million tokens, by model.", rich_help_panel=RUN)
]
ReplySeconds = Annotated[
    float | None,
    typer.Option(help="Longest wait for a reply. Default: 600.", show_default=False, rich_help_panel=RUN),
]
Retries = Annotated[
    int | None,
    typer.Option(
        help="Tries anew of an attempt that infrastructure broke. Default: 3.",
        show_default=False,
        rich_help_panel=SIZE,
    ),
]
MaxSteps = Annotated[int | None, typer.Option(help="Default: 128.", show_default=False, rich_help_panel=LIMITS)]
MaxContext = Annotated[
    int | None,
    typer.Option(help="Tokens of one prompt. Default: 131072.", show_default=False, rich_help_panel=LIMITS),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(help="Tokens of the whole attempt. Default: no limit.", show_default=False, rich_help_panel=LIMITS),
]
MaxCost = Annotated[
    float | None,
    typer.Option(help="US dollars; needs --prices. Default: no limit.", show_default=False, rich_help_panel=LIMITS),
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Of the whole attempt. Default: 2400.", show_default=False, rich_help_panel=LIMITS),
]
CommandSeconds = Annotated[
    float | None, typer.Option(help="Of one command. Default: 120.", show_default=False, rich_help_panel=LIMITS)
]
ObservationBytes = Annotated[
    int | None,
    typer.Option(help="Output shown of one command. Default: 32768.", show_default=False, rich_help_panel=LIMITS),
]
Memory = Annotated[
    float | None,
    typer.Option(help="GiB a container may use. Default: 4.", show_default=False, rich_help_panel=SANDBOX),
]
Cpus = Annotated[float | None, typer.Option(help="Default: 2.", show_default=False, rich_help_panel=SANDBOX)]
Network = Annotated[
    bool | None, typer.Option("--network", help="Open the network to the agent.", rich_help_panel=SANDBOX)
]
Grade = Annotated[
    bool | None, typer.Option("--grade/--no-grade", help="Grade what is submitted.", show_default=False)
]


def told(
    *,
    model: str | None,
    base_url: str | None,
    api_key_env: str | None,
    temperature: float | None,
    top_p: float | None,
    max_reply_tokens: int | None,
    sampling: list[str] | None,
    extra_body: str | None,
    prices: Path | None,
    reply_seconds: float | None,
    samples: int | None,
    workers: int | None,
    retries: int | None,
    max_steps: int | None,
    max_context: int | None,
    max_tokens: int | None,
    max_cost: float | None,
    max_seconds: float | None,
    command_seconds: float | None,
    observation_bytes: int | None,
    memory: float | None,
    cpus: float | None,
    network: bool | None,
    grade: bool | None,
    protocol: str | None = None,
    protocol_mode: str | None = None,
) -> dict[str, Any]:
    """What was told by flags, by the names of `RunOptions`; None where a flag was not given. Raises `UsageError`."""
    return {
        "model": model,
        "base_url": base_url,
        "api_key_env": api_key_env,
        "protocol": protocol,
        "protocol_mode": protocol_mode,
        "sampling": {
            **_pairs(sampling or []),
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_reply_tokens,
        },
        "extra_body": _json_object("--extra-body", extra_body),
        "prices": str(prices) if prices else None,
        "reply_seconds": reply_seconds,
        "samples": samples,
        "workers": workers,
        "retries": retries,
        "limits": {
            "steps": max_steps,
            "context": max_context,
            "tokens": max_tokens,
            "cost": max_cost,
            "seconds": max_seconds,
            "command_seconds": command_seconds,
            "observation_bytes": observation_bytes,
        },
        "caps": {"memory": int(memory * 1024**3) if memory else None, "cpus": cpus, "network": network},
        "grade": grade,
    }


def _pairs(arguments: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` arguments; a value that is JSON is taken as such."""
    pairs: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not key or not equals:
            raise UsageError(f"--sampling takes KEY=VALUE, not {argument!r}")
        try:
            pairs[key] = json.loads(text)
        except ValueError:
            pairs[key] = text
    return pairs


def _json_object(flag: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{flag} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{flag} takes a JSON object")
    return value
