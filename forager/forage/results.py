"""What foraging writes, and how it goes on after a kill at any instant.

    DIR/forage.json          what was asked that decides results: the seed
    DIR/repositories.jsonl   one record a repository: the stage it reached, why it failed there, what was tried
    DIR/tasks.jsonl          the tasks, repositories in the order asked for
    DIR/work/NAME.jsonl      all that is known of one repository: environment, baseline, a line for each mutant tried
    DIR/work/NAME.environment.json  what an agent found where rules have no environment
    DIR/environments.jsonl   the trajectories of these agents, for `forager show`
    DIR/work/NAME.replies.jsonl    what a model answered, and the tokens it took
    DIR/logs/NAME.txt        what was printed on the way

All are append-only lines, each on the disk before the next step relies on it. A repository's tasks follow from its
work file alone, so they can be appended again from the start: those that are there already are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from forager.errors import UsageError
from forager.files import LineFile, WriterLock, write_atomic
from forager.forage.alike import Alike
from forager.forage.baseline import Baseline
from forager.forage.classify import Failure
from forager.forage.commits import CommitVerdict
from forager.forage.replies import Replies
from forager.forage.validate import Verdict
from forager.records import Environment, Record, Task, Usage, decode_task, encode, encode_task, safe_name

Stage = Literal["fetch", "detect", "build", "baseline", "explore", "map", "mutate", "write", "mine", "done"]


class RepositoryRecord(Record, frozen=True):
    """How far one repository came."""

    repository: str
    """As it was asked for."""
    status: Literal["done", "failed"]
    stage: Stage
    """Reached; `done` if it did not fail."""
    reason: str = ""
    """One line: why it failed, or why there are fewer tasks than asked for."""
    failure: Failure = ""
    """The class of `reason` if it failed, see `classify.Failure`."""
    again: bool = False
    """Whether the same command tries it again: something under it failed, not the repository."""
    release: str = ""
    """`pypi:NAME==VERSION`"""
    environment_attempt: str = ""
    """Id, in environments.jsonl, of the attempt of an agent that found the environment, or found none; empty if rules
    found it."""
    environment_rung: str = ""
    """The rung of the ladder that gave the environment, see `ladder`."""
    environment_tried: dict[str, str] = msgspec.field(default_factory=dict)
    """Rungs in the order they were tried, and what came of each."""
    tests: int = 0
    """That pass in every run of the clean code."""
    unstable_tests: int = 0
    not_passing_tests: int = 0
    excluded: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """Tests that are in no task's lists, by fault: flaky, order_dependent, slow."""
    baseline_seconds: float = 0.0
    sites: int = 0
    tried: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    """Mutants that became no task, by reason; `stands_elsewhere`: what they change is also elsewhere in the image."""
    verdicts: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """What came of all that were tried, by operator."""
    tasks: int = 0
    mutations: int = 0
    """As asked for."""
    implementations: int = 0
    """As asked for."""
    rewrites: int = 0
    """As asked for."""
    replies_rejected: dict[str, int] = msgspec.field(default_factory=dict)
    """A model's rewritten functions that were no mutants, by reason, see `rewrite.Rejection`."""
    reports_refused: int = 0
    """Statements by a model that gave the bug away, or were no statement; asked for again or given up."""
    templates: int = 0
    """Tasks that have a statement from a template because no model's passed the check."""
    usage: Usage = Usage()
    """Tokens of all replies of a model for this repository that are kept, in this call and earlier ones."""
    commits: int = 0
    """As asked for."""
    commits_seen: int = 0
    """Commits of the history that were looked at, the newest first."""
    commits_left: dict[str, int] = msgspec.field(default_factory=dict)
    """Of these, those that cannot be tasks, by reason, see `mining.Left`."""
    commits_tried: int = 0
    commits_rejected: dict[str, int] = msgspec.field(default_factory=dict)
    """Tried and no task, by reason, see `commits.CommitReason`."""
    commit_tasks: int = 0
    """Of `tasks`."""
    near_duplicates: int = 0
    """Bugs and commits that became no task because another task is so like them; others took their places."""
    seconds: float = 0.0
    """Wall time, of this call."""
    log: str = ""
    """Relative to the directory."""


class Asked(Record, frozen=True):
    """What decides the results, and so cannot change within one directory."""

    seed: int
    hide_tests: str = ""
    detail: str = "full"
    issues: str = ""
    """Digest of the exported issues."""
    statements: str = "template"
    schema: str = "forager.forage/1"


class WorkHead(Record, frozen=True, tag="head"):
    """First line of a work file. Where `key` differs, the rest is of another world and is done again."""

    key: str


class WorkBaseline(Record, frozen=True, tag="baseline"):
    environment: Environment
    baseline: Baseline
    attempt: str = ""
    """Id of the attempt of an agent that found the environment; empty if rules found it."""
    rung: str = ""
    """Of the ladder that gave it; empty if an agent did."""
    tried: dict[str, str] = msgspec.field(default_factory=dict)
    """Rungs that were tried."""
    elsewhere: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """Code that the image holds outside the working tree, too, see `forager.forage.elsewhere`."""


class WorkMutant(Record, frozen=True, tag="mutant"):
    mutant: str
    """Digest of the mutant."""
    verdict: Verdict


class WorkCommit(Record, frozen=True, tag="commit"):
    commit: str
    verdict: CommitVerdict


_WorkLine = WorkHead | WorkBaseline | WorkMutant | WorkCommit


class WorkFile:
    """What is known of one repository; every line is durable when its method returns."""

    def __init__(self, path: Path, torn: Path, key: str) -> None:
        """Raises `UnfitError` if it cannot be opened."""
        self.baseline: WorkBaseline | None = None
        self.verdicts: dict[str, Verdict] = {}
        self.commits: dict[str, CommitVerdict] = {}
        self._file = LineFile(path, torn)
        decoder: msgspec.json.Decoder[_WorkLine] = msgspec.json.Decoder(_WorkLine)
        head = None
        for line in path.read_bytes().splitlines():
            try:
                found = decoder.decode(line)
            except msgspec.MsgspecError:  # an older version's
                continue
            match found:
                case WorkHead():
                    head, self.baseline, self.verdicts, self.commits = found, None, {}, {}
                case WorkBaseline():
                    self.baseline = found
                case WorkMutant():
                    self.verdicts[found.mutant] = found.verdict
                case WorkCommit():
                    self.commits[found.commit] = found.verdict
        if head is None or head.key != key:
            self._file.truncate(0)
            self.baseline, self.verdicts, self.commits = None, {}, {}
            self._file.append(encode(WorkHead(key=key)))

    def set_baseline(self, found: WorkBaseline) -> WorkBaseline:
        self.baseline = found
        self._file.append(encode(found))
        return found

    def set_verdict(self, mutant: str, verdict: Verdict) -> None:
        self.verdicts[mutant] = verdict
        self._file.append(encode(WorkMutant(mutant=mutant, verdict=verdict)))

    def set_commit(self, commit: str, verdict: CommitVerdict) -> None:
        self.commits[commit] = verdict
        self._file.append(encode(WorkCommit(commit=commit, verdict=verdict)))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> WorkFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ForageDirectory:
    """The directory of one forage, held by one writer. Use as a context manager."""

    def __init__(self, path: Path, asked: Asked) -> None:
        """Raises `UsageError` for one that another process writes, or that holds another seed's tasks."""
        self.path = path
        try:
            for folder in (path, path / "work", path / "logs"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {path}: {error.strerror}; choose another -o") from None
        self._lock = WriterLock(path)
        try:
            self._check(asked)
            self._torn = path / "work" / "torn"
            self._tasks = LineFile(path / "tasks.jsonl", self._torn)
            self._records = LineFile(path / "repositories.jsonl", self._torn)
            self.records = {record.repository: record for record in self._read_records()}
            self.seen = self._read_tasks()
            """The tasks that are there."""
        except BaseException:
            self._lock.close()
            raise

    def _check(self, asked: Asked) -> None:
        file = self.path / "forage.json"
        if not file.exists():
            write_atomic(file, encode(asked) + b"\n")
            return
        try:
            before = msgspec.json.decode(file.read_bytes(), type=Asked)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{file} is not readable ({error}); choose another -o") from None
        for name in asked.__struct_fields__:
            was, wanted = getattr(before, name), getattr(asked, name)
            if was != wanted:
                was, wanted, what = (
                    was if was != "" else "none",
                    wanted if wanted != "" else "none",
                    name.replace("_", "-"),
                )
                shown = "other issues" if name == "issues" else f"{what} {was}, asked for is {wanted}"
                raise UsageError(f"{self.path} holds tasks of {shown}; choose another -o")

    def _read_records(self) -> Iterable[RepositoryRecord]:
        for number, line in enumerate((self.path / "repositories.jsonl").read_bytes().splitlines(), 1):
            try:
                yield msgspec.json.decode(line, type=RepositoryRecord)
            except msgspec.MsgspecError as error:
                raise UsageError(f"{self.path / 'repositories.jsonl'}, line {number}: {error}") from None

    def _read_tasks(self) -> Alike:
        file = self.path / "tasks.jsonl"
        try:
            tasks = [decode_task(msgspec.json.decode(line)) for line in file.read_bytes().splitlines()]
        except (msgspec.MsgspecError, KeyError, TypeError, UsageError) as error:
            raise UsageError(f"{file}: not a file of tasks: {error}") from None
        return Alike(tasks)

    def work(self, release: str, key: str) -> WorkFile:
        return WorkFile(self.path / "work" / f"{safe_name(release)}.jsonl", self._torn, key)

    @property
    def environments(self) -> Path:
        """The trajectories of agents that looked for an environment; there once there is one."""
        return self.path / "environments.jsonl"

    @property
    def torn(self) -> Path:
        """The folder of lines that a kill cut short."""
        return self._torn

    def explored(self, release: str) -> Path:
        """Where it is kept what an agent found."""
        return self.path / "work" / f"{safe_name(release)}.environment.json"

    def reach(self, release: str) -> Path:
        """Where the map of which test runs which lines is kept."""
        return self.path / "work" / f"{safe_name(release)}.reach.json"

    def replies(self, release: str, *, new: bool) -> Replies | None:
        """What a model has answered; None if that is nothing and no `new` file is wanted. Raises `UnfitError`."""
        path = self.path / "work" / f"{safe_name(release)}.replies.jsonl"
        return Replies(path, self._torn) if new or path.exists() else None

    def log(self, repository: str) -> Path:
        return self.path / "logs" / f"{safe_name(repository)}.txt"

    def near_duplicates(self, tasks: Iterable[Task]) -> set[str]:
        """Ids of those tasks that are near-duplicates of one that is there, of whatever repository, or of one before
        them. A task that is there itself is none."""
        before = Alike(beside=self.seen)
        return {task.instance_id for task in tasks if before.add(task)}

    def add(self, record: RepositoryRecord, tasks: Iterable[Task]) -> None:
        """Write down what came of a repository: its tasks that are not there yet, then its record.

        None of them may be in `near_duplicates`.
        """
        for task in tasks:
            if task.instance_id not in self.seen:
                self._tasks.append(msgspec.json.encode(encode_task(task)))
                self.seen.add(task)
        self._records.append(encode(record))
        self.records[record.repository] = record

    def close(self) -> None:
        """One record a repository: the newest stands for those of earlier calls."""
        lines = (self.path / "repositories.jsonl").read_bytes().count(b"\n")
        if lines > len(self.records):
            newest = b"".join(encode(record) + b"\n" for record in self.records.values())
            write_atomic(self.path / "repositories.jsonl", newest)
        self._tasks.close()
        self._records.close()
        self._lock.close()

    def __enter__(self) -> ForageDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
