"""What the failing tests and the problem statement tell about the fault: kinds of failure, names, values."""

from __future__ import annotations

import re
from typing import NamedTuple

_EXCEPTION = re.compile(r"\b([A-Z]\w*(?:Error|Exception|Warning|Iteration|Exit|Interrupt|NotFound|Expired))\b")
_RAISED = re.compile(r"^E\s+([\w.]*[A-Z]\w*)\b(?::|$)", re.MULTILINE)
_NOT_RAISED = re.compile(r"DID NOT RAISE.*?(\w+)['>,)]|AssertionError: (\w+) not raised")
_COMPARED = re.compile(
    r"^E\s+(?:AssertionError: )?(?:assert )?(-?\d+(?:\.\d+)?|'[^'\n]*'|\"[^\"\n]*\"|True|False|None) "
    r"(?:==|!=|is|is not|<|>|<=|>=) (-?\d+(?:\.\d+)?|'[^'\n]*'|\"[^\"\n]*\"|True|False|None)",
    re.MULTILINE,
)
_ATTRIBUTE = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)|KeyError: ('\w+')")
_BAD = re.compile(r"unexpected keyword argument '(\w+)'|multiple values for (?:keyword )?argument '(\w+)'")
_CALLED = re.compile(
    r"\b(\w+)\(\) (?:missing|takes|got)|'(?:function|method)' object|<(?:bound method|function) (?:\w+\.)*(\w+)"
)
_NAME = re.compile(
    r"(?:name|variable) '(\w+)' (?:is not defined|referenced before|where it is not)|"
    r"cannot access local variable '(\w+)'"
)


class Hints(NamedTuple):
    """Read from text, so only as good as the text: they move candidates up or down, never out."""

    names: frozenset[str] = frozenset()
    """Words of the problem statement and of the failing tests, for names of functions."""
    exceptions: tuple[str, ...] = ()
    """Names of exceptions that occur in either, most frequent first."""
    raised: frozenset[str] = frozenset()
    """Exceptions that ended failing tests (not AssertionError)."""
    not_raised: frozenset[str] = frozenset()
    off_by_one: bool = False
    sign: bool = False
    truth: bool = False
    none: bool = False
    """A None came where a value was expected."""
    no_end: bool = False
    pairs: tuple[tuple[str, str], ...] = ()
    """Different parts of compared strings, in both directions: what might be replaced by what."""
    numbers: tuple[str, ...] = ()
    """Numbers that occur in assertions."""
    words: frozenset[str] = frozenset()
    """All words of both, as they are spelt."""
    types: frozenset[str] = frozenset()
    """Types that compared values should have had: `str` where 1 came and '1' was expected."""
    missing_attributes: frozenset[str] = frozenset()
    missing_names: frozenset[str] = frozenset()
    missing_arguments: frozenset[str] = frozenset()
    bad_arguments: frozenset[str] = frozenset()
    """Keywords that a function was given and does not have, or has already."""
    coroutine: bool = False
    """A coroutine came where its result was expected."""
    called: frozenset[str] = frozenset()
    """Functions that were called or used the wrong way."""


def read_hints(statement: str, failures: str, test_ids: str = "") -> Hints:
    """Hints from the problem statement, and from pytest's output about the failing tests."""
    both = statement + "\n" + failures
    counts: dict[str, int] = {}
    for name in _EXCEPTION.findall(both):
        counts[name] = counts.get(name, 0) + 1
    compared = _COMPARED.findall(both)
    numbers = [(float(a), float(b)) for a, b in compared if _number(a) and _number(b)]
    words = {a for pair in compared for a in pair}
    pairs = [pair for a, b in compared if a[0] in "'\"" and b[0] in "'\"" for pair in _difference(a[1:-1], b[1:-1])]
    tail = re.search(r"NoneType|assert None|None ==|None is not|== None|is None", failures)
    return Hints(
        names=frozenset(re.findall(r"[a-z_]{3,}\w*", (statement + " " + test_ids).lower())),
        exceptions=tuple(sorted(counts, key=lambda name: (-counts[name], name))),
        raised=frozenset(n.rpartition(".")[2] for n in _RAISED.findall(failures)) - {"AssertionError", "Failed"},
        not_raised=frozenset(a or b for a, b in _NOT_RAISED.findall(failures)),
        off_by_one=any(abs(a - b) == 1 for a, b in numbers),
        sign=any(a == -b != 0 for a, b in numbers),
        truth=bool(words & {"True", "False"}) or bool(re.search(r"assert (False|True|not )", failures)),
        none=bool(tail),
        no_end="TooSlow" in failures,
        pairs=tuple(dict.fromkeys(pairs))[:12],
        numbers=tuple(dict.fromkeys(n for pair in compared for n in pair if _number(n)))[:12],
        words=frozenset(re.findall(r"\w{2,}", both + " " + test_ids)),
        types=frozenset(kind for pair in compared for kind in _types(*pair)),
        missing_attributes=frozenset(b for _, b in _ATTRIBUTE.findall(both)),
        missing_names=frozenset(a or b for a, b in _NAME.findall(both)),
        missing_arguments=frozenset(
            w for found in _MISSING.findall(both) for w in re.findall(r"'(\w+)'", str(found))
        ),
        coroutine="coroutine" in failures,
        bad_arguments=frozenset(a or b for a, b in _BAD.findall(both)),
        called=frozenset(name for found in _CALLED.findall(both) for name in found if name),
    )


def _types(a: str, b: str) -> list[str]:
    if (_number(a) and b[0] in "'\"") or (_number(b) and a[0] in "'\""):
        return ["str", "int"]
    return []


def _number(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?", text))


def _difference(a: str, b: str) -> list[tuple[str, str]]:
    """The middle parts in which two strings differ, both ways round; without what is too long to be a constant."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    found = []
    for grow in (False, True):  # the differing letters, then the differing words
        while grow and start and a[start - 1].isalnum():
            start -= 1
        while grow and end and a[-end].isalnum():
            end -= 1
        left, right = a[start : len(a) - end], b[start : len(b) - end]
        if left != right and max(len(left), len(right)) <= 40 and "..." not in left + right:
            found += [(left, right), (right, left)]
    return found
