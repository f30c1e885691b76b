"""A model server with every fault a server has, and a model with every fault a model has."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forager.records import Trajectory
from forager.sandbox.engine import Engine
from tests.end_to_end.command import Command, finish, forager, none_left, read, start
from tests.end_to_end.shelf import repair, solving
from tests.support.openai_script import Script, Turn
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

KEY = "sk-e2e-abcdef123456"


def asking(server: OpenAIServer | str, *more: str) -> list[str | Path]:
    base_url = server if isinstance(server, str) else server.base_url
    return ["-m", "any-name", "--base-url", base_url, *more]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(Script(conversations=solving())) as opened:
        yield opened


# ------------------------------------------------------------ faults that would hit every attempt: stop, one line


@pytest.mark.parametrize(
    ("fault", "key", "told"),
    [
        ("401", "", "wants an API key (401): set $OPENAI_API_KEY"),
        ("401", KEY, "refused the API key in $OPENAI_API_KEY for model 'any-name' (401)"),
        ("404", KEY, "no model 'any-name' at "),
    ],
    ids=["no key", "wrong key", "wrong model"],
)
def test_a_refusal_stops_the_run_with_one_line_and_the_run_goes_on_when_it_is_put_right(
    engine: Engine, one_task: Path, tmp_path: Path, server: OpenAIServer, fault: str, key: str, told: str
) -> None:
    out, env = tmp_path / "run", {"OPENAI_API_KEY": key}
    good, server.answer = server.answer, Script(faults=[{"fault": fault, "every": 1}])
    command: Command = ["run", one_task, "-o", out, "-k", "3", *asking(server, "--no-grade")]
    process = start(*command, env=env)
    complaint = finish(process).complaint(3)
    none_left(engine, process.pid)
    assert told in complaint and server.base_url in complaint and KEY not in complaint
    assert server.count <= 2, "no attempt asks again: one request for each worker at most"
    run = read(out)
    assert (run.trajectories, run.failures) == ([], []), "nobody's failure"

    server.answer = good
    assert "[3/3]" in forager(*command, env=env).fine()
    assert sorted(one.id for one in read(out).trajectories) == [f"shelf__mean#{n}" for n in range(3)]


def test_a_refusal_in_the_middle_keeps_what_is_finished(one_task: Path, tmp_path: Path, server: OpenAIServer) -> None:
    good, server.answer = (
        server.answer,
        Script(conversations=solving(), faults=[{"fault": "401", "requests": range(5, 100)}]),
    )
    out = tmp_path / "run"
    command: Command = ["run", one_task, "-o", out, "-k", "4", "--workers", "1", *asking(server, "--no-grade")]
    assert "(401)" in forager(*command).complaint(3)
    finished = read(out).trajectories
    assert [one.id for one in finished] == ["shelf__mean#0", "shelf__mean#1"]
    server.answer = good
    forager(*command).fine()
    run = read(out)
    assert run.trajectories[:2] == finished and len(run.trajectories) == 4


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_an_address_where_nobody_listens(one_task: Path, tmp_path: Path) -> None:
    address = nobody()
    complaint = forager("run", one_task, "-o", tmp_path / "run", *asking(address)).complaint(3)
    assert f"no model server answers at {address}" in complaint and "check --base-url" in complaint


def test_a_web_page_where_a_server_should_be(one_task: Path, tmp_path: Path, server: OpenAIServer) -> None:
    server.answer = Script(faults=[{"fault": "web-page", "every": 1}])
    complaint = forager("run", one_task, "-o", tmp_path / "run", *asking(server)).complaint(3)
    assert "is no model server" in complaint and "check --base-url" in complaint
    assert server.count <= 8, "two workers, four tries each: it will not become a server by being asked"


@pytest.mark.parametrize(
    ("path", "told"),
    [("/v2", "no model 'any-name' at "), ("/v1/chat/completions/v1", "no model 'any-name' at ")],
)
def test_a_wrong_path(one_task: Path, tmp_path: Path, server: OpenAIServer, path: str, told: str) -> None:
    address = server.base_url.removesuffix("/v1") + path
    complaint = forager("run", one_task, "-o", tmp_path / "run", *asking(address)).complaint(3)
    assert told in complaint and "check --model and --base-url" in complaint


def test_the_public_server_without_a_key(one_task: Path, tmp_path: Path) -> None:
    complaint = forager("run", one_task, "-o", tmp_path / "run", "-m", "gpt-x").complaint(3)
    assert complaint == "no API key for model 'gpt-x': set $OPENAI_API_KEY, or give a --base-url"


# ------------------------------------------------------------------------------- faults that pass: nothing is lost

PASSING = ["429", "429-date", "500", "502", "drop", "drop-body", "empty", "malformed", "wrong-shape", "no-choices"]


def test_every_fault_that_passes_leaves_no_trace_in_the_attempt(one_task: Path, tmp_path: Path) -> None:
    looks = [{"bash": f"echo look {number}"} for number in range(len(PASSING) + 2)]
    faults: list[dict[str, Any]] = [
        {"fault": name, "requests": [2 * number]} for number, name in enumerate(PASSING, 1)
    ]
    faults.append({"fault": "429", "retry_after": 1, "requests": [2 * len(PASSING) + 2]})
    faults.append({"fault": "silent", "requests": [2 * len(PASSING) + 4]})
    with OpenAIServer(Script(conversations=solving(*looks), faults=faults)) as server:
        out = tmp_path / "run"
        forager("run", one_task, "-o", out, *asking(server, "--reply-seconds", "3")).fine()
        assert server.count == len(looks) + 2 + len(faults)
    run = read(out)
    one = run.only()
    assert run.failures == [] and one.retries == 0
    assert one.evaluation is not None and one.evaluation.resolved
    assert [step.arguments.get("command") for step in one.steps] == [*(look["bash"] for look in looks), None, None]
    assert [message["role"] for message in one.messages] == [
        "system",
        "user",
        *["assistant", "tool"] * len(one.steps),
    ]


def test_a_storm_of_429_loses_no_attempt(tasks: Path, tmp_path: Path) -> None:
    look = {"bash": "true"}
    # More than one request in a quarter of a second is refused, with and without saying how long to wait.
    script = Script(conversations=solving(look), requests_per_second=6, faults=[{"fault": "429", "first": 6}])
    with OpenAIServer(script) as server:
        out = tmp_path / "run"
        command: Command = ["run", tasks, "-o", out, "-k", "4", "--workers", "6", *asking(server, "--no-grade")]
        assert "[12/12]" in forager(*command).fine()
        assert server.statuses[429] >= 6, server.statuses
        assert server.statuses[200] == 12 * 3, "no reply was paid for twice"
    run = read(out)
    assert len({one.id for one in run.trajectories}) == 12 and run.failures == []
    assert all(one.outcome.status == "submitted" and one.retries == 0 for one in run.trajectories)


def test_a_server_that_breaks_an_attempt_for_good_is_told_apart_from_the_model(
    one_task: Path, tmp_path: Path
) -> None:
    script = Script(conversations=solving(), faults=[{"fault": "content-filter", "turns": [0]}])
    with OpenAIServer(script) as server:
        out = tmp_path / "run"
        command: Command = ["run", one_task, "-o", out, *asking(server, "--retries", "1")]
        result = forager(*command)
        assert (result.code, result.err) == (1, ""), result
        assert "broken by infrastructure: 1 model_error (the same command tries them again)" in " ".join(
            result.out.split()
        )
        run = read(out)
        assert run.trajectories == [] and [one.given_up for one in run.failures] == [False, True]
        assert {one.outcome.status for one in run.failures} == {"model_error"}
        assert "content filter" in run.failures[0].outcome.detail and run.failures[0].trajectory is not None
        assert "model_error" in forager("show", out, "shelf__mean#0").fine()

        script.faults = []
        forager(*command).fine()
    run = read(out)
    assert run.only().outcome.status == "submitted" and len(run.failures) == 2, "the evidence stays"


# --------------------------------------------------------------------------------------- faults of the model itself


def attempt(one_task: Path, tmp_path: Path, *turns: Turn, script: Script | None = None, more: str = "") -> Trajectory:
    """One attempt in which the model says this, and submits after it."""
    with OpenAIServer(script or Script(turns=list(turns))) as server:
        forager("run", one_task, "-o", tmp_path / "run", *asking(server, "--no-grade", *more.split())).fine()
    run = read(tmp_path / "run")
    assert run.failures == [], "nothing of it is infrastructure's"
    return run.only()


def observations(one: Trajectory) -> list[str]:
    return [message["content"] for message in one.messages if message["role"] == "tool"]


def test_bad_calls_get_an_explanation_and_the_attempt_goes_on(one_task: Path, tmp_path: Path) -> None:
    edit = repair("mean")["calls"][0][1]
    one = attempt(
        one_task,
        tmp_path,
        {"calls": [["bash", '{"command": "ls']]},
        {"calls": [["python", {"code": "1"}]]},
        {"calls": [["bash", {"command": "export A=one; cd shelf"}], ["bash", {"command": "echo $A; basename $PWD"}]]},
        {"text": "I think that the bug is somewhere else."},
        {"calls": [["bash", {"cmd": "ls"}]]},
        {"calls": [["bash", "[1]"]]},
        {"calls": [["edit", {"path": "nowhere.py", "search": "a", "replace": "b"}]]},
        {"calls": [["submit", {}]]},
        {"calls": [["edit", {**edit, "path": "numbers.py"}], ["submit", {}], ["bash", {"command": "ls"}]]},
    )  # fmt: skip
    assert one.outcome.status == "submitted" and one.patch and "shelf/numbers.py" in one.patch
    told = observations(one)
    assert told[0].startswith("Error: the arguments are not JSON")
    assert told[1] == "Error: there is no tool 'python'; the tools are bash, edit, create, submit"
    assert told[2] == "[exit code 0]" and told[3] == "one\nshelf\n[exit code 0]"
    assert one.messages[10]["role"] == "user" and "called no tool" in one.messages[10]["content"]
    assert told[4].startswith("Error: wrong arguments for bash") and told[5].startswith("Error: ")
    assert told[6] == "Error: nowhere.py does not exist"
    assert told[7].startswith("Error: not submitted: nothing in /testbed has changed")
    assert told[8].startswith("Edited numbers.py") and told[9] == "Submitted."
    assert "submitted already" in told[10]
    calls = [call["id"] for message in one.messages for call in message.get("tool_calls") or ()]
    assert calls == [message["tool_call_id"] for message in one.messages if message["role"] == "tool"]


def test_replies_that_never_call_a_tool_end_the_attempt(one_task: Path, tmp_path: Path) -> None:
    one = attempt(one_task, tmp_path, *[{"text": "Hm."}] * 5)
    assert (one.outcome.status, one.patch, one.steps) == ("no_submission", None, ())
    assert len([message for message in one.messages if message["role"] == "assistant"]) == 3


def test_calls_that_can_never_be_read_end_the_attempt(one_task: Path, tmp_path: Path) -> None:
    one = attempt(one_task, tmp_path, {"bash": "echo change >>README"}, *[{"calls": [["bash", "{"]]}] * 5)
    assert (one.outcome.status, one.patch) == ("format_error", None)
    assert one.final_diff and "+change" in one.final_diff, "no work is lost"


def test_a_conversation_that_outgrows_the_servers_context(one_task: Path, tmp_path: Path) -> None:
    talk = {"bash": "echo change >>README; seq 2000"}
    one = attempt(one_task, tmp_path, script=Script(turns=[talk] * 9, context=30_000))
    assert one.outcome.status == "context_limit" and "maximum context length" in one.outcome.detail
    assert 2 <= len(one.steps) < 9 and one.final_diff and one.final_diff.count("+change") == len(one.steps)


@pytest.mark.parametrize(
    ("flag", "status"),
    [("--max-steps 2", "step_limit"), ("--max-tokens 2000", "token_limit"), ("--max-seconds 6", "time_limit")],
)
def test_limits(one_task: Path, tmp_path: Path, flag: str, status: str) -> None:
    """The time limit also ends a model that thinks."""
    thinking = {"bash": "true", "delay": 600.0} if status == "time_limit" else {"bash": "true"}
    one = attempt(one_task, tmp_path, {"bash": "echo change >>README"}, *[thinking] * 9, more=flag)
    assert one.outcome.status == status and one.final_diff and "+change" in one.final_diff
    assert one.patch is None and one.seconds < 60


def test_a_cost_limit_needs_prices_and_holds(one_task: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"any-name": {"prompt": 1000.0, "completion": 1000.0}}))
    one = attempt(one_task, tmp_path, *[{"bash": "true"}] * 9, more=f"--max-cost 3 --prices {prices}")
    assert one.outcome.status == "cost_limit" and one.cost is not None and 3 <= one.cost < 20
