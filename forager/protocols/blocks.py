"""Reading tool blocks out of a reply: which block it holds, and what the block asks for.

The format is CWM's (arXiv 2510.02387): `<tool: NAME>`, the tool's input on the lines below, `</tool>`. Strict reading
takes exactly that, once, at the end of a reply. Lenient reading also takes what models and servers commonly make of
it. Neither ever guesses where a block ends.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from forager.tools import ARGUMENTS


class Malformed(ValueError):
    """A tool block that can't be carried out; the message tells the model why."""


class Block(NamedTuple):
    """One tool block as found."""

    tool: str
    body: str
    """Between the tags, without the newlines that belong to them."""


_OPEN = re.compile(r"^<tool: ([A-Za-z_]+)>$", re.MULTILINE)
_CLOSE = re.compile(r"^</tool>[ \t]*$", re.MULTILINE)

_LOOSE_OPEN = re.compile(r"(?<!`)<tool\s*:\s*([A-Za-z_]+)\s*>", re.IGNORECASE)
_LOOSE_OPEN_LINE = re.compile(r"^[ \t]*" + _LOOSE_OPEN.pattern, re.IGNORECASE | re.MULTILINE)
_LOOSE_CLOSE = re.compile(r"</tool\s*(?::\s*[A-Za-z_]+\s*)?>", re.IGNORECASE)
_LOOSE_CLOSE_LINE = re.compile(r"^[ \t]*" + _LOOSE_CLOSE.pattern, re.IGNORECASE | re.MULTILINE)
_LOOSE_CLOSE_END = re.compile(_LOOSE_CLOSE.pattern + r"[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CLOSE_BEGUN = re.compile(r"\n[ \t]*</tool[ \t]*\Z", re.IGNORECASE)

# Whichever of the two begins first hides the other: a thought may draft a block, a block may hold a file's <think>.
_THOUGHT_OR_BLOCK = re.compile(
    r"^[ \t]*(?P<thought>(?:<think>.*?(?:</think>|\Z)\s*)+)|^[ \t]*<tool\s*:.*?(?:</tool[^>\n]*>|\Z)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_THINK_END = re.compile(r"</think>", re.IGNORECASE)


def spoken(content: str, *, thought_apart: bool) -> str:
    """A reply without its thoughts.

    A `</think>` that nothing opened ends a thought that the prompt had opened; everything before it was thought.
    `thought_apart`: the server gave the thoughts apart from the content, so that this can't be.
    """
    end = _THINK_END.search(content)
    if end and not thought_apart and not re.match(r"\s*<(think>|tool\s*:)", content, re.IGNORECASE):
        content = content[end.end() :]
    return _THOUGHT_OR_BLOCK.sub(lambda match: "" if match["thought"] else match[0], content)


def strict_block(text: str, *, cut_off: bool) -> Block | None:
    """The one block that ends a reply; None if there is no block. Raises `Malformed` for anything else.

    `cut_off`: the reply ended because it reached its token limit.
    """
    openings, closings = list(_OPEN.finditer(text)), list(_CLOSE.finditer(text))
    if not openings:
        if _LOOSE_OPEN_LINE.search(text):
            raise Malformed("the opening tag must be exactly <tool: NAME> on a line of its own")
        if closings:
            raise Malformed("there is a </tool> without a <tool: NAME> before it")
        return None
    if len(openings) > 1:
        raise Malformed(f"there are {len(openings)} tool blocks; a reply holds exactly one")
    closings = [closing for closing in closings if closing.start() > openings[0].end()]
    if not closings:
        raise Malformed(_cut_off() if cut_off else "the closing </tool> is missing, or not on a line of its own")
    if len(closings) > 1:
        raise Malformed(f"there are {len(closings)} closing tags for one opening tag")
    if text[closings[0].end() :].strip():
        raise Malformed("text follows </tool>; a reply ends with its tool block")
    return Block(openings[0][1], _body(text[openings[0].end() : closings[0].start()]))


def lenient_blocks(text: str, *, cut_off: bool) -> list[Block]:
    """The blocks of a reply, in order; empty if there is none.

    Takes tags with other spaces and letter case, text behind the tags on their lines, a fence around a body, and a
    last block without its closing tag: a server that stops at `</tool>` swallows it. Raises `Malformed` where it is
    not certain what a block holds.
    """
    openings = list(_LOOSE_OPEN_LINE.finditer(text))
    if not openings:  # in running text a tag may be only talked about: there a block needs both
        openings = [opening for opening in _LOOSE_OPEN.finditer(text) if _LOOSE_CLOSE_END.search(text, opening.end())]
    if not openings and _LOOSE_CLOSE_LINE.search(text):
        raise Malformed("there is a </tool> without a <tool: NAME> before it")
    ends = [opening.start() for opening in openings[1:]] + [len(text)]
    return [_lenient_block(text, opening, end, cut_off) for opening, end in zip(openings, ends, strict=False)]


def _lenient_block(text: str, opening: re.Match[str], end: int, cut_off: bool) -> Block:
    tool = opening[1].lower()
    region = text[opening.end() : end]
    closing = _LOOSE_CLOSE_LINE.search(region) or _LOOSE_CLOSE_END.search(region)
    if closing:
        if _LOOSE_CLOSE_LINE.search(region, closing.end()):
            raise Malformed(f"there are two closing tags for one opening tag, of the {tool} block")
        return Block(tool, _unfenced(_body(region[: closing.start()])))
    if end < len(text):
        raise Malformed(f"another tool block begins before the {tool} block is closed with </tool>")
    if cut_off:
        raise Malformed(_cut_off())
    return Block(tool, _unfenced(_body(_CLOSE_BEGUN.sub("", region))))


def _body(text: str) -> str:
    """What stands between two tags, without the newline after the first and the one before the last."""
    return text.removeprefix("\n").removesuffix("\n")


_FENCE = re.compile(r"\s*(`{3,}|~{3,})[A-Za-z0-9_+-]*\n(.*)\n[ \t]*\1\s*", re.DOTALL)


def _unfenced(body: str) -> str:
    """A body without a Markdown fence around all of it."""
    match = _FENCE.fullmatch(body)
    return match[2] if match else body


def _cut_off() -> str:
    return "your reply was cut off inside its tool block, at the token limit of one reply; make it shorter"


# ------------------------------------------------------------------------------------- what a block asks for

_SEARCH, _DIVIDER, _REPLACE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
_EDIT_FORM = f"[path]\n{_SEARCH}\n[lines to replace]\n{_DIVIDER}\n[new lines]\n{_REPLACE}"


def arguments(block: Block) -> dict[str, Any]:
    """The arguments that a block's body holds. Raises `Malformed`."""
    match block.tool:
        case "bash":
            if not block.body.strip():
                raise Malformed("the bash block is empty")
            return {"command": block.body}
        case "edit":
            return _edit(block.body)
        case "create":
            return _create(block.body)
        case "submit":
            path = block.body.strip()
            if "\n" in path:
                raise Malformed("a submit block holds the path of a diff file, or nothing")
            return {"path": path} if path else {}
    raise Malformed(f"there is no tool {block.tool!r}; the tools are {', '.join(ARGUMENTS)}")


def _edit(body: str) -> dict[str, Any]:
    path, _, rest = body.partition("\n")
    lines = [
        line.rstrip(" \t\r") if line.startswith((_SEARCH, _DIVIDER, _REPLACE)) else line for line in rest.split("\n")
    ]
    for mark in (_SEARCH, _REPLACE):
        if (count := lines.count(mark)) > 1:
            raise Malformed(f"there are {count} lines {mark!r}; an edit block holds one SEARCH/REPLACE pair")
    path = path.strip()
    trimmed = "\n".join(lines).strip("\n").split("\n")
    if not path or path in (_SEARCH, _DIVIDER) or trimmed[0] != _SEARCH or trimmed[-1] != _REPLACE:
        raise Malformed(f"an edit block holds exactly this:\n{_EDIT_FORM}")
    dividers = [number for number, line in enumerate(trimmed) if line == _DIVIDER]
    if not dividers:
        raise Malformed(f"the line {_DIVIDER!r} between the lines to replace and the new lines is missing")
    if len(dividers) > 1:
        raise Malformed(
            f"{len(dividers)} lines are {_DIVIDER!r}, so it is not clear where the lines to replace end; "
            "make this change through bash"
        )
    search, replace = trimmed[1 : dividers[0]], trimmed[dividers[0] + 1 : -1]
    return {"path": path, "search": _text(search), "replace": _text(replace)}


def _create(body: str) -> dict[str, Any]:
    path, _, content = body.partition("\n")
    if not path.strip():
        raise Malformed("the first line of a create block is the path of the file; here it is empty")
    if content and not content.endswith("\n"):
        content += "\n"  # the one that the closing tag's line took
    return {"path": path.strip(), "content": content}


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
