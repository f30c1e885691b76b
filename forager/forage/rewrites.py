"""The functions of a package in a fair order, each rewritten by a model: the mutants that come of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from forager.forage.mutate import Mutant, all_sites, sample
from forager.forage.operators.functions import REWRITE
from forager.forage.replies import Asking
from forager.forage.rewrite import Place, Rejection, kind_of
from forager.forage.trying import at_once
from forager.records import digest

ROUNDS = 3
"""How often a function is asked for, each time with another kind of bug."""
IN_A_ROW = 20
"""Replies without a mutant, one after the other, after which no more are asked for."""


class Rewrites:
    """Where the mutants of `mutations.Trials` come from when a model makes them."""

    def __init__(
        self,
        asking: Asking,
        package: str,
        sources: Mapping[str, bytes],
        seed: str,
        reaches: Callable[[Mutant], bool],
        tell: Callable[[Mutant, Rejection], None],
    ) -> None:
        """`sources` are the package's own files. Only functions that tests run, as `reaches` says, are asked for;
        `tell` is called with each reply that is no mutant."""
        self.rejected: Counter[Rejection] = Counter()
        self.models: dict[str, str] = {}
        """Which model made a mutant, by the mutant's digest."""
        self._asking = asking
        self._package = package
        self._sources = sources
        self._seed = seed
        self._reaches = reaches
        self._tell = tell
        self._queue: list[tuple[Mutant, int]] | None = None
        self._seen: set[Mutant] = set()
        self._in_a_row = 0

    async def take(self, count: int) -> Sequence[Mutant]:
        """The next mutants; fewer where there are no more. Never are more replies asked for than mutants wanted.

        Raises as `Asking.ask` does.
        """
        if self._queue is None:
            self._queue = await asyncio.to_thread(self._order)
        found: list[Mutant] = []
        while len(found) < count and self._in_a_row < IN_A_ROW and self._queue:
            size = count - len(found)
            wave, self._queue = self._queue[:size], self._queue[size:]
            replies = await at_once(self._one(*entry) for entry in wave)
            for (place, _), made in zip(wave, replies, strict=True):
                if isinstance(made, Mutant) and made not in self._seen:
                    self._seen.add(made)
                    self._in_a_row = 0
                    found.append(made)
                else:
                    reason: Rejection = "same" if isinstance(made, Mutant) else made
                    self._in_a_row += 1
                    self.rejected[reason] += 1
                    self._tell(place, reason)
        return found

    def _order(self) -> list[tuple[Mutant, int]]:
        order = sample(all_sites(self._sources, REWRITE), self._sources, f"{self._seed}:rewrite")
        places = [place for place in order if self._reaches(place)]
        return [(place, number) for number in range(ROUNDS) for place in places]

    async def _one(self, mutant: Mutant, number: int) -> Mutant | Rejection:
        place = await asyncio.to_thread(Place, mutant, self._sources[mutant.file])
        reply = await self._asking.ask(place.messages(self._package, kind_of(self._seed, mutant, number)))
        if reply is None:
            return "refused"
        made = await asyncio.to_thread(place.read, reply.text)
        if isinstance(made, Mutant):
            self.models[digest(made)] = reply.model
        return made
