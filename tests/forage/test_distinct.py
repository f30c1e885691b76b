"""Tasks of one call are distinct, and as many as asked for: a near-duplicate of another repository is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import pytest

from forager.forage.alike import THRESHOLD, alike, look_at
from forager.forage.pipeline import ForageReport, forage
from forager.records import Task
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.histories import SETUP, commit, make

pytestmark = pytest.mark.docker

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


def counts(report: ForageReport) -> list[tuple[str, int, bool]]:
    return [(record.status, record.tasks, record.near_duplicates > 0) for record in report.repositories]


async def test_two_copies_of_one_package_give_different_tasks_whatever_was_done_first(
    engine: Engine, base_image: str, tmp_path: Path
) -> None:
    assert base_image
    copies = [make(tmp_path / name) for name in ("first", "second")]
    for path in copies:
        commit(path, f"Begin {path.name}", FILES)
    names = [str(path) for path in copies]
    together = await forage(engine, names, tmp_path / "together", mutations=3, runs=2)
    tasks = load_tasks(together.tasks)
    assert counts(together) == [("done", 3, False), ("done", 3, True)]
    assert distinct(tasks)
    assert [task.repo for task in tasks] == [names[0]] * 3 + [names[1]] * 3
    apart = tmp_path / "apart"
    await forage(engine, names[:1], apart, mutations=3, runs=2)
    later = await forage(engine, names, apart, mutations=3, runs=2)
    assert [task.instance_id for task in load_tasks(later.tasks)] == [task.instance_id for task in tasks]
    more = await forage(engine, names, apart, mutations=4, runs=2)
    assert distinct(load_tasks(more.tasks))
    assert len(load_tasks(more.tasks)) == more.task_count == 8
