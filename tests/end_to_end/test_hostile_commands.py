"""An agent that does everything wrong in its container, and a container that is killed under an agent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import docker.errors
import pytest

from forager.records import Step, Trajectory
from forager.sandbox.engine import Engine
from tests.end_to_end.command import (
    Command,
    containers,
    finish,
    forager,
    gone,
    none_left,
    read,
    running,
    start,
    until,
)
from tests.end_to_end.gate import Gate
from tests.end_to_end.shelf import solving, unmade
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker


def carried_out(engine: Engine, task: Path, out: Path, commands: Sequence[str], *flags: str) -> Trajectory:
    """The attempt of a model that runs these commands, then repairs the task, and is resolved all the same."""
    script = Script(conversations=solving(*({"bash": command} for command in commands)))
    with OpenAIServer(script) as server:
        process = start("run", task, "-o", out, "-m", "any", "--base-url", server.base_url, *flags)
        finish(process).fine()
    none_left(engine, process.pid)
    run = read(out)
    one = run.only()
    assert run.failures == [] and one.retries == 0
    assert [step.arguments.get("command") for step in one.steps[:-2]] == list(commands)
    assert one.outcome.status == "submitted", one.outcome
    assert one.evaluation is not None and one.evaluation.resolved, "what it did before spoils neither patch nor grade"
    return one


def told(one: Trajectory, step: Step) -> str:
    return str(one.messages[step.observation]["content"])


def test_commands_that_never_end_print_without_end_or_kill_their_shell(
    engine: Engine, one_task: Path, tmp_path: Path
) -> None:
    where = "cd /testbed/shelf; export A=kept"
    one = carried_out(
        engine,
        one_task,
        tmp_path / "run",
        [
            where,
            "echo begun; while :; do :; done",
            "echo $A; basename $PWD",
            "sleep 1000",
            "yes",
            r"printf 'a\xff\xfeb\x1b[2Jc\n'",
            "exit 7",
            "echo $A; basename $PWD",
            "exec true",
            "set -e; false",
            "echo $A; basename $PWD",
            "sleep 500 & (sleep 500; echo late) & disown -a; echo back",
            "pgrep -c sleep || ps aux",
            "exec >/dev/null 2>&1",
            "echo heard",
            "trap '' TERM INT; kill -9 $$",
            "echo $A; basename $PWD; rm -rf /testbed/.git; echo '*' >/testbed/.gitignore",
            "seq 100000",
            "rm /testbed/.gitignore; cd /testbed",
        ],
        "--command-seconds",
        "3",
    )
    steps = {step.arguments.get("command"): step for step in one.steps}
    asked = [told(one, step) for step in one.steps if step.arguments.get("command") == "echo $A; basename $PWD"]
    assert asked == ["kept\nshelf\n[exit code 0]"] * 3, "directory and exported variables outlive every shell"

    for command in ("echo begun; while :; do :; done", "sleep 1000"):
        step = steps[command]
        assert step.timed_out and "[timed out after 3 s; what the command started was killed]" in told(one, step)
        assert step.seconds.tool < 60
    assert told(one, steps["echo begun; while :; do :; done"]).startswith("begun\n")

    step = steps["yes"]  # on a machine that has something else to do, it may not get far
    assert step.timed_out or step.output_bytes > 64 * 1024**2, told(one, step)
    assert step.truncated == (step.output_bytes > 32_768) and len(told(one, step)) < 34_000
    assert "killed]" in told(one, step)
    assert steps["seq 100000"].output_bytes == 588_895 and steps["seq 100000"].truncated
    assert told(one, steps["seq 100000"]).startswith("1\n2\n") and "\n100000\n" in told(one, steps["seq 100000"])
    assert told(one, steps[r"printf 'a\xff\xfeb\x1b[2Jc\n'"]) == "a\ufffd\ufffdb\x1b[2Jc\n[exit code 0]"

    for command, status in (("exit 7", 7), ("exec true", 0), ("set -e; false", 1)):
        assert "a new one was started" in told(one, steps[command]), command
        assert steps[command].exit_code == status, command
    background = steps["sleep 500 & (sleep 500; echo late) & disown -a; echo back"]
    assert background.exit_code == 0 and "back\n" in told(one, background) and background.seconds.tool < 30
    assert told(one, steps["echo heard"]) == "heard\n[exit code 0]"
    assert one.patch and one.patch.count("diff --git") == 1, "only the repair is in the patch"

    page = forager("show", tmp_path / "run", one.id).fine()
    assert "\x1b" not in page and "␛[2Jc" in page, "an agent cannot write to the reader's terminal"


def test_commands_that_fill_memory_or_fork_without_end(engine: Engine, one_task: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("caps: {memory: 268435456, processes: 128}\nlimits: {command_seconds: 4}\n")
    one = carried_out(
        engine,
        one_task,
        tmp_path / "run",
        [
            "cd shelf; export A=kept",
            "python3 -c 'x = []\nwhile True: x.append(\"x\" * 10_000_000)'",
            "echo $A",
            "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done",
            "bomb() { bomb | bomb & }; bomb; sleep 1; true",
            ":(){ :|:& };:; while :; do sleep 1; done",
            "kill -9 -1",
            "echo $A; basename $PWD",
            "cd /testbed",
        ],
        "--config",
        str(config),
    )
    memory = told(one, one.steps[1])
    assert "out of memory: the limit of 256 MiB was reached" in memory and one.steps[1].exit_code == 137, memory
    assert told(one, one.steps[2]) == "kept\n[exit code 0]"
    assert told(one, one.steps[3]).startswith("["), "killed by the cap or by the clock: it says which"
    assert told(one, one.steps[7]) == "kept\nshelf\n[exit code 0]", told(one, one.steps[7])


def processes(engine: Engine, container: str) -> str:
    """The container's processes; nothing while it is starting."""
    try:
        return str(engine.api.top(container))
    except docker.errors.APIError:
        return ""


@pytest.mark.parametrize("moment", ["model", "tool"])
def test_a_container_killed_from_outside_is_infrastructures_failure_and_tried_again(
    engine: Engine, one_task: Path, tmp_path: Path, moment: str
) -> None:
    out = tmp_path / "run"
    # What was under way when the container died is carried out again.
    script = Script(conversations=solving({"bash": "sleep 6.66" if moment == "tool" else "true"}))
    if moment == "model":
        for conversation in script.conversations:
            conversation["turns"][1]["delay"] = 5.0
    with (
        OpenAIServer(script) as server,
        running("run", one_task, "-o", out, "-m", "any", "--base-url", server.base_url) as process,
    ):
        until(lambda: server.count >= (1 if moment == "tool" else 2), "requests", process)
        until(lambda: bool(containers(engine, process.pid)), "a container", process)  # the model may be faster
        container = containers(engine, process.pid)[0]["Id"]
        if moment == "tool":
            until(lambda: "sleep 6.66" in processes(engine, container), "the command", process)
        asked = server.count
        engine.api.kill(container)
        gone(engine, container)
        script.conversations = solving({"bash": "true"})
        finish(process).fine()
        assert server.count == asked + 2, "the first reply is in the log"
    none_left(engine, process.pid)
    run = read(out)
    one, broken = run.only(), run.failures[0]
    assert one.retries == 1 and one.evaluation is not None and one.evaluation.resolved
    assert (len(run.failures), broken.outcome.status, broken.given_up) == (1, "sandbox_error", False)
    assert container[:12] in broken.outcome.detail and "died" in broken.outcome.detail
    assert broken.trajectory is not None and broken.trajectory.evaluation is None, "it is not scored"
    assert run.report.by_status == {"submitted": 1} and run.report.given_up == {}


def test_an_engine_that_goes_away_stops_the_run_which_goes_on_when_it_is_back(
    engine: Engine, one_task: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    script = Script(conversations=solving({"bash": "sleep 5"}))
    with OpenAIServer(script) as server, Gate(tmp_path / "gate") as gate:
        env = {"DOCKER_HOST": gate.address}
        command: Command = ["run", one_task, "-o", out, "-m", "any", "--base-url", server.base_url]
        with running(*command, env=env) as process:
            until(lambda: any('"reply"' in path.read_text() for path in out.glob("attempts/*")), "a reply", process)
            gate.shut()
            assert "no Docker engine answers" in finish(process).complaint(3)
        assert read(out).trajectories == [] and server.count == 1
        gate.reopen()
        forager(*command, env=env).fine()
    assert read(out).only().outcome.status == "submitted"
    # one that was made but not yet started when the engine went is seen to by the next run
    none_left(engine, process.pid)


def test_a_full_disk_while_a_task_image_is_made(engine: Engine, one_task: Path, tmp_path: Path) -> None:
    with Gate(tmp_path / "gate", lambda data: None if b"/commit?" in data.partition(b"\n")[0] else data) as gate:
        env = {"DOCKER_HOST": gate.address}
        command: Command = ["run", unmade(one_task), "-o", tmp_path / "run", "-m", "oracle"]
        process = start(*command, env=env)
        complaint = finish(process).complaint(3)
        assert complaint.startswith("the engine's disk is full; free some")
        none_left(engine, process.pid)
        gate.rule = lambda data: data
        forager(*command, env=env).fine()
    assert read(tmp_path / "run").only().outcome.status == "submitted"
