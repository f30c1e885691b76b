"""How long the command line takes to answer, as a whole process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

from benchmarks.bench import Bench
from benchmarks.figures import FLOOR, FORAGER, MINI, Batch, Figure, Group, at_most, in_turns, milliseconds, timed


async def measure(bench: Bench) -> Group:
    """`--help`, and a bare import, beside a Python that does nothing."""
    starts = bench.repetitions.starts
    floor = _process([bench.python, "-c", "pass"])
    ways: dict[str, tuple[Batch, int]] = {
        FORAGER: (timed(_process([bench.forager, "--help"])), 1),
        FLOOR: (timed(floor), 1),
    }
    if bench.mini is not None:
        ways[MINI] = (timed(_process([str(bench.mini.script), "--help"], bench.mini.environment)), 1)
    helps = await in_turns(ways, starts)
    imports = await in_turns(
        {FORAGER: (timed(_process([bench.python, "-c", "import forager"])), 1), FLOOR: (timed(floor), 1)}, starts
    )
    figures = (
        Figure(
            name="--help",
            unit="ms",
            values={name: milliseconds(times) for name, times in helps.items()},
            note="The floor is `python -c pass`.",
        ),
        Figure(
            name="import forager", unit="ms", values={name: milliseconds(times) for name, times in imports.items()}
        ),
    )
    return Group(figures=figures, goals=(at_most("forager --help", figures[0].values[FORAGER].value, 250, "ms"),))


def _process(command: list[str], environment: Mapping[str, str] | None = None) -> Callable[[], object]:
    env = dict(environment) if environment is not None else dict(os.environ)

    def call() -> object:
        nothing = subprocess.DEVNULL
        return subprocess.run(command, stdin=nothing, stdout=nothing, stderr=nothing, env=env, check=True)

    return call
