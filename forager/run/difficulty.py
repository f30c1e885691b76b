"""How hard tasks are, measured: the share of the attempts of some runs that resolved each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from forager.records import Record, Task
from forager.run.estimates import Estimate, estimate
from forager.run.index import Index, trajectories_file

BUCKETS = {
    "unsolved": "0 %",
    "hard": "up to 25 %",
    "medium": "25 to 75 %",
    "easy": "75 % or more",
    "always": "100 %",
}
"""Names of the buckets, the hardest first, and the solve rates that each holds."""


class Tries(Record, frozen=True, omit_defaults=False):
    """Attempts at one task."""

    attempts: int
    """Graded ones: what infrastructure broke tells nothing about the task."""
    resolved: int


class SolveRate(Record, frozen=True, omit_defaults=False):
    """How often one task was resolved; `provenance.difficulty` of a task."""

    attempts: int
    resolved: int
    rate: float
    """Resolved attempts of all, 0 to 1: estimates the chance of one attempt without bias."""
    bucket: str
    models: dict[str, Tries]
    """By model; `rate` weighs each model by its attempts."""


class Bucket(Record, frozen=True, omit_defaults=False):
    """The tasks of one bucket."""

    tasks: int
    attempts: int
    resolved: int


class Difficulty(Record, frozen=True, omit_defaults=False):
    """What runs say of a set of tasks."""

    runs: list[str]
    tasks: int
    """In the set; without a set, those that were tried."""
    tried: int
    """Of them, with a graded attempt."""
    foreign: int
    """Tasks with a graded attempt that are not in the set."""
    attempts: int
    resolved: int
    pass_at_1: Estimate | None
    """Over the tried tasks; None if there are none."""
    buckets: dict[str, Bucket]
    """The hardest first."""
    by_task: dict[str, SolveRate]
    schema: str = "forager.difficulty/1"


def bucket_of(rate: float) -> str:
    """The bucket of a solve rate, 0 to 1."""
    if rate in (0, 1):
        return "always" if rate else "unsolved"
    return "hard" if rate <= 0.25 else "medium" if rate < 0.75 else "easy"


def solve_rates(runs: Iterable[Path]) -> dict[str, SolveRate]:
    """Each task's solve rate over all graded attempts of the runs (directories or files of trajectories); one that is
    named twice counts once. Raises `UsageError` for what is no run."""
    counted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for path in dict.fromkeys(trajectories_file(run).resolve() for run in runs):
        with Index.open(path) as index:
            for row in index.rows():
                if row.resolved is not None:
                    tries = counted[row.instance_id][row.model]
                    tries[0] += 1
                    tries[1] += row.resolved
    return {task: _rate(models) for task, models in sorted(counted.items())}


def measure(runs: Sequence[Path], tasks: Sequence[Task] | None = None) -> Difficulty:
    """What runs say of a set of tasks, or of those they tried. Raises `UsageError` for what is no run."""
    every = solve_rates(runs)
    rates = every if tasks is None else {t.instance_id: every[t.instance_id] for t in tasks if t.instance_id in every}
    counted = Counter((one.attempts, one.resolved) for one in rates.values())
    return Difficulty(
        runs=[str(run) for run in runs],
        tasks=len(rates) if tasks is None else len(tasks),
        tried=len(rates),
        foreign=len(every) - len(rates),
        attempts=sum(one.attempts for one in rates.values()),
        resolved=sum(one.resolved for one in rates.values()),
        pass_at_1=estimate(counted, 1),
        buckets={name: _bucket(one for one in rates.values() if one.bucket == name) for name in BUCKETS},
        by_task=rates,
    )


def annotated(tasks: Iterable[Task], rates: Mapping[str, SolveRate]) -> Iterator[Task]:
    """The tasks, those that were tried with their solve rate in `provenance.difficulty`."""
    for task in tasks:
        found = rates.get(task.instance_id)
        if found is None:
            yield task
        else:
            yield structs.replace(task, provenance={**task.provenance, "difficulty": msgspec.to_builtins(found)})


def known_bucket(task: Task) -> str:
    """The bucket that `annotated` put a task into; empty if it did not."""
    found = task.provenance.get("difficulty")
    name = found.get("bucket") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name in BUCKETS else ""


def _rate(models: Mapping[str, Sequence[int]]) -> SolveRate:
    attempts, resolved = (sum(tries[part] for tries in models.values()) for part in (0, 1))
    rate = resolved / attempts
    return SolveRate(
        attempts=attempts,
        resolved=resolved,
        rate=round(rate, 4),
        bucket=bucket_of(rate),
        models={name: Tries(attempts=tries[0], resolved=tries[1]) for name, tries in sorted(models.items())},
    )


def _bucket(rates: Iterable[SolveRate]) -> Bucket:
    members = list(rates)
    return Bucket(
        tasks=len(members),
        attempts=sum(one.attempts for one in members),
        resolved=sum(one.resolved for one in members),
    )
