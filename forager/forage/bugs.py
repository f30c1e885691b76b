"""All bugs of one package that become tasks: of one place or a few, functions to write, and a model's rewrites."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from forager.forage.judge import Judge, Mutants
from forager.forage.mutate import Mutant, all_sites, sample
from forager.forage.mutations import Trials, Tried, in_order, key_of
from forager.forage.operators.functions import IMPLEMENT
from forager.forage.replies import Asking
from forager.forage.results import WorkFile
from forager.forage.rewrite import Rejection
from forager.forage.rewrites import Rewrites
from forager.forage.validate import Verdict
from forager.records import Record


class Wanted(Record, frozen=True):
    """How many tasks of each kind."""

    mutations: int = 0
    implementations: int = 0
    """Functions to write again."""
    rewrites: int = 0
    """Functions that a model has rewritten with a bug."""

    @property
    def total(self) -> int:
        return self.mutations + self.implementations + self.rewrites


class Bugs(Record, frozen=True):
    """What was found."""

    tried: tuple[Tried, ...]
    """Kind after kind, each in the order of trial."""
    sites: int
    """Places that could be mutated."""
    replies_rejected: dict[Rejection, int]
    """Replies of a model that were no mutants, by reason."""
    models: dict[str, str]
    """Which model made a bug, by its key."""

    @property
    def valid(self) -> list[Tried]:
        return [(mutants, verdict) for mutants, verdict in self.tried if verdict.reason == "valid"]

    @property
    def rejected(self) -> dict[str, int]:
        """Bugs that became no task, by reason."""
        reasons = Counter(verdict.reason for _, verdict in self.tried if verdict.reason != "valid")
        return dict(sorted(reasons.items()))

    def model_of(self, mutants: Mutants) -> str:
        """The model that made a bug; empty if none did."""
        return self.models.get(key_of(mutants), "")


async def find_bugs(
    judge: Judge,
    package: str,
    sources: Mapping[str, bytes],
    seed: str,
    wanted: Wanted,
    work: WorkFile,
    asking: Asking | None,
    *,
    told: Callable[[Mutants, Verdict], None],
    unusable: Callable[[Mutant, Rejection], None],
) -> Bugs:
    """Bugs of each kind until enough of it are valid or it is given up; verdicts of earlier calls are in `work`.

    `told` is called with every verdict, `unusable` with every reply that is no mutant. Raises as `Judge.verdicts` and
    `Asking.ask` do.
    """
    sites = await asyncio.to_thread(all_sites, sources)
    trials = Trials(judge, in_order(sample(sites, sources, seed)), seed, work.verdicts.get, work.set_verdict, told)
    tried = list(await trials.run(wanted.mutations))
    if wanted.implementations:
        functions = await asyncio.to_thread(all_sites, sources, IMPLEMENT)
        order = in_order(sample(functions, sources, seed))
        trials = Trials(judge, order, seed, work.verdicts.get, work.set_verdict, told)
        tried += await trials.run(wanted.implementations, combine=False)
    rewrites = None
    if wanted.rewrites and asking is not None:
        rewrites = Rewrites(asking, package, sources, seed, judge.reaches, unusable)
        trials = Trials(judge, rewrites.take, seed, work.verdicts.get, work.set_verdict, told)
        tried += await trials.run(wanted.rewrites, combine=False)
    return Bugs(
        tried=tuple(tried),
        sites=len(sites),
        replies_rejected=dict(sorted(rewrites.rejected.items())) if rewrites else {},
        models=rewrites.models if rewrites else {},
    )
