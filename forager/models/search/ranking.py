"""Which change to try first: suspiciousness of its line, how often such faults occur, what the failures hint at."""

from __future__ import annotations

from forager.models.search.hints import Hints
from forager.models.search.observations import Suspect
from forager.models.search.source import Candidate, Fragment

PRIORS = {
    "comparison": 1.0, "boolean": 0.8, "arithmetic": 1.0, "negation": 0.8, "truth": 0.8, "number": 0.6,
    "return": 0.8, "exception": 0.9, "branch": 0.9, "slice": 0.7, "index": 1.0, "arguments": 0.7, "argument": 0.6,
    "called": 0.8, "sign": 0.6, "string": 0.6, "none": 0.7, "operands": 0.4, "off_by_one": 0.6, "variable": 0.4,
    "keyword": 0.7, "default": 0.7, "copy": 0.5, "unpacking": 1.0, "operand": 0.5, "decorator": 0.6, "super": 0.9,
    "import": 1.0, "condition": 0.9, "filter": 0.5, "yield": 0.8, "await": 0.8, "format": 0.8, "removed": 0.5,
    "attribute": 0.7, "exit": 0.3, "twin": 0.5, "assignment": 0.7, "raise": 0.1, "guard": 0.4,
}  # fmt: skip
"""Measured on random mutants of small packages; only ratios matter."""


CROWD = 0.3
"""How much a kind of which there are many candidates has to share its prior among them."""
SIGNATURE = 0.8
"""What the lines before a function's first statement have of the function's score: no tracer sees them run."""


def rank(found: list[Candidate], suspects: list[Suspect], fragments: list[Fragment], hints: Hints,
         traceback: list[tuple[str, int]]) -> list[Candidate]:  # fmt: skip
    """The candidates, likeliest first; equal ones in source order, so that the order is always the same."""
    scores = line_scores(suspects, fragments, hints, traceback)

    shares: dict[str, float] = {}
    chances: list[float] = []
    for candidate in found:
        suspicion = scores.get((candidate.path, candidate.line), 0.05)
        chance = suspicion**3 * candidate.weight * _hinted(candidate, hints)
        shares[candidate.kind] = shares.get(candidate.kind, 0.0) + chance
        chances.append(chance)
    values = {
        id(c): PRIORS[c.kind] * chance / (shares[c.kind] ** CROWD if chance else 1.0)
        for c, chance in zip(found, chances, strict=True)
    }
    return sorted(found, key=lambda c: (-values[id(c)], c.path, c.first, c.lines))


def line_scores(suspects: list[Suspect], fragments: list[Fragment], hints: Hints,
                traceback: list[tuple[str, int]]) -> dict[tuple[str, int], float]:  # fmt: skip
    """Suspiciousness of every line that was read: Ochiai, spread to lines that a tracer does not see."""
    scores: dict[tuple[str, int], float] = {}
    text = {(f.path, n): f.line(n) for f in fragments for n in range(f.first, f.last + 1)}
    raising = set(traceback)
    for suspect in suspects:
        name = suspect.name.rpartition(".")[2].lower()
        named = 1.2 if name.strip("_") in hints.names or suspect.name.lower() in hints.names else 1.0
        current = SIGNATURE * suspect.score
        for number in range(suspect.first, suspect.last + 1):
            score = suspect.lines.get(number)
            if score is None:  # continued lines, `else:`, the signature, code not reached
                line = text.get((suspect.path, number), "")
                continued = number - 1 in suspect.lines or (suspect.path, number - 1) in scores
                score = current * (0.9 if continued and line.strip() else 0.5)
                if not suspect.lines:
                    score = suspect.score
            else:
                current = score
            if (suspect.path, number) in raising:
                score = max(score, suspect.score) * 1.15
            scores[suspect.path, number] = max(scores.get((suspect.path, number), 0.0), score * named)
        _raise_conditions(suspect, text, scores)
    return scores


def _raise_conditions(
    suspect: Suspect, text: dict[tuple[str, int], str], scores: dict[tuple[str, int], float]
) -> None:
    """A condition is as suspicious as the lines it lets run, and a little more than others of its score."""
    for number in range(suspect.last, suspect.first - 1, -1):
        line = text.get((suspect.path, number), "")
        head = line.lstrip()
        if not head.startswith(("if ", "elif ", "while ", "for ", "if(", "while(", "except")):
            continue
        indent = len(line) - len(head)
        best = scores.get((suspect.path, number), 0.0)
        for inner in range(number + 1, suspect.last + 1):
            body = text.get((suspect.path, inner), "")
            if body.strip() and len(body) - len(body.lstrip()) <= indent:
                break
            best = max(best, 0.97 * scores.get((suspect.path, inner), 0.0) if inner in suspect.lines else 0.0)
        scores[suspect.path, number] = best


def _hinted(candidate: Candidate, hints: Hints) -> float:
    kind = candidate.kind
    factor = 1.0
    if hints.off_by_one and kind in ("number", "slice", "off_by_one", "index"):
        factor *= 1.5
    if hints.sign and kind in ("sign", "arithmetic", "operands"):
        factor *= 2.0
    if hints.truth and kind in ("comparison", "boolean", "negation", "truth"):
        factor *= 1.3
    if hints.none and kind in ("return", "none"):
        factor *= 2.0
    if hints.not_raised and kind in ("comparison", "boolean", "negation", "exception"):
        factor *= 1.3
    if hints.raised & {"TypeError"} and kind in ("arguments", "argument", "operands"):
        factor *= 1.5
    if hints.raised & {"IndexError", "StopIteration"} and kind in ("index", "slice", "number", "comparison"):
        factor *= 1.3
    if hints.raised & {"NameError", "UnboundLocalError", "AttributeError"} and kind in ("removed", "attribute"):
        factor *= 1.7
    return factor
