"""Tasks of one call are distinct, and as many as asked for: a near-duplicate of another repository is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from forager.forage.alike import THRESHOLD, Alike, alike, look_at
from forager.forage.pipeline import forage
from forager.forage.results import RepositoryRecord
from forager.forage.settings import Settings
from forager.records import Task
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.histories import SETUP, commit, make

CODE = """def clamp(n, low, high):
    if n < low - 1:
        return low - 1
    return min(n, high)


def spread(values):
    return max(values) - min(values) + 1


def initials(name):
    return "".join(part[0].upper() for part in name.split("-"))
"""
CHECKS = """from calc import clamp, initials, spread


def test_clamp():
    assert [clamp(n, 2, 30) for n in (-9, 1, 5, 99)] == [1, 1, 5, 30]


def test_spread():
    assert spread([3, 9, 5]) == 7


def test_initials():
    assert initials("new-york") == "NY"
"""
FILES = {"calc.py": CODE, "tests/test_calc.py": CHECKS, "setup.py": SETUP}


def distinct(tasks: Sequence[Task]) -> bool:
    looks = [look_at(task) for task in tasks]
    return all(alike(one, other) < THRESHOLD for one, other in combinations(looks, 2))


@pytest.mark.docker
async def test_two_copies_of_one_package_give_different_tasks(
    engine: Engine, base_image: str, tmp_path: Path
) -> None:
    assert base_image
    copies = [make(tmp_path / name) for name in ("first", "second")]
    commits = [commit(path, f"Begin {path.name}", FILES) for path in copies]
    names = [str(path) for path in copies]
    together = await forage(engine, names, tmp_path / "together", mutations=2, runs=2)
    tasks = load_tasks(together.tasks)
    assert distinct(tasks)
    assert [task.base_commit for task in tasks] == [commits[0]] * 2 + [commits[1]] * 2
    apart = tmp_path / "apart"
    await forage(engine, names[:1], apart, mutations=2, runs=2)
    later = await forage(engine, names, apart, mutations=2, runs=2)
    assert [task.instance_id for task in load_tasks(later.tasks)] == [task.instance_id for task in tasks]


BUGS = {"pypi:first": [1, 2, 3, 4, 5], "pypi:second": [3, 1, 1, 6, 2, 7, 8, 9], "pypi:third": [1, 2, 3]}


class Fake:
    """A repository whose bugs are numbers: equal ones are near-duplicates wherever they are. `first` is done last."""

    def __init__(
        self,
        engine: Any,
        name: str,
        settings: Settings,
        *_: Any,
        beside: Alike | None = None,
        refused: Collection[str] = (),
    ) -> None:
        self.name, self.wanted = name, settings.mutations
        self.seen = Alike(beside=beside, refused=refused)

    async def forage(self) -> tuple[RepositoryRecord, list[Task]]:
        if self.name == "pypi:first":
            for _ in range(20):
                await asyncio.sleep(0)
        bugs = [self.task(place, bug) for place, bug in enumerate(BUGS[self.name])]
        tasks = [task for task in bugs if not self.seen.add(task)][: self.wanted]
        record = RepositoryRecord(
            repository=self.name, status="done", stage="done", tasks=len(tasks), mutations=self.wanted
        )
        return record, tasks

    def task(self, place: int, bug: int) -> Task:
        words = " ".join(f"{bug}word{number}" for number in range(30))
        return Task(instance_id=f"{self.name}-{place}", repo=self.name, problem_statement=words, patch=f"+{words}\n")


async def test_the_order_asked_for_decides_which_of_two_near_duplicates_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr("forager.forage.pipeline.Repository", Fake)
    monkeypatch.setattr("forager.forage.pipeline.ensure_base", nothing)

    async def made(out: Path, wanted: int, *names: str) -> list[str]:
        report = await forage(None, [f"pypi:{name}" for name in names], out, mutations=wanted)  # type: ignore[arg-type]
        tasks = load_tasks(out / "tasks.jsonl")
        assert report.task_count == len(tasks)
        assert distinct(tasks)
        return [task.instance_id.removeprefix("pypi:") for task in tasks]

    first = [f"first-{place}" for place in range(3)]
    both = [*first, "second-3", "second-5", "second-6"]
    assert await made(tmp_path / "a", 3, "first", "second") == both
    assert await made(tmp_path / "a", 3, "first", "second", "third") == both, "third has nothing of its own"
    assert await made(tmp_path / "b", 3, "first") == first
    assert await made(tmp_path / "b", 3, "first", "second") == both, "an earlier call's tasks count"
    assert await made(tmp_path / "c", 3, "second", "first") == [
        *("second-0", "second-1", "second-3"),
        *("first-1", "first-3", "first-4"),
    ]
    assert await made(tmp_path / "b", 4, "first", "second") == [*both, "first-3", "second-7"]
