"""An agent at work on a repository's environment: its container, its trajectory, what is kept of it.

This is CWM's RepoAgent (arXiv 2510.02387): a model explores a container, and the commands that worked become the
environment. The container has the network, as a build has, and no secret: addresses with a password are left out.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import forager
from forager.agent import Agent
from forager.errors import ModelError, SandboxError, UsageError
from forager.files import LineFile, write_atomic
from forager.forage.exploring import ExploringProtocol, ExploringTools, Found, Judge, problem
from forager.forage.source import Source
from forager.forage.steps import NOTHING
from forager.images.build import Report, image_id
from forager.images.environment import VENV, VENV_PATH, WORKDIR
from forager.images.layer import network_settings
from forager.models.registry import Models
from forager.records import (
    Environment,
    Evaluation,
    Limits,
    Message,
    Outcome,
    Record,
    Reply,
    Step,
    Task,
    TaskRef,
    Trajectory,
    digest,
    encode,
    read_trajectories,
)
from forager.sandbox import Caps
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

LIMITS = Limits(steps=80, tokens=2_000_000, seconds=3600.0, command_seconds=600.0)
"""Of one agent, unless told otherwise. Seconds include the builds of what it hands in."""
CAPS = Caps(network=True, processes=2048)

RESTORE = f"git --git-dir=/.forager/pristine --work-tree={WORKDIR} checkout --quiet --force -- . || exit"
"""Puts the files of a release back as they were: what is edited to install it must not stay (`images/environment`
does so itself for git repositories)."""
_PASSWORD = re.compile(r"://[^/\s]*@")

Tell = Callable[[int, str], None]
"""Told of each step: its number, and what it is."""


class Explored(Record, frozen=True):
    """What came of an agent's work on one repository. Kept, so that nobody is asked twice."""

    key: str
    """Digest of what decides it: model, repository, prompts."""
    attempt: str
    """Id of its trajectory."""
    limits: Limits
    """With others, an agent that found none may find one."""
    environment: Environment | None = None
    """Not pinned; None if the agent found none."""
    reason: str = ""
    """Why not."""


def explore_key(models: Models, source: Source) -> str:
    """What decides which environment an agent finds, as far as anything does."""
    spec, spoken = models.spec, ExploringProtocol()
    asked = [spec.name, spec.sampling, spec.extra_body]
    return digest([asked, source.spec, source.environment.sha256, *spoken.prompts, spoken.schemas])


def read_explored(path: Path) -> Explored | None:
    """What is kept at `path`; None if there is nothing that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Explored)
    except (OSError, msgspec.MsgspecError):
        return None


def start_of(source: Source, python: str) -> Environment:
    """Where an agent begins: a Python, pytest, and nothing of the repository installed."""
    return msgspec.structs.replace(source.environment, python=python, packages=("pytest",), install=NOTHING)


class Explorer:
    """Sends an agent into one repository. `explore` is called once."""

    def __init__(
        self, engine: Engine, source: Source, models: Models, limits: Limits, judge: Judge, note: Report, tell: Tell
    ) -> None:
        self._engine = engine
        self._source = source
        self._models = models
        self._limits = limits
        self._judge = judge
        self._note = note
        self._tell = tell
        self._steps = 0

    async def explore(
        self, start: Environment, image: str, reason: str, output: str, trajectories: Path, torn: Path
    ) -> tuple[Explored, Found | None]:
        """Let the agent work in a container of `image`, which is that of `start`. `reason` and the end of `output`
        say how the rules failed.

        Its trajectory is appended to `trajectories`, whatever came of it. Raises `ModelError` and `SandboxError` for
        what another try may mend, `UnfitError` for what every repository would meet (no server, no key, 401).
        """
        source, limits = self._source, self._limits
        task = Task(
            instance_id=f"{source.prefix}-environment",
            repo=source.repo,
            base_commit=source.commit,
            problem_statement=problem(source, start, limits, WORKDIR, reason, output),
            source="environment",
            environment=start,
            workdir=WORKDIR,
        )
        sample = _attempts(trajectories, task.instance_id)
        ref = TaskRef(
            repo=task.repo,
            base_commit=task.base_commit,
            source=task.source,
            image=await image_id(self._engine, image) or "",
            digest=digest(task),
        )
        protocol = ExploringProtocol()
        model = self._models.openai()
        started, began = _now(), time.perf_counter()
        env = {**sandbox_settings(self._note), "PATH": f"{VENV}/bin:/opt/uv/bin:{VENV_PATH}"}
        async with await open_sandbox(
            self._engine, image, workdir=WORKDIR, run="forage", attempt=task.instance_id, caps=CAPS, env=env
        ) as sandbox:
            tools = ExploringTools(sandbox, WORKDIR, limits, start, self._judge, "" if source.commit else RESTORE)
            await tools.begin()
            agent = Agent(task, model, tools, protocol, limits, self._listen)
            outcome = await agent.run()
        found = tools.found
        trajectory = Trajectory(
            id=f"{task.instance_id}#{sample}",
            run_id="forage",
            instance_id=task.instance_id,
            sample=sample,
            task=ref,
            model=msgspec.structs.replace(model.ref, protocol="tools"),
            tools=protocol.schemas,
            messages=tuple(agent.messages),
            steps=tuple(agent.steps),
            patch=agent.patch,
            final_diff=None,
            outcome=outcome,
            evaluation=_evaluation(found, tools.why) if outcome.counts else None,
            usage=agent.usage,
            cost=agent.cost,
            seconds=round(time.perf_counter() - began, 3),
            started=started,
            ended=_now(),
            versions={"forager": forager.__version__, "python": platform.python_version()},
        )
        _append(trajectories, torn, trajectory)
        if found is None:
            _raise_infrastructure(outcome)
        explored = Explored(
            key=explore_key(self._models, source),
            attempt=trajectory.id,
            limits=limits,
            environment=found.environment if found else None,
            reason="" if found else _reason(outcome, tools.why),
        )
        return explored, found

    def _listen(self, part: Reply | Step | None, message: Message) -> None:
        if isinstance(part, Step):
            gist = str(part.arguments.get("command") or part.arguments.get("path") or "")
            ended = "" if part.exit_code in (0, None) else f" (exit code {part.exit_code})"
            self._note(f"step {part.n}: {part.tool} {' '.join(gist.split())[:200]}{ended}")
            self._steps = part.n
        elif isinstance(part, Reply) and part.tool_calls:
            call = part.tool_calls[0]
            self._tell(self._steps + 1, f"{call.name} {' '.join(call.arguments.split())[:120]}")


def keep_explored(path: Path, explored: Explored) -> None:
    """Raises `UnfitError` when the disk does not take it."""
    write_atomic(path, encode(explored) + b"\n")


def sandbox_settings(note: Report = lambda line: None) -> Mapping[str, str]:
    """What a build is told of the host's network, without secrets: an agent would see them, and a model's server."""
    settings = network_settings()
    secret = {name for name, value in settings.items() if _PASSWORD.search(value)}
    if secret:
        note(f"not told to the agent, for the password in it: {', '.join(sorted(secret))}")
    return {name: value for name, value in settings.items() if name not in secret}


def _attempts(trajectories: Path, instance: str) -> int:
    """How many attempts at an instance there are."""
    try:
        return sum(one.instance_id == instance for one in read_trajectories(trajectories))
    except UsageError:  # no such file yet
        return 0


def _append(file: Path, torn: Path, trajectory: Trajectory) -> None:
    lines = LineFile(file, torn)
    try:
        lines.append(encode(trajectory))
    finally:
        lines.close()


def _evaluation(found: Found | None, why: str) -> Evaluation:
    if found is None:
        return Evaluation(resolved=False, detail=why or "nothing was handed in")
    return Evaluation(resolved=True, reward=1.0, detail=f"{found.passed} tests pass, {found.failed} fail")


def _raise_infrastructure(outcome: Outcome) -> None:
    if not outcome.counts:
        kind = ModelError if outcome.status == "model_error" else SandboxError
        raise kind(f"the agent's work on the environment broke off: {outcome.detail}")


def _reason(outcome: Outcome, why: str) -> str:
    if outcome.status == "submitted":
        return f"no environment of the agent's is of use: {why}"
    tail = f"; the newest environment: {why}" if why else ""
    return f"the agent found no environment: {outcome.status}, {outcome.detail}{tail}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
