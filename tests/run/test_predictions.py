"""Files of predictions: read in every form, graded once, reported as SWE-bench does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forager.errors import BuildError, SandboxError, UnfitError, UsageError
from forager.records import Evaluation, Task, TestLists
from forager.run.grading import evaluate_predictions, render_evaluation
from forager.run.predictions import load_predictions
from forager.run.progress import Silent
from tests.run.synthetic import PATCH, make_tasks
from tests.run.test_report import screen

ONE = {"instance_id": "pkg__mod-0", "model_name_or_path": "m", "model_patch": PATCH}


def write(path: Path, *predictions: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in predictions))
    return path


async def fine(task: Task, patch: str) -> tuple[Evaluation, str]:
    applied = "a/x.py" in patch
    evaluation = Evaluation(
        resolved=applied,
        patch_applied=applied,
        fail_to_pass=TestLists(success=task.FAIL_TO_PASS),
        pass_to_pass=TestLists(success=task.PASS_TO_PASS),
        seconds=1.0,
    )
    return evaluation, "2 passed"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ONE),
        json.dumps(ONE) + "\n\n" + json.dumps({**ONE, "instance_id": "x"}),
        json.dumps([ONE, {**ONE, "instance_id": "x"}], indent=1),
        json.dumps({"pkg__mod-0": {"model_name_or_path": "m", "model_patch": PATCH}, "x": {"model_patch": None}}),
        json.dumps({"pkg__mod-0": PATCH}),
    ],
)
def test_every_form_of_a_predictions_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "preds").write_text(text)
    first = load_predictions(tmp_path / "preds")[0]
    assert (first.id, first.patch) == ("pkg__mod-0#0", PATCH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(ONE) + "\n{oops", "line 2: not JSON"),
        ('{"instance_id": "a"}', "line 1: field 'model_patch' is missing"),
        ('[{"model_patch": "x"}]', "entry 1: field 'instance_id' is missing"),
        ('[{"instance_id": "a", "model_patch": 5}]', "entry 1: field 'model_patch' must be text or null"),
        ("[7]", "entry 1: a prediction is a JSON object"),
        ("", "holds no prediction"),
        ("[]", "holds no prediction"),
    ],
)
def test_a_wrong_predictions_file_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "preds").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_predictions(tmp_path / "preds")
    with pytest.raises(UsageError, match="cannot read predictions"):
        load_predictions(tmp_path / "none")


async def test_predictions_are_graded_and_reported_as_swe_bench_does(tmp_path: Path) -> None:
    tasks = make_tasks(5)
    preds = write(
        tmp_path / "preds.jsonl",
        ONE,
        {**ONE, "instance_id": "pkg__mod-1", "model_patch": None},
        {**ONE, "instance_id": "pkg__mod-2", "model_patch": " "},
        {**ONE, "instance_id": "pkg__mod-3", "model_patch": "nonsense"},
        {**ONE, "instance_id": "other"},
    )
    report = await evaluate_predictions(tasks, load_predictions(preds), tmp_path / "eval", fine, Silent(), workers=2)
    assert (report.predictions, report.graded, report.resolved) == (5, 4, 1)
    assert (report.empty, report.not_applied, report.without, report.unknown) == (2, 1, 1, ("other",))
    reports = json.loads((tmp_path / "eval/reports.json").read_text())
    empty: dict[str, list[str]] = {"success": [], "failure": []}
    assert reports["pkg__mod-0"] == {
        "patch_is_None": False,
        "patch_exists": True,
        "patch_successfully_applied": True,
        "resolved": True,
        "tests_status": {
            "FAIL_TO_PASS": {"success": ["tests/test_x.py::test_a"], "failure": []},
            "PASS_TO_PASS": {"success": ["tests/test_x.py::test_b"], "failure": []},
            "FAIL_TO_FAIL": empty,
            "PASS_TO_FAIL": empty,
        },
    }
    assert reports["pkg__mod-1"]["patch_is_None"] is True
    assert reports["pkg__mod-2"] == {
        "patch_is_None": False,
        "patch_exists": False,
        "patch_successfully_applied": False,
        "resolved": False,
    }
    assert reports["pkg__mod-3"]["patch_successfully_applied"] is False
    assert (tmp_path / "eval/logs/pkg__mod-0#0.txt").read_text() == "2 passed"
    page = screen(render_evaluation(tmp_path / "eval", report))
    assert "1 of 4 resolved, 2 without a patch, 1 did not apply, 1 tasks without a prediction, 1 for unknown" in page


async def test_several_predictions_for_an_instance_are_all_graded(tmp_path: Path) -> None:
    preds = write(tmp_path / "preds.jsonl", ONE, {**ONE, "model_patch": "nonsense"})
    report = await evaluate_predictions(make_tasks(1), load_predictions(preds), tmp_path / "eval", fine, Silent())
    assert (report.graded, report.resolved, report.repeated) == (2, 1, 1)
    reports = json.loads((tmp_path / "eval/reports.json").read_text())
    assert {name: one["resolved"] for name, one in reports.items()} == {"pkg__mod-0#0": True, "pkg__mod-0#1": False}


async def test_the_same_command_again_grades_only_the_rest(tmp_path: Path) -> None:
    tasks = make_tasks(4)
    candidates = load_predictions(
        write(tmp_path / "preds.jsonl", *({**ONE, "instance_id": task.instance_id} for task in tasks))
    )
    graded: list[str] = []

    async def grade(task: Task, patch: str) -> tuple[Evaluation, str]:
        if len(graded) == 2:
            raise UnfitError("no engine")
        graded.append(task.instance_id)
        return await fine(task, patch)

    with pytest.raises(UnfitError, match="no engine"):
        await evaluate_predictions(tasks, candidates, tmp_path / "eval", grade, Silent())
    with (tmp_path / "eval/evaluations.jsonl").open("ab") as file:
        file.write(b'{"id": "torn')
    graded = ["-", "-", "-"]
    report = await evaluate_predictions(tasks, candidates, tmp_path / "eval", grade, Silent())
    assert graded[3:] == ["pkg__mod-2", "pkg__mod-3"]
    assert (report.graded, report.resolved) == (4, 4)
    assert len((tmp_path / "eval/evaluations.jsonl").read_text().splitlines()) == 4


async def test_other_patches_in_the_same_directory_are_refused(tmp_path: Path) -> None:
    tasks = make_tasks(1)
    candidates = load_predictions(write(tmp_path / "preds.jsonl", ONE))
    await evaluate_predictions(tasks, candidates, tmp_path / "eval", fine, Silent())
    changed = load_predictions(write(tmp_path / "preds.jsonl", {**ONE, "model_patch": "x"}))
    with pytest.raises(UsageError, match=r"graded other input \(pkg__mod-0#0: another patch\); choose another -o"):
        await evaluate_predictions(tasks, changed, tmp_path / "eval", fine, Silent())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(UsageError, match="is not an evaluation"):
        await evaluate_predictions(tasks, candidates, tmp_path / "mine", fine, Silent())


async def test_infrastructure_faults_are_retried_and_never_graded_as_failures(tmp_path: Path) -> None:
    tasks = make_tasks(3)
    preds = write(tmp_path / "preds.jsonl", *({**ONE, "instance_id": task.instance_id} for task in tasks))
    tries: dict[str, int] = {}

    async def grade(task: Task, patch: str) -> tuple[Evaluation, str]:
        tries[task.instance_id] = tries.get(task.instance_id, 0) + 1
        if task.instance_id == "pkg__mod-0" and tries[task.instance_id] == 1:
            raise SandboxError("container died")
        if task.instance_id == "pkg__mod-1":
            raise SandboxError("always")
        if task.instance_id == "pkg__mod-2":
            raise BuildError("no image", "log")
        return await fine(task, patch)

    report = await evaluate_predictions(
        tasks, load_predictions(preds), tmp_path / "eval", grade, Silent(), retries=2, pause=0.001
    )
    assert tries == {"pkg__mod-0": 2, "pkg__mod-1": 3, "pkg__mod-2": 1}
    assert report.graded == report.resolved == 1
    assert report.broken == {"pkg__mod-1#0": "always", "pkg__mod-2#0": "no image"}
    assert len((tmp_path / "eval/failures.jsonl").read_text().splitlines()) == 5
