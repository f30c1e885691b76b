"""An agent finds the environment that rules do not: end to end, with a scripted model server and real containers."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from forager.cli import app
from forager.errors import UnfitError, UsageError
from forager.forage.copies import copies
from forager.forage.events import Event
from forager.forage.explore import LIMITS, RESTORE, sandbox_settings
from forager.forage.pipeline import ForageReport, forage
from forager.forage.source import fetch_source
from forager.forage.steps import Done, script
from forager.forage.validate import Suite, run_suite
from forager.images.environment import ensure_environment, environment_tag
from forager.models.registry import ModelSpec
from forager.models.server import Retries
from forager.records import Environment, Limits, Trajectory, read_trajectories
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.grading import both_sides
from tests.forage.histories import commit, make
from tests.support.openai_script import Script, Turn
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

GEAR = """from gear._table import RATIOS


def ratio(name):
    if name not in RATIOS:
        return 1
    return RATIOS[name] + 1


def clamp(n, low, high):
    if n < low:
        return low
    return min(n, high)
"""
TESTS = """import os

from gear import clamp, ratio

import inflection
import local_settings

assert os.environ["GEAR_HOME"] == "/opt/gear home"
assert local_settings.NAMES == ["first", "second"]


def test_ratio():
    assert [ratio(name) for name in local_settings.NAMES] == [4, 3]
    assert ratio(inflection.underscore("NoSuch")) == 1


def test_clamp():
    assert clamp(1, 2, 3) == 2
    assert clamp(5, 2, 3) == 3
    assert clamp(2, 1, 3) == 2
"""
FILES = {
    "gear/__init__.py": GEAR,
    "tests/test_gear.py": TESTS,
    "setup.py": "from setuptools import setup\nsetup(name='gear', packages=['gear'])\n",
    "Makefile": "table:\n\techo \"RATIOS = {'first': 3, 'second': 2}\" >gear/_table.py\n",
    ".gitignore": "_table.py\n/local_settings.py\n*.egg-info\n",
}
"""Its tests need a generated module, a settings file, a package that nothing names, and a variable."""

EXPLORING: list[Turn] = [
    {"text": "First a look.", "bash": "ls -a && cat Makefile setup.py && env"},
    {"bash": "python -m pytest 2>&1 | tail -5"},
    {"bash": "pip install -q inflection && cd gear"},
    {"calls": [["submit", {}]]},
    {"bash": "make table"},  # fails: there is no Makefile here
    {"bash": "cd .. && make table && pip install --no-deps --no-build-isolation -e . 2>&1 | tail -1"},
    {"calls": [["create", {"path": "local_settings.py", "content": 'NAMES = ["first"]\n'}]]},
    {"calls": [["edit", {"path": "local_settings.py", "search": '["first"]', "replace": "x"}]]},  # no whole line
    {
        "calls": [
            [
                "edit",
                {
                    "path": "local_settings.py",
                    "search": 'NAMES = ["first"]\n',
                    "replace": 'NAMES = ["first", "second"]\n',
                },
            ]
        ]
    },
    {"bash": "export GEAR_HOME='/opt/gear home'; echo 'junk = 1' >>setup.py"},
    {"bash": "python -m pytest -q"},
    {"bash": "cd gear"},
    {"calls": [["submit", {}]]},
]
KEY = "sk-a-very-secret-key"


@pytest.fixture
def gear(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone that no rule has an environment for; its images are removed in the end."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GEAR_KEY", KEY)
    monkeypatch.setattr("forager.forage.ladder.ATTEMPTS", 1)  # each rung would be built, and do no better
    path = make(tmp_path / f"gear_{secrets.token_hex(4)}")
    commit(path, "Begin", FILES)
    yield path
    found = [tag for image in engine.api.images() for tag in image["RepoTags"] or () if f":{path.name}-" in tag]
    for tag in found:
        engine.api.remove_image(tag, force=True)


def spec(server: OpenAIServer, **fields: Any) -> ModelSpec:
    return ModelSpec(name="scripted", base_url=server.base_url, api_key_env="GEAR_KEY", **fields)


def attempts(out: Path) -> list[Trajectory]:
    return list(read_trajectories(out / "environments.jsonl"))


async def test_an_agent_finds_the_environment_and_nobody_is_asked_twice(
    engine: Engine, base_image: str, gear: Path, tmp_path: Path
) -> None:
    assert base_image
    out = tmp_path / "out"
    events: list[Event] = []
    without = await forage(engine, [str(gear)], out, mutations=2, runs=2)
    assert (without.repositories[0].status, without.repositories[0].stage) == ("failed", "baseline")
    with OpenAIServer(Script(turns=EXPLORING, key=KEY)) as server:
        report = await forage(
            engine, [str(gear)], out, mutations=2, runs=2, model=spec(server), progress=events.append
        )
        asked = server.count
        other = Limits(steps=9, command_seconds=60.0)
        again = await forage(engine, [str(gear)], out, mutations=3, runs=3, model=spec(server), explore=other)
        assert server.count == asked == len(EXPLORING)
    (record,) = report.repositories
    assert (record.status, record.stage, record.tests) == ("done", "done", 2)
    assert record.tasks == 2
    (trajectory,) = attempts(out)
    assert record.environment_attempt == again.repositories[0].environment_attempt == trajectory.id
    assert again.task_count >= 2
    check_trajectory(trajectory)
    steps = [event.text for event in events if event.kind == "step"]
    assert any("make table" in text for text in steps)
    for task in load_tasks(out / "tasks.jsonl"):
        assert task.environment is not None
        check_environment(task.environment)
        assert task.provenance["environment_attempt"] == trajectory.id
    for file in out.rglob("*"):
        assert not file.is_file() or KEY not in file.read_text(errors="replace"), f"the key is in {file}"
    task = load_tasks(out / "tasks.jsonl")[0]
    assert task.environment is not None
    engine.api.remove_image(environment_tag(task.environment))
    rebuilt = Suite(image=await ensure_environment(engine, task.environment))
    assert set((await run_suite(engine, rebuilt, timeout=60)).outcomes.values()) == {"passed"}
    assert await both_sides(engine, task) == (True, False)
    listed = CliRunner().invoke(app, ["show", str(out / "environments.jsonl")])
    assert listed.exit_code == 0
    assert "gear" in listed.output
    page = CliRunner().invoke(app, ["show", str(out / "environments.jsonl"), "gear", "--full"])
    assert page.exit_code == 0
    assert "Accepted: 2 tests pass, 0 fail." in page.output


def check_trajectory(trajectory: Trajectory) -> None:
    assert (trajectory.outcome.status, trajectory.sample) == ("submitted", 0)
    assert trajectory.task.source == "environment"
    assert trajectory.evaluation is not None
    assert trajectory.evaluation.resolved
    assert len(trajectory.steps) == len(EXPLORING)
    assert trajectory.messages[0]["role"] == "system"
    assert "No module named 'gear._table'" in trajectory.messages[1]["content"]
    assert [tool["function"]["name"] for tool in trajectory.tools] == ["bash", "edit", "create", "submit"]
    said = [trajectory.messages[step.observation]["content"] for step in trajectory.steps]
    assert "1 error" in said[1]
    assert "2 passed" in said[10]
    refused = trajectory.messages[trajectory.steps[3].observation]["content"]
    assert "not accepted" in refused
    assert "gear._table" in refused
    assert "You can submit 2 times more" in refused


def check_environment(environment: Environment) -> None:
    assert "inflection==" in " ".join(environment.packages)
    assert all("==" in package for package in environment.packages)
    assert environment.env == {"GEAR_HOME": "/opt/gear home"}
    assert "make table" in environment.install
    assert environment.install.count("NAMES = ") == 1
    for absent in ("inflection", "cat Makefile", "pytest", "make table\n} || exit\ncd .."):
        assert absent not in environment.install


async def test_an_agent_that_finds_none_ends_in_a_classified_failure(
    engine: Engine, base_image: str, gear: Path, tmp_path: Path
) -> None:
    assert base_image
    out = tmp_path / "out"
    with OpenAIServer(Script(turns=[{"bash": "ls"}])) as server:  # and then it submits, for ever
        report = await forage(engine, [str(gear)], out, mutations=1, model=spec(server))
        asked = server.count
        again = await forage(engine, [str(gear)], out, mutations=1, model=spec(server))
        assert server.count == asked == 4
        few = Limits(steps=1, command_seconds=LIMITS.command_seconds)
        limited = await forage(engine, [str(gear)], out, mutations=1, model=spec(server), explore=few)
    (record,) = report.repositories
    assert (record.status, record.stage, record.again) == ("failed", "explore", False)
    assert record.reason.startswith("no environment of the agent's is of use: no test can be collected")
    first, second = attempts(out)
    assert (first.outcome.status, second.outcome.status) == ("submitted", "step_limit")
    assert first.evaluation is not None
    assert not first.evaluation.resolved
    assert "That was the last time" in str(first.messages[-1]["content"])
    assert again.repositories[0].environment_attempt == record.environment_attempt == first.id
    assert again.repositories[0].reason == record.reason
    assert limited.repositories[0].reason.startswith("the agent found no environment: step_limit")
    assert (second.sample, limited.repositories[0].environment_attempt) == (1, second.id)


async def test_a_server_that_is_none_stops_the_call_and_one_that_breaks_is_tried_again(
    engine: Engine, base_image: str, gear: Path, tmp_path: Path
) -> None:
    assert base_image
    out = tmp_path / "out"
    with OpenAIServer(Script(key="another")) as server:
        with pytest.raises(UnfitError, match=r"refused the API key in \$GEAR_KEY") as refused:
            await forage(engine, [str(gear)], out, model=spec(server), runs=2)
        assert KEY not in str(refused.value)
        server.answer = Script(turns=EXPLORING, faults=[{"fault": "500", "turns": [2]}])
        quick = Retries(attempts=2, first_wait=0.01, longest_wait=0.01)
        broken = await forage(engine, [str(gear)], out, model=spec(server, retries=quick), runs=2)
        (record,) = broken.repositories
        assert (record.status, record.stage, record.again) == ("failed", "explore", True)
        (trajectory,) = attempts(out)
        assert (trajectory.outcome.status, len(trajectory.steps)) == ("model_error", 2)
        server.answer = Script()
        ended: ForageReport = await forage(engine, [str(gear)], out, model=spec(server), runs=2)
    assert (ended.repositories[0].stage, ended.repositories[0].again) == ("explore", False)
    assert ended.repositories[0].environment_attempt == attempts(out)[1].id != trajectory.id


async def test_cancelled_while_an_agent_works_it_leaves_no_container(
    engine: Engine, base_image: str, gear: Path, tmp_path: Path
) -> None:
    assert base_image
    owned = f"/{os.getpid()}/"
    with OpenAIServer(Script(turns=EXPLORING, faults=[{"fault": "silent", "turns": [2]}])) as server:
        job = asyncio.create_task(forage(engine, [str(gear)], tmp_path / "out", mutations=1, model=spec(server)))
        await asyncio.to_thread(server.wait_for, lambda: server.count == 3, 120)
        running = [c for c in engine.client.containers.list(ignore_removed=True) if owned in str(c.labels)]
        assert [c.labels["forager.attempt"].startswith("gear-") for c in running] == [True]
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
    assert not [c for c in engine.client.containers.list(ignore_removed=True) if owned in str(c.labels)]


async def test_commits_are_mined_in_the_environment_of_an_agent(
    engine: Engine, base_image: str, gear: Path, tmp_path: Path
) -> None:
    assert base_image
    fixed = TESTS.replace("== [4, 3]", "== [3, 2]")
    fix = {"gear/__init__.py": GEAR.replace("[name] + 1", "[name]"), "tests/test_gear.py": fixed}
    commit(gear, "ratio() gives the ratio of the table\n\nIt gave one more than that, for each name.", fix)
    with OpenAIServer(Script(turns=EXPLORING)) as server:
        report = await forage(engine, [str(gear)], tmp_path / "out", mutations=0, commits=1, model=spec(server))
        assert server.count == len(EXPLORING)
    (record,) = report.repositories
    assert (record.commit_tasks, record.commits_rejected) == (1, {})
    assert record.environment_attempt == attempts(tmp_path / "out")[0].id
    (task,) = load_tasks(tmp_path / "out" / "tasks.jsonl")
    assert task.FAIL_TO_PASS == ("tests/test_gear.py::test_ratio",)
    assert task.environment is not None
    check_environment(task.environment)


async def test_a_copy_of_the_code_is_found(engine: Engine, gear: Path) -> None:
    source = await fetch_source(str(gear))
    long = {"gear/__init__.py": GEAR.encode()}
    copied = Environment(
        source=source.environment.source,
        commit=source.commit,
        packages=("setuptools",),
        install="mkdir /opt/a /opt/b && cp gear/__init__.py /opt/a/ && cp gear/__init__.py /opt/x.py && "
        "tr 1 2 <gear/__init__.py >/opt/b/__init__.py",
    )
    image = await ensure_environment(engine, copied)
    assert await copies(engine, image, long) == ["/opt/a/__init__.py"]


def test_an_address_with_a_password_is_not_told_to_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://somebody:hidden@proxy.example:3128")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.example/simple https://me:hidden@two.example/simple")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    notes: list[str] = []
    settings = sandbox_settings(notes.append)
    assert "hidden" not in str(settings)
    assert settings["http_proxy"] == "http://proxy.example:3128"
    assert "HTTPS_PROXY" in notes[0]
    assert "PIP_EXTRA_INDEX_URL" in notes[0]
    assert "hidden" not in notes[0]


async def test_an_embedded_model_is_refused(engine: Engine, gear: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'search' cannot help"):
        await forage(engine, [str(gear)], tmp_path / "out", model=ModelSpec(name="search"))


async def test_what_is_edited_in_a_release_to_install_it_does_not_stay(engine: Engine) -> None:
    source = await fetch_source("pypi:inflection==0.5.1", lambda _: None)
    edited = Environment(
        source=source.environment.source,
        sha256=source.environment.sha256,
        packages=("pytest",),
        install=script([Done(command="echo junk >>setup.py"), Done(command="echo x >made.txt")], RESTORE),
    )
    image = await ensure_environment(engine, edited)
    said = engine.client.containers.run(image, ["git", "status", "--porcelain"], remove=True, network_mode="none")
    assert said.decode().split() == ["??", "made.txt"]
    engine.api.remove_image(image, force=True)
