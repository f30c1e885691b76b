"""The problem statement of a commit's task: the linked issue's words, or the commit message's, never the diff.

A message says what was done; what the failing tests show is told beside it, so that the task can be understood. Lines
that would give away the place or the change are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from forager.forage.linked import Linked
from forager.forage.mining import Candidate
from forager.forage.statement import Detail, behaviour, gives_away

LONGEST = 8000
"""Characters of a linked text or a message."""
ENOUGH = 12
"""Words of an issue's body that stand alone."""
FEWEST = 8
"""Words; a shorter message without any behaviour beside it tells too little."""
FEWEST_TERSE = 3
"""Words of a title that is all there is."""
CLOSING = "The tests for this are not in the repository. Please make the change without breaking what works."

_TRAILER = re.compile(
    r"(?i)(signed-off-by|co-authored-by|reviewed-by|acked-by|tested-by|reported-by|change-id|git-svn-id|cc"
    r"|\(cherry picked from|\(backported from|# ).*"
)
_REFERENCE = re.compile(
    r"(?i)[\s,]*[(\[]?(?<!\w)(?:(close[sd]?|fix(e[sd])?|resolve[sd]?|refs?|see|issue|bug|pr)[\s:]*)?"
    r"(?:[\w.-]+/[\w.-]+)?(?:#|gh-)\d+\b[)\]]?:?|https?://\S+/(issues|pull|commit)/\w+"
)
_COMMENT = re.compile(r"<!--.*?(-->|\Z)", re.DOTALL)
_DIFF_BLOCK = re.compile(r"```\s*(diff|patch)\b.*?(```|\Z)", re.DOTALL | re.IGNORECASE)
_DIFF_LINES = re.compile(r"(?m)^(diff --git .*|index [0-9a-f]+\.\..*|--- a/.*|\+\+\+ b/.*|@@ .*|[+-](?![+-])\S.*)\n?")
_SUGGESTION = re.compile(r"```\s*suggestion\b.*?(```|\Z)", re.DOTALL)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def commit_statement(
    name: str,
    candidate: Candidate,
    linked: Linked | None,
    failures: Mapping[str, str],
    sources: Mapping[str, bytes],
    detail: Detail = "full",
) -> str:
    """The statement; empty where what there is tells nothing.

    `failures` (node id to pytest's text) and `sources` (test files by path) are of the tests before the commit.
    """
    title, body = _linked(linked) if linked is not None else _message(candidate.commit.message)
    title, body = _safe(title, candidate), _safe(body, candidate)
    alone = linked is not None and len(body.split()) >= ENOUGH
    levels: tuple[Detail, ...] = () if alone else (detail, "symptom") if detail == "full" else (detail,)
    cases: list[str] = []
    for level in levels:
        cases = cases or [case for case in behaviour(failures, sources, level) if not _tells(case, candidate)]
    if len(f"{title} {body}".split()) < FEWEST and not cases and detail != "terse":
        return ""
    if detail == "terse":
        if len(title.split()) < FEWEST_TERSE:
            return ""
        body = ""
    parts = [f"# {title or f'{name}: wanted behaviour'}", body]
    if cases:
        parts += [f"This is what {name} does not do yet.", *cases]
    parts.append(CLOSING)
    return "\n\n".join(part for part in parts if part) + "\n"


def _linked(linked: Linked) -> tuple[str, str]:
    body = _SUGGESTION.sub("", _DIFF_BLOCK.sub("", _COMMENT.sub("", linked.body or "")))
    body = _DIFF_LINES.sub("", body) if "@@ " in body else body
    return _plain(linked.title).split("\n")[0], _plain(body)


def _message(message: str) -> tuple[str, str]:
    """Subject and body of a commit's message, without trailers and references."""
    subject, _, body = message.strip().partition("\n")
    lines = [line for line in body.splitlines() if not _TRAILER.match(line.strip())]
    text = re.sub(r"(?m)([.!?])\.$|^\.$", r"\1", _REFERENCE.sub("", "\n".join(lines)))
    return _plain(_REFERENCE.sub("", subject)).strip(" :-"), _plain(text)


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()[:LONGEST]


def _safe(text: str, candidate: Candidate) -> str:
    """A text without the lines that tell the place or the change; without any line if only all of them do not."""
    kept = "\n".join(line for line in text.split("\n") if not _tells(line, candidate))
    return re.sub(r"\n{3,}", "\n\n", kept).strip() if not _tells(kept, candidate) else ""


def _tells(text: str, candidate: Candidate) -> bool:
    return any(gives_away(text, file, candidate.patch) for file in candidate.code)
