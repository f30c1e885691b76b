"""Tool calls: `true`, a command that starts a process, an edit, a megabyte of output."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench
from benchmarks.figures import (
    FLOOR,
    FORAGER,
    MINI,
    SDK,
    Batch,
    Figure,
    Group,
    at_least,
    at_most,
    in_turns,
    milliseconds,
    timed,
    timed_async,
)
from benchmarks.floor import BareContainer
from benchmarks.task import EDITED_LINE, MEGABYTE, MODULE
from forager.records import Limits
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.tools import Tools

TOOL = "tool"


async def measure(bench: Bench) -> Group:
    """One kept-open container for each contender; the calls in turns."""
    api = bench.engine.api
    if bench.mini is not None:
        bench.mini.ask("open")
    with BareContainer(api, bench.image.digest, bench.task.workdir, bench.labels()) as bare:
        async with await open_sandbox(bench.engine, bench.image.digest, workdir=bench.task.workdir) as sandbox:
            calls = _Calls(bench, sandbox, bare)
            true, tool = await calls.command("tool call: true", "true")
            process, _ = await calls.command("tool call: /bin/true", "/bin/true")
            edit = await calls.edit()
            output, _ = await calls.command("1 MB of output", f"cat {MEGABYTE}", slow=True)
    if bench.mini is not None:
        bench.mini.ask("close")
        await bench.sweep()
    goals = [
        at_most("tool call, median", true.values[FORAGER].value, 0.4, "ms"),
        at_most("edit, median", edit.values[FORAGER].value, 3.0, "ms"),
        at_most("1 MB of output beside the floor", output.values[FORAGER].value / output.values[FLOOR].value, 2, "x"),
    ]
    if MINI in true.values:
        faster = true.values[MINI].value / true.values[FORAGER].value
        goals.insert(1, at_least("tool call beside mini-swe-agent's", faster, 100, "x faster"))
    return Group(figures=(true, tool, process, edit, output), goals=tuple(goals))


class _Calls:
    def __init__(self, bench: Bench, sandbox: DockerSandbox, bare: BareContainer) -> None:
        self._bench = bench
        self._sandbox = sandbox
        self._bare = bare
        self._tools = Tools(sandbox, bench.task.workdir, Limits())

    async def command(self, name: str, command: str, *, slow: bool = False) -> tuple[Figure, Figure]:
        """A command by every way there is to run one, and as the agent's tool `bash`, in the same turns."""
        repetitions = self._bench.repetitions
        many, few = repetitions.slow_calls if slow else repetitions.calls, repetitions.slow_calls
        wanted = await _succeeded(self._sandbox.run(command, 60.0))
        assert len(self._bare.shell.run(command)) >= wanted
        ways: dict[str, tuple[Batch, int]] = {
            FORAGER: (timed_async(lambda: self._sandbox.run(command, 60.0)), many),
            FLOOR: (timed(lambda: self._bare.shell.run(command)), many),
            TOOL: (timed_async(lambda: self._tools.execute("bash", {"command": command})), many),
            SDK: (timed(self._exec(command)), few),
        }
        if (mini := self._bench.mini) is not None:

            async def peer(count: int) -> list[float]:
                seconds: list[float] = await asyncio.to_thread(mini.ask, "calls", command=command, count=count)
                return seconds

            ways[MINI] = (peer, few)
        times = await in_turns(ways, repetitions.rounds)
        tool = Figure(name=f"{name}, as a tool", unit="ms", values={FORAGER: milliseconds(times.pop(TOOL))})
        return Figure(name=name, unit="ms", values={way: milliseconds(times[way]) for way in times}), tool

    async def edit(self) -> Figure:
        """One line of a file of 300, there and back."""
        changed = itertools.cycle((EDITED_LINE + "  # edited", EDITED_LINE))
        found = itertools.cycle((EDITED_LINE, EDITED_LINE + "  # edited"))

        async def edit() -> None:
            arguments = {"path": MODULE, "search": next(found), "replace": next(changed)}
            observation = await self._tools.execute("edit", arguments)
            assert observation.exit_code == 0, observation.text

        repetitions = self._bench.repetitions
        times = await in_turns({FORAGER: (timed_async(edit), repetitions.calls)}, repetitions.rounds)
        return Figure(name="edit, 300 lines", unit="ms", values={FORAGER: milliseconds(times[FORAGER])})

    def _exec(self, command: str) -> Callable[[], object]:
        api = self._bench.engine.api

        def call() -> object:
            made = api.exec_create(self._sandbox.container, ["bash", "-c", command])
            output = api.exec_start(made["Id"])
            assert api.exec_inspect(made["Id"])["ExitCode"] == 0
            return output

        return call


async def _succeeded(running: Awaitable[object]) -> int:
    """The bytes a command printed."""
    result = await running
    assert getattr(result, "exit_code", None) == 0, result
    return int(getattr(result, "output_bytes", 0))
