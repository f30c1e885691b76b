"""How tool calls are spoken: what the model is told, what its replies mean, how observations go back.

Two protocols: `native.py` speaks native function calls, `text.py` the tool blocks of CWM, which need nothing of a
server but text.
"""

from forager.errors import UsageError
from forager.protocols.contract import Action, Left, Protocol
from forager.protocols.native import ToolsProtocol
from forager.protocols.text import MODES, TextProtocol

__all__ = ["MODES", "PROTOCOLS", "Action", "Left", "Protocol", "TextProtocol", "ToolsProtocol", "make_protocol"]

PROTOCOLS = ("tools", "text")


def make_protocol(name: str, mode: str = "lenient") -> Protocol:
    """The protocol of that name. `mode` says how `text` reads replies, see `TextProtocol`; `tools` has but one.

    Raises `UsageError` for another name or mode.
    """
    if mode not in MODES:
        raise UsageError(f"there is no protocol mode {mode!r}; use {' or '.join(MODES)}")
    if name == "tools":
        return ToolsProtocol()
    if name == "text":
        return TextProtocol(strict=mode == "strict")
    raise UsageError(f"there is no protocol {name!r}; use {' or '.join(PROTOCOLS)}")
