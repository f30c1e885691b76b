"""Test runs that tasks have in common: those of the same tree, by the same tests, in the same order.

Bugs put into one release leave it in different trees. Solved, they leave it in one, and what its tests do there has
nothing to do with the bug any more. Validation uses this for runs that ask whether a test is constant; a grade that
anybody is told has its own run.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from forager.evaluate.formats import run_listed
from forager.evaluate.place import tree_id
from forager.evaluate.testrun import TestRun, file_of
from forager.records import Record, Task, digest
from forager.sandbox import Sandbox

MOST = 8
"""Runs that are kept: those of a few repositories. Each holds the names of all its tests."""


class _Key(Record, frozen=True):
    """All that decides what a run gives, besides chance."""

    environment: str
    image: str
    tree: str
    workdir: str
    command: str
    seconds: float
    files: tuple[str, ...]
    shuffle: int


class SharedRuns:
    """Runs of tests in trees that tasks may have in common, each made once."""

    def __init__(self) -> None:
        self._runs: OrderedDict[_Key, TestRun] = OrderedDict()
        self._turns: dict[_Key, asyncio.Lock] = {}
        self._unfit: set[_Key] = set()
        """What did not come to its end once: then each task finds out for itself."""

    async def run(self, sandbox: Sandbox, task: Task, tests: Sequence[str], shuffle: int) -> TestRun:
        """As `formats.run_listed` in a shuffled order, but a run that came to its end is not made again for another
        task whose tree in the sandbox is the same. Raises what that does."""
        timeout = task.test_seconds
        if task.test_format != "pytest" or task.source == "swebench":
            return await run_listed(sandbox, task, tests, timeout, shuffle=shuffle)
        key = _Key(
            environment=digest(task.environment) if task.environment is not None else "",
            image=task.image,
            tree=await tree_id(sandbox, task.workdir),
            workdir=task.workdir,
            command=task.test_command,
            seconds=timeout,
            files=tuple(sorted({file_of(test) for test in tests})),
            shuffle=shuffle,
        )
        async with self._turns.setdefault(key, asyncio.Lock()):
            if run := self._runs.get(key):
                self._runs.move_to_end(key)
                return run
            if key not in self._unfit:
                run = await run_listed(sandbox, task, tests, timeout, shuffle=shuffle)
                if run.complete and not run.forged:
                    self._keep(key, run)
                else:
                    self._unfit.add(key)
                return run
        return await run_listed(sandbox, task, tests, timeout, shuffle=shuffle)

    def _keep(self, key: _Key, run: TestRun) -> None:
        self._runs[key] = run
        while len(self._runs) > MOST:
            gone, _ = self._runs.popitem(last=False)
            self._turns.pop(gone, None)
