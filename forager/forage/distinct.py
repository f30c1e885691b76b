"""Which valid bugs make a task: those that are like none before, and whose tests can be hidden if that is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from forager.forage.alike import Alike
from forager.forage.bug_task import make_task
from forager.forage.evidence import Mutants
from forager.forage.hide import Hide, hide_tests
from forager.forage.results import WorkBaseline
from forager.forage.source import Source
from forager.forage.statement import Detail
from forager.forage.validate import Verdict
from forager.records import Task


class Distinct:
    """The tasks of one package's bugs, gathered while bugs are tried, so that one that makes none is replaced."""

    def __init__(
        self,
        source: Source,
        known: WorkBaseline,
        files: Mapping[str, bytes],
        seen: Alike,
        note: Callable[[str], None],
        *,
        seed: int,
        detail: Detail,
        hide: Hide,
    ) -> None:
        """`seen` gets every task that is made; `files` are the clean ones; `note` is told what makes no task."""
        self.tasks: list[tuple[Task, Mutants, Verdict]] = []
        """In the order of trial."""
        self.near_duplicates = 0
        self._source = source
        self._known = known
        self._files = files
        self._seen = seen
        self._note = note
        self._seed = seed
        self._detail = detail
        self._hide = hide

    def accept(self, mutants: Mutants, verdict: Verdict, model: str) -> bool:
        """Whether a valid bug, made by `model` if any, makes a task; it is in `tasks` then."""
        bug = make_task(
            self._source,
            self._known,
            mutants,
            verdict,
            self._files,
            seed=self._seed,
            detail=self._detail,
            hidden=bool(self._hide),
            model=model,
        )
        task = hide_tests(bug, self._files, self._hide)
        if task is None:
            self._note(f"{bug.instance_id} is no task: its tests cannot be hidden")
            return False
        if other := self._seen.add(task):
            self.near_duplicates += 1
            like = f"like {other}" if other != task.instance_id else "like a task of an earlier repository"
            self._note(f"{task.instance_id} is no task: {like}")
            return False
        self.tasks.append((task, mutants, verdict))
        return True
