"""One repository, from its name to its tasks: fetch, detect, build, baseline, mutate.

Each stage's result is kept (images by the engine, the rest in the work file), so a second call goes on where the
first one stopped, and a call for more mutations tries only new ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from msgspec import structs

from forager.errors import BuildError, CapExceeded, ForageError, InfrastructureError, UsageError
from forager.evaluate.testrun import TestRun
from forager.forage import detect, scope
from forager.forage.alike import Alike
from forager.forage.baseline import RUNS, Baseline, check_clean, measure
from forager.forage.commits import Miner
from forager.forage.diffs import unified
from forager.forage.events import Event, Progress
from forager.forage.hide import Hide, hide_tests
from forager.forage.judge import Judge, Mutants, steady
from forager.forage.linked import Issues
from forager.forage.mined import mine
from forager.forage.mutate import Mutant, all_sites, apply_all, sample
from forager.forage.mutations import Trials, operator_of
from forager.forage.reach import LEAST, WORTH, Reach, kept_reach, make_reach, reach_key
from forager.forage.results import ForageDirectory, RepositoryRecord, Stage, WorkBaseline
from forager.forage.source import Source, fetch_source
from forager.forage.statement import Detail, make_statement
from forager.forage.validate import (
    HASH_SEEDS,
    Suite,
    Verdict,
    run_suite,
)
from forager.images.environment import ensure_environment, freeze
from forager.models.registry import Models
from forager.records import Environment, Record, Task, digest
from forager.sandbox.engine import Engine

EXTENSIONS = 3
"""Rounds of adding what the first run of the suite says is missing."""

_TESTS = re.compile(r"(^|[/_-])tests?", re.IGNORECASE)


class Settings(Record, frozen=True):
    """How to forage each repository."""

    mutations: int = 8
    """Tasks wanted."""
    seed: int = 0
    suite_seconds: float = 300.0
    """The longest that the suite of the clean code may take."""
    runs: int = RUNS
    """Of the clean code's suite."""
    commits: int = 0
    """Tasks wanted of the history."""
    detail: Detail = "full"
    """Of the statements."""
    hide_tests: Hide = ""
    """Whether the agent finds the failing tests of an injected bug in its tree."""
    issues: Issues = Issues()
    """Issues that commits may link to."""
    model: Models | None = None
    """Makes the model to ask where rules do not do, a fresh one for each conversation (`model.openai()`); its
    connections are closed by whoever opened them. None: no model is asked."""


class Slots:
    """How much goes on at once over all repositories."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.repositories = asyncio.Semaphore(2 * workers)  # some build or compute while others test
        self.tests = asyncio.Semaphore(workers)
        self.builds = asyncio.Semaphore(workers)


class Repository:
    """The stages of one repository. `forage` runs them all, and is called once."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        settings: Settings,
        directory: ForageDirectory,
        slots: Slots,
        progress: Progress,
        releases: dict[str, str],
    ) -> None:
        """`releases` is shared by all repositories of a call: which of them has taken a release."""
        self.name = name
        self._engine = engine
        before = directory.records.get(name)
        self._settings = structs.replace(  # what an earlier call was asked for is not taken back
            settings,
            mutations=max(settings.mutations, before.mutations if before else 0),
            commits=max(settings.commits, before.commits if before else 0),
        )
        self._directory = directory
        self._slots = slots
        self._progress = progress
        self._releases = releases
        self._stage: Stage = "fetch"
        self._log = directory.log(name)
        self._tried = self._valid = 0

    async def forage(self) -> tuple[RepositoryRecord, list[Task]]:
        """The record and the tasks. What is wrong with the repository is in the record, never raised.

        Raises `UnfitError`, which would meet every repository.
        """
        started = time.monotonic()
        self._tell("started")
        record = RepositoryRecord(
            repository=self.name,
            status="failed",
            stage="fetch",
            mutations=self._settings.mutations,
            commits=self._settings.commits,
        )
        tasks: list[Task] = []
        failed: Exception | None = None
        found: dict[str, object] = {}
        try:
            tasks = await self._stages(found)
        except (ForageError, UsageError, CapExceeded, InfrastructureError) as error:
            failed = error
        except BuildError as error:
            failed = error
            self._note(error.log[-20_000:])
        reason = str(failed).splitlines()[0] if failed is not None and str(failed) else str(found.pop("reason", ""))
        if failed is not None:
            self._note(f"failed at {self._stage}: {failed}")
        fields = {name: getattr(record, name) for name in record.__struct_fields__} | {
            **found,
            "status": "done" if failed is None else "failed",
            "stage": self._stage if failed is not None else "done",
            "reason": reason[:500],
            "again": isinstance(failed, InfrastructureError),
            "tried": self._tried,
            "tasks": len(tasks),
            "seconds": round(time.monotonic() - started, 2),
            "log": f"logs/{self._log.name}",
        }
        return RepositoryRecord(**fields), tasks

    async def _stages(self, found: dict[str, object]) -> list[Task]:
        """The tasks; fills `found` with fields of the record as they become known."""
        self._enter("fetch")
        before = self._directory.records.get(self.name)  # what a name without a version meant in an earlier call
        source = await fetch_source(before.release if before and before.release else self.name, self._note)
        found["release"] = source.spec
        other = self._releases.setdefault(source.spec, self.name)
        if other != self.name:
            raise ForageError(f"{other} is the same release ({source.spec}); its tasks are there already")
        tasks = await self._mutations(source, found) if self._settings.mutations else []
        return [*tasks, *(await self._commits(source, found) if self._settings.commits else [])]

    async def _commits(self, source: Source, found: dict[str, object]) -> list[Task]:
        """Tasks from the history."""
        self._enter("mine")
        if not source.commit:
            raise ForageError(f"{source.spec} is a release, which has no history; name its git repository")
        miner = Miner(
            self._engine,
            source,
            seconds=self._settings.suite_seconds,
            tests=self._slots.tests,
            builds=self._slots.builds,
            note=self._note,
        )
        made = self._valid

        def tell(text: str, tasks: int, tried: int) -> None:
            self._note(text)
            self._valid, self._tried = made + tasks, self._tried + 1
            self._tell("commit", text=text)

        key = digest([source.spec, HASH_SEEDS, self._settings.suite_seconds])
        with self._directory.work(f"{source.spec} commits", key) as work:
            mined = await mine(
                source,
                miner,
                work.commits.get,
                work.set_commit,
                wanted=self._settings.commits,
                workers=self._slots.workers,
                issues=self._settings.issues,
                detail=self._settings.detail,
                limit=_grading_limit,
                tell=tell,
            )
        found |= {
            "commits_seen": mined.commits,
            "commits_left": mined.left,
            "commits_tried": mined.tried,
            "commits_rejected": mined.rejected,
            "commit_tasks": len(mined.tasks),
        }
        self._tried -= mined.tried  # the record counts mutants there
        if len(mined.tasks) < self._settings.commits:
            less = f"{len(mined.tasks)} of {self._settings.commits} tasks after {mined.commits} commits"
            found["reason"] = "; ".join(filter(None, (str(found.get("reason", "")), less)))
        return list(mined.tasks)

    async def _mutations(self, source: Source, found: dict[str, object]) -> list[Task]:
        """Tasks from bugs put into the code."""
        self._enter("detect")
        files = await asyncio.to_thread(source.read)
        sources = dict(scope.wanted_files(files))
        if not any(path.endswith(".py") and _TESTS.search(path) for path in files):
            what = "the repository" if source.commit else "the source distribution"
            raise ForageError(f"{what} of {source.name} {source.version} holds no tests")
        if not sources:
            raise ForageError(f"{source.name} {source.version} has no Python code of its own to mutate")
        key = digest([source.spec, source.environment.sha256, HASH_SEEDS, self._settings.runs])
        with self._directory.work(source.spec, key) as work:
            known = work.baseline
            if known is None:
                known = work.set_baseline(*await self._baseline(source, files, sources))
            self._enter("build")
            async with self._slots.builds:
                image = await ensure_environment(self._engine, known.environment, self._note)
            suite, baseline = Suite(image=image), known.baseline
            found |= {
                "tests": len(baseline.passing),
                "unstable_tests": len(baseline.unstable),
                "not_passing_tests": baseline.not_passing,
                "excluded": baseline.excluded,
                "baseline_seconds": round(baseline.seconds, 2),
            }
            reach = await self._reach(source, suite, baseline, sources)
            self._enter("mutate")
            sites = await asyncio.to_thread(all_sites, sources)
            found["sites"] = len(sites)
            judge = Judge(self._engine, suite, baseline, sources, reach, self._slots.tests, self.name)
            seed = f"{self._settings.seed}:{source.spec}"
            trials = Trials(
                judge, sample(sites, sources, seed), seed, work.verdicts.get, work.set_verdict, self._told
            )
            verdicts = await trials.run(self._settings.mutations)
        rejected = Counter(verdict.reason for _, verdict in verdicts if verdict.reason != "valid")
        found["rejected"] = dict(sorted(rejected.items()))
        made = [
            hide_tests(
                make_task(source, known, mutants, verdict, files, self._settings), files, self._settings.hide_tests
            )
            for mutants, verdict in verdicts
            if verdict.reason == "valid"
        ]
        seen = Alike()
        tasks = [task for task in made if task is not None and not seen.add(task)]
        found["near_duplicates"] = sum(task is not None for task in made) - len(tasks)
        if len(tasks) < self._settings.mutations:
            found["reason"] = f"{len(tasks)} of {self._settings.mutations} tasks after {len(verdicts)} mutants"
        return tasks

    # ---------------------------------------------------------------------------------- build and baseline

    async def _baseline(
        self, source: Source, files: Mapping[str, bytes], sources: Mapping[str, bytes]
    ) -> tuple[Environment, Baseline]:
        """An environment in which the suite passes, pinned, and what passes there."""
        self._enter("build")
        environment, image = await self._build(source, files)
        self._enter("baseline")
        first = await self._clean_run(image)
        own = {part.removesuffix(".py") for path in files for part in PurePosixPath(path).parts[:2]}
        for _ in range(EXTENSIONS):
            wider = detect.extend(environment, _words(first), own)
            if wider is None:
                break
            self._note(f"the suite asks for more: {', '.join(sorted({*wider.packages} - {*environment.packages}))}")
            try:
                async with self._slots.builds:
                    wider_image = await ensure_environment(self._engine, wider, self._note)
            except BuildError as error:
                self._note(f"{error}\n{error.log[-20_000:]}")
                break
            run = await self._clean_run(wider_image)
            if _passed(run) < _passed(first):
                break
            environment, image, first = wider, wider_image, run
        check_clean(first)
        async with self._slots.builds:
            environment = await freeze(self._engine, environment, self._note)

        async def again(number: int, shuffle: int | None) -> TestRun:
            return await self._clean_run(image, number, shuffle)

        baseline = await measure(again, first, sources, self._settings.runs)
        for fault, tests in baseline.excluded.items():
            self._note(f"{len(tests)} tests left out as {fault.replace('_', '-')}: {', '.join(tests)}")
        return environment, baseline

    async def _build(self, source: Source, files: Mapping[str, bytes]) -> tuple[Environment, str]:
        """The first candidate environment that can be built, and its image."""
        failed: BuildError | None = None
        plans = await asyncio.to_thread(detect.candidates_for, source.name, source.environment, files)
        for environment in plans:
            self._note(f"environment: {', '.join(environment.packages)}")
            try:
                async with self._slots.builds:
                    return environment, await ensure_environment(self._engine, environment, self._note)
            except BuildError as error:
                self._note(f"{error}\n{error.log[-20_000:]}")
                failed = failed or error
        raise failed or BuildError(f"{source.spec}: no environment to build")

    async def _clean_run(self, image: str, number: int = 0, shuffle: int | None = None) -> TestRun:
        async with self._slots.tests:
            run = await steady(run_suite)(
                self._engine,
                Suite(image=image),
                timeout=self._settings.suite_seconds,
                hash_seed=HASH_SEEDS[number % len(HASH_SEEDS)],
                shuffle=shuffle,
                attempt=f"{self.name} clean {number}",
            )
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(Counter(run.outcomes.values()).items()))
        order = "" if shuffle is None else ", shuffled"
        self._note(f"clean run {number + 1}{order}: {counts or 'no tests'} in {run.seconds:.2f} s")
        if _passed(run) < len(run.outcomes) or not run.outcomes:
            self._note(run.output[-20_000:])
        return run

    # ------------------------------------------------------------------------------------------- mutants

    async def _reach(
        self, source: Source, suite: Suite, baseline: Baseline, sources: Mapping[str, bytes]
    ) -> Reach | None:
        """Which test runs which lines, where knowing it saves more than it costs."""
        if baseline.seconds < LEAST or baseline.seconds * self._settings.mutations < WORTH:
            return None

        async def make() -> Reach:
            async with self._slots.tests:
                found = await make_reach(
                    self._engine, suite, baseline, sources, report=self._note, attempt=f"{self.name} coverage"
                )
            self._note(f"mapped which of {len(found.tests)} tests runs which lines; {len(found.always)} run always")
            return found

        self._enter("map")
        return await kept_reach(
            self._directory.reach(source.spec), reach_key(suite, baseline, sources), make, self._note
        )

    def _told(self, mutants: Mutants, verdict: Verdict) -> None:
        self._tried += 1
        self._valid += verdict.reason == "valid"
        first, operator = mutants[0], operator_of(mutants)
        self._tell("mutant", mutant=structs.replace(first, operator=operator), reason=verdict.reason)
        self._note(
            f"{operator} {', '.join(f'{m.file}:{m.line} {m.function}' for m in mutants)}: {verdict.reason}, "
            f"{len(verdict.fail_to_pass)} fail, {len(verdict.pass_to_pass)} pass, {verdict.seconds:.2f} s"
        )

    # ---------------------------------------------------------------------------------------------- words

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self._tell("stage", text=stage, stage=stage)

    def _note(self, text: str) -> None:
        """A line for the log; its first line for the display."""
        with suppress(OSError), self._log.open("a", errors="backslashreplace") as log:  # a log stops nothing
            log.write(f"{time.strftime('%H:%M:%S')} {text.rstrip()}\n")
        self._progress(Event(kind="note", repository=self.name, text=text.split("\n", 1)[0][:200], stage=self._stage))

    def _tell(self, kind: str, **fields: object) -> None:
        event = {
            "kind": kind,
            "repository": self.name,
            "stage": self._stage,
            "tasks": self._valid,
            "wanted": self._settings.mutations + self._settings.commits,
            "tried": self._tried,
        }
        self._progress(Event(**{**event, **fields}))  # type: ignore[arg-type]


def make_task(
    source: Source,
    known: WorkBaseline,
    mutants: Mutants,
    verdict: Verdict,
    files: Mapping[str, bytes],
    settings: Settings,
) -> Task:
    """The task of a validated bug. Nothing in it but `patch`, `setup` and `provenance` tells the change."""
    buggy = dict(sorted(apply_all(mutants, files).items()))
    setup = "".join(unified(path, files[path], content) for path, content in buggy.items())
    first, operator = mutants[0], operator_of(mutants)
    short = hashlib.sha256(setup.encode()).hexdigest()[:8]
    runs = len(HASH_SEEDS)
    tests = {path: data for path, data in files.items() if path.endswith(".py") and not scope.wanted_file(path)}
    return Task(
        instance_id=f"{source.prefix}-{operator}-{short}",
        repo=source.repo,
        base_commit=source.commit,
        problem_statement=make_statement(
            source.name,
            source.version,
            verdict.failures,
            tests,
            file=first.file,
            diff=setup,
            count=len(verdict.fail_to_pass),
            detail=settings.detail,
            hidden=bool(settings.hide_tests),
        ),
        patch="".join(unified(path, content, files[path]) for path, content in buggy.items()),
        FAIL_TO_PASS=verdict.fail_to_pass,
        PASS_TO_PASS=verdict.pass_to_pass,
        source="mutation",
        environment=known.environment,
        setup=setup,
        test_seconds=_grading_limit(known.baseline.seconds),
        provenance={
            "operator": operator,
            "file": first.file,
            "function": first.function,
            "line": first.line,
            **({"places": [_place(mutant) for mutant in mutants]} if len(mutants) > 1 else {}),
            "seed": settings.seed,
            "runs": {"clean": known.baseline.runs, "mutated": runs},
            "pass_rates": {
                "FAIL_TO_PASS": {"clean": 1.0, "mutated": 0.0},
                "PASS_TO_PASS": {"clean": 1.0, "mutated": 1.0},
            },
            "unstable": list(verdict.unstable[:50]),
            "baseline_seconds": round(known.baseline.seconds, 2),
        },
    )


def _place(mutant: Mutant) -> dict[str, object]:
    return {name: getattr(mutant, name) for name in ("operator", "file", "function", "line")}


def _grading_limit(seconds: float) -> float:
    """Seconds of one grading run: generous, and the same for the same suite on machines of like speed."""
    return next((limit for limit in (60.0, 120.0, 300.0, 600.0, 1200.0) if limit >= 10 * seconds + 30), 3600.0)


def _passed(run: TestRun) -> int:
    return sum(outcome == "passed" for outcome in run.outcomes.values())


def _words(run: TestRun) -> str:
    """What a run says of its failures."""
    return "\n".join((*run.failures.values(), "" if run.complete and run.outcomes else run.output))
