"""Runs from end to end: the two ends that validate a task set, the embedded default, a model behind a server."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from forager.records import Task
from forager.run.report import RunReport
from forager.sandbox.engine import Engine
from tests.end_to_end.command import Command, finish, forager, none_left, read, start
from tests.end_to_end.shelf import solving
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

SECRET = "sk-e2e-0123456789"


def test_oracle_resolves_all_and_leaves_the_run_directory_as_described(
    engine: Engine, shelf: dict[str, Task], tasks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "oracle"
    process = start("run", tasks, "-m", "oracle", "-o", out)
    said = finish(process).fine()
    none_left(engine, process.pid)
    assert said.startswith("oracle on 3 tasks: 3 to do\n")
    assert "[3/3] shelf__" in said and "3 of 3 (100.0 %)" in said and f"forager show {out}" in said

    run = read(out)
    asked = {f"{task.instance_id}#0" for task in shelf.values()}
    assert {one.id for one in run.trajectories} == asked and len(run.trajectories) == 3
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == [
        "attempts",
        "failures.jsonl",
        "logs",
        "preds.jsonl",
        "report.json",
        "run.json",
        "trajectories.jsonl",
    ]
    assert list((out / "attempts").iterdir()) == [] and run.failures == []
    assert {path.stem for path in (out / "logs").iterdir()} == asked
    for one in run.trajectories:
        task = next(task for task in shelf.values() if task.instance_id == one.instance_id)
        assert one.outcome.status == "submitted" and one.evaluation is not None
        assert one.evaluation.resolved and one.evaluation.reward == 1.0
        assert one.evaluation.fail_to_pass.success == task.FAIL_TO_PASS
        assert one.evaluation.pass_to_pass.success == task.PASS_TO_PASS
        assert "5 passed" in (out / one.evaluation.log).read_text()
        assert one.patch == one.final_diff and one.patch
        assert [step.tool for step in one.steps] == ["edit", "submit"]
    info = json.loads((out / "run.json").read_text())
    assert set(info["images"]) == {task.instance_id for task in shelf.values()}
    assert info["images"] == {one.instance_id: one.task.image for one in run.trajectories}
    assert info["config"]["limits"]["steps"] == 128 and info["versions"]["docker"]
    report = run.report
    assert (report.asked, report.finished, report.tasks_resolved) == (3, 3, 3)
    assert report.pass_at == {"1": 1.0} and report.total.resolved == 3

    again = forager("run", tasks, "-m", "oracle", "-o", out).fine()
    assert "0 to do, 3 done before" in again and "[3/3]" not in again
    assert read(out).trajectories == run.trajectories, "nothing was attempted twice"


def test_nop_resolves_none(tasks: Path, tmp_path: Path) -> None:
    forager("run", tasks, "-m", "nop", "-o", tmp_path / "nop").fine()
    run = read(tmp_path / "nop")
    assert len(run.trajectories) == 3
    for one in run.trajectories:
        assert (one.outcome.status, one.patch, one.steps) == ("no_submission", None, ())
        assert one.evaluation is not None and not one.evaluation.resolved
        assert one.evaluation.flags == ("no_patch",)
    assert run.report.total.resolved == 0 and run.report.by_status == {"no_submission": 3}


def test_search_works_through_the_tools_and_its_record_is_honest(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    lines = forager("run", tasks, "-o", out, "--json").fine().splitlines()
    *events, report = [json.loads(line) for line in lines]
    assert {event["event"] for event in events} == {"start", "begin", "end"}
    assert msgspec.convert(report, RunReport) == read(out).report

    run = read(out)
    assert len(run.trajectories) == 3 and run.failures == []
    assert run.report.total.resolved >= 1, "bugs of one site: brute force finds some"
    for one in run.trajectories:
        assert one.evaluation is not None and one.model.provider == "forager"
        assert one.steps[0].tool == "bash" and any(step.tests for step in one.steps[:4]), "it runs the tests first"
        for step in one.steps:
            asked, told = one.messages[step.assistant], one.messages[step.observation]
            call = next(call for call in asked["tool_calls"] if call["id"] == told["tool_call_id"])
            assert call["function"]["name"] == step.tool
            assert json.loads(call["function"]["arguments"]) == step.arguments
            if step.tool == "bash" and step.exit_code is not None:
                assert told["content"].endswith(f"[exit code {step.exit_code}]")
        assert (one.patch is not None) == (one.outcome.status == "submitted")
        assert one.evaluation.resolved <= (one.patch is not None)
    resolved = [one.id for one in run.trajectories if one.evaluation is not None and one.evaluation.resolved]

    forager("eval", tasks, out / "preds.jsonl", "-o", tmp_path / "again", "--no-cache").fine()
    reports = json.loads((tmp_path / "again" / "reports.json").read_text())
    assert [f"{name}#0" for name, report in reports.items() if report["resolved"]] == sorted(
        resolved, key=[f"{name}#0" for name in reports].index
    ), "a second grading says the same"


def test_a_model_behind_a_server_and_no_secret_on_disk(one_task: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    look = {"bash": "ls", "text": "I look around.", "reasoning": "Where is it?"}
    with OpenAIServer(Script(conversations=solving(look), key=SECRET, model="any-name")) as server:
        result = forager(
            "run", one_task, "-o", out, "-m", "any-name", "--base-url", f"{server.base_url}?code={SECRET}",
            "--api-key-env", "MY_KEY", "--temperature", "0.5", "--extra-body", '{"top_k": 3}', "--sampling", "seed=7",
            env={"MY_KEY": SECRET},
        )  # fmt: skip
        result.fine()
        assert {(one.body["temperature"], one.body["top_k"], one.body["seed"]) for one in server.requests} == {
            (0.5, 3, 7)
        }
        assert server.count == 3
    one = read(out).only()
    assert one.evaluation is not None and one.evaluation.resolved
    assert [step.tool for step in one.steps] == ["bash", "edit", "submit"]
    assert one.messages[2]["content"] == "I look around." and one.messages[2]["reasoning_content"] == "Where is it?"
    assert one.usage.prompt_tokens > 0 and one.cost is None, "unknown prices give an unknown cost"
    assert one.model.sampling == {"temperature": 0.5, "seed": 7, "extra_body": {"top_k": 3}}
    for path in out.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in result.out + result.err


def test_a_disk_that_takes_no_more_stops_the_run_which_goes_on_when_there_is_room(
    engine: Engine, one_task: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command: Command = ["run", one_task, "-o", out, "-m", "oracle", "-k", "2"]
    full = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh"]  # no file beyond 4 KiB
    process = start(*command, prefix=full)
    complaint = finish(process).complaint(3)
    none_left(engine, process.pid)
    assert f"cannot write {out}" in complaint and "free some space, then run the same command again" in complaint
    forager(*command).fine()
    assert [one.outcome.status for one in read(out).trajectories] == ["submitted"] * 2


def test_a_reader_that_leaves_does_not_end_the_run(one_task: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    head = ["sh", "-c", '"$@" | head -n 1', "sh"]
    assert forager("run", one_task, "-o", out, "-m", "oracle", prefix=head).fine() == "oracle on 1 task: 1 to do\n"
    assert read(out).only().outcome.status == "submitted" and read(out).report.finished == 1
