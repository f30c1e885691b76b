"""Reading a line of shell commands: the simple commands that it is made of, as far as it is made of no more."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from forager.records import Record

_PIECE = re.compile(
    r"""(?P<quiet>(?:&|\d)?>{1,2}\s*(?:/dev/null|&\d))(?=[\s;|&]|$)
    |(?P<operator>&&|\|\||[;|\n])
    |(?P<word>(?:[^\s'"\\;&|<>()`${}#]|(?<=\S)\#|\$(?:[\w?]+|\{\w+\})|'[^']*'|"(?:[^"`$\\]|\$\w+|\$\{\w+\})*")+)
    |(?P<gap>[^\S\n]+)""",
    re.VERBOSE,
)


class Simple(Record, frozen=True):
    """A simple command of a line: what stands before it, its text, its words."""

    operator: str
    text: str
    words: tuple[str, ...]


def read(command: str) -> list[Simple] | None:
    """The simple commands that a command is made of; None if it is anything more than these."""
    text = _on_one_line(command)
    text = re.sub(r"^[ \t]*(#[^\n]*)?\n", "", text, flags=re.MULTILINE) if "<<" not in text else text
    found: list[Simple] = []
    operator, start, at, words = "", 0, 0, list[str]()

    def close(end: int) -> None:
        if words:
            found.append(Simple(operator=operator, text=text[start:end].strip(), words=tuple(words)))

    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            return None
        if piece["operator"]:
            if not words and piece["operator"] != "\n":
                return None
            close(at)
            if words:
                operator = piece["operator"]
            start, words = piece.end(), []
        elif piece["word"]:
            words += shlex.split(piece["word"])
        at = piece.end()
    close(at)
    return found


def parts_of(command: str, looks: Callable[[Sequence[str]], bool]) -> list[tuple[str, list[str]]]:
    """The parts of a command that all have succeeded if it has, each with its words; none for what is more than a
    simple command, apart from what its output is piped into to be looked at. `looks` knows such words."""
    if not is_chain(command):
        return [(command, [])]
    parts: list[list[Simple]] = []
    for simple in read(command) or ():
        if simple.operator == "|":
            parts[-1].append(simple)
        else:
            parts.append([simple])
    return [
        (
            " | ".join(simple.text for simple in part),
            list(part[0].words) if all(looks(simple.words) for simple in part[1:]) else [],
        )
        for part in parts
    ]


def is_chain(command: str) -> bool:
    """Whether a command is all on one line and `|| exit` after it means all of it."""
    found = read(command)
    plain = found is not None and all(simple.operator in ("", "&&", "|") for simple in found)
    return plain and "\n" not in _on_one_line(command)


def _on_one_line(command: str) -> str:
    return re.sub(r"\\\n\s*", " ", command.strip())
