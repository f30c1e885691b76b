"""How all attempts of a run slow down together when their server says "too many requests".

A refused request is no failure, it waits. What it learns holds for everyone: a `Retry-After` pauses every attempt,
and each refusal widens the gap that all requests keep from each other, so that the end of a pause is no stampede.
Each request let through narrows the gap again; a server that refuses nothing is never waited for.
"""

from __future__ import annotations

import asyncio
import random
import time

from forager.errors import ModelError

_WIDEN, _NARROW_AT_MOST = 2.0, 0.7
_NO_GAP = 0.0005
"""Gaps below this many seconds are no gap."""


class Pace:
    """The shared clock of one server's requests. Times in seconds."""

    def __init__(self, first_gap: float, longest_gap: float, recovery: float, patience: float) -> None:
        """`recovery`: seconds without a refusal in which the rate of requests doubles."""
        self._first_gap = first_gap
        self._longest_gap = longest_gap
        self._recovery = recovery
        self._patience = patience
        self._lock = asyncio.Lock()
        self._gap = 0.0
        self._gap_changed = self._latest = self._paused_until = self._answered = -1e9

    async def turn(self, waiting_since: float) -> float:
        """Wait until a request may go out; returns when it does (monotonic).

        Raises `ModelError` when the server has answered nobody for the whole of the patience, counted from
        `waiting_since` at the earliest, or asks for a longer pause than that.
        """
        if self._gap == 0.0 and self._paused_until <= time.monotonic():
            return time.monotonic()
        async with self._lock:  # first come, first served
            while (due := max(self._paused_until, self._latest + self._gap)) > (now := time.monotonic()):
                self._check_patience(waiting_since, due)
                await asyncio.sleep(due - now)
            self._check_patience(waiting_since, now)
            self._latest = now
            self._narrow()
            return now

    def _narrow(self) -> None:
        # Slowly enough that a rate limit is crossed by few requests, and that a probe a time cannot outrun refusals.
        self._gap *= max(_NARROW_AT_MOST, 0.5 ** (self._gap / self._recovery))
        if self._gap < _NO_GAP:
            self._gap = 0.0

    def answered(self) -> None:
        """The server took a request: whoever waits has reason to go on waiting."""
        self._answered = time.monotonic()

    def refused(self, started: float, retry_after: float | None) -> None:
        """The server refused a request that went out at `started`, and may have said for how many seconds."""
        now = time.monotonic()
        if retry_after is not None:
            # A little later than told, each client differently: other processes were told the same.
            self._paused_until = max(self._paused_until, now + retry_after * random.uniform(1.0, 1.1))
        if started >= self._gap_changed:  # one widening for a volley, however many of it were refused
            self._gap = min(max(self._gap * _WIDEN, self._first_gap), self._longest_gap)
            self._gap_changed = now

    def _check_patience(self, waiting_since: float, due: float) -> None:
        if due - max(waiting_since, self._answered) > self._patience:
            raise ModelError(
                f"the model server kept refusing requests (429) for longer than {self._patience:.0f} s; "
                "run the same command again later, or with fewer workers"
            )
