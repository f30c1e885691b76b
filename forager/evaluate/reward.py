"""How alike two patches are: the partial reward of Meta FAIR's Code World Model (arXiv 2510.02387)."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Hashable, Sequence, Set

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

EXACT_COST = 8_000_000
"""Pairs of equal characters (or lines) that `difflib` may have to look at for one file: two or three seconds.
Patches of some 9,000 characters a file stay below it."""
LINES = 4000
"""Lines of a file that are compared when it comes to lines."""
PATCH_LIMIT = 4 * 1024**2
"""Characters of a patch, counting only the reference's files; a longer one scores 0."""


def similarity(patch: str, reference: str) -> float:
    """The mean, over the files of `reference`, of how alike the two patches' hunks for that file are; 0 to 1.

    Per file: `difflib.SequenceMatcher(None, pred, oracle, autojunk=False).ratio()` on its hunks joined by newlines,
    each stripped. A file that `patch` lacks counts 0; files that only `patch` has are ignored, binary files left out.
    A patch that cannot be read scores 0, and so does one over 4 MiB.

    `difflib` is quadratic. A file whose two sides would cost more than `EXACT_COST` is compared line by line instead
    of by characters, and beyond `LINES` lines, or where that costs too much as well, by how many lines they share.
    """
    oracle = _hunks(reference, None)
    if not oracle:
        return 0.0
    predicted = _hunks(patch, oracle.keys())
    return sum(_ratio(predicted[path], text) for path, text in oracle.items() if path in predicted) / len(oracle)


def _hunks(patch: str, wanted: Set[str] | None) -> dict[str, str]:
    """Path to joined hunks, for the text files of a patch (renamed files under their old name)."""
    if wanted is not None:
        patch = "".join(part for part in re.split(r"(?m)^(?=diff --git )", patch) if _names(part, wanted))
    if len(patch) > PATCH_LIMIT:
        return {}
    try:
        files = PatchSet(patch.replace("\r\n", "\n"))
    except (UnidiffParseError, ValueError, IndexError, TypeError, AttributeError):
        return {}
    found: dict[str, str] = {}
    for file in files:
        if file.is_binary_file:
            continue
        path = str(file.source_file if file.is_rename else file.path).removeprefix("a/")
        if wanted is None or path in wanted:
            header = [f"rename from {path} to {str(file.target_file).removeprefix('b/')}"] if file.is_rename else []
            found[path] = "\n".join([*header, *(str(hunk).strip() for hunk in file)]).strip()
    return found


def _names(part: str, wanted: Set[str]) -> bool:
    """Whether a part of a patch may be about one of these files; parts without git's header line always may."""
    head = part.partition("\n")[0]
    return not head.startswith("diff --git ") or any(path in head for path in wanted)


def _ratio(predicted: str, oracle: str) -> float:
    if predicted == oracle:
        return 1.0
    if _cost(predicted, oracle) <= EXACT_COST:
        return difflib.SequenceMatcher(None, predicted, oracle, autojunk=False).ratio()
    ours, theirs = predicted.splitlines(), oracle.splitlines()
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    if max(len(ours), len(theirs)) <= LINES and _cost(ours, theirs) <= EXACT_COST:
        return matcher.ratio()
    return matcher.quick_ratio()


def _cost(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Pairs of equal elements: what one search for the longest match has to look at."""
    counts = Counter(right)
    return sum(count * counts[element] for element, count in Counter(left).items())
