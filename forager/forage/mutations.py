"""The bugs of one package that become tasks: mutants in their order until enough are good, and combined ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import combinations, islice

from msgspec import structs

from forager.forage.evidence import Mutants
from forager.forage.judge import Judge
from forager.forage.mutate import Mutant, overlap
from forager.forage.validate import Verdict
from forager.records import digest

TRIES, TRIES_MORE = 25, 10
"""Mutants tried before the first good one, and more for each good one; then the package is given up."""
COMBINED = 8
"""One task in so many has a bug of several places."""
PLACES = (2, 2, 3, 4)
"""How many places, drawn from these."""
COMBINED_TRIES = 3
"""Combined bugs tried for one task."""

Tried = tuple[Mutants, Verdict]
Accept = Callable[[Mutants, Verdict], bool]
"""Whether a valid bug makes a task, and one that is like none before it. Called once for each, in order."""
Take = Callable[[int], Awaitable[Sequence[Mutant]]]
"""Gives so many of the next mutants to try; fewer where there are no more."""


class Trials:
    """The trials of one package. `known` holds verdicts of earlier calls by key, `keep` makes one durable. A bug is
    good that is valid and that `accept` takes; the others are replaced."""

    def __init__(
        self,
        judge: Judge,
        take: Take,
        seed: str,
        known: Callable[[str], Verdict | None],
        keep: Callable[[str, Verdict], None],
        tell: Callable[[Mutants, Verdict], None],
        accept: Accept,
    ) -> None:
        self._judge = judge
        self._take = take
        self._seed = seed
        self._known = known
        self._keep = keep
        self._tell = tell
        self._accept = accept
        self._tried: list[Tried] = []
        self.good: list[Tried] = []
        """In the order of trial."""

    async def run(self, wanted: int, *, combine: bool = True) -> list[Tried]:
        """All that was tried, in order, when `wanted` are good or too few are. Some are combined bugs,
        unless told not to.

        Which are tried depends on their order and the verdicts alone, so a call that wants more goes on where one
        that wanted fewer stopped. Raises as `Judge.verdicts` and what gives the mutants do.
        """
        combined = wanted // COMBINED if combine else 0
        await self._until(wanted - combined)
        await self._combine(list(self.good), combined)
        await self._until(wanted)
        return self._tried

    async def _until(self, wanted: int) -> None:
        """Try single mutants until so many bugs are good. Never more at once than are still wanted."""
        while True:
            good = len(self.good)
            size = min(wanted - good, TRIES + TRIES_MORE * good - len(self._tried))
            wave = await self._take(max(0, size))
            if not wave:
                return
            await self._try([(mutant,) for mutant in wave])

    async def _combine(self, singles: Sequence[Tried], count: int) -> None:
        """Try combinations of good bugs until so many are good, each place of one with a failing test of its own.

        Each comes from singles that are no other's, so that those found next, when more are wanted, change nothing
        about it. The first combination of each is tried, then the second of those whose first was not good, ...
        """
        size = COMBINED - 1
        lacking = [combined_bugs(singles[n * size : (n + 1) * size], f"{self._seed}:{n}") for n in range(count)]
        while lacking:
            parts: dict[Mutants, Sequence[Tried]] = {}
            more: dict[Mutants, Iterator[list[Tried]]] = {}
            for others in lacking:
                if chosen := next(others, None):
                    bug = tuple(mutant for mutants, _ in chosen for mutant in mutants)
                    parts[bug], more[bug] = chosen, others
            await self._try(list(parts), parts)
            good = {mutants for mutants, _ in self.good}
            lacking = [others for bug, others in more.items() if bug not in good]

    async def _try(self, bugs: list[Mutants], parts: Mapping[Mutants, Sequence[Tried]] | None = None) -> None:
        """`parts`: the single bugs that combined ones are made of."""
        found: dict[Mutants, Verdict] = {}

        def told(mutants: Mutants, verdict: Verdict) -> None:
            if (
                verdict.reason == "valid"
                and parts
                and not all(own & set(verdict.fail_to_pass) for own in owned(parts[mutants]))
            ):
                verdict = structs.replace(verdict, reason="unowned")
            self._keep(key_of(mutants), verdict)
            found[mutants] = verdict
            self._tell(mutants, verdict)

        fresh = []
        for mutants in bugs:
            verdict = self._known(key_of(mutants))
            if verdict is None:
                fresh.append(mutants)
            else:
                found[mutants] = verdict
                self._tell(mutants, verdict)
        await self._judge.verdicts(fresh, told)
        tried = [(mutants, found[mutants]) for mutants in bugs]
        self._tried += tried
        self.good += [one for one in tried if one[1].reason == "valid" and self._accept(*one)]


def in_order(mutants: Iterator[Mutant]) -> Take:
    """Mutants one after the other, worked out as they are needed."""

    async def take(count: int) -> Sequence[Mutant]:
        return await asyncio.to_thread(list, islice(mutants, count))

    return take


def combined_bugs(singles: Sequence[Tried], seed: str) -> Iterator[list[Tried]]:
    """A few sets of 2 to 4 valid bugs that can stand together, each with a test that no other of the set touches."""
    chance = random.Random(seed)
    seen: set[frozenset[Mutants]] = set()
    for _ in range(20 * COMBINED_TRIES):
        places = chance.choice(PLACES)
        if places > len(singles):
            continue
        chosen = sorted(chance.sample(list(singles), places), key=lambda tried: (tried[0][0].file, tried[0][0].start))
        names = frozenset(mutants for mutants, _ in chosen)
        apart = not any(overlap(a, b) for (a, _), (b, _) in combinations(chosen, 2))
        if names not in seen and apart and all(owned(chosen)):
            seen.add(names)
            yield chosen
        if len(seen) == COMBINED_TRIES:
            return


def owned(parts: Sequence[Tried]) -> list[frozenset[str]]:
    """For each bug of a set, the tests that it alone makes fail."""
    touched = [{*verdict.fail_to_pass, *verdict.unstable} for _, verdict in parts]
    return [
        frozenset(verdict.fail_to_pass).difference(*(t for other, t in enumerate(touched) if other != number))
        for number, (_, verdict) in enumerate(parts)
    ]


def key_of(mutants: Mutants) -> str:
    """What a verdict is kept under."""
    return digest(mutants[0] if len(mutants) == 1 else list(mutants))


def operator_of(mutants: Mutants) -> str:
    """The operator's name; `combined` for several places."""
    return mutants[0].operator if len(mutants) == 1 else "combined"
