"""One attempt: a fresh container, an agent at work in it, its patch, its grade; one trajectory, whatever happens."""

from __future__ import annotations

import asyncio
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec

import forager
from forager.agent import Agent, status_of
from forager.errors import ForagerError, InfrastructureError, UnfitError
from forager.evaluate import grade
from forager.images.task import TaskImage
from forager.models import Model
from forager.models.registry import EMBEDDED_PROVIDER
from forager.patches import final_diff
from forager.protocols import Action, make_protocol
from forager.records import (
    Evaluation,
    Limits,
    Message,
    Outcome,
    Reply,
    Step,
    Task,
    TaskRef,
    Trajectory,
    Usage,
    digest,
)
from forager.replay.past import NOTHING, Past
from forager.replay.playback import Diverged, Playback, PlayedModel, PlayedProtocol, PlayedTools
from forager.replay.rules import BUILT_IN, Rules
from forager.run.alive import WhileAlive
from forager.run.config import RunConfig
from forager.run.images_pool import TaskImages
from forager.run.orchestrator import Log, Notify
from forager.run.progress import Activity
from forager.sandbox.arriving import Arriving
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine

GRADE_TRIES = 3
"""How often a grade that infrastructure breaks is tried: an attempt that was paid for is not lost lightly."""


class MakesModels(Protocol):
    """Makes the model of each attempt; `Models` does."""

    def make(self, task: Task, limits: Limits, /) -> Model: ...


@dataclass
class Attempts:
    """Makes attempts; holds what the attempts of a run share. A `RunAttempt` of the orchestrator."""

    engine: Engine
    models: MakesModels
    images: TaskImages
    config: RunConfig
    run_id: str
    write_log: Callable[[str, str], str]
    """Keeps the test output behind a grade under an attempt's id; returns the file's name in the run directory."""
    past: Callable[[str], Past] = lambda attempt: NOTHING
    """What an attempt (its id) goes on from: its log if it was cut off, another attempt's steps if it is a branch."""
    rules: Rules = BUILT_IN
    """What may differ when those steps are carried out again."""

    async def __call__(self, task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        """Attempt a task once.

        Whatever ends it, the trajectory says so, and no container is left. Raises only `CancelledError`, and
        `UnfitError` for a fault that would hit every attempt.
        """
        limits = task.limited(self.config.limits)
        record = _Recorder(self, task, sample, limits, journal, notify)
        try:
            await record.play()
        except UnfitError:
            raise
        except Diverged as error:
            return record.diverged(error)
        except ForagerError as error:
            record.outcome = Outcome(status=status_of(error), detail=str(error))
        except Exception as error:  # the boundary: a fault of ours in one attempt must not end ten thousand
            journal({"event": "fault", "traceback": traceback.format_exc()})
            where = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"internal error: {type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            record.outcome = Outcome(status="sandbox_error", detail=detail)
        if not record.outcome.counts:
            journal({"event": "broken", "outcome": record.outcome, "replaying": record.replaying})
        return record.trajectory()


class _Recorder:
    """One attempt under way and what is known of it so far."""

    def __init__(
        self, shared: Attempts, task: Task, sample: int, limits: Limits, journal: Log, notify: Notify
    ) -> None:
        self.id = f"{task.instance_id}#{sample}"
        self.outcome = Outcome(status="sandbox_error", detail="nothing happened")
        self._shared = shared
        self._task = task
        self._sample = sample
        self._limits = limits
        self._journal = journal
        self._notify = notify
        self._image = TaskImage(tag="", digest="")
        self._model: Model = shared.models.make(task, limits)
        # An embedded model speaks native calls whatever the run's other models speak.
        spoken = "tools" if self._model.ref.provider == EMBEDDED_PROVIDER else shared.config.protocol
        self._protocol = make_protocol(spoken, shared.config.protocol_mode)
        self._ref = msgspec.structs.replace(self._model.ref, protocol=spoken)
        self._past = shared.past(self.id)
        self._playback = Playback(self._past, shared.rules)
        if self._past.entries:
            self._model = PlayedModel(self._model, self._playback)
            self._protocol = PlayedProtocol(self._protocol, self._playback)
        self._said = 0
        self._agent: Agent | None = None
        self._final_diff: str | None = None
        self._evaluation: Evaluation | None = None
        self._started = self._past.started or _now()
        self._began = time.perf_counter()
        self._seconds = 0.0

    async def play(self) -> None:
        """Work on the task, take what was done, grade it."""
        try:
            self._image = await self._shared.images.ensure(self._task)
            self._log_start()
            self._notify(Activity(phase="start"))
            # The model reads the task while the container starts.
            async with Arriving(self._sandbox(), self._task.workdir) as sandbox:
                await self._work(sandbox)
        finally:
            self._seconds = self._past.seconds + time.perf_counter() - self._began
            await self._model.close()
        if self.outcome.counts and self._shared.config.grading:
            await self._grade()

    async def _sandbox(self) -> DockerSandbox:
        return await open_sandbox(
            self._shared.engine,
            self._image.digest,
            workdir=self._task.workdir,
            run=self._shared.run_id,
            attempt=self.id,
            caps=self._shared.config.caps,
        )

    async def _work(self, sandbox: Arriving) -> None:
        tools = PlayedTools(sandbox, self._task.workdir, self._limits, self._playback)
        spent = self._past.seconds
        model = WhileAlive(self._model, sandbox)
        agent = Agent(self._task, model, tools, self._protocol, self._limits, self._listen, spent)
        self._agent = agent
        self._notify(Activity(phase="model"))
        self.outcome = await agent.run()
        self._playback.check_end(self.outcome)
        # A submission by default is the working tree's diff, so there is no need to take it twice.
        if agent.patch is not None and _submits_the_tree(agent.steps[-1]):
            self._final_diff = agent.patch
        elif self.outcome.status not in ("sandbox_error", "sandbox_broken"):
            self._final_diff = await final_diff(sandbox, self._task.workdir)

    async def _grade(self) -> None:
        assert self._agent is not None
        patch = self._agent.patch
        if patch is None:
            self._evaluation = Evaluation(resolved=False, patch_applied=False, flags=("no_patch",))
            return
        self._notify(self._activity("grade"))
        config = self._shared.config
        for attempt in range(1, GRADE_TRIES + 1):
            try:
                evaluation, text = await grade(
                    self._shared.engine,
                    self._task,
                    self._image,
                    patch,
                    run=self._shared.run_id,
                    caps=config.caps,
                    threshold=config.threshold,
                )
            except InfrastructureError as error:
                if attempt == GRADE_TRIES:
                    self.outcome = Outcome(status="sandbox_error", detail=f"the grading broke: {error}")
                    return
                await asyncio.sleep(attempt)
            else:
                log = self._shared.write_log(self.id, text) if text else ""
                self._evaluation = msgspec.structs.replace(evaluation, log=log)
                return

    # ----------------------------------------------------------------------------- what others are told

    def _log_start(self) -> None:
        self._journal(
            {
                "event": "start",
                "id": self.id,
                "time": self._started,
                "task": digest(self._task),
                "image": self._image.digest,
                "model": self._ref,
                "continues": len(self._past.entries) - self._past.inherited,
            }
        )

    def _listen(self, part: Reply | Step | None, message: Message) -> None:
        self._said += 1
        if self._said > len(self._past.entries):  # what is played back is in the log, or is the parent's
            match part:
                case Reply():
                    self._journal({"event": "reply", "reply": part})
                case Step():
                    self._journal({"event": "step", "step": part, "message": message})
                case None:
                    self._journal({"event": "message", "message": message})
        self._notify(self._activity("tool" if isinstance(part, Reply) else "model", part))

    def _activity(self, phase: Literal["model", "tool", "grade"], part: Reply | Step | None = None) -> Activity:
        assert self._agent is not None
        actions = self._protocol.actions(part) if isinstance(part, Reply) else ()
        return Activity(
            phase=phase,
            step=len(self._agent.steps) + (phase == "tool"),
            tool=actions[0].tool if actions else "",
            detail=_gist(actions[0]) if actions else "",
            usage=self._agent.usage,
            cost=self._agent.cost,
        )

    @property
    def replaying(self) -> bool:
        """Whether it has not come to the end of what it goes on from."""
        return not self._playback.over

    def diverged(self, error: Diverged) -> Trajectory:
        """Give up what the attempt was to go on from: it starts over. The trajectory is the evidence: all that was
        logged, and where it came out otherwise."""
        log = self._shared.write_log(f"{self.id}.diverged", error.comparison.diff)
        self.outcome = Outcome(status="diverged", detail=f"{error}: {log or error.comparison.diff}")
        self._journal({"event": "diverged", "outcome": self.outcome})
        past = self._past
        replies = [entry for entry in past.entries if isinstance(entry, Reply)]
        usage = sum((reply.usage for reply in replies), Usage())
        return msgspec.structs.replace(
            self.trajectory(), messages=past.messages, steps=past.steps, patch=None, usage=usage
        )

    def trajectory(self) -> Trajectory:
        """The record of the attempt as far as it came."""
        agent, task = self._agent, self._task
        return Trajectory(
            id=self.id,
            run_id=self._shared.run_id,
            instance_id=task.instance_id,
            sample=self._sample,
            task=TaskRef(
                repo=task.repo,
                base_commit=task.base_commit,
                source=task.source,
                image=self._image.digest,
                digest=digest(task),
            ),
            model=self._ref,
            tools=self._protocol.schemas,
            messages=tuple(agent.messages) if agent else (),
            steps=tuple(agent.steps) if agent else (),
            patch=agent.patch if agent else None,
            final_diff=self._final_diff,
            outcome=self.outcome,
            evaluation=self._evaluation,
            usage=agent.usage if agent else Usage(),
            cost=agent.cost if agent else 0.0,
            seconds=round(self._seconds, 3),
            started=self._started,
            ended=_now(),
            versions={"forager": forager.__version__, "python": platform.python_version()},
            parent=self._past.parent,
        )


def _submits_the_tree(step: Step) -> bool:
    """Whether a step submitted the working tree as it was then."""
    return step.tool == "submit" and step.exit_code == 0 and not step.arguments.get("path")


def _gist(action: Action) -> str:
    """What an action is about, for a line on a screen: its command or its path."""
    return str(action.arguments.get("command") or action.arguments.get("path") or action.problem)[:200]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
