"""Foraging a real package, end to end: tasks that grade as they should, whatever interrupts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from forager.errors import UsageError
from forager.forage.events import Event, as_line
from forager.forage.pipeline import ForageReport, forage
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.conftest import tasks_of
from tests.forage.grading import both_sides
from tests.support.index_server import serve, tar_of

pytestmark = pytest.mark.docker

PACKAGE = "pypi:inflection==0.5.1"
PROGRAM = """
import asyncio, sys
from pathlib import Path
from forager.forage.pipeline import forage
from forager.sandbox.engine import Engine
with Engine.connect() as engine:
    asyncio.run(forage(engine, sys.argv[2:], Path(sys.argv[1]), mutations=2, workers=2))
"""


@pytest.fixture(scope="module")
def foraged(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ForageReport, list[Event]]:
    """Three tasks of a small package."""
    out = tmp_path_factory.mktemp("foraged")
    events: list[Event] = []
    return out, asyncio.run(forage(engine, [PACKAGE], out, mutations=3, progress=events.append)), events


Foraged = tuple[Path, ForageReport, list[Event]]


def test_tasks_and_records_are_written(foraged: Foraged) -> None:
    out, report, events = foraged
    tasks = load_tasks(out / "tasks.jsonl")
    assert len(tasks) == report.task_count == 3
    (record,) = report.repositories
    assert (record.status, record.stage, record.tasks, record.tests) == ("done", "done", 3, 455)
    assert (out / record.log).stat().st_size > 0
    by_operator = record.verdicts.values()
    assert sum(sum(verdicts.values()) for verdicts in by_operator) == record.tried
    assert sum(verdicts.get("valid", 0) for verdicts in by_operator) == 3 + record.near_duplicates
    assert [json.loads(line)["repository"] for line in (out / "repositories.jsonl").read_text().splitlines()] == [
        PACKAGE
    ]
    assert {event.kind for event in events} == {"started", "stage", "note", "mutant", "finished"}
    assert as_line(events[-1]) == f"{PACKAGE}: 3 tasks"


def test_a_task_has_what_an_agent_needs_and_does_not_tell_the_bug(foraged: Foraged) -> None:
    for task in load_tasks(foraged[0] / "tasks.jsonl"):
        assert task.instance_id.startswith(f"inflection-0.5.1-{task.provenance['operator']}-")
        assert not set(task.FAIL_TO_PASS) & set(task.PASS_TO_PASS)
        assert task.FAIL_TO_PASS
        assert task.PASS_TO_PASS
        assert task.environment is not None
        assert all("==" in package for package in task.environment.packages)
        assert task.environment.sha256
        assert "inflection" in task.problem_statement
        assert task.provenance["file"] not in task.problem_statement
        assert task.setup.count("\n@@") == task.patch.count("\n@@") == 1


async def test_the_reference_patch_resolves_and_no_patch_does_not(engine: Engine, foraged: Foraged) -> None:
    task = load_tasks(foraged[0] / "tasks.jsonl")[0]
    assert await both_sides(engine, task) == (True, False)


async def test_the_same_call_again_does_nothing_and_a_larger_one_adds(engine: Engine, foraged: Foraged) -> None:
    out, report, _ = foraged
    before = (out / "tasks.jsonl").read_bytes()
    events: list[Event] = []
    again = await forage(engine, [PACKAGE], out, mutations=3, progress=events.append)
    assert (again, events) == (report, [])
    assert (out / "tasks.jsonl").read_bytes() == before
    more = await forage(engine, [PACKAGE], out, mutations=4, workers=1, progress=events.append)
    assert (out / "tasks.jsonl").read_bytes().startswith(before)
    assert more.task_count == len(load_tasks(out / "tasks.jsonl")) == 4
    assert len((out / "repositories.jsonl").read_text().splitlines()) == 1
    assert not any("clean run" in event.text for event in events), "the baseline was run again"
    with pytest.raises(UsageError, match="seed 0, asked for is 1"):
        await forage(engine, [PACKAGE], out, mutations=3, seed=1)


async def test_a_mapped_suite_gives_combined_bugs_too_and_every_stage_is_used_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORTH", "LEAST"):
        monkeypatch.setattr(f"forager.forage.repository.{name}", 0.0)
    events: list[Event] = []
    await forage(engine, [PACKAGE], tmp_path, mutations=8, runs=2, progress=events.append)
    assert sum("mapped which of 455 tests" in event.text for event in events) == 1
    tasks = load_tasks(tmp_path / "tasks.jsonl")
    (combined,) = (task for task in tasks if task.provenance["operator"] == "combined")
    assert 2 <= len(combined.provenance["places"]) <= 4
    assert set(combined.FAIL_TO_PASS) <= {test for task in tasks if task != combined for test in task.FAIL_TO_PASS}
    assert await both_sides(engine, combined) == (True, False)
    again: list[Event] = []
    more = await forage(engine, [PACKAGE], tmp_path, mutations=9, runs=2, progress=again.append)
    assert more.task_count == len(load_tasks(tmp_path / "tasks.jsonl")) == 9
    assert not any("clean run" in event.text or "mapped" in event.text for event in again)


def test_killed_at_any_instant_it_goes_on_to_the_same_tasks(engine: Engine, foraged: Foraged, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), PACKAGE]
    for lines in (1, 2, 3):  # the head, the baseline, verdicts
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while process.poll() is None and time.monotonic() < deadline:
            works = list((tmp_path / "work").glob("*.jsonl"))
            if works and works[0].read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        (tmp_path / "tasks.jsonl").open("ab").write(b'{"instance_id": "torn')
        owned = f"/{process.pid}/"
        assert not any(owned in str(c.labels.get("forager.owner")) for c in _gone(engine, owned))
    subprocess.run(command, check=True, timeout=300)
    assert tasks_of(tmp_path) == tasks_of(foraged[0])[:2]


def _gone(engine: Engine, owned: str) -> list[Any]:
    """The containers of an owner, once there are none or two seconds have passed."""
    for _ in range(100):
        found = [c for c in engine.client.containers.list(ignore_removed=True) if owned in str(c.labels)]
        if not found:
            return []
        time.sleep(0.02)
    return found


async def test_cancelled_it_leaves_no_container_and_goes_on(engine: Engine, foraged: Foraged, tmp_path: Path) -> None:
    entered = asyncio.Event()

    def watch(event: Event) -> None:
        if event.stage == "mutate":
            entered.set()

    job = asyncio.create_task(forage(engine, [PACKAGE], tmp_path, mutations=1, progress=watch))
    await entered.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    owned = f"/{os.getpid()}/"
    assert not [c for c in engine.client.containers.list(ignore_removed=True) if owned in str(c.labels)]
    report = await forage(engine, [PACKAGE], tmp_path, mutations=1)
    assert report.task_count == 1
    assert tasks_of(tmp_path) == tasks_of(foraged[0])[:1]


SDISTS: dict[str, dict[str, bytes]] = {
    "bare": {"bare.py": b"x = 1\n"},
    "dataonly": {"tests/test_x.py": b"def test_x(): pass\n"},
    "hostile": {"hostile.py": b"x = 1\n", "../outside.py": b"x = 1\n"},
}


async def test_each_repository_that_fails_has_its_record_and_stops_no_other(
    engine: Engine, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert base_image
    specs = [*(f"pypi:{name}==1.0" for name in SDISTS), "pypi:unknown", "pypi:bare==2.0", "pypi:bare"]
    with serve() as index:
        for name, files in SDISTS.items():
            index.add(f"{name}-1.0.tar.gz", tar_of({f"{name}-1.0/{path}": data for path, data in files.items()}))
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        report = await forage(engine, specs, tmp_path / "out", mutations=2)
    records = {record.repository: record for record in report.repositories}
    assert list(records) == specs
    assert all(record.status == "failed" and "\n" not in record.reason for record in records.values())
    assert "no tests" in records["pypi:bare==1.0"].reason
    assert "no Python code of its own" in records["pypi:dataonly==1.0"].reason
    assert "outside.py" in records["pypi:hostile==1.0"].reason
    assert "unknown" in records["pypi:unknown"].reason
    assert "2.0" in records["pypi:bare==2.0"].reason
    assert "is the same release" in records["pypi:bare"].reason
    assert [record.stage for record in records.values()] == ["detect", "detect", "detect", "fetch", "fetch", "fetch"]
    assert (tmp_path / "out" / "tasks.jsonl").read_bytes() == b""


async def test_what_the_network_broke_is_tried_again(
    engine: Engine, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert base_image
    out = tmp_path / "out"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serve() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        index.add("bare-1.0.tar.gz", tar_of({"bare-1.0/bare.py": b"x = 1\n"}))
        index.faults = [503] * 10
        first = await forage(engine, ["pypi:bare==1.0"], out)
        index.faults = []
        second = await forage(engine, ["pypi:bare==1.0"], out)
        index.requests.clear()
        third = await forage(engine, ["pypi:bare==1.0"], out)
    assert (first.repositories[0].stage, first.repositories[0].again) == ("fetch", True)
    assert (second.repositories[0].stage, second.repositories[0].again) == ("detect", False)
    assert (third, index.requests) == (second, [])


async def test_wrong_words_are_refused_before_anything_is_made(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="inflection"):
        await forage(engine, ["inflection"], tmp_path / "out")
    with pytest.raises(UsageError, match="1 or more"):
        await forage(engine, [PACKAGE], tmp_path / "out", mutations=0)
    assert not (tmp_path / "out").exists()
