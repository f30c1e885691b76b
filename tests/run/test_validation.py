"""A set of tasks validated: each graded several times, sorted, written down, gone on with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from forager.errors import BuildError, SandboxError, UnfitError, UsageError
from forager.records import Evaluation, Outcome, Task, TestLists, Trajectory
from forager.run.progress import Silent
from forager.run.validation import render_validation, validate_tasks
from forager.run.validation_store import Validation, ValidationReport
from forager.tasks import load_tasks
from tests.run.synthetic import PATCH, make_tasks, make_trajectory
from tests.run.test_report import screen

UNSUBMITTED = "the reference patch cannot be submitted through the tools"


class Trials:
    """Tasks that are sound, unless `odd` says something else of one."""

    def __init__(self, **odd: Any) -> None:
        self.odd = odd
        self.grades: list[tuple[str, bool, int | None]] = []
        self.asked_only: list[bool] = []
        """Of the grades without the fix, which were of FAIL_TO_PASS alone."""
        self.attempts: Counter[tuple[str, str]] = Counter()

    async def attempt(self, model: str, task: Task, *, grading: bool) -> Trajectory:
        self.attempts[model, task.instance_id] += 1
        if self.odd.get("lost") == task.instance_id and self.attempts[model, task.instance_id] < 3:
            return make_trajectory(task, 0, outcome=Outcome(status="sandbox_error", detail="the engine is away"))
        if self.odd.get("stuck") == task.instance_id:
            messages = ({"role": "assistant", "content": "The reference patch does not apply."},)
            return make_trajectory(task, 0, patch=None, messages=messages, outcome=Outcome(status="no_submission"))
        return make_trajectory(task, 0 if task.instance_id.endswith("0") else 1, patch=PATCH)

    async def grade(
        self, task: Task, patch: str | None, shuffle: int | None, *, only: bool = False
    ) -> tuple[Evaluation, str]:
        self.grades.append((task.instance_id, patch is not None, shuffle))
        if patch is None:
            self.asked_only.append(only)
        else:
            assert not only
        if self.odd.get("broken") == task.instance_id:
            raise SandboxError("the engine is away")
        if self.odd.get("fatal") == task.instance_id:
            raise UnfitError("no disk")
        fixed = (patch is not None and self.odd.get("useless") != task.instance_id) or self.odd.get(
            "solved"
        ) == task.instance_id
        constant = not (self.odd.get("flaky") == task.instance_id and shuffle)
        if self.odd.get("ordered") == task.instance_id and shuffle:
            fixed = False
        if patch is None and (
            (self.odd.get("guarded") == task.instance_id and only)
            or (self.odd.get("lucky") == task.instance_id and len(self.asked_only) > 1)
        ):
            fixed = True
        evaluation = Evaluation(
            resolved=fixed,
            fail_to_pass=_lists(task.FAIL_TO_PASS, fixed),
            pass_to_pass=TestLists() if only else _lists(task.PASS_TO_PASS, constant),
        )
        return evaluation, "1 passed"


def _lists(tests: tuple[str, ...], passed: bool) -> TestLists:
    return TestLists(success=tests) if passed else TestLists(failure=tests)


def tasks(number: int) -> list[Task]:
    return [msgspec.structs.replace(task, patch=PATCH) for task in make_tasks(number)]


async def go(
    asked: list[Task], trials: Trials, directory: Path | None = None, **options: Any
) -> tuple[ValidationReport, list[Validation]]:
    return await validate_tasks(asked, trials, Silent(), directory, pause=0.01, **options)


async def test_every_task_is_graded_with_and_without_its_fix_and_shuffled_from_the_second_run_on() -> None:
    trials = Trials()
    report, found = await go(tasks(2), trials, runs=3)
    assert report.complete and report.accepted == 2 and [one.runs for one in found] == [3, 3]
    assert trials.grades[:6] == [("pkg__mod-0", fixed, n) for n in (None, 1, 2) for fixed in (True, False)]
    assert trials.attempts == {("oracle", "pkg__mod-0"): 1, ("oracle", "pkg__mod-1"): 1}


async def test_without_the_fix_only_the_first_run_is_of_every_test() -> None:
    trials = Trials()
    _, found = await go(tasks(1), trials, runs=3)
    assert trials.asked_only == [False, True, True]
    assert (found[0].soundness.flaky, found[0].soundness.pass_to_pass) == ({}, tasks(1)[0].PASS_TO_PASS)
    trials = Trials(ordered="pkg__mod-0")
    await go(tasks(1), trials, runs=3)
    assert trials.asked_only == [False, True, True, True], "in their own order, too"


async def test_a_test_that_passes_in_a_later_run_without_the_fix_is_found() -> None:
    report, found = await go(tasks(1), Trials(lucky="pkg__mod-0"), runs=3)
    assert "1 are not constant" in report.rejected["pkg__mod-0"]
    assert found[0].soundness.flaky == {
        tasks(1)[0].FAIL_TO_PASS[0]: "with the fix: pass pass pass; without: fail pass pass"
    }


async def test_a_test_that_fails_only_after_others_is_tried_again_after_them() -> None:
    trials = Trials(guarded="pkg__mod-0")
    report, found = await go(tasks(1), trials, runs=2)
    assert (report.accepted, report.order_dependent, report.flaky) == (1, 1, 0)
    assert found[0].soundness.fail_to_pass == tasks(1)[0].FAIL_TO_PASS
    assert trials.asked_only == [False, True, False, False]


async def test_a_fix_that_solves_nothing_is_not_graded_again() -> None:
    trials = Trials(useless="pkg__mod-0")
    report, found = await go(tasks(2), trials, runs=3)
    assert "all 1 FAIL_TO_PASS tests fail with the fix" in report.rejected["pkg__mod-0"]
    assert [name for name, _, _ in trials.grades].count("pkg__mod-0") == 1 and found[1].accepted


async def test_tests_that_fail_in_another_order_are_tried_again_in_their_own() -> None:
    trials = Trials(ordered=tasks(1)[0].instance_id)
    report, found = await go(tasks(1), trials, runs=2)
    assert (report.accepted, report.order_dependent, report.flaky) == (1, 1, 0)
    assert found[0].soundness.fail_to_pass == tasks(1)[0].FAIL_TO_PASS
    orders = [shuffle for _, fix, shuffle in trials.grades if fix]
    assert orders == [None, 1, None, None]


async def test_tasks_are_sorted_and_written_down_with_what_was_found(tmp_path: Path) -> None:
    asked = tasks(5)
    asked[4] = msgspec.structs.replace(asked[4], patch="")
    trials = Trials(solved="pkg__mod-1", flaky="pkg__mod-2", stuck="pkg__mod-3")
    report, found = await go(asked, trials, tmp_path / "out", workers=2)
    assert not report.complete and report.accepted == 2 and report.flaky == 1
    accepted = load_tasks(tmp_path / "out" / "tasks.jsonl")
    assert [task.instance_id for task in accepted] == ["pkg__mod-0", "pkg__mod-2"]
    assert accepted[0].PASS_TO_PASS == asked[0].PASS_TO_PASS and accepted[1].PASS_TO_PASS == ()
    noted = accepted[1].provenance["validation"]
    assert noted["flaky"] == {"tests/test_x.py::test_b": "with the fix: pass fail; without: pass"}
    rejected = {task.instance_id: task for task in load_tasks(tmp_path / "out" / "rejected.jsonl")}
    reasons = {name: task.provenance["validation"]["reason"] for name, task in rejected.items()}
    assert reasons == report.rejected
    assert reasons == {
        "pkg__mod-1": "nop resolves it: every FAIL_TO_PASS test passes without the fix",
        "pkg__mod-3": f"{UNSUBMITTED}: The reference patch does not apply.",
        "pkg__mod-4": "it has no reference patch",
    }
    assert rejected["pkg__mod-1"].FAIL_TO_PASS == asked[1].FAIL_TO_PASS
    assert json.loads((tmp_path / "out" / "report.json").read_bytes())["accepted"] == 2
    page = screen(render_validation(report, found))
    assert "2 of 5 accepted, 3 rejected, 1 flaky tests" in page and "pkg__mod-4: it has no reference patch" in page


async def test_the_same_call_goes_on_and_asks_again_only_for_what_is_new(tmp_path: Path) -> None:
    asked = tasks(3)
    trials = Trials(fatal="pkg__mod-1")
    with pytest.raises(UnfitError):
        await go(asked, trials, tmp_path)
    trials = Trials()
    report, found = await go(asked, trials, tmp_path)
    assert report.accepted == 3 and [one.instance_id for one in found] == [task.instance_id for task in asked]
    assert {name for name, _, _ in trials.grades} == {"pkg__mod-1", "pkg__mod-2"}
    again = Trials()
    await go(asked, again, tmp_path)
    assert again.grades == []
    asked[0] = msgspec.structs.replace(asked[0], FAIL_TO_PASS=("tests/test_x.py::test_c",))
    await go(asked, again, tmp_path)
    assert {name for name, _, _ in again.grades} == {"pkg__mod-0"}, "another task by the same name"
    await go(asked, again, tmp_path, runs=3)
    assert len(again.grades) == 4 + 3 * 6
    assert len(load_tasks(tmp_path / "tasks.jsonl")) == 3


async def test_what_infrastructure_breaks_is_tried_again_and_never_called_rejected(tmp_path: Path) -> None:
    report, _ = await go(tasks(2), Trials(lost="pkg__mod-0", broken="pkg__mod-1"), tmp_path)
    assert (report.accepted, report.rejected) == (1, {}) and not report.complete
    assert report.not_validated == {"pkg__mod-1": "the engine is away"}
    report, _ = await go(tasks(2), Trials(), tmp_path)
    assert report.complete


async def test_difficulty_is_whether_search_solves_it(tmp_path: Path) -> None:
    trials = Trials(solved="pkg__mod-1")
    report, found = await go(tasks(3), trials, tmp_path, difficulty=True)
    assert report.solved_by_search == 1 and [one.solved_by_search for one in found] == [True, None, False]
    accepted = load_tasks(tmp_path / "tasks.jsonl")
    assert [task.provenance["solved_by_search"] for task in accepted] == [True, False]
    assert "not solved" in screen(render_validation(report, found))


class NoImage:
    """Images of which one cannot be made."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def ensure(self, task: Task, *, fresh: bool = False) -> None:
        if task.instance_id == "pkg__mod-1":
            raise BuildError("pip found no version", log="No matching distribution")

    async def release(self, task: Task) -> None:
        self.released.append(task.instance_id)

    async def close(self) -> None:
        self.released.append("all")


async def test_a_task_without_an_image_is_rejected_and_every_image_is_let_go(tmp_path: Path) -> None:
    images = NoImage()
    report, found = await go(tasks(2), Trials(), tmp_path, images=images)
    assert report.rejected == {"pkg__mod-1": "its image cannot be made: pip found no version"}
    assert images.released == ["pkg__mod-0", "pkg__mod-1", "all"]
    assert (tmp_path / found[1].log).read_text() == "No matching distribution"


async def test_a_directory_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="is not a validation"):
        await go(tasks(1), Trials(), tmp_path)
