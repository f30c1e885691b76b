"""A bounded team of workers over a list of jobs of any length, which one signal or one fault stops cleanly."""

from __future__ import annotations

import asyncio
import heapq
import random
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from forager.errors import ForagerError, UnfitError

STOP_SECONDS = 60.0
"""How long a stopped team may take to clean up. What then still hangs ends with the process, containers included."""

BACKOFF_CAP = 60.0
"""Seconds."""

J = TypeVar("J")


class Interrupted(ForagerError):
    """A signal stopped the work; everything finished is saved."""

    exit_code = 130


async def work(jobs: Iterator[J], do: Callable[[int, J], Awaitable[float | None]], *, workers: int) -> None:
    """Run `do(worker, job)` for every job, `workers` at once; workers count from 0.

    `do` returns None when the job is over, or the seconds after which it is to be done again; the worker takes other
    jobs meanwhile. Jobs are drawn from the iterator as workers become free, so a long list costs no memory.

    SIGINT, SIGTERM and SIGHUP stop the team: no new jobs, those under way are cancelled and waited for, then
    `Interrupted` is raised. An exception of `do` stops it the same way and is raised.
    """
    queue = _Queue(jobs, waiting=4 * workers)

    async def worker(number: int) -> None:
        while (job := await queue.take()) is not None:
            again = None
            try:
                again = await do(number, job)
            finally:
                queue.give_back(job, again)

    stop = asyncio.Event()
    with _signals(stop):
        stopped = asyncio.create_task(stop.wait())
        team = [asyncio.create_task(worker(number)) for number in range(workers)]
        first: BaseException | None = None
        try:
            pending = set(team)
            while pending and not stop.is_set() and first is None:
                done, _ = await asyncio.wait({*pending, stopped}, return_when=asyncio.FIRST_COMPLETED)
                pending -= done
                first = _worst(team)
        finally:
            queue.close()
            for task in (*team, stopped):
                task.cancel()
            await asyncio.wait({*team, stopped}, timeout=STOP_SECONDS)
        if (error := _worst(team)) is not None:
            raise error
        if stop.is_set():
            raise Interrupted("interrupted; run the same command again to go on")


def backoff(tries: int, first: float) -> float:
    """Seconds to wait after the `tries`th failure: `first`, doubled each time, at most 60; with jitter, so that what
    failed together does not come back together."""
    return float(min(BACKOFF_CAP, first * 2 ** (tries - 1)) * random.uniform(0.5, 1.5))


def _worst(team: list[asyncio.Task[None]]) -> BaseException | None:
    """The error to tell of: a fault of the environment explains the others, so it comes first."""
    ended = [task for task in team if task.done() and not task.cancelled()]
    errors = [error for task in ended if (error := task.exception()) is not None]
    return min(errors, key=lambda error: not isinstance(error, UnfitError), default=None)


class _Queue(Generic[J]):
    """Jobs not yet begun, and jobs waiting to be done again.

    A job whose wait is over goes first, so that what it holds is freed soon. When `waiting` jobs wait, no new one is
    begun: whatever breaks them would only break more.
    """

    def __init__(self, jobs: Iterator[J], waiting: int) -> None:
        self._jobs = jobs
        self._limit = waiting
        self._waiting: list[tuple[float, int, J]] = []
        self._count = 0
        self._busy = 0
        self._closed = False
        self._change = asyncio.Event()

    async def take(self) -> J | None:
        """The next job; None when there is none and there will be none."""
        clock = asyncio.get_running_loop().time
        while not self._closed:
            if self._waiting and self._waiting[0][0] <= clock():
                self._busy += 1
                return heapq.heappop(self._waiting)[2]
            if len(self._waiting) < self._limit and (job := next(self._jobs, None)) is not None:
                self._busy += 1
                return job
            if not self._waiting and not self._busy:
                return None
            wait = self._waiting[0][0] - clock() if self._waiting else None
            change = self._change
            try:
                await asyncio.wait_for(change.wait(), wait)
            except TimeoutError:
                continue
        return None

    def give_back(self, job: J, again: float | None) -> None:
        """A job is over, or is to be done again in `again` seconds."""
        self._busy -= 1
        if again is not None:
            self._count += 1
            heapq.heappush(self._waiting, (asyncio.get_running_loop().time() + again, self._count, job))
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Inside the block a signal sets `stop`; afterwards the handlers are what they were.

    Only the main thread can take signals; elsewhere (a notebook's executor, a trainer's thread) this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup: the run is to outlive its terminal
        del before[signal.SIGHUP]
    for number in before:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)
