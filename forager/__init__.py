"""Forager sends a model into real repositories, in Docker, and brings back everything that happened.

    import asyncio, forager

    async def main() -> None:
        for task in forager.load_tasks("runs/demo/tasks.jsonl"):
            trajectory = await forager.attempt(task, "search")
            print(trajectory.id, trajectory.outcome.status, trajectory.evaluation)

    asyncio.run(main())

The names below are the public ones. Each is imported when it is first used: importing the package starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forager.agent import Agent as Agent
    from forager.errors import ForagerError as ForagerError
    from forager.evaluate import grade as grade
    from forager.evaluate import run_tests as run_tests
    from forager.evaluate import similarity as similarity
    from forager.images.task import ensure_task_image as ensure_task_image
    from forager.models import Model as Model
    from forager.models.registry import ModelSpec as ModelSpec
    from forager.models.registry import make_model as make_model
    from forager.protocols import make_protocol as make_protocol
    from forager.records import Evaluation as Evaluation
    from forager.records import Limits as Limits
    from forager.records import Reply as Reply
    from forager.records import Step as Step
    from forager.records import Task as Task
    from forager.records import Trajectory as Trajectory
    from forager.records import read_trajectories as read_trajectories
    from forager.run.options import RunOptions as RunOptions
    from forager.run.report import summarise as summarise
    from forager.run.single import attempt as attempt
    from forager.run.start import start_run as start_run
    from forager.sandbox import Caps as Caps
    from forager.sandbox import CommandResult as CommandResult
    from forager.sandbox import Sandbox as Sandbox
    from forager.sandbox.docker import open_sandbox as open_sandbox
    from forager.sandbox.engine import Engine as Engine
    from forager.tasks import load_tasks as load_tasks
    from forager.tools import Tools as Tools

__version__ = "0.1.0"

_WHERE = {
    "Agent": "agent",
    "Caps": "sandbox",
    "CommandResult": "sandbox",
    "Engine": "sandbox.engine",
    "Evaluation": "records",
    "ForagerError": "errors",
    "Limits": "records",
    "Model": "models",
    "ModelSpec": "models.registry",
    "Reply": "records",
    "RunOptions": "run.options",
    "Sandbox": "sandbox",
    "Step": "records",
    "Task": "records",
    "Tools": "tools",
    "Trajectory": "records",
    "attempt": "run.single",
    "ensure_task_image": "images.task",
    "grade": "evaluate",
    "load_tasks": "tasks",
    "make_model": "models.registry",
    "make_protocol": "protocols",
    "open_sandbox": "sandbox.docker",
    "read_trajectories": "records",
    "run_tests": "evaluate",
    "similarity": "evaluate",
    "start_run": "run.start",
    "summarise": "run.report",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"forager.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'forager' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
