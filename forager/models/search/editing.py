"""Turns candidates into `edit` calls: whole lines that occur once, undoing the last try in the same edit if near."""

from __future__ import annotations

from collections.abc import Sequence

from forager.models.search.source import Candidate, Fragment

NEAR = 15
"""Lines between two tries that still go into one edit."""


def with_change(fragment: Fragment, candidate: Candidate | None) -> list[str]:
    """The fragment's lines with a candidate applied."""
    if candidate is None:
        return fragment.lines
    start, end = candidate.first - fragment.first, candidate.last - fragment.first + 1
    return [*fragment.lines[:start], *candidate.lines, *fragment.lines[end:]]


def can_join(fragment: Fragment, old: Candidate, new: Candidate) -> bool:
    """Whether one edit can take back `old` and make `new`."""
    inside = old.path == fragment.path and fragment.first <= old.first and old.last <= fragment.last
    return inside and new.first - old.last <= NEAR and old.first - new.last <= NEAR


def search_replace(
    fragment: Fragment, known: Sequence[Fragment], old: Candidate | None, new: Candidate | None, extra: int = 0
) -> tuple[str, str] | None:
    """The SEARCH and REPLACE texts that lead from `old` applied to `new` applied, both in the fragment.

    Context lines are added until the search text occurs once in everything that was read of the file, and `extra`
    more on either side. None if even the whole fragment is not enough.
    """
    touched = [c for c in (old, new) if c is not None]
    first, last = min(c.first for c in touched), max(c.last for c in touched)
    for context in range(len(fragment.lines) + 1):
        a = max(first - context - extra, fragment.first)
        b = min(last + context + extra, fragment.last)
        before, after = _region(fragment, old, a, b), _region(fragment, new, a, b)
        here = with_change(fragment, old)
        elsewhere = [f.lines for f in known if f is not fragment and f.path == fragment.path]
        found = sum(_occurrences(lines, before) for lines in [here, *elsewhere])
        if found == 1 and (len("".join(before).split()) > 2 or len(before) > 1):
            return _block(before), _block(after)
        if a == fragment.first and b == fragment.last:
            return None
    return None


def _region(fragment: Fragment, candidate: Candidate | None, a: int, b: int) -> list[str]:
    """Lines `a` to `b` of the file as read, with the candidate, which lies within, applied."""
    lines = fragment.lines[a - fragment.first : b - fragment.first + 1]
    if candidate is None:
        return lines
    return [*lines[: candidate.first - a], *candidate.lines, *lines[candidate.last - a + 1 :]]


def _block(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _occurrences(lines: list[str], part: list[str]) -> int:
    return sum(lines[i : i + len(part)] == part for i in range(len(lines) - len(part) + 1))
