"""A set of tasks as `forager stats` describes it, and the difficulty that it writes into one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from forager.inspect.task_set import is_task_set
from forager.records import encode
from tests.inspect.test_commands import complaint, lines
from tests.run.synthetic import make_tasks, make_trajectory

HOSTILE = "evil\x1b[2J\x07[bold]"
DIFF = "diff --git a/{0} b/{0}\n--- a/{0}\n+++ b/{0}\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"


def task(number: int, operator: str = "", **changes: Any) -> dict[str, Any]:
    provenance = {"operator": operator} if operator else {}
    return {
        "instance_id": f"task-{number}",
        "repo": f"owner/{'a' if number % 2 else 'b'}",
        "problem_statement": "It fails when called twice.",
        "patch": DIFF.format("x.py") + (DIFF.format("y.py") if number == 1 else ""),
        "FAIL_TO_PASS": [f"t::{n}" for n in range(number + 1)],
        "PASS_TO_PASS": ["t::p"],
        "source": "mutation",
        "provenance": provenance,
        **changes,
    }


def write(path: Path, *values: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A directory that foraging left: five tasks, and records of what was tried."""
    path = tmp_path / "made"
    write(
        path / "tasks.jsonl",
        task(0, "swap"),
        task(1, "combined"),
        task(2, "swap", provenance={"operator": "swap", "solved_by_search": True}),
        task(3, "implement"),
        task(4, source="commit", repo=HOSTILE, test_patch="x", provenance={"solved_by_search": False}),
    )
    write(
        path / "repositories.jsonl",
        {"repository": "a", "verdicts": {"yield": {"survived": 99}}},
        {"repository": "a", "verdicts": {"swap": {"valid": 2, "survived": 1}, "yield": {"nothing_passes": 2}}},
        {"repository": "b", "status": "failed"},
    )
    return path


def test_a_set_is_told_from_a_run(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    run.write_bytes(encode(make_trajectory(make_tasks(1)[0], 0)) + b"\n")
    assert [is_task_set(path) for path in (made, made / "tasks.jsonl", run, tmp_path / "no", tmp_path)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([task(0)]))
    assert lines("stats", listed)[0] == "list.json: 1 tasks of owner/b"
    (made / "trajectories.jsonl").write_bytes(run.read_bytes())
    assert not is_task_set(made), "a run may hold its tasks"


def test_a_set_by_repository_operator_and_size(made: Path) -> None:
    shown = "\n".join(lines("stats", made, columns=900))
    for part in (
        r"made: 5 tasks of 3 repositories, 1 with hidden tests, 1 of 2 solved by search",
        r"failing tests +3 +1.4 +3 +4.6 +5\n",
        r"lines of the patch +2.4 +2 +2 +3.2 +4\n",
        r"files of the patch +1.2 ",
        r"owner/a +2 +2 +3 +3 +1.5\n",
        r"mutation +4 ",
        r"calls +2 +40.0 % +swap 2",
        r"functions +1 +20.0 % +implement 1",
        r"combined +1 +20.0 % +combined 1",
        r"1 of \d+ mutation operators have a task; none yet: ",
        r"yield \(2 nothing passes\)",
    ):
        assert re.search(part, shown), (part, shown)
    assert "\x1b" not in shown and "evil" in shown
    assert "difficulty" not in shown
    report = json.loads(lines("stats", made, "--json")[0])
    assert report["by_operator"]["swap"] == {
        "family": "calls",
        "tasks": 2,
        "verdicts": {"survived": 1, "valid": 2},
    }
    assert report["by_source"]["commit"]["failing_tests"] == 5


@pytest.mark.parametrize("columns", [80, 140])
def test_its_tables_fit_the_screen(made: Path, columns: int) -> None:
    write(made / "tasks.jsonl", *(task(n, "swap", repo="x" * 90 + str(n % 3)) for n in range(9)))
    for path in (made, made / "tasks.jsonl"):
        assert max(map(len, lines("stats", path, columns=columns))) <= columns


def test_difficulty_is_measured_and_written(made: Path, tmp_path: Path) -> None:
    tasks = made / "tasks.jsonl"
    run = tmp_path / "run.jsonl"
    tried = make_tasks(2)
    attempts = [
        make_trajectory(tried[n], sample, id=f"{name}#{sample}", instance_id=name)
        for n, name in enumerate(("task-0", "elsewhere"))
        for sample in range(4)
    ]
    run.write_bytes(b"".join(encode(attempt) + b"\n" for attempt in attempts))
    shown = "\n".join(lines("stats", run, "--difficulty", "--tasks", tasks, "-o", tasks, columns=200))
    for part in (
        r"1 of 5 tasks tried, 2 of 4 graded attempts resolved, pass@1 50.0 % \(95 %: .*\); 1 other tasks of these",
        r"medium +25 to 75 % +1 +20.0 % +4 +2",
        r"not tried +4 +80.0 %",
        r"5 tasks in .*tasks.jsonl",
    ):
        assert re.search(part, shown), (part, shown)
    written = [json.loads(line) for line in tasks.read_text().splitlines()]
    assert written[0]["provenance"]["operator"] == "swap"
    assert (written[0]["provenance"]["difficulty"]["rate"], "difficulty" in written[1]["provenance"]) == (0.5, False)
    assert not list(made.glob(".*tmp*"))
    assert re.search(r"owner/b +2 .* 50.0 %", "\n".join(lines("stats", made)))
    found = json.loads(lines("stats", run, "--difficulty", "--json")[0])
    assert (found["tasks"], found["by_task"]["elsewhere"]["resolved"]) == (2, 2)


def test_a_picture_of_a_set(made: Path, tmp_path: Path) -> None:
    for name in ("set.svg", "set.png"):
        lines("stats", made, "--plot", tmp_path / name)
    text = "".join(ElementTree.parse(tmp_path / "set.svg").getroot().itertext())
    for part in ("made: 5 tasks", "family of operators", "lines of the patch", "owner/a"):
        assert part in text
    assert (tmp_path / "set.png").read_bytes()[:4] == b"\x89PNG"


def test_wrong_use_of_sets(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.jsonl"
    run.write_bytes(encode(make_trajectory(make_tasks(1)[0], 0)) + b"\n")
    assert "one at a time" in complaint("stats", made, run)
    assert "--tasks and -o go with --difficulty" in complaint("stats", run, "--tasks", made)
    assert "read from runs" in complaint("stats", made, "--difficulty")
    assert "-o FILE.jsonl" in complaint("stats", run, "--difficulty", "-o", tmp_path / "x.jsonl")
    assert "-o FILE.jsonl" in complaint("stats", run, "--difficulty", "--tasks", made, "-o", tmp_path / "x.json")
    (made / "repositories.jsonl").write_text("{\n")
    assert "repositories.jsonl, line 1 is damaged" in complaint("stats", made)
