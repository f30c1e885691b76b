"""Memory of the orchestrator at 8 workers, over hundreds of attempts: `forager run` against a server on loopback."""

from __future__ import annotations

import asyncio
import tempfile

from benchmarks.bench import Bench
from benchmarks.figures import FORAGER, MINI, Figure, Group, Value, at_most
from benchmarks.process import forager_run, tree
from benchmarks.task import COMMANDS

WORKERS = 8


async def measure(bench: Bench) -> Group:
    """A real run with a real client library; the peer's driver with its scripted model beside it."""
    count = bench.repetitions.memory_attempts
    turns = [{"bash": command} for command in COMMANDS]
    watched = await forager_run(bench, "memory", {"turns": turns}, samples=count, workers=WORKERS)
    early = min(100, count // 2)
    first, middle, last = (watched.after(number) for number in (1, early, count))
    values = {FORAGER: Value(value=watched.peak, n=count)}
    if bench.mini is not None:
        values[MINI] = Value(value=await _peer(bench), n=bench.repetitions.peer_trajectories)
    figures = (
        Figure(
            name=f"memory, {WORKERS} workers",
            unit="MB",
            values=values,
            note="mini-swe-agent: its docker clients too; scripted model, so without its client library.",
        ),
        Figure(name="memory after 1 attempt", unit="MB", values={FORAGER: Value(value=first)}),
        Figure(name=f"memory after {early} attempts", unit="MB", values={FORAGER: Value(value=middle)}),
        Figure(name=f"memory after {count} attempts", unit="MB", values={FORAGER: Value(value=last)}),
        Figure(
            name=f"forager run, {WORKERS} workers",
            unit="per minute",
            values={FORAGER: Value(value=60 * count / watched.seconds, n=count)},
        ),
    )
    goals = (
        at_most(f"memory at {WORKERS} workers", watched.peak, 150, "MB"),
        at_most(f"growth from {early} to {count} attempts", last / middle, 1.05, "x"),
    )
    return Group(figures=figures, goals=goals)


async def _peer(bench: Bench) -> float:
    """The most that its driver and the docker clients it started held at once, megabytes."""
    mini = bench.mini
    assert mini is not None
    most = 0.0
    running = asyncio.ensure_future(
        asyncio.to_thread(
            mini.ask,
            "trajectories",
            commands=COMMANDS,
            count=bench.repetitions.peer_trajectories,
            workers=WORKERS,
            directory=tempfile.mkdtemp(prefix="mini-", dir=bench.directory),
        )
    )
    while not running.done():
        most = max(most, await asyncio.to_thread(tree, mini.pid))
        await asyncio.sleep(0.05)
    await running
    await bench.sweep()
    return most
