"""Runs mini-swe-agent in its own environment, on orders: a JSON object a line on stdin, an answer a line on stdout.

Standing alone on purpose: nothing of Forager is installed where this runs. Its settings are those of its SWE-bench
configuration, with the network off as in Forager's sandbox (which makes its containers start faster).
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import_module("minisweagent.utils.log").logger.setLevel("ERROR")
Environment: Any = import_module("minisweagent.environments.docker").DockerEnvironment
Agent: Any = import_module("minisweagent.agents.default").DefaultAgent
models: Any = import_module("minisweagent.models.test_models")

ENV = {"PAGER": "cat", "MANPAGER": "cat", "LESS": "-R", "PIP_PROGRESS_BAR": "off", "TQDM_DISABLE": "1"}
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff"


class Driver:
    """One environment kept for calls, and whole trajectories in threads, as its batch runner does them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        run_args = ["--rm", "--network", "none"]
        for key, value in settings["labels"].items():
            run_args += ["--label", f"{key}={value}"]
        self._settings = {
            "image": settings["image"],
            "cwd": settings["workdir"],
            "run_args": run_args,
            "interpreter": ["bash", "-c"],
            "env": ENV,
            "timeout": 60,
        }
        self._environment: Any = None

    def open(self) -> float:
        began = time.perf_counter()
        self._environment = Environment(**self._settings)
        return time.perf_counter() - began

    def calls(self, command: str, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            result = self._environment.execute({"command": command})
            seconds.append(time.perf_counter() - began)
            if result["returncode"] != 0:
                raise RuntimeError(f"{command}: {result}")
        return seconds

    def close(self) -> str:
        """Begin to remove the container, in the background as it does; its id."""
        container = str(self._environment.container_id)
        self._environment.cleanup()
        self._environment.container_id = None
        return container

    def trajectories(self, commands: list[str], count: int, workers: int, directory: str) -> float:
        def attempt(number: int) -> None:
            replies = [models.make_output("", [{"command": command}]) for command in (*commands, SUBMIT)]
            agent = Agent(
                models.DeterministicModel(outputs=replies),
                Environment(**self._settings),
                system_template="You repair a repository.",
                instance_template="{{task}}",
                cost_limit=0,
                output_path=Path(directory) / f"{number}.traj.json",
            )
            result = agent.run("The last line of the module is missing.")
            agent.env.cleanup()
            agent.env.container_id = None
            if result.get("exit_status") != "Submitted" or "+# changed" not in result["submission"]:
                raise RuntimeError(f"the trajectory ended with {result}")

        began = time.perf_counter()
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(attempt, range(count)))
        return time.perf_counter() - began


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what it prints itself does not mix with the answers
    driver = Driver(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(driver, order.pop("do"))(**order)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
