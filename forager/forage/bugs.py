"""All bugs of one package that become tasks: of one place or a few, functions to write, and a model's rewrites."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from forager.forage.elsewhere import Elsewhere, stands_elsewhere
from forager.forage.evidence import Mutants
from forager.forage.judge import Judge
from forager.forage.mutate import Mutant, all_sites, sample
from forager.forage.mutations import Accept, Take, Trials, Tried, in_order, key_of, operator_of
from forager.forage.operators.functions import IMPLEMENT
from forager.forage.replies import Asking
from forager.forage.results import WorkFile
from forager.forage.rewrite import Rejection
from forager.forage.rewrites import Rewrites
from forager.forage.validate import Verdict
from forager.records import Record

LEFT_OUT = 300
"""Mutants of code that stands elsewhere in the image, too, after which a package is given up."""


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
    elsewhere: int = 0
    """Mutants that were not tried, because what they change can be read elsewhere in the image."""

    @property
    def rejected(self) -> dict[str, int]:
        """Bugs that became no task, by reason."""
        reasons = Counter(str(verdict.reason) for _, verdict in self.tried if verdict.reason != "valid")
        return dict(sorted((reasons + Counter(stands_elsewhere=self.elsewhere)).items()))

    @property
    def verdicts(self) -> dict[str, dict[str, int]]:
        """What came of all, by operator."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for mutants, verdict in self.tried:
            found[operator_of(mutants)][verdict.reason] += 1
        return {operator: dict(sorted(found[operator].items())) for operator in sorted(found)}


async def find_bugs(
    judge: Judge,
    package: str,
    sources: Mapping[str, bytes],
    seed: str,
    wanted: Wanted,
    work: WorkFile,
    asking: Asking | None,
    *,
    elsewhere: Elsewhere,
    told: Callable[[Mutants, Verdict], None],
    accept: Callable[[Mutants, Verdict, str], bool],
    unusable: Callable[[Mutant, Rejection], None],
) -> Bugs:
    """Bugs of each kind until enough of it are good or it is given up; verdicts of earlier calls are in `work`.

    Mutants of what is `elsewhere` in the image, too, are not tried. `told` is called with every verdict; `accept`
    with each valid bug and the model that made it, if any did, says whether it makes a task; `unusable` is called
    with every reply that is no mutant. Raises as `Judge.verdicts` and `Asking.ask` do.
    """

    def made_by_rule(mutants: Mutants, verdict: Verdict) -> bool:
        return accept(mutants, verdict, "")

    left_out = 0

    def trials_of(take: Take, accept: Accept) -> Trials:
        async def only_here(count: int) -> Sequence[Mutant]:
            nonlocal left_out
            found: list[Mutant] = []
            while len(found) < count and left_out < LEFT_OUT and (taken := await take(count - len(found))):
                kept = await asyncio.to_thread(
                    lambda: [m for m in taken if not stands_elsewhere(elsewhere, m, sources)]
                )
                left_out += len(taken) - len(kept)
                found += kept
            return found

        return Trials(judge, only_here, seed, work.verdicts.get, work.set_verdict, told, accept)

    sites = await asyncio.to_thread(all_sites, sources)
    tried = list(await trials_of(in_order(sample(sites, sources, seed)), made_by_rule).run(wanted.mutations))
    if wanted.implementations:
        functions = await asyncio.to_thread(all_sites, sources, IMPLEMENT)
        order = in_order(sample(functions, sources, seed))
        tried += await trials_of(order, made_by_rule).run(wanted.implementations, combine=False)
    rewrites = None
    if wanted.rewrites and asking is not None:

        def is_worth_asking(place: Mutant) -> bool:
            return judge.reaches(place) and not stands_elsewhere(elsewhere, structs.replace(place, text=""), sources)

        rewrites = Rewrites(asking, package, sources, seed, is_worth_asking, unusable)
        models = rewrites.models

        def made_by_model(mutants: Mutants, verdict: Verdict) -> bool:
            return accept(mutants, verdict, models[key_of(mutants)])

        tried += await trials_of(rewrites.take, made_by_model).run(wanted.rewrites, combine=False)
    return Bugs(
        tried=tuple(tried),
        sites=len(sites),
        replies_rejected=dict(sorted(rewrites.rejected.items())) if rewrites else {},
        elsewhere=left_out,
    )
