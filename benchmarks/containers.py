"""A container's life: from the call until both shells have answered, and from the call until it is really gone."""

from __future__ import annotations

import asyncio
import time

import docker.errors

from benchmarks.bench import Bench
from benchmarks.figures import FLOOR, FORAGER, MINI, Figure, Group, at_most, milliseconds
from benchmarks.floor import BareContainer
from forager.sandbox.docker import open_sandbox


async def measure(bench: Bench) -> Group:
    """One container after the other, contenders in turns."""
    ready: dict[str, list[float]] = {FORAGER: [], FLOOR: []}
    gone: dict[str, list[float]] = {FORAGER: [], FLOOR: []}
    if bench.mini is not None:
        ready[MINI] = []
    for number in range(bench.repetitions.containers + 1):
        began = time.perf_counter()
        sandbox = await open_sandbox(bench.engine, bench.image.digest, workdir=bench.task.workdir)
        opened = time.perf_counter()
        await sandbox.close()
        _until_gone(bench, sandbox.container)
        _keep(number, ready[FORAGER], opened - began)
        _keep(number, gone[FORAGER], time.perf_counter() - opened)

        began = time.perf_counter()
        bare = BareContainer(bench.engine.api, bench.image.digest, bench.task.workdir, bench.labels())
        opened = time.perf_counter()
        bare.remove()
        _until_gone(bench, bare.id)
        _keep(number, ready[FLOOR], opened - began)
        _keep(number, gone[FLOOR], time.perf_counter() - opened)

        if bench.mini is not None:
            seconds = await asyncio.to_thread(bench.mini.ask, "open")
            _keep(number, ready[MINI], seconds)
            if number >= bench.repetitions.peer_gone:
                bench.mini.ask("close")
                await bench.sweep()
                continue
            began = time.perf_counter()
            container = bench.mini.ask("close")
            await asyncio.to_thread(_until_gone, bench, container)
            gone.setdefault(MINI, []).append(time.perf_counter() - began)
    figures = (
        Figure(
            name="container ready",
            unit="ms",
            values={name: milliseconds(times) for name, times in ready.items()},
            note="Created, started, both shells have answered. mini-swe-agent: `docker run` has returned.",
        ),
        Figure(
            name="container gone",
            unit="ms",
            values={name: milliseconds(times) for name, times in gone.items()},
            note="Until the engine knows it no more.",
        ),
    )
    above = figures[0].values[FORAGER].value / figures[0].values[FLOOR].value
    return Group(figures=figures, goals=(at_most("container ready beside the floor", above, 1.15, "x"),))


def _keep(number: int, times: list[float], seconds: float) -> None:
    """The first round warms up."""
    if number:
        times.append(seconds)


def _until_gone(bench: Bench, container: str) -> None:
    while True:
        try:
            bench.engine.api.inspect_container(container)
        except docker.errors.NotFound:
            return
        time.sleep(0.001)
