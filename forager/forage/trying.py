"""Things done at once: all of them, or some at a time until enough are good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")
V = TypeVar("V")


class Turns(asyncio.Semaphore):
    """A semaphore with a way in for the patient: at most `value` of them are in its queue at a time, so others
    never wait for more. `value` is how many may hold it at once."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value
        self._patient = asyncio.Semaphore(value)

    @asynccontextmanager
    async def patiently(self) -> AsyncIterator[None]:
        """Hold the semaphore, as `async with` it does."""
        async with self._patient, self:
            yield


async def at_once(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """All at once; when one fails, the others are called off."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_enough(
    order: AsyncIterator[T],
    attempt: Callable[[T], Awaitable[V]],
    good: Callable[[Sequence[V]], int],
    *,
    wanted: int,
    workers: int,
    most: Callable[[int], int],
) -> list[V]:
    """What came of each, in their order, until `wanted` are good or `most(number of good ones)` have been tried.

    `good` says how many of some results, given in order, are. Never more are under way than are still wanted: so no
    attempt is wasted, and how many workers there are changes nothing about which are tried. What an attempt raises
    ends the others.
    """
    results: dict[int, V] = {}
    running: dict[asyncio.Task[V], int] = {}
    enough = 0

    async def one(thing: T) -> V:
        return await attempt(thing)

    try:
        while True:
            while len(running) < min(workers, wanted - enough):
                number = len(results) + len(running)
                thing = await anext(order, None) if number < most(enough) else None
                if thing is None:
                    break
                running[asyncio.create_task(one(thing))] = number
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                results[running.pop(job)] = job.result()
            enough = good([result for _, result in sorted(results.items())])
    finally:
        for job in running:
            job.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return [result for _, result in sorted(results.items())]
