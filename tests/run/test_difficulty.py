"""Solve rates over runs: which attempts count, which bucket a task falls into, and what is written down of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.errors import UsageError
from forager.records import Evaluation, ModelRef, Outcome, Task, encode
from forager.run.difficulty import annotated, bucket_of, known_bucket, measure, solve_rates
from tests.run.synthetic import make_tasks, make_trajectory


def run_of(path: Path, solved: list[tuple[Task, str]], model: str = "one") -> Path:
    """A file of attempts: `+` resolved, `-` not, `?` not graded."""
    attempts = [
        make_trajectory(
            task,
            number,
            model=ModelRef(name=model, provider=""),
            outcome=Outcome(status="submitted"),
            evaluation=None if mark == "?" else Evaluation(resolved=mark == "+"),
        )
        for task, marks in solved
        for number, mark in enumerate(marks)
    ]
    path.write_bytes(b"".join(encode(attempt) + b"\n" for attempt in attempts))
    return path


@pytest.mark.parametrize(
    ("rate", "bucket"),
    [(0, "unsolved"), (0.01, "hard"), (0.25, "hard"), (0.26, "medium"), (0.74, "medium"), (0.75, "easy"),
     (0.99, "easy"), (1, "always")],
)  # fmt: skip
def test_buckets(rate: float, bucket: str) -> None:
    assert bucket_of(rate) == bucket


def test_graded_attempts_of_all_runs_count_and_a_run_named_twice_counts_once(tmp_path: Path) -> None:
    easy, hard, untried = make_tasks(3)
    one = run_of(tmp_path / "one.jsonl", [(easy, "++?"), (hard, "---"), (untried, "??")])
    two = run_of(tmp_path / "two.jsonl", [(easy, "+-"), (hard, "+")], model="two")
    rates = solve_rates([one, two, tmp_path / "." / "one.jsonl"])
    assert sorted(rates) == [easy.instance_id, hard.instance_id]
    assert (rates[easy.instance_id].attempts, rates[easy.instance_id].resolved) == (4, 3)
    assert (rates[easy.instance_id].rate, rates[easy.instance_id].bucket) == (0.75, "easy")
    assert {name: (by.attempts, by.resolved) for name, by in rates[hard.instance_id].models.items()} == {
        "one": (3, 0),
        "two": (1, 1),
    }
    found = measure([one, two], [hard, untried])
    assert (found.tasks, found.tried, found.foreign, found.attempts, found.resolved) == (2, 1, 1, 4, 1)
    assert {name: bucket.tasks for name, bucket in found.buckets.items() if bucket.tasks} == {"hard": 1}
    assert found.pass_at_1 is not None
    assert (found.pass_at_1.value, found.pass_at_1.tasks) == (0.25, 1)
    assert measure([one]).tasks == 2, "without a set, what was tried is the set"


def test_tasks_keep_all_else_and_what_no_run_tried_keeps_what_it_had(tmp_path: Path) -> None:
    easy, other = make_tasks(2)
    run = run_of(tmp_path / "run.jsonl", [(easy, "+")])
    before = {"operator": "swap", "difficulty": {"bucket": "hard"}}
    tasks = [Task(**{name: getattr(task, name) for name in task.__struct_fields__} | {"provenance": before})
             for task in (easy, other)]  # fmt: skip
    first, second = annotated(tasks, solve_rates([run]))
    assert first.provenance == {
        "operator": "swap",
        "difficulty": {
            "attempts": 1,
            "resolved": 1,
            "rate": 1.0,
            "bucket": "always",
            "models": {"one": {"attempts": 1, "resolved": 1}},
        },
    }
    assert second == tasks[1]
    assert [known_bucket(task) for task in (first, second, easy)] == ["always", "hard", ""]


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a run"):
        solve_rates([tmp_path])
