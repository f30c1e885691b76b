"""What the orchestrator does with attempts that end, break, or stop the run."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from forager.errors import BuildError, SandboxError, UnfitError
from forager.records import Task, Trajectory, read_trajectories
from forager.run.config import RunConfig
from forager.run.orchestrator import Images, Log, Notify, run
from forager.run.progress import Ended, Silent
from forager.run.report import RunReport
from forager.run.store import Failure, RunStore
from tests.run.synthetic import Attempt, attempt_taking, broken, make_config, make_tasks, make_trajectory


class Watching(Silent):
    """Remembers how attempts ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Ended] = []

    def end(self, worker: int, ended: Ended) -> None:
        self.ended.append(ended)


async def go(
    path: Path, tasks: list[Task], config: RunConfig, attempt: Attempt, images: Images | None = None
) -> tuple[RunReport, Watching]:
    watching = Watching()
    with RunStore(path, config) as store:
        report = await run(tasks, config, store, attempt, watching, images=images)
    return report, watching


def failures(path: Path) -> list[Failure]:
    lines = (path / "failures.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Failure) for line in lines]


def ids(path: Path) -> list[str]:
    return [trajectory.id for trajectory in read_trajectories(path / "trajectories.jsonl")]


async def test_all_samples_of_all_tasks_are_attempted_task_by_task_and_no_more_at_once_than_workers(
    tmp_path: Path,
) -> None:
    tasks = make_tasks(5)
    running = most = 0
    order: list[str] = []

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        nonlocal running, most
        order.append(f"{task.instance_id}#{sample}")
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return make_trajectory(task, sample)

    report, _ = await go(tmp_path, tasks, make_config(tasks, samples=4, workers=3), attempt)
    assert order == [f"pkg__mod-{n}#{sample}" for n in range(5) for sample in range(4)]
    assert most == 3
    assert report.finished == report.asked == 20
    assert report.complete
    assert report.total.resolved == 10
    assert report.pass_at == {"1": 0.5, "2": pytest.approx(5 / 6), "4": 1.0}


async def test_growing_samples_attempts_only_the_new_ones(tmp_path: Path) -> None:
    tasks = make_tasks(2)
    await go(tmp_path, tasks, make_config(tasks, samples=1), attempt_taking(0))
    begun: list[str] = []

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        begun.append(f"{task.instance_id}#{sample}")
        return make_trajectory(task, sample)

    report, _ = await go(tmp_path, tasks, make_config(tasks, samples=2), attempt)
    assert begun == ["pkg__mod-0#1", "pkg__mod-1#1"]
    assert report.finished == 4


async def test_what_infrastructure_breaks_is_tried_again_and_each_try_leaves_evidence(tmp_path: Path) -> None:
    tasks = make_tasks(3)
    tries: Counter[str] = Counter()

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        tries[task.instance_id] += 1
        if task.instance_id == "pkg__mod-1" and tries[task.instance_id] < 3:
            return broken(task, sample, "model_error", f"500 the {tries[task.instance_id]}. time")
        return make_trajectory(task, sample)

    report, watching = await go(tmp_path, tasks, make_config(tasks), attempt)
    assert report.finished == 3
    assert report.given_up == {}
    recorded = failures(tmp_path)
    assert [(f.id, f.tries, f.outcome.detail) for f in recorded] == [
        ("pkg__mod-1#0", 1, "500 the 1. time"),
        ("pkg__mod-1#0", 2, "500 the 2. time"),
    ]
    assert all(failure.trajectory is not None and failure.trajectory.messages for failure in recorded)
    retried = next(t for t in read_trajectories(tmp_path / "trajectories.jsonl") if t.id == "pkg__mod-1#0")
    assert retried.retries == 2
    assert sum(ended.again is not None for ended in watching.ended) == 2


async def test_used_up_retries_leave_the_attempt_to_the_next_call(tmp_path: Path) -> None:
    tasks = make_tasks(2)
    healthy = False

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        if task.instance_id == "pkg__mod-0" and not healthy:
            return broken(task, sample, "sandbox_error")
        return make_trajectory(task, sample)

    config = make_config(tasks, retries=2)
    report, watching = await go(tmp_path, tasks, config, attempt)
    assert ids(tmp_path) == ["pkg__mod-1#0"]
    assert report.given_up == {"sandbox_error": 1}
    assert not report.complete
    assert [failure.given_up for failure in failures(tmp_path)] == [False, False, True]
    assert [ended.id for ended in watching.ended if ended.failed] == ["pkg__mod-0#0"]
    healthy = True
    report, _ = await go(tmp_path, tasks, config, attempt)
    assert sorted(ids(tmp_path)) == ["pkg__mod-0#0", "pkg__mod-1#0"]
    assert report.given_up == {}
    assert len(failures(tmp_path)) == 3


async def test_a_waiting_retry_does_not_hold_its_worker(tmp_path: Path) -> None:
    tasks = make_tasks(20)
    order: list[str] = []

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        order.append(task.instance_id)
        if task.instance_id == "pkg__mod-0" and order.count("pkg__mod-0") == 1:
            return broken(task, sample, "model_error")
        await asyncio.sleep(0.005)
        return make_trajectory(task, sample)

    report, _ = await go(tmp_path, tasks, make_config(tasks, backoff=0.05), attempt)
    assert report.finished == 20
    assert order.index("pkg__mod-0", 1) > 3


async def test_a_fault_that_would_hit_every_attempt_stops_the_run_which_stays_resumable(tmp_path: Path) -> None:
    tasks = make_tasks(50)
    cleaned: list[str] = []
    begun = 0

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        nonlocal begun
        begun += 1
        if begun == 10:
            raise UnfitError("the server answered 401: check the key")
        try:
            await asyncio.sleep(0.01 if begun < 10 else 60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # the container goes
            cleaned.append(task.instance_id)
            raise
        return make_trajectory(task, sample)

    config = make_config(tasks, workers=4)
    with pytest.raises(UnfitError, match="401: check the key"):
        await go(tmp_path, tasks, config, attempt)
    assert 10 <= begun <= 13
    assert len(cleaned) + len(ids(tmp_path)) == begun - 1
    report, _ = await go(tmp_path, tasks, config, attempt_taking(0))
    assert report.finished == 50


async def test_a_bug_stops_the_run_and_is_seen(tmp_path: Path) -> None:
    tasks = make_tasks(5)

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await go(tmp_path, tasks, make_config(tasks, workers=2), attempt)


async def test_a_model_server_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    tasks = make_tasks(100)

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        return broken(task, sample, "model_error", "connection refused")

    with pytest.raises(UnfitError, match=r"10 attempts in a row, each 2 times; the last said: connection refused"):
        await go(tmp_path, tasks, make_config(tasks, retries=1, backoff=0.001), attempt)
    assert len(failures(tmp_path)) < 30


async def test_cancelling_the_run_cancels_its_attempts_and_keeps_what_they_say(tmp_path: Path) -> None:
    tasks = make_tasks(4)
    begun = asyncio.Event()

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        try:
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return broken(task, sample, "cancelled")
        return make_trajectory(task, sample)

    going = asyncio.create_task(go(tmp_path, tasks, make_config(tasks, workers=2), attempt))
    await begun.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert [failure.outcome.status for failure in failures(tmp_path)] == ["cancelled", "cancelled"]
    report, _ = await go(tmp_path, tasks, make_config(tasks), attempt_taking(0))
    assert report.finished == 4
    assert report.given_up == {}


class Shelf:
    """Task images on a shelf: which are there, which were."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.made: list[str] = []
        self.looked: list[str] = []

    async def ensure(self, task: Task, *, fresh: bool = False) -> None:
        if fresh:
            self.looked.append(task.instance_id)
        if task.instance_id == "pkg__mod-2":
            raise BuildError("pip failed", "the log " * 20_000)
        if task.instance_id not in self.there:
            self.there.add(task.instance_id)
            self.made.append(task.instance_id)

    async def release(self, task: Task) -> None:
        self.there.discard(task.instance_id)

    async def close(self) -> None:
        self.there.clear()


async def test_an_image_is_there_while_its_task_has_attempts_and_then_goes(tmp_path: Path) -> None:
    tasks = make_tasks(6)
    shelf = Shelf()
    most = 0
    tries: Counter[str] = Counter()

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        nonlocal most
        assert task.instance_id in shelf.there
        most = max(most, len(shelf.there))
        await asyncio.sleep(0.001)
        tries[f"{task.instance_id}#{sample}"] += 1
        if tries[f"{task.instance_id}#{sample}"] == 1 and task.instance_id == "pkg__mod-4":
            return broken(task, sample, "sandbox_error", "the image is gone")
        return make_trajectory(task, sample)

    report, _ = await go(tmp_path, tasks, make_config(tasks, samples=3, workers=2), attempt, shelf)
    assert shelf.there == set()
    assert shelf.made == [task.instance_id for task in tasks if task.instance_id != "pkg__mod-2"]
    assert most <= 4
    assert shelf.looked == ["pkg__mod-4"] * 3
    assert report.finished == 15
    assert report.given_up == {"sandbox_error": 3}
    unbuilt = [failure for failure in failures(tmp_path) if failure.instance_id == "pkg__mod-2"]
    assert [(failure.tries, failure.given_up) for failure in unbuilt] == [(1, True)] * 3
    assert unbuilt[0].log.endswith("the log ") and len(unbuilt[0].log) <= 65_536
    assert unbuilt[0].outcome.detail == "pip failed"


async def test_a_sandbox_fault_while_making_an_image_is_retried(tmp_path: Path) -> None:
    tasks = make_tasks(1)

    class Flaky(Shelf):
        async def ensure(self, task: Task, *, fresh: bool = False) -> None:
            self.made.append(task.instance_id)
            if len(self.made) == 1:
                raise SandboxError("connection reset")

    report, _ = await go(tmp_path, tasks, make_config(tasks), attempt_taking(0), Flaky())
    assert report.finished == 1
    assert failures(tmp_path)[0].outcome.status == "sandbox_error"


async def test_the_reaper_comes_first(tmp_path: Path) -> None:
    tasks = make_tasks(1)
    order: list[str] = []

    async def reap() -> None:
        order.append("reap")

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        order.append("attempt")
        return make_trajectory(task, sample)

    config = make_config(tasks)
    with RunStore(tmp_path, config) as store:
        await run(tasks, config, store, attempt, Silent(), reap=reap)
    assert order == ["reap", "attempt"]


async def test_the_finished_run_records_its_images_and_totals(tmp_path: Path) -> None:
    tasks = make_tasks(2)
    report, _ = await go(tmp_path, tasks, make_config(tasks), attempt_taking(0))
    written = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=RunReport)
    assert written == report
    info = msgspec.json.decode((tmp_path / "run.json").read_bytes())
    assert info["images"] == {"pkg__mod-0": "sha256:pkg__mod-0", "pkg__mod-1": "sha256:pkg__mod-1"}


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_memory_is_flat_over_two_thousand_attempts(tmp_path: Path) -> None:
    tasks = make_tasks(500)
    sizes: list[int] = []

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        await asyncio.sleep(0)
        number = int(task.instance_id.rpartition("-")[2])
        if sample == 0 and number in (100, 499):
            gc.collect()
            sizes.append(resident())
        trajectory = make_trajectory(task, sample)
        padding = {"role": "user", "content": "x" * 15_000}
        return msgspec.structs.replace(trajectory, messages=(*trajectory.messages, padding))

    config = make_config(tasks, samples=4, workers=8)
    with RunStore(tmp_path, config) as store:
        report = await run(tasks, config, store, attempt, Silent())
    assert report.finished == 2000
    assert sizes[1] - sizes[0] < 5_000_000  # 1,600 attempts' ids, not their 24 MB of conversation
