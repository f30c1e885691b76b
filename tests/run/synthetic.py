"""Synthetic tasks and attempts for the tests of runs, and a program that runs them in a process of its own.

    python -m tests.run.synthetic DIR [--tasks N] [--samples K] [--workers W] [--seconds S] [--later S] [--model M]

An attempt here is what the orchestrator asks of one and no more: it logs, it waits a moment, it returns a trajectory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from forager.errors import ForagerError
from forager.records import (
    Evaluation,
    Message,
    ModelRef,
    Outcome,
    Step,
    Task,
    TaskRef,
    TestLists,
    Trajectory,
    Usage,
)
from forager.run.config import RunConfig, task_set_digest
from forager.run.orchestrator import Log, Notify, run
from forager.run.progress import Activity, PlainProgress
from forager.run.store import RunStore

Attempt = Callable[[Task, int, Log, Notify], Awaitable[Trajectory]]

PATCH = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"


def make_tasks(number: int) -> list[Task]:
    return [
        Task(
            instance_id=f"pkg__mod-{n}",
            repo=f"owner/pkg{n % 3}",
            problem_statement=f"Problem {n}",
            source="mutation",
            FAIL_TO_PASS=("tests/test_x.py::test_a",),
            PASS_TO_PASS=("tests/test_x.py::test_b",),
        )
        for n in range(number)
    ]


def make_config(tasks: list[Task], **changes: Any) -> RunConfig:
    defaults: dict[str, Any] = {"model": "search", "backoff": 0.01}
    return RunConfig(tasks=task_set_digest(tasks), task_count=len(tasks), **{**defaults, **changes})


def make_trajectory(task: Task, sample: int, **changes: Any) -> Trajectory:
    resolved = sample % 2 == 0
    observation: Message = {"role": "tool", "tool_call_id": "c1", "content": "2 failed\n[exit code 1]"}
    call = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "pytest"}'}}
    fields: dict[str, Any] = {
        "id": f"{task.instance_id}#{sample}",
        "run_id": "r",
        "instance_id": task.instance_id,
        "sample": sample,
        "task": TaskRef(repo=task.repo, base_commit="", source=task.source, image=f"sha256:{task.instance_id}"),
        "model": ModelRef(name="search", provider="embedded"),
        "tools": (),
        "messages": (
            {"role": "system", "content": "You repair code."},
            {"role": "user", "content": task.problem_statement},
            {"role": "assistant", "content": "I run the tests.", "tool_calls": [call]},
            observation,
        ),
        "steps": (Step(n=1, assistant=2, observation=3, tool="bash", arguments={"command": "pytest"}, exit_code=1),),
        "patch": PATCH if resolved else None,
        "final_diff": PATCH,
        "outcome": Outcome(status="submitted" if resolved else "step_limit"),
        "evaluation": Evaluation(
            resolved=resolved,
            fail_to_pass=TestLists(success=task.FAIL_TO_PASS) if resolved else TestLists(failure=task.FAIL_TO_PASS),
            pass_to_pass=TestLists(success=task.PASS_TO_PASS),
            flags=() if resolved else ("no_patch",),
        ),
        "usage": Usage(prompt_tokens=100, completion_tokens=10),
        "cost": 0.25,
        "seconds": 2.0,
    }
    return Trajectory(**{**fields, **changes})


def broken(task: Task, sample: int, status: str, detail: str = "broke") -> Trajectory:
    """What an attempt returns when infrastructure ended it."""
    return make_trajectory(task, sample, patch=None, evaluation=None, outcome=Outcome(status=status, detail=detail))


def attempt_taking(seconds: float, padding: int = 0, *, later: float | None = None) -> Attempt:
    """An attempt of three logged steps; its line has `padding` extra bytes. A task's second attempt takes `later`
    seconds."""

    async def attempt(task: Task, sample: int, journal: Log, notify: Notify) -> Trajectory:
        for step in range(3):
            journal({"event": "reply", "step": step, "text": "x" * 500})
            notify(Activity(phase="tool", step=step + 1, tool="bash", detail="pytest"))
            await asyncio.sleep((later if later is not None and sample else seconds) / 3)
        text = "é" * (padding // 2)
        trajectory = make_trajectory(task, sample)
        return make_trajectory(task, sample, messages=(*trajectory.messages, {"role": "user", "content": text}))

    return attempt


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.02)
    parser.add_argument("--later", type=float)
    parser.add_argument("--padding", type=int, default=20_000)
    parser.add_argument("--model", default="search")
    options = parser.parse_args()
    tasks = make_tasks(options.tasks)
    config = make_config(tasks, samples=options.samples, workers=options.workers, model=options.model)
    attempt = attempt_taking(options.seconds, options.padding, later=options.later)
    try:
        with RunStore(options.directory, config) as store:
            asyncio.run(run(tasks, config, store, attempt, PlainProgress()))
    except ForagerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
