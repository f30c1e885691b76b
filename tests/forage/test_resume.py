"""Killed in any stage, a forage goes on from what is kept, and ends with the same tasks."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forager.forage.pipeline import forage
from forager.sandbox.engine import Engine
from tests.forage.conftest import tasks_of
from tests.forage.histories import calc

pytestmark = pytest.mark.docker

STAGES = ("fetch", "detect", "build", "baseline", "mutate")
PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from forager.forage.pipeline import forage
from forager.sandbox.engine import Engine

def stop(event):
    if event.kind == "stage" and event.stage == sys.argv[3]:
        print(event.stage, flush=True)
        time.sleep(600)

with Engine.connect() as engine:
    asyncio.run(forage(engine, [sys.argv[2]], Path(sys.argv[1]), mutations=2, runs=2, progress=stop))
"""
"""Stands still as soon as it enters a stage."""


def test_killed_on_entering_each_stage_it_goes_on(engine: Engine, tmp_path: Path) -> None:
    clone, out = str(calc(tmp_path / "calc")), tmp_path / "killed"
    for stage in STAGES:
        command = [sys.executable, "-c", PROGRAM, str(out), clone, stage]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == stage
            process.send_signal(signal.SIGKILL)
        assert not (out / "repositories.jsonl").read_bytes()
    said: list[str] = []
    asyncio.run(
        forage(
            engine,
            [clone],
            out,
            mutations=2,
            runs=2,
            progress=lambda event: said.append(f"{event.stage} {event.text}"),
        )
    )
    assert not any("clean run" in text for text in said), "the baseline was run again"
    undisturbed = tmp_path / "undisturbed"
    asyncio.run(forage(engine, [clone], undisturbed, mutations=2, runs=2))
    assert tasks_of(out) == tasks_of(undisturbed)
    assert len(tasks_of(out)) == 2
    (record,) = [json.loads(line) for line in (out / "repositories.jsonl").read_text().splitlines()]
    rungs = [record["environment_rung"], *record["environment_tried"]]
    # of a date as well, where the index tells dates
    assert (record["status"], {rung.partition(", of ")[0] for rung in rungs}) == ("done", {"as declared"})
