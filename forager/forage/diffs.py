"""Unified diffs of single files, in the form that `git apply` and `patch` take."""

from __future__ import annotations

import difflib
from collections import Counter

CONTEXT = 3
EXACT_COST = 1_000_000
"""Pairs of equal lines from which on frequent lines are disregarded: `difflib` looks at each pair many times."""


def unified(path: str, before: bytes, after: bytes) -> str:
    """The diff of one text file (UTF-8), `path` relative to the repository's root. Line ends are kept."""
    old, new = (_lines(content.decode()) for content in (before, after))
    if old == new:
        return ""
    # Not `difflib.unified_diff`: in long files it disregards frequent lines, and takes one of two functions that are
    # much alike for the other. Without that it is slow, so it sees only what lies between the first and last change,
    # and very repetitive files as they are.
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    start, rest = max(0, head - CONTEXT), max(0, tail - CONTEXT)
    old, new = old[start : len(old) - rest], new[start : len(new) - rest]
    text = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
    counts = Counter(new)
    repetitive = sum(counts[line] for line in old) > EXACT_COST
    for hunk in difflib.SequenceMatcher(None, old, new, autojunk=repetitive).get_grouped_opcodes(CONTEXT):
        (_, i, _, j, _), (_, _, i_end, _, j_end) = hunk[0], hunk[-1]
        text += f"@@ -{_range(start + i, i_end - i)} +{_range(start + j, j_end - j)} @@\n"
        for kind, i, i_end, j, j_end in hunk:
            if kind == "equal":
                text += _marked(" ", old[i:i_end])
            else:
                text += _marked("-", old[i:i_end]) + _marked("+", new[j:j_end])
    return text


def changed_lines(diff: str) -> tuple[list[str], list[str]]:
    """The lines a diff takes out and puts in, without their mark."""
    lines = [line for line in diff.split("\n") if not line.startswith(("---", "+++"))]
    return [line[1:] for line in lines if line.startswith("-")], [line[1:] for line in lines if line.startswith("+")]


def _lines(text: str) -> list[str]:
    """Split at line feeds only: `str.splitlines` also splits at form feeds and others, which git does not."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _common(one: list[str], other: list[str]) -> int:
    """How many lines two files have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (line, its) in pairs if line != its), min(len(one), len(other)))


def _range(start: int, count: int) -> str:
    return str(start + 1) if count == 1 else f"{start + (count > 0)},{count}"


def _marked(mark: str, lines: list[str]) -> str:
    ends = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return "".join(mark + line for line in ends)
