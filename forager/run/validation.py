"""`forager validate`: every task graded several times with its reference fix and without it, before it is trusted.

The oracle model plays the fix through the agent's own tools once; the patch it submits is graded in every run, each
time in fresh containers. Without the fix, the tests run on the untouched starting tree. From the second run on they
run in shuffled order, without the fix only those of FAIL_TO_PASS, and with it once for all tasks that it leaves with
the same tree.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from forager.cells import Id
from forager.errors import ForagerError, InfrastructureError, SandboxError
from forager.plain import one_line
from forager.records import Evaluation, Task, Trajectory, digest, encode_task
from forager.run.images_pool import NO_IMAGE
from forager.run.orchestrator import Images
from forager.run.progress import Activity, Ended, Progress
from forager.run.soundness import Soundness, examine, hopeless, in_order, undecided
from forager.run.store import utc_now
from forager.run.validation_store import Validation, ValidationReport, ValidationStore, cleaned, noting
from forager.run.workers import Interrupted, backoff, work


class Trials(Protocol):
    """What validation does to a task (`forager/run/start.py` makes it). Everything raises `InfrastructureError` for
    what may go better the next time, `UnfitError` for what will not."""

    async def attempt(self, model: str, task: Task, *, grading: bool) -> Trajectory:
        """One attempt of an embedded model."""
        ...

    async def grade(
        self, task: Task, patch: str | None, shuffle: int | None, *, only: bool = False
    ) -> tuple[Evaluation, str]:
        """Grade a patch, or the untouched starting tree, and what the tests printed. `shuffle` seeds their order,
        `only` asks for FAIL_TO_PASS alone."""
        ...


async def validate_tasks(
    tasks: Sequence[Task],
    trials: Trials,
    progress: Progress,
    directory: Path | None = None,
    *,
    runs: int = 2,
    difficulty: bool = False,
    workers: int = 1,
    retries: int = 3,
    pause: float = 2.0,
    images: Images | None = None,
    reap: Callable[[], Awaitable[Any]] | None = None,
) -> tuple[ValidationReport, list[Validation]]:
    """Validate every task, `runs` times with its fix and `runs` times without.

    With a `directory`, verdicts are kept in it as they come (`validation.jsonl`), so that the same call goes on where
    it stopped; at the end it holds `tasks.jsonl` (accepted, lists cleaned, findings in `provenance`),
    `rejected.jsonl` and `report.json`. `difficulty`: let `search` try the accepted tasks. `pause`: seconds before the
    first retry. Raises `UsageError`, `UnfitError`, `Interrupted`.
    """
    if reap is not None:
        await reap()
    async with AsyncExitStack() as stack:
        if images is not None:
            stack.push_async_callback(images.close)
        store = stack.enter_context(ValidationStore(directory)) if directory is not None else None
        known = {task.instance_id: digest(task) for task in tasks}
        crew = _Crew(tasks, trials, progress, store, runs, difficulty, retries, pause, images)
        if store is not None:
            for line in store.read():
                if known.get(line.instance_id) == line.task and crew.answers(line):
                    crew.found[line.instance_id] = line
        progress.start(f"validating {len(tasks)} tasks", len(tasks), len(crew.found))
        stack.callback(progress.close)
        try:
            await work(crew.jobs(), crew.one, workers=workers)
        except Interrupted:
            done = f"{len(crew.found)} of {len(tasks)} tasks are validated"
            again = "run the same command again to go on" if store else "with -o DIR it could go on from there"
            raise Interrupted(f"interrupted: {done}; {again}") from None
        report = crew.report()
        if store is not None:
            store.finish(*crew.sorted_out(), report)
        return report, [crew.found[task.instance_id] for task in tasks if task.instance_id in crew.found]


def render_validation(report: ValidationReport, found: Sequence[Validation]) -> RenderableType:
    """The verdicts as a table, and the totals."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("task")
    table.add_column("verdict", no_wrap=True)
    for name in ("F2P", "P2P", "flaky", "broken"):
        table.add_column(name, justify="right", no_wrap=True)
    if report.solved_by_search is not None:
        table.add_column("search", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for one in found:
        sound = one.soundness
        cells: list[RenderableType] = [
            Id(one.instance_id),
            Text("accepted", style="green") if one.accepted else Text("rejected", style="red"),
            *(str(len(tests)) for tests in (sound.fail_to_pass, sound.pass_to_pass, sound.flaky, sound.broken)),
        ]
        if report.solved_by_search is not None:
            cells.append({True: "solved", False: "not solved", None: "-"}[one.solved_by_search])
        table.add_row(*cells, f"{one.seconds:.1f}")
    lines: list[RenderableType] = [table, Text()]
    for name, reason in {**report.rejected, **report.not_validated}.items():
        lines.append(Text(f"{one_line(name)}: {one_line(reason, 400)}", style="yellow"))
    lines += [
        Text(f"{one_line(one.instance_id)}: {len(one.soundness.broken)} tests want the network")
        for one in found
        if one.accepted and one.soundness.network
    ]
    facts = [f"{report.accepted} of {report.tasks} accepted"]
    facts += [f"{len(report.rejected)} rejected"] if report.rejected else []
    facts += [f"{len(report.not_validated)} broken by infrastructure"] if report.not_validated else []
    facts += [f"{report.flaky} flaky tests"] if report.flaky else []
    facts += [f"{report.order_dependent} tests that depend on the order"] if report.order_dependent else []
    facts += [f"{report.broken} tests broken by the environment"] if report.broken else []
    facts += [f"{report.moved} tests moved to PASS_TO_PASS"] if report.moved else []
    facts += [f"{report.solved_by_search} solved by search"] if report.solved_by_search is not None else []
    return Group(*lines, Text(", ".join(facts), style="bold"))


@dataclass(slots=True)
class _Job:
    task: Task
    tries: int = 0


@dataclass
class _Crew:
    """What the workers of one validation share."""

    tasks: Sequence[Task]
    trials: Trials
    progress: Progress
    store: ValidationStore | None
    runs: int
    difficulty: bool
    retries: int
    pause: float
    images: Images | None
    found: dict[str, Validation] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def answers(self, line: Validation) -> bool:
        """Whether an earlier verdict says what is asked now."""
        return line.runs == self.runs and (
            not self.difficulty or not line.accepted or line.solved_by_search is not None
        )

    def jobs(self) -> Iterator[_Job]:
        return (_Job(task) for task in self.tasks if task.instance_id not in self.found)

    async def one(self, worker: int, job: _Job) -> float | None:
        """Validate once. Returns the seconds to wait before the next try, or None when it is over."""
        task = job.task
        job.tries += 1
        self.progress.begin(worker, task.instance_id)
        again = None
        try:
            validation = await self._validate(worker, job)
        except InfrastructureError as error:
            again = backoff(job.tries, self.pause) if job.tries <= self.retries else None
            if again is None:
                self.broken[task.instance_id] = str(error)
            ended = Ended(
                id=task.instance_id, status="sandbox_error", detail=str(error), failed=again is None, again=again
            )
        else:
            self.found[task.instance_id] = validation
            if self.store is not None:
                self.store.add(validation)
            ended = Ended(
                id=task.instance_id,
                status="accepted" if validation.accepted else f"rejected: {validation.soundness.reason}",
                seconds=validation.seconds,
            )
        self.progress.end(worker, ended)
        if again is None and self.images is not None:
            await self.images.release(task)
        return again

    async def _validate(self, worker: int, job: _Job) -> Validation:
        task = job.task
        began = time.perf_counter()
        try:
            if self.images is not None:
                self.progress.activity(worker, Activity(phase="image"))
                await self.images.ensure(task, fresh=job.tries > 1)
            soundness, output = await self._examine(worker, task)
        except NO_IMAGE as error:
            soundness, output = Soundness(reason=f"its image cannot be made: {error}"), _log_of(error)
        solved = None
        if self.difficulty and not soundness.reason:
            self.progress.activity(worker, Activity(phase="tool", detail="search"))
            tried = _sound(await self.trials.attempt("search", cleaned(task, soundness), grading=True))
            solved = tried.evaluation is not None and tried.evaluation.resolved
        wrong = soundness.reason or soundness.flaky or soundness.broken
        return Validation(
            instance_id=task.instance_id,
            task=digest(task),
            runs=self.runs,
            accepted=not soundness.reason,
            soundness=soundness,
            solved_by_search=solved,
            seconds=round(time.perf_counter() - began, 3),
            log=self.store.write_log(task.instance_id, output) if self.store and wrong and output else "",
            time=utc_now(),
        )

    async def _examine(self, worker: int, task: Task) -> tuple[Soundness, str]:
        if not task.patch.strip():
            return Soundness(reason="it has no reference patch"), ""
        self.progress.activity(worker, Activity(phase="tool", detail="oracle"))
        played = _sound(await self.trials.attempt("oracle", task, grading=False))
        if played.patch is None:
            last = played.messages[-1] if played.messages else {}
            said = last.get("content") if last.get("role") == "assistant" else ""
            why = said or played.outcome.detail or played.outcome.status
            return Soundness(reason=f"the reference patch cannot be submitted through the tools: {why}"), ""
        fixed: list[Evaluation] = []
        bare: list[Evaluation] = []
        outputs: list[str] = []

        async def both(shuffle: int | None, *, whole: bool) -> bool:
            """One more grade with the fix, of all tests, and one without, of all if `whole`."""
            for patch, grades in ((played.patch, fixed), (None, bare)):
                self.progress.activity(worker, Activity(phase="grade", step=len(grades) + 1))
                only = patch is None and not whole
                grade, output = await self.trials.grade(task, patch, shuffle, only=only)
                grades.append(grade)
                if patch is not None:
                    outputs.append(output)
                    if hopeless(grade):
                        return False
            return True

        for number in range(self.runs):
            if not await both(number or None, whole=not number):
                break
        soundness = examine(task, fixed, bare, "\n".join(outputs))
        if undecided(task, soundness):  # perhaps only for the other order
            # Or for want of the tests before it: what passes without them may well fail after them.
            whole = any(grade.fail_to_pass.success for grade in bare[1:])
            del fixed[1:], bare[1:]
            for _ in range(self.runs):
                if not await both(None, whole=whole):
                    break
            else:
                soundness = in_order(task, soundness, fixed, bare)
        return soundness, "\n".join(outputs)

    def sorted_out(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The accepted tasks, cleaned, and the rejected ones with their reason, as they are written."""
        accepted: list[dict[str, Any]] = []
        rejected: list[dict[str, Any]] = []
        for task in self.tasks:
            found = self.found.get(task.instance_id)
            if found is None:
                continue
            noted = noting(task, found)
            (accepted if found.accepted else rejected).append(encode_task(noted))
        return accepted, rejected

    def report(self) -> ValidationReport:
        found = list(self.found.values())
        return ValidationReport(
            tasks=len(self.tasks),
            accepted=sum(one.accepted for one in found),
            rejected={one.instance_id: one.soundness.reason for one in found if not one.accepted},
            not_validated=self.broken,
            flaky=sum(len(one.soundness.flaky) for one in found),
            order_dependent=sum(len(one.soundness.order_dependent) for one in found),
            broken=sum(len(one.soundness.broken) for one in found),
            moved=sum(len(one.soundness.moved) for one in found),
            solved_by_search=sum(one.solved_by_search is True for one in found) if self.difficulty else None,
        )


def _sound(trajectory: Trajectory) -> Trajectory:
    """A trajectory that infrastructure did not end. Raises `SandboxError` for another."""
    if not trajectory.outcome.counts:
        raise SandboxError(f"{trajectory.model.name}: {trajectory.outcome.detail or trajectory.outcome.status}")
    return trajectory


def _log_of(error: ForagerError) -> str:
    return str(getattr(error, "log", ""))
