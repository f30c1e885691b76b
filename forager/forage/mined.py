"""One repository's history, from its newest commit back, until enough commits have become tasks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec
import tenacity

from forager.errors import SandboxError
from forager.forage import history, mining
from forager.forage.alike import Alike
from forager.forage.commits import CommitVerdict, Miner, commit_material, commit_task
from forager.forage.linked import Issues
from forager.forage.mining import Candidate
from forager.forage.replies import Asking
from forager.forage.source import Source
from forager.forage.statement import Detail
from forager.forage.trying import until_enough
from forager.forage.written import write_report
from forager.records import Record, Task

TRIES, TRIES_MORE = 20, 5
"""Candidates tried before the first task, and more for each task; then the history is given up."""


class Mined(Record, frozen=True):
    """What came of a history."""

    tasks: tuple[Task, ...] = ()
    commits: int = 0
    """Looked at."""
    left: dict[str, int] = msgspec.field(default_factory=dict)
    """Commits that were no candidates, by reason."""
    tried: int = 0
    """Candidates whose tests were run."""
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    """Candidates that became no task, by reason."""
    reports_refused: int = 0
    """Statements by a model that did not pass the check."""


class Result(Record, frozen=True):
    """What came of one candidate."""

    candidate: Candidate
    verdict: CommitVerdict
    task: Task | None = None
    reports_refused: int = 0


async def mine(
    source: Source,
    miner: Miner,
    known: Callable[[str], CommitVerdict | None],
    keep: Callable[[str, CommitVerdict], None],
    *,
    wanted: int,
    workers: int,
    issues: Issues,
    detail: Detail,
    limit: Callable[[float], float],
    tell: Callable[[str, int, int], None],
    asking: Asking | None = None,
    seen: Callable[[], Alike] = Alike,
) -> Mined:
    """Tasks from the history of a source at its commit. `known` gives an earlier call's verdict, `keep` keeps one.

    `limit` gives the seconds of a grading run from those of a run; `tell` is called with a line, the number of tasks
    and of candidates tried. `asking` writes statements where neither message nor issue makes one; what is like a task
    in `seen()`, or one before it, is none. Raises as `Miner.judge` and `Asking.ask` do.
    """

    def distinct(found: Sequence[Result]) -> list[Task]:
        before = seen()
        return [result.task for result in found if result.task is not None and not before.add(result.task)]

    left: Counter[str] = Counter()
    looked = tried = 0
    results: list[Result] = []

    async def order() -> AsyncIterator[Candidate]:
        nonlocal looked
        found = mining.candidates(source.path, source.commit)
        while (entry := await asyncio.to_thread(next, found, None)) is not None:
            looked += 1
            if isinstance(entry[1], Candidate):
                yield entry[1]
            else:
                left[entry[1]] += 1

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(SandboxError),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_exponential(min=0.5, max=5),
        reraise=True,
    )
    async def judged(candidate: Candidate) -> CommitVerdict:
        return await miner.judge(candidate)

    async def attempt(candidate: Candidate) -> Result:
        nonlocal tried
        verdict = known(candidate.commit.id)
        if verdict is None:
            verdict = await judged(candidate)
            keep(candidate.commit.id, verdict)
        task, refused = None, 0
        if verdict.reason == "valid":
            texts = await asyncio.to_thread(
                history.read_blobs, source.path, [f"{candidate.commit.id}:{path}" for path in candidate.tests]
            )
            sources = {path: text for path, text in zip(candidate.tests, texts, strict=True) if text is not None}
            make = partial(
                commit_task, source, candidate, verdict, sources, issues=issues, detail=detail, limit=limit
            )
            task = make()
            if task is None and asking is not None:
                written = await write_report(asking, commit_material(source, candidate, verdict, sources, detail))
                task, refused = make(written=written), len(written.refused)
        result = Result(candidate=candidate, verdict=verdict, task=task, reports_refused=refused)
        results.append(result)
        tried += 1
        reason = verdict.reason if task is not None or verdict.reason != "valid" else "no_statement"
        subject = candidate.commit.message.strip().split("\n")[0][:60]
        tell(f"{candidate.commit.id[:10]} {subject}: {reason}", len(distinct(results)), tried)
        return result

    ordered = await until_enough(
        order(),
        attempt,
        lambda found: len(distinct(found)),
        wanted=wanted,
        workers=workers,
        most=lambda good: TRIES + TRIES_MORE * good,
    )
    tasks = distinct(ordered)
    rejected = Counter(
        "no_statement" if result.verdict.reason == "valid" else result.verdict.reason
        for result in ordered
        if result.task is None
    )
    rejected["near_duplicate"] = sum(result.task is not None for result in ordered) - len(tasks)
    return Mined(
        tasks=tuple(tasks),
        commits=looked,
        left=dict(sorted(left.items())),
        tried=len(ordered),
        rejected={reason: count for reason, count in sorted(rejected.items()) if count},
        reports_refused=sum(result.reports_refused for result in ordered),
    )
