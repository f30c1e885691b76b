"""One repository, from its name to its tasks: fetch, detect, build, baseline, mutate.

Each stage's result is kept (images by the engine, the rest in the work file), so a second call goes on where the
first one stopped, and a call for more mutations tries only new ones.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial

from msgspec import structs

from forager.errors import BuildError, CapExceeded, ForageError, InfrastructureError, UsageError
from forager.evaluate.testrun import TestRun
from forager.forage import scope
from forager.forage.alike import Alike
from forager.forage.baseline import Baseline, measure
from forager.forage.bug_task import grading_limit, reworded
from forager.forage.bugs import find_bugs
from forager.forage.classify import Classified, classify, reason_of
from forager.forage.commits import Miner
from forager.forage.compiled import with_byte_code
from forager.forage.distinct import Distinct
from forager.forage.elsewhere import Elsewhere, find_elsewhere
from forager.forage.events import Event, Progress
from forager.forage.evidence import Mutants
from forager.forage.finding import Agents, Finder
from forager.forage.judge import Judge, steady
from forager.forage.ladder import passed
from forager.forage.mined import mine
from forager.forage.mutate import Mutant
from forager.forage.mutations import operator_of
from forager.forage.reach import LEAST, WORTH, Reach, kept_reach, make_reach, reach_key
from forager.forage.replies import Asking
from forager.forage.results import ForageDirectory, RepositoryRecord, Stage, WorkBaseline
from forager.forage.rewrite import Rejection
from forager.forage.settings import WANTED, Settings, Slots
from forager.forage.source import Source, fetch_source
from forager.forage.trying import at_once
from forager.forage.validate import (
    HASH_SEEDS,
    Suite,
    Verdict,
    run_suite,
)
from forager.images.environment import ensure_environment, environment_script, freeze
from forager.records import Environment, Task, digest
from forager.sandbox.engine import Engine

_TESTS = re.compile(r"(^|[/_-])tests?", re.IGNORECASE)


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
        *,
        beside: Alike | None = None,
        refused: Collection[str] = (),
    ) -> None:
        """`releases` is shared by all repositories of a call: which of them has taken a release. Near-duplicates of
        tasks in `beside`, and tasks of `refused` ids, are replaced by others."""
        self.name = name
        self._engine = engine
        before = directory.records.get(name)
        asked = {name: max(getattr(settings, name), getattr(before, name, 0)) for name in WANTED}
        self._settings = structs.replace(settings, **asked)  # what an earlier call was asked for is not taken back
        self._directory = directory
        self._slots = slots
        self._progress = progress
        self._releases = releases
        self._seen = partial(Alike, beside=beside, refused=refused)
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
        )
        record = structs.replace(record, **{name: getattr(self._settings, name) for name in WANTED})
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
        reason = reason_of(failed) if failed is not None else str(found.pop("reason", ""))
        if failed is not None:
            self._note(f"failed at {self._stage}: {failed}")
        fields = {name: getattr(record, name) for name in record.__struct_fields__} | {
            **found,
            "status": "done" if failed is None else "failed",
            "stage": self._stage if failed is not None else "done",
            "reason": reason[:500],
            "failure": classify(failed, self._stage) if failed is not None else "",
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
            raise Classified(
                f"{other} is the same release ({source.spec}); its tasks are there already", "same_release"
            )
        model = self._settings.model.openai() if self._settings.model else None
        with self._directory.replies(source.spec, new=model is not None) or nullcontext() as replies:
            asking = Asking(model, replies) if replies is not None else None
            try:
                tasks = await self._mutations(source, asking, found) if self._settings.bugs.total else []
                return [*tasks, *(await self._commits(source, asking, found) if self._settings.commits else [])]
            finally:
                if asking is not None:
                    found["usage"] = asking.usage

    async def _commits(self, source: Source, asking: Asking | None, found: dict[str, object]) -> list[Task]:
        """Tasks from the history."""
        self._enter("mine")
        if not source.commit:
            raise Classified(
                f"{source.spec} is a release, which has no history; name its git repository", "no_history"
            )
        miner = Miner(
            self._engine,
            source,
            seconds=self._settings.suite_seconds,
            tests=self._slots.tests,
            builds=self._slots.builds,
            note=self._note,
            at_head=partial(self._at_head, source, found) if self._settings.model is not None else None,
        )
        made = self._valid

        def tell(text: str, tasks: int, tried: int) -> None:
            self._note(text)
            self._valid, self._tried = made + tasks, self._tried + 1
            self._tell("commit", text=text)

        key = digest([source.spec, HASH_SEEDS, self._settings.suite_seconds, environment_script("vendored")])
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
                limit=grading_limit,
                tell=tell,
                asking=asking,
                seen=self._seen,
            )
        found |= {
            "reports_refused": int(str(found.get("reports_refused", 0))) + mined.reports_refused,
            "commits_seen": mined.commits,
            "commits_left": mined.left,
            "commits_tried": mined.tried,
            "commits_rejected": mined.rejected,
            "commit_tasks": len(mined.tasks),
            "near_duplicates": int(str(found.get("near_duplicates", 0))) + mined.rejected.get("near_duplicate", 0),
        }
        self._tried -= mined.tried  # the record counts mutants there
        if len(mined.tasks) < self._settings.commits:
            less = f"{len(mined.tasks)} of {self._settings.commits} tasks after {mined.commits} commits"
            found["reason"] = "; ".join(filter(None, (str(found.get("reason", "")), less)))
        return list(mined.tasks)

    async def _mutations(self, source: Source, asking: Asking | None, found: dict[str, object]) -> list[Task]:
        """Tasks from bugs put into the code."""
        self._enter("detect")
        files = await asyncio.to_thread(source.read)
        sources = dict(scope.wanted_files(files))
        if not any(path.endswith(".py") and _TESTS.search(path) for path in files):
            what = "the repository" if source.commit else "the source distribution"
            raise Classified(f"{what} of {source.name} {source.version} holds no tests", "no_tests")
        if not sources:
            raise Classified(f"{source.name} {source.version} has no Python code of its own to mutate", "no_code")
        made = environment_script("vendored")  # images made otherwise may pass other tests
        key = digest([source.spec, source.environment.sha256, HASH_SEEDS, self._settings.runs, made])
        with self._directory.work(source.spec, key) as work:
            known = work.baseline
            if known is None:
                known = work.set_baseline(await self._baseline(source, files, sources, found))
            self._enter("build")
            async with self._slots.builds:
                image = await ensure_environment(self._engine, known.environment, self._note)
            suite, baseline = Suite(image=image), known.baseline
            found |= {
                "environment_attempt": known.attempt,
                "environment_rung": known.rung,
                "environment_tried": known.tried,
                "tests": len(baseline.passing),
                "unstable_tests": len(baseline.unstable),
                "not_passing_tests": baseline.not_passing,
                "excluded": baseline.excluded,
                "baseline_seconds": round(baseline.seconds, 2),
            }
            reach = await self._reach(source, suite, baseline, sources)
            self._enter("mutate")
            async with self._slots.tests:
                suite = await with_byte_code(self._engine, suite, baseline, self._note, self.name)
            judge = Judge(self._engine, suite, baseline, sources, reach, self._slots.tests, self.name)
            distinct = Distinct(
                source,
                known,
                files,
                self._seen(),
                self._note,
                seed=self._settings.seed,
                detail=self._settings.detail,
                hide=self._settings.hide_tests,
            )

            def accept(mutants: Mutants, verdict: Verdict, model: str) -> bool:
                good = distinct.accept(mutants, verdict, model)
                self._valid -= not good  # it was counted when it was judged
                return good

            bugs = await find_bugs(
                judge,
                f"{source.name} {source.version}".strip(),
                sources,
                f"{self._settings.seed}:{source.spec}",
                self._settings.bugs,
                work,
                asking,
                elsewhere=known.elsewhere,
                told=self._told,
                accept=accept,
                unusable=self._unusable,
            )
        found |= {
            "sites": bugs.sites,
            "rejected": bugs.rejected,
            "verdicts": bugs.verdicts,
            "replies_rejected": bugs.replies_rejected,
        }
        tasks = distinct.tasks
        found["near_duplicates"] = distinct.near_duplicates
        if len(tasks) < self._settings.bugs.total:
            replies = sum(bugs.replies_rejected.values())
            found["reason"] = (
                f"{len(tasks)} of {self._settings.bugs.total} tasks after {len(bugs.tried)} mutants"
                + (f" and {replies} replies of the model that were none" if replies else "")
                + (f"; {bugs.elsewhere} left out, whose code stands elsewhere in the image" if bugs.elsewhere else "")
            )
        if asking is None or self._settings.statements == "template":
            return [task for task, _, _ in tasks]
        self._enter("write")
        return await self._reworded(source, tasks, files, asking, found)

    async def _reworded(
        self,
        source: Source,
        tasks: Sequence[tuple[Task, Mutants, Verdict]],
        files: Mapping[str, bytes],
        asking: Asking,
        found: dict[str, object],
    ) -> list[Task]:
        """Tasks with statements by a model, but for those of functions to write."""
        told = await at_once(
            reworded(
                task,
                asking,
                source,
                mutants,
                verdict,
                files,
                detail=self._settings.detail,
                hidden=bool(self._settings.hide_tests),
            )
            for task, mutants, verdict in tasks
            if operator_of(mutants) != "implement"
        )
        for task, written in told:
            for problem in written.refused:
                self._note(f"{task.instance_id}: a statement by the model is refused: {problem}")
        found["reports_refused"] = sum(len(written.refused) for _, written in told)
        found["templates"] = sum(not written.report for _, written in told)
        by_id = {task.instance_id: task for task, _ in told}
        return [by_id.get(task.instance_id, task) for task, _, _ in tasks]

    # ---------------------------------------------------------------------------------- build and baseline

    def _finder(self, source: Source, files: Mapping[str, bytes], sources: Mapping[str, bytes]) -> Finder:
        agents = Agents(
            self._settings.model,
            self._settings.explore,
            self._directory.explored(source.spec),
            self._directory.environments,
            self._directory.torn,
            lambda step, text: self._tell("step", text=f"agent, step {step}: {text}"),
        )
        return Finder(
            self._engine,
            source,
            files,
            sources,
            agents,
            run=self._clean_run,
            builds=self._slots.builds,
            agents_at_once=self._slots.agents,
            enter=self._enter,
            note=self._note,
        )

    async def _at_head(self, source: Source, found: dict[str, object]) -> Environment | None:
        """The environment of the newest commit, for older ones; None if there is none."""
        files = await asyncio.to_thread(source.read)
        finder = self._finder(source, files, dict(scope.wanted_files(files)))
        try:
            environment, _, _ = await finder.find()
        except (BuildError, ForageError, CapExceeded) as error:
            self._note(f"the newest commit has no environment either: {error}")
            return None
        finally:
            found["environment_attempt"] = finder.attempt
            self._enter("mine")
        return environment

    async def _baseline(
        self, source: Source, files: Mapping[str, bytes], sources: Mapping[str, bytes], found: dict[str, object]
    ) -> WorkBaseline:
        """An environment in which the suite passes, pinned; what passes there; who found it."""
        finder = self._finder(source, files, sources)
        try:
            environment, image, first = await finder.find()
        finally:
            found |= {
                "environment_attempt": finder.attempt,
                "environment_rung": finder.rung,
                "environment_tried": finder.tried,
            }
        async with self._slots.builds:
            environment = await freeze(self._engine, environment, self._note)

        async def again(number: int, shuffle: int | None) -> TestRun:
            return await self._clean_run(image, number, shuffle)

        baseline = await measure(again, first, sources, self._settings.runs)
        for fault, tests in baseline.excluded.items():
            self._note(f"{len(tests)} tests left out as {fault.replace('_', '-')}: {', '.join(tests)}")
        return WorkBaseline(
            environment=environment,
            baseline=baseline,
            attempt=finder.attempt,
            rung=finder.rung,
            tried=finder.tried,
            elsewhere=await self._elsewhere(image, sources),
        )

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
        if passed(run) < len(run.outcomes) or not run.outcomes:
            self._note(run.output[-20_000:])
        return run

    async def _elsewhere(self, image: str, sources: Mapping[str, bytes]) -> Elsewhere:
        """What of the code the image holds outside the working tree, too."""
        async with self._slots.tests:
            found = await find_elsewhere(self._engine, image, sources)
        for path, windows in found.items():
            first = next(iter(windows.values()))
            self._note(f"{path}: {len(windows)} pieces of it also stand elsewhere, in {first} for one")
        return found

    # ------------------------------------------------------------------------------------------- mutants

    async def _reach(
        self, source: Source, suite: Suite, baseline: Baseline, sources: Mapping[str, bytes]
    ) -> Reach | None:
        """Which test runs which lines, where knowing it saves more than it costs."""
        saved = baseline.seconds * self._settings.bugs.total
        if baseline.seconds < LEAST or saved < WORTH:
            return None

        async def make() -> Reach:
            async with self._slots.tests:
                found = await make_reach(
                    self._engine,
                    suite,
                    baseline,
                    sources,
                    seconds=saved,
                    report=self._note,
                    attempt=f"{self.name} coverage",
                )
            self._note(f"mapped which of {len(found.tests)} tests runs which lines; {len(found.always)} run always")
            return found

        self._enter("map")
        return await kept_reach(
            self._directory.reach(source.spec), reach_key(suite, baseline, sources), make, self._note, saved
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

    def _unusable(self, place: Mutant, reason: Rejection) -> None:
        self._note(f"rewrite {place.file}:{place.line} {place.function}: the reply is no mutant: {reason}")

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
            "wanted": self._settings.bugs.total + self._settings.commits,
            "tried": self._tried,
        }
        self._progress(Event(**{**event, **fields}))  # type: ignore[arg-type]
