"""What a set of tasks holds: by repository, operator and source, sizes, difficulty. Told from the tasks alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec

from forager.errors import UsageError
from forager.forage.diffs import changed_lines
from forager.records import Record, Task
from forager.run.difficulty import BUCKETS, known_bucket
from forager.run.estimates import Spread, spread
from forager.tasks import load_tasks

FAMILIES = {"combined": "combined", "implement": "functions", "rewrite": "functions"}
"""Operators that no module of `forage.operators` defines."""
NOT_TRIED = "not tried"


class Group(Record, frozen=True, omit_defaults=False):
    """Some tasks of a set."""

    tasks: int
    operators: int
    """Different ones."""
    failing_tests: float
    """Median; so are the next two."""
    patch_lines: float
    patch_files: float
    attempts: int
    """At those whose difficulty was measured."""
    resolved: int


class Operator(Record, frozen=True, omit_defaults=False):
    """What came of one mutation operator."""

    family: str
    tasks: int
    verdicts: dict[str, int]
    """Bugs of it that were tried, by what came of them; empty where no record beside the tasks tells."""


class SetReport(Record, frozen=True, omit_defaults=False):
    """What a set of tasks holds."""

    name: str
    tasks: int
    hidden: int
    """Tasks with tests that are not in the agent's tree."""
    by_source: dict[str, Group]
    by_repository: dict[str, Group]
    by_operator: dict[str, Operator]
    """Those with a task or a bug that was tried."""
    without: list[str]
    """Mutation operators without a task in this set; none are named where no task has an operator."""
    operators: int
    """Mutation operators that there are."""
    spreads: dict[str, Spread]
    """Of `failing_tests`, `passing_tests`, `patch_lines`, `patch_files` and `statement_words` a task."""
    difficulty: dict[str, int]
    """Tasks by measured solve rate, see `run.difficulty`, the hardest first; the last are `not tried`."""
    solved_by_search: int | None
    """Of the tasks that `search` was let try; None if it was let try none."""
    tried_by_search: int
    schema: str = "forager.set/1"


class SetSummary:
    """A set's report, and the values behind its spreads."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` for what is no set of tasks."""
        file = tasks_file(path)
        tasks = load_tasks(file)
        self.values = {name: [float(measure(task)) for task in tasks] for name, measure in SIZES.items()}
        self.report = _report(_name(path), tasks, _verdicts(file.with_name("repositories.jsonl")))


SIZES: dict[str, Callable[[Task], int]] = {
    "failing_tests": lambda task: len(task.FAIL_TO_PASS),
    "passing_tests": lambda task: len(task.PASS_TO_PASS),
    "patch_lines": lambda task: sum(map(len, changed_lines(task.patch))),
    "patch_files": lambda task: max(f"\n{task.patch}".count(f"\n{mark} ") for mark in ("diff --git", "+++")),
    "statement_words": lambda task: len(task.problem_statement.split()),
}


def is_task_set(path: Path) -> bool:
    """Whether a path is a set of tasks rather than a run: a directory with tasks and no run in it, or a file whose
    first line is no trajectory. What is not there is none."""
    if path.is_dir():
        run = any((path / name).exists() for name in ("run.json", "trajectories.jsonl"))
        return not run and (path / "tasks.jsonl").exists()
    if path.suffix in (".json", ".parquet"):
        return path.exists()
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError:
        return False
    if line.lstrip()[:1] == b"[":
        return True
    try:
        return msgspec.json.decode(line, type=_Line).problem_statement is not None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def tasks_file(path: Path) -> Path:
    """The file of a set of tasks."""
    return path / "tasks.jsonl" if path.is_dir() else path


class _Line(msgspec.Struct):
    problem_statement: str | None = None


class _ForageRecord(msgspec.Struct):
    """As much as is needed of a line of repositories.jsonl."""

    repository: str
    verdicts: dict[str, dict[str, int]] = {}


def _report(name: str, tasks: Sequence[Task], verdicts: Mapping[str, Mapping[str, int]]) -> SetReport:
    counted = Counter(operator for task in tasks if (operator := _operator(task)))
    families = _families() if counted or verdicts else {}
    searched = [found for task in tasks if isinstance(found := task.provenance.get("solved_by_search"), bool)]
    difficulty = Counter(known_bucket(task) or NOT_TRIED for task in tasks)
    spreads = {size: spread(map(measure, tasks)) for size, measure in SIZES.items()}
    return SetReport(
        name=name,
        tasks=len(tasks),
        hidden=sum(bool(task.hidden_tests or task.test_patch) for task in tasks),
        by_source=_groups(tasks, lambda task: task.source),
        by_repository=_groups(tasks, lambda task: task.repo),
        by_operator={
            operator: Operator(
                family=FAMILIES.get(operator) or families.get(operator, "other"),
                tasks=counted[operator],
                verdicts=dict(sorted(verdicts.get(operator, {}).items())),
            )
            for operator in sorted({*counted, *verdicts})
        },
        without=sorted({*families} - {*counted}),
        operators=len(families),
        spreads={size: one for size, one in spreads.items() if one is not None},
        difficulty={bucket: difficulty[bucket] for bucket in (*BUCKETS, NOT_TRIED)},
        solved_by_search=sum(searched) if searched else None,
        tried_by_search=len(searched),
    )


def _groups(tasks: Iterable[Task], key: Callable[[Task], str]) -> dict[str, Group]:
    """The largest first."""
    found: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        found[key(task)].append(task)
    return {name: _group(found[name]) for name in sorted(found, key=lambda name: (-len(found[name]), name))}


def _group(tasks: Sequence[Task]) -> Group:
    def middle(size: str) -> float:
        return median(map(SIZES[size], tasks))

    rates = [task.provenance["difficulty"] for task in tasks if known_bucket(task)]
    return Group(
        tasks=len(tasks),
        operators=len({_operator(task) for task in tasks} - {""}),
        failing_tests=middle("failing_tests"),
        patch_lines=middle("patch_lines"),
        patch_files=middle("patch_files"),
        attempts=sum(_number(rate, "attempts") for rate in rates),
        resolved=sum(_number(rate, "resolved") for rate in rates),
    )


def _number(rate: Mapping[str, object], name: str) -> int:
    found = rate.get(name)
    return found if isinstance(found, int) else 0


def _operator(task: Task) -> str:
    found = task.provenance.get("operator")
    return found if isinstance(found, str) else ""


def _families() -> dict[str, str]:
    """The mutation operators, each with the family it belongs to."""
    from forager.forage.operators import OPERATORS  # libcst takes a quarter of a second

    return {name: rules[0].rule.__module__.rpartition(".")[2] for name, rules in OPERATORS.items()}


def _verdicts(file: Path) -> dict[str, Counter[str]]:
    """What came of the bugs tried, by operator, from the records that foraging leaves beside its tasks."""
    newest: dict[str, _ForageRecord] = {}
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return {}
    for number, line in enumerate(lines, 1):
        try:
            record = msgspec.json.decode(line, type=_ForageRecord)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}, line {number} is damaged: {error}") from None
        newest[record.repository] = record
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in newest.values():
        for operator, verdicts in record.verdicts.items():
            found[operator].update(verdicts)
    return found


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() or path.stem != "tasks" else path.resolve().parent.name
