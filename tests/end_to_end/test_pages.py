"""What a user reads after the work: show, stats, doctor, clean, at two widths and by a program; and grading again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import msgspec
import pytest
from msgspec import structs

from forager.images.build import image_id
from forager.images.task import TaskImage, ensure_task_image
from forager.inspect.listing import RunRow
from forager.records import Prediction, Task, Trajectory, encode
from forager.run.images_pool import TaskImages
from forager.run.report import RunReport
from forager.run.verdicts import Verdict
from forager.sandbox.engine import Engine
from forager.sandbox.labels import OWNER, owner
from tests.end_to_end.command import Command, finish, forager, none_left, running, start, until
from tests.end_to_end.gate import Gate
from tests.end_to_end.shelf import BUGS, patch, repair, write_tasks
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

LONG = "word " * 100
WIDTHS = [80, 140]


def page(width: int, *arguments: str | Path, code: int = 0) -> str:
    """What a command prints at this width: nothing wider, nothing for a terminal, no complaint."""
    result = forager(*arguments, env={"COLUMNS": str(width)})
    assert (result.code, result.err) == (code, ""), result
    too_wide = [line for line in result.out.splitlines() if len(line) > width]
    assert too_wide == [] and "\x1b" not in result.out, too_wide
    return result.out


@pytest.fixture(scope="module")
def finished(shelf: dict[str, Task], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a bit of everything: one repaired, one made worse, one not submitted; long lines, markup."""
    folder = tmp_path_factory.mktemp("pages")
    worse = BUGS["clamp"]
    edit = {"path": worse[0], "search": worse[2], "replace": "    if value == low:"}
    talk = {
        "bash": f"echo '[red]{LONG}'; python -m pytest -q; seq 50",
        "text": f"[bold]Look.[/] {LONG}",
        "reasoning": LONG,
    }
    script = Script(
        conversations=[
            {"match": "function mean ", "turns": [talk, repair("mean")]},
            {"match": "function clamp ", "turns": [{"calls": [["edit", edit]]}]},
            {"match": "function shorten ", "turns": [{"bash": "touch new"}, *[{"text": "I give up. " + LONG}] * 3]},
        ]
    )  # fmt: skip
    tasks = write_tasks(folder / "tasks.jsonl", list(shelf.values()))
    with OpenAIServer(script) as server:
        forager("run", tasks, "-o", folder / "run", "-m", "any-name", "--base-url", server.base_url).fine()
    return folder / "run"


def test_show_and_stats(finished: Path) -> None:
    for width in WIDTHS:
        table = page(width, "show", finished)
        rows = {row.split()[0]: row for row in table.splitlines()[1:]}
        assert " submitted " in rows["shelf__mean#0"] and " resolved " in rows["shelf__mean#0"]
        assert " submitted " in rows["shelf__clamp#0"] and " not resolved " in rows["shelf__clamp#0"]
        assert " no_submission " in rows["shelf__shorten#0"] and " not resolved " in rows["shelf__shorten#0"]

        told = page(width, "show", finished, "shelf__mean")
        assert "The function mean returns something wrong." in told
        assert "[bold]Look.[/]" in told and "[red]word" in told, "no markup of an agent is obeyed"
        assert "$ echo" in told and "lines folded" in told and "pytest: 3 passed, 2 failed, 0 errors" in told
        assert "FAIL_TO_PASS: 2 of 2 pass" in told and "pass  tests/test_numbers.py::test_mean[three of them]" in told
        told = page(width, "show", finished, "shelf__clamp#0")
        assert "not resolved" in told and "FAIL  tests/test_numbers.py::test_clamp" in told
        told = page(width, "show", finished, "shelf__short")
        assert "nothing was submitted" in told and "new file mode" in told and "I give up." in told

        told = page(width, "stats", finished)
        assert "1 of 3 (33.3 %)" in told and "3 of 3 attempts finished" in told
        told = page(width, "stats", finished, finished)
        assert "33.3 %" in told and "any-name" in told

    rows_ = [msgspec.json.decode(line, type=RunRow) for line in page(100_000, *_json("show", finished)).splitlines()]
    assert sorted((row.id, row.resolved) for row in rows_) == [
        ("shelf__clamp#0", False),
        ("shelf__mean#0", True),
        ("shelf__shorten#0", False),
    ]
    one = msgspec.json.decode(page(100_000, *_json("show", finished, "shelf__mean#0")), type=Trajectory)
    assert one.id == "shelf__mean#0"
    reports = forager("stats", finished, finished, "--json").fine().splitlines()
    assert len(reports) == 2
    report = msgspec.json.decode(reports[0], type=RunReport)
    assert report == msgspec.json.decode((finished / "report.json").read_bytes(), type=RunReport)
    assert (report.finished, report.total.resolved, report.pass_at) == (3, 1, {"1": 1 / 3})

    assert "has no attempt 'shelf__nean#0'; near: shelf__mean#0" in forager(
        "show", finished, "shelf__nean#0"
    ).complaint(2)
    assert "matches 3 attempts: " in forager("show", finished, "shelf").complaint(2)
    reader = forager("show", finished, "shelf__mean", prefix=["sh", "-c", '"$@" | head -n 1', "sh"])
    assert reader.fine().startswith("shelf__mean#0"), "a reader may leave"


def _json(*arguments: str | Path) -> Command:
    return [*arguments, "--json"]


def test_a_run_may_be_looked_at_while_it_goes_on(one_task: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    script = Script(conversations=[{"match": "", "turns": [repair("mean")]}])
    with OpenAIServer(script) as server:
        command: Command = ["run", one_task, "-o", out, "-m", "any", "--base-url", server.base_url, "--workers", "1"]
        with running(*command, "-k", "2") as process:
            lines = out / "trajectories.jsonl"
            until(lambda: lines.exists() and lines.read_bytes().count(b"\n"), "the first attempt", process)
            script.delay = 600.0
            assert "shelf__mean#0" in page(80, "show", out)
            assert " of 2 attempts finished" in page(80, "stats", out)


def test_eval_of_every_kind_of_patch(shelf: dict[str, Task], tasks: Path, tmp_path: Path, engine: Engine) -> None:
    gold = shelf["mean"].patch
    candidates: list[tuple[str, str | None, bool]] = [
        ("mean", gold, True),
        ("mean", "", False),
        ("mean", gold.replace("sum(values) - len(values)", "something else"), False),
        ("mean", patch("mean", "    return 2"), False),
        ("clamp", None, False),
    ]
    predictions = tmp_path / "preds.jsonl"
    lines = [
        encode(Prediction(instance_id=f"shelf__{name}", model_name_or_path="m", model_patch="")).replace(
            b'"model_patch":""', b'"model_patch":' + encode(text)
        )
        for name, text, _ in candidates
    ]
    unknown = encode(Prediction(instance_id="shelf__unknown", model_name_or_path="m", model_patch=gold))
    predictions.write_bytes(b"\n".join([*lines, unknown]) + b"\n")
    out = tmp_path / "eval"
    process = start("eval", tasks, predictions, "-o", out, "--no-cache")
    said = finish(process).fine()
    none_left(engine, process.pid)
    assert "shelf__unknown: the task file has no such instance; its prediction is not graded" in said
    told = " ".join(said.split())
    assert "1 of 5 resolved, 2 without a patch, 1 did not apply, 1 tasks without a prediction" in told, said

    verdicts = [
        msgspec.json.decode(line, type=Verdict) for line in (out / "evaluations.jsonl").read_bytes().splitlines()
    ]
    by_id = {verdict.id: verdict for verdict in verdicts}
    assert len(by_id) == len(verdicts) == 5
    resolved = {id: verdict.evaluation.resolved for id, verdict in by_id.items()}
    assert resolved == {
        "shelf__mean#0": True,
        "shelf__mean#1": False,
        "shelf__mean#2": False,
        "shelf__mean#3": False,
        "shelf__clamp#0": False,
    }
    assert by_id["shelf__mean#0"].evaluation.reward == 1.0
    assert by_id["shelf__mean#1"].evaluation.flags == by_id["shelf__clamp#0"].evaluation.flags == ("no_patch",)
    assert by_id["shelf__mean#2"].evaluation.flags == ("patch_failed",)
    wrong = by_id["shelf__mean#3"].evaluation
    assert wrong.fail_to_pass.success == ("tests/test_numbers.py::test_mean[three of them]",)
    assert wrong.fail_to_pass.failure == ("tests/test_numbers.py::test_mean[one]",)
    assert "assert 2 == 4" in (out / wrong.log).read_text()
    reports = json.loads((out / "reports.json").read_text())
    assert set(reports) == set(by_id) - {"shelf__clamp#0"} | {"shelf__clamp"}
    assert reports["shelf__mean#0"]["tests_status"]["PASS_TO_PASS"]["failure"] == []
    assert reports["shelf__clamp"] == {
        "patch_is_None": True,
        "patch_exists": False,
        "patch_successfully_applied": False,
        "resolved": False,
    }

    for width in WIDTHS:
        told = forager("eval", tasks, predictions, "-o", out, env={"COLUMNS": str(width)}).fine()
        table = told[told.index("prediction   ") :]
        assert "1 of 5 resolved" in table and max(map(len, table.splitlines())) <= width
    *events, report = map(json.loads, page(100_000, *_json("eval", tasks, predictions, "-o", out)).splitlines())
    assert {event["event"] for event in events} == {"start", "note"}, "everything was graded before"
    assert (report["graded"], report["resolved"], report["unknown"]) == (5, 1, ["shelf__unknown"])

    lines[0] = lines[0].replace(b"len(values)", b"len(things)")
    predictions.write_bytes(lines[0] + b"\n")
    refused = forager("eval", tasks, predictions, "-o", out).complaint(2)
    assert "graded other input (shelf__mean#0: another patch); choose another -o" in refused


def test_doctor_on_a_machine_that_is_fit(engine: Engine) -> None:
    for width in WIDTHS:
        told = page(width, "doctor")
        assert "docker engine" in told and "fail" not in {
            line.split()[0] for line in told.splitlines() if line[0] != " "
        }
    checks = {check["name"]: check for check in json.loads(forager("doctor", "--json").fine())}
    assert checks["docker engine"]["state"] == checks["base image"]["state"] == "ok"


# ------------------------------------------------------------------------------------------------------------ clean


@pytest.fixture
def part_of_the_engine(tmp_path: Path, shelf: dict[str, Task]) -> Iterator[dict[str, Any]]:
    """An engine that shows `forager clean` nothing but what this test made: others work on the same one."""
    mark = tmp_path.name.replace("_", "-")

    def rule(data: bytes) -> bytes:
        wanted = {
            b"images/json": {"reference": [f"forager/task:{mark}*"]},
            b"containers/json": {"label": [f"forager.run={mark}"]},
        }
        head, _, rest = data.partition(b"\r\n")
        for path, extra in wanted.items():
            if path in head:
                method, address, version = head.split(b" ")
                place, _, query = address.partition(b"?")
                parameters = dict(part.split(b"=", 1) for part in query.split(b"&"))
                parameters[b"filters"] = quote(json.dumps(_merged(parameters[b"filters"], extra))).encode()
                query = b"&".join(name + b"=" + value for name, value in parameters.items())
                return b" ".join([method, place + b"?" + query, version]) + b"\r\n" + rest
        return data

    with Gate(tmp_path / "gate", rule) as gate:
        yield {"mark": mark, "env": {"DOCKER_HOST": gate.address}}


def _merged(filters: bytes, extra: dict[str, list[str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = json.loads(unquote_plus(filters.decode()))
    return {name: given.get(name, []) + extra.get(name, []) for name in {*given, *extra}}


def test_clean_removes_what_dead_runs_left_and_nothing_else(
    engine: Engine, shelf: dict[str, Task], part_of_the_engine: dict[str, Any]
) -> None:
    mark, env = part_of_the_engine["mark"], part_of_the_engine["env"]

    async def prepare() -> tuple[TaskImage, TaskImage]:
        needed, left = (structs.replace(shelf["mean"], instance_id=f"{mark}-{name}") for name in ("needed", "left"))
        return await images.ensure(needed), await ensure_task_image(engine, left)

    def container(owned_by: str) -> str:
        labels = {"forager.run": mark, "forager.attempt": "", OWNER: owned_by, "forager.expires": "0"}
        return str(engine.client.containers.create(held.tag, ["true"], labels=labels).id)

    images = TaskImages(engine)
    held, unheld = asyncio.run(prepare())
    try:
        living = container(owner())
        container(owner() + "0")
        said = forager("clean", env=env).fine()
        # the container may have been another test's to find: a run that begins removes what the dead left
        assert said.replace("0 containers", "1 container") == "removed 1 container and 1 task image\n"
        assert [one["Id"] for one in _of(engine, mark)] == [living], "its owner, this process, lives"
        assert asyncio.run(image_id(engine, unheld.tag)) is None
        assert asyncio.run(image_id(engine, held.tag)) == held.digest

        assert forager("clean", "--all", env=env).fine() == "removed 1 container and 0 task images\n"
        assert _of(engine, mark) == []
        assert asyncio.run(image_id(engine, held.tag)) == held.digest, "a run that goes on needs it"
    finally:
        for one in _of(engine, mark):
            engine.api.remove_container(one["Id"], force=True)
        asyncio.run(images.close())


def _of(engine: Engine, mark: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.api.containers(all=True, filters={"label": f"forager.run={mark}"})
    return found
