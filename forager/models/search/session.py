"""What every part of a repair session needs: to act, to run tests, to know when to stop.

All of it is generators: they yield actions, get observations, and know only what they were told in the conversation.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Generator
from importlib.resources import files
from typing import NamedTuple, TypeVar

from forager.records import Limits

T = TypeVar("T")

RESERVE = 8
"""Steps kept for the end: check, review, submit, or take the last try back."""
SUITE_SECONDS = 80.0


class Action(NamedTuple):
    """One tool call, and a sentence on what it does and why."""

    tool: str
    arguments: dict[str, str]
    remark: str


Steps = Generator[Action, str, T]


class Session:
    """The tools, and what is left of the limits. `scratch` is a folder outside the repository."""

    def __init__(
        self,
        test_command: str,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        scratch: str = "/tmp/localise",
    ) -> None:
        self.pytest = test_command if "pytest" in test_command else "python -m pytest"
        self.limits = limits
        self.clock = clock
        self.scratch = scratch
        self.started = clock()
        self.used = 0
        self.characters = 0
        self.seconds = 0.0
        """What one run of the chosen failing tests takes."""

    def act(self, tool: str, remark: str, **arguments: str) -> Steps[str]:
        self.used += 1
        observation = yield Action(tool, arguments, remark)
        self.characters += len(observation) + len(remark) + sum(map(len, arguments.values())) + 40
        return observation

    def bash(self, command: str, remark: str) -> Steps[str]:
        return (yield from self.act("bash", remark, command=command))

    def script(self, name: str, remark: str, settings: dict[str, str] | None = None) -> Steps[None]:
        """Write one of the session's own scripts into the scratch folder, with lines of it replaced."""
        source = files("forager.models.search").joinpath(name).read_text(encoding="utf-8")
        for old, new in (settings or {}).items():
            source = source.replace(old, new)
        yield from self.act("create", remark, path=f"{self.scratch}/{name}", content=source)

    def may_go_on(self, steps: int = RESERVE) -> bool:
        """Whether there is room for another try: steps, time, and what a conversation may hold."""
        time_left = self.limits.seconds - (self.clock() - self.started)
        room = not self.limits.context or self.characters / 3 < self.limits.context * 0.95
        enough = time_left > min(60.0, 0.1 * self.limits.seconds) + 3 * self.seconds
        return self.used + steps <= self.limits.steps and enough and room

    def timeout(self, seconds: float) -> str:
        """The start of a command that is interrupted after so many seconds."""
        return f"timeout -s INT -k 3 {max(1.0, min(seconds, self.limits.command_seconds - 10)):.0f}"

    def test(self, ids: tuple[str, ...], options: str, remark: str, seconds: float, prefix: str = "") -> Steps[str]:
        words = [prefix + self.timeout(seconds), self.pytest, options]
        words += ["--verbosity=-1 --no-header --color=no -rfE -p no:cacheprovider"]
        return (yield from self.bash(" ".join([*words, *map(shlex.quote, ids)]), remark))
