"""Near-duplicate tasks, within a repository and across repositories.

Two tasks are near-duplicates when their patches are alike, or when patches and statements are so on average: a bug at
the same place in other words, a file that two packages have both, a commit picked onto another branch. Patches
are compared without what is only about their place: paths, line numbers, indentation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from math import ceil

from forager.records import Record, Task
from forager.sketch import Sketch, likeness, sketch_of

THRESHOLD = 0.8
"""From which likeness on, 0 to 1, two tasks are near-duplicates."""
LEAST = 2 * THRESHOLD - 1
"""How alike patches have to be at least: statements that are the same bring the mean up to the threshold."""

_ABOUT_PLACE = re.compile(
    r"diff --git|index |--- |\+\+\+ |@@|(old|new|deleted file|new file) mode|similarity|rename|\\ No newline"
)


class Look(Record, frozen=True):
    """What of a task is compared."""

    instance_id: str
    patch: Sketch
    statement: Sketch


class Alike:
    """Tasks that were seen, to ask whether another one is like any of them."""

    def __init__(
        self, tasks: Iterable[Task] = (), *, beside: Alike | None = None, refused: Collection[str] = ()
    ) -> None:
        """`beside` are tasks seen elsewhere that count too; those of `refused` ids are taken for near-duplicates."""
        self._beside = beside
        self._refused = frozenset(refused)
        self._by_key: dict[int, list[Look]] = defaultdict(list)
        self._ids: set[str] = set()
        for task in tasks:
            self._take(look_at(task))

    def add(self, task: Task) -> str:
        """The id of the task seen that this one is a near-duplicate of; empty, and it is seen, if there is none.

        A task of an id that was seen is the same one, and no duplicate; of a refused one the id is its own.
        """
        if task.instance_id in self:
            return ""
        if task.instance_id in self._refused:
            return task.instance_id
        look = look_at(task)
        if found := self._find(look):
            return found
        self._take(look)
        return ""

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._ids or (self._beside is not None and instance_id in self._beside)

    def _take(self, look: Look) -> None:
        self._ids.add(look.instance_id)
        for key in _keys(look.patch):
            self._by_key[key].append(look)

    def _find(self, look: Look) -> str:
        near = {other.instance_id: other for key in _keys(look.patch) for other in self._by_key.get(key, ())}
        for other in near.values():
            if alike(look, other) >= THRESHOLD:
                return other.instance_id
        return self._beside._find(look) if self._beside is not None else ""


def _keys(patch: Sketch) -> Sketch:
    """The smallest hashes of a patch. Two that are at least `LEAST` alike have one of these in common: the smallest
    that both have at all (prefix filtering: Chaudhuri et al. 2006, "A primitive operator for similarity joins")."""
    return patch[: len(patch) - ceil(LEAST * len(patch)) + 1]


def look_at(task: Task) -> Look:
    """What of a task is compared."""
    lines = [line for line in task.patch.splitlines() if not _ABOUT_PLACE.match(line)]
    patch = "\n".join(f"{line[:1]} {' '.join(line[1:].split())}" for line in lines)
    return Look(instance_id=task.instance_id, patch=sketch_of(patch), statement=sketch_of(task.problem_statement))


def alike(one: Look, other: Look) -> float:
    """How alike two tasks are, 0 to 1."""
    patch = likeness(one.patch, other.patch)
    return max(patch, (patch + likeness(one.statement, other.statement)) / 2)
