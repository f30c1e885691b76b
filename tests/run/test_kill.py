"""Runs killed, interrupted and continued, in processes of their own."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from forager.records import Prediction, read_trajectories

ROOT = Path(__file__).parents[2]


def start(directory: Path, *options: str) -> subprocess.Popen[str]:
    # These tests themselves may run under nohup, whose choice is inherited.
    command = ["env", "--default-signal=HUP", sys.executable, "-m", "tests.run.synthetic", str(directory), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def first_end(process: subprocess.Popen[str]) -> None:
    """Wait until an attempt has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("["):
            return


def check(directory: Path, tasks: int, samples: int) -> None:
    """Exactly the asked-for set, each once, every line valid, predictions in step."""
    trajectories = list(read_trajectories(directory / "trajectories.jsonl"))
    asked = [f"pkg__mod-{n}#{sample}" for n in range(tasks) for sample in range(samples)]
    assert Counter(trajectory.id for trajectory in trajectories) == Counter(asked)
    predictions = [
        msgspec.json.decode(line, type=Prediction) for line in (directory / "preds.jsonl").read_bytes().splitlines()
    ]
    expected = [(trajectory.instance_id, trajectory.patch or "") for trajectory in trajectories]
    assert [(prediction.instance_id, prediction.model_patch) for prediction in predictions] == expected
    assert list((directory / "attempts").iterdir()) == []
    for line in (directory / "failures.jsonl").read_bytes().splitlines():
        msgspec.json.decode(line)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_instants_and_continued_ends_with_the_asked_for_set(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    directory = tmp_path / "run"
    kills = 0
    for _ in range(5):
        process = start(directory, "--tasks", "60", "--padding", "300000")
        first_end(process)
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 4
    process = start(directory, "--tasks", "60", "--padding", "300000")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    check(directory, 60, 2)
    report = msgspec.json.decode((directory / "report.json").read_bytes())
    assert (report["asked"], report["finished"]) == (120, 120)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_the_run_at_once_with_130_and_it_continues(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "run"
    process = start(directory, "--tasks", "3", "--seconds", "0.02", "--later", "1000", "--workers", "2")
    first_end(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("interrupted: ") and "of 6 attempts are done; run the same command again" in errors
    assert len(errors.splitlines()) == 1
    process = start(directory, "--tasks", "3", "--seconds", "0.01")
    process.communicate(timeout=60)
    assert process.returncode == 0
    check(directory, 3, 2)


def test_a_second_writer_is_kept_out_and_told_who_holds_the_run(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    process = start(directory, "--seconds", "30")
    assert process.stdout is not None
    process.stdout.readline()
    second = start(directory)
    _, errors = second.communicate(timeout=60)
    process.kill()
    process.communicate()
    assert second.returncode == 2
    assert f"is being written by process {process.pid} on " in errors
    assert len(errors.splitlines()) == 1


def test_another_model_is_refused_naming_the_difference(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    start(directory, "--tasks", "1", "--seconds", "0").communicate(timeout=60)
    process = start(directory, "--tasks", "1", "--model", "oracle")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert 'model: was "search", is "oracle"' in errors
