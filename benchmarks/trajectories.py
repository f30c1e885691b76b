"""Whole trajectories of ten steps, without grading, at several numbers of workers."""

from __future__ import annotations

import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker

from benchmarks.bench import Bench
from benchmarks.figures import FLOOR, FORAGER, MINI, Figure, Goal, Group, Value, at_least, median
from benchmarks.floor import BareContainer
from benchmarks.scripted import attempt_all
from benchmarks.task import COMMANDS

NOTE = (
    "Trajectories are nine commands and the end. Forager: its agent loop, the run directory with its fsyncs, and a "
    "submit that takes the tree's diff. mini-swe-agent: its agent loop, its saved trajectory, and `git diff`; its "
    "containers are still going when the clock stops. The floor: a tenth command, no diff, nothing written."
)


async def measure(bench: Bench) -> Group:
    """The contenders in turns, at each number of workers."""
    figures: list[Figure] = []
    goals: list[Goal] = []
    repetitions = bench.repetitions
    for workers in repetitions.workers:
        rates: dict[str, list[float]] = {}
        count, few = repetitions.trajectories, max(repetitions.peer_trajectories, 2 * workers)
        for _ in range(repetitions.trajectory_rounds):
            rates.setdefault(FLOOR, []).append(60 * count / await _floor(bench, count, workers))
            directory = Path(tempfile.mkdtemp(prefix="run-", dir=bench.directory))
            rates.setdefault(FORAGER, []).append(60 * count / await attempt_all(bench, directory, count, workers))
            if bench.mini is not None:
                rates.setdefault(MINI, []).append(60 * few / await _peer(bench, few, workers))
        values = {name: Value(value=median(rates[name]), n=len(rates[name])) for name in (FORAGER, *rates)}
        name = f"trajectories, {workers} worker{'' if workers == 1 else 's'}"
        figures.append(Figure(name=name, unit="per minute", values=values, note=NOTE))
        share = values[FORAGER].value / values[FLOOR].value
        goals.append(at_least(f"trajectories beside the floor, {workers} at once", share, 0.85, "x"))
    return Group(figures=tuple(figures), goals=tuple(goals), notes=(NOTE,))


async def _floor(bench: Bench, count: int, workers: int) -> float:
    clients = [docker.from_env(timeout=120).api for _ in range(workers)]

    def attempt(number: int) -> None:
        client = clients.pop()
        with BareContainer(client, bench.image.digest, bench.task.workdir, bench.labels()) as container:
            for command in (*COMMANDS, "true"):
                container.shell.run(command)
        clients.append(client)

    def attempts() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(attempt, range(count)))
        return time.perf_counter() - began

    seconds = await asyncio.to_thread(attempts)
    for client in clients:
        client.close()
    return seconds


async def _peer(bench: Bench, count: int, workers: int) -> float:
    assert bench.mini is not None
    directory = tempfile.mkdtemp(prefix="mini-", dir=bench.directory)
    seconds: float = await asyncio.to_thread(
        bench.mini.ask, "trajectories", commands=COMMANDS, count=count, workers=workers, directory=directory
    )
    await bench.sweep()  # they would go ten seconds later, into somebody else's measurement
    return seconds
