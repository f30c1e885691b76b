"""What shows that a text holds something of a fix: lines in a row that it and the fixed tree have.

Single lines are not enough: other packages have lines like it. Nor are a few that any program may have: of 163 files
of 16 packages, at `LEAST` = 30, thirty had lines in common by chance with something in an image (`getopt.getopt(` and
what comes after it); at 50, those that had were copied from one another.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

WINDOW = 3
"""Lines of a window."""
WINDOW_MOST = 40
"""Lines that one with next to nothing in each may take in."""
LEAST = 50
"""Characters that a window has at least, keywords and names of builtins left out; shorter ones take in more lines."""
LEAST_AT_END = 30
"""The same for a text's last lines, which only take in lines before them: what quotes a short text has no more."""
LINE_LEAST = 12
"""Characters of a single line that is looked for in the image's settings."""

_EVERYWHERE = re.compile(rb"\b(%s)\b|\s" % "|".join([*keyword.kwlist, *dir(builtins), "self"]).encode())


def even_lines(data: bytes) -> list[bytes]:
    """Lines with their white space evened, blank ones left out."""
    return [b" ".join(parts) for row in data.splitlines() if (parts := row.split())]


def windows_of(data: bytes) -> Iterator[list[bytes]]:
    """The windows of a text: lines as `even_lines` gives them, long enough to tell it from others.

    Of a text that is too short for that, all of it is one.
    """
    lines = even_lines(data)
    weights = [_own(line) for line in lines]
    for n in range(max(1, len(lines) - WINDOW + 1)):
        start, end = n, n + WINDOW
        weight = sum(weights[start:end])
        while end < min(len(lines), n + WINDOW_MOST) and weight < LEAST:
            weight += weights[end]
            end += 1
        while start > max(0, end - WINDOW_MOST) and end >= len(lines) and weight < LEAST_AT_END:
            start -= 1
            weight += weights[start]
        rows = lines[start:end]
        if not all(row.startswith((b"import ", b"from ")) for row in rows):  # other packages import too
            yield rows
        if start < n:
            return


def is_telling(rows: Sequence[bytes]) -> bool:
    """Whether a window is long enough to tell a text from others."""
    return sum(map(_own, rows)) >= LEAST_AT_END


def framed(lines: list[bytes]) -> bytes:
    """Lines as one text in which whole lines can be looked for."""
    return b"\n" + b"\n".join(lines) + b"\n"


class Windows:
    """What only the fixed tree has, and the search for it in any bytes."""

    def __init__(self, fixed: Mapping[str, bytes], start: Iterable[bytes]) -> None:
        """`fixed`: the changed files as the fix leaves them; `start`: all files of the starting tree."""
        wanted = dict.fromkeys(b"\n".join(rows) for data in fixed.values() for rows in windows_of(data))
        lines_there: set[bytes] = set()
        for data in start:
            even = even_lines(data)
            lines_there.update(even)
            if wanted:
                text = framed(even)
                for window in [w for w in wanted if b"\n" + w + b"\n" in text]:
                    del wanted[window]
        self.windows = tuple(wanted)
        self.lines = tuple(
            dict.fromkeys(
                line
                for window in wanted
                for line in window.split(b"\n")
                if line not in lines_there and len(line) >= LINE_LEAST
            )
        )
        self._keys = tuple({_key(window, lines_there) for window in wanted})
        """A word that is quick to look for, and the line it is of."""

    def find(self, data: bytes) -> bytes:
        """A window that is in `data`, as it is, in a diff, or in a JSON string; empty if there is none."""
        if not any(word in data and line.search(data) for word, line in self._keys):
            return b""
        texts = [data]
        if b"\\n" in data:
            texts.append(data.replace(b"\\n", b"\n").replace(b'\\"', b'"').replace(b"\\t", b"\t"))
        for text in texts:
            plain = framed(even_lines(text))
            shapes = [plain]
            if b"@@" in text:  # a diff: its after side
                rows = (row for row in text.splitlines() if not row.startswith(b"-"))
                shapes.append(framed(even_lines(b"\n".join(row[1:] if row[:1] == b"+" else row for row in rows))))
            for shape in shapes:
                for window in self.windows:
                    if b"\n" + window + b"\n" in shape:
                        return window
        return b""

    def find_line(self, data: bytes) -> bytes:
        """A single line of the fix that is in `data`."""
        texts = [data, data.replace(b"\\n", b"\n").replace(b'\\"', b'"').replace(b"\\t", b"\t")]
        for text in texts:
            even = b" ".join(text.split())
            for line in self.lines:
                if line in even:
                    return line
        return b""


def _own(line: bytes) -> int:
    """Characters of a line that other code does not have anyway: `DeprecationWarning,` is everywhere."""
    return len(_EVERYWHERE.sub(b"", line))


def _key(window: bytes, known: set[bytes]) -> tuple[bytes, re.Pattern[bytes]]:
    """What to look for before anything else: a line, a new one if there is one, and its longest word."""
    lines = window.split(b"\n")
    line = max([line for line in lines if line not in known] or lines, key=len)
    words = line.split()
    pattern = rb"\s+".join(re.escape(word).replace(b'"', rb'\\?"') for word in words)
    plain = [part for word in words for part in word.split(b'"')]
    return max(plain, key=len), re.compile(pattern)
