"""What the tests say of a commit: which fail at its parent and pass with it. Each side runs twice.

Every run has a fresh container of the image at the parent, into which the test patch goes, and the commit's own patch
or not. The runs of a side differ in `PYTHONHASHSEED`. Only the test modules that the commit changes are run, as in
SWE-bench. A test that could not even be imported before, and passes after, counts as one that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import structs

from forager.errors import BuildError, CapExceeded, ForageError, SandboxError
from forager.evaluate.testrun import USAGE_ERROR, TestRun, file_of, run_tests
from forager.forage import detect, history, ladder
from forager.forage.commit_statement import CLOSING, commit_statement
from forager.forage.giveaway import functions_in
from forager.forage.linked import Issues
from forager.forage.mining import Candidate
from forager.forage.project import Project
from forager.forage.source import Source
from forager.forage.statement import Detail
from forager.forage.validate import CAPS, HASH_SEEDS
from forager.forage.written import Material, Written
from forager.images.environment import WORKDIR, ensure_environment, freeze
from forager.images.index import tells_times
from forager.records import Environment, Record, Task, digest
from forager.sandbox.control import quote
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

GOOD = 0.9
"""Share of a commit's tests that have to pass with it for its environment to be looked for no further."""

POOR = 0.5
"""Share that is no better than what `baseline.check_clean` refuses."""

CommitReason = Literal[
    "valid",
    "no_environment",
    "not_applied",
    "nothing_passes",
    "no_fail_to_pass",
    "timeout",
    "crashed",
    "unstable",
    "broke_container",
    "no_statement",
    "near_duplicate",
]
"""Why a commit is a task or is not. `no_environment`: nothing builds at its parent; `not_applied`: its patches do not
apply there; `nothing_passes`: none of its tests passes with it; `no_fail_to_pass`: those that do pass without
it too; `unstable`: none fails both times and passes both times; `no_statement`: its message tells nothing."""


class CommitVerdict(Record, frozen=True):
    """What the tests said of one commit."""

    reason: CommitReason
    environment: Environment | None = None
    """At the parent, pinned."""
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()
    """Tests that were not the same both times; in neither list."""
    errors: tuple[str, ...] = ()
    """Those of `fail_to_pass` that could not be run before."""
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    """Node ids of `fail_to_pass` to pytest's failure text before the commit, where there is one."""
    runs: int = 0
    seconds: float = 0.0
    """Of all runs together."""
    slowest: float = 0.0
    """Seconds of the slowest run with the commit."""
    detail: str = ""


class NotApplied(Exception):
    """A commit's patch does not apply at its parent; never leaves this file."""


class Miner:
    """Runs the tests of commits of one repository. Commits that ask for the same environment share it."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        *,
        seconds: float,
        tests: asyncio.Semaphore,
        builds: asyncio.Semaphore,
        note: Callable[[str], None],
        at_head: Callable[[], Awaitable[Environment | None]] | None = None,
    ) -> None:
        """`seconds` is the longest that the tests of a commit may take. `at_head` gives an environment in which the
        suite of the newest commit passes; it is asked once, for commits that what their files ask for does not do.
        """
        self._engine = engine
        self._source = source
        self._seconds = seconds
        self._tests = tests
        self._builds = builds
        self._note = note
        self._found: dict[str, list[tuple[Environment, float]]] = {}
        """What plans became, by their digest: pinned environments, and the share of tests that passed there."""
        self._planning: dict[str, asyncio.Lock] = {}
        self._at_head = at_head
        self._head: Environment | None = None
        self._asking = asyncio.Lock()

    async def judge(self, candidate: Candidate) -> CommitVerdict:
        """The verdict on one commit. Raises `SandboxError` and `UnfitError` for what would meet others too."""
        try:
            environment, image, first = await self._environment(candidate)
            return await self._judge(environment, image, candidate, first)
        except BuildError as error:
            self._note(f"{candidate.commit.id[:10]}: {error}\n{error.log[-20_000:]}")
            return CommitVerdict(reason="no_environment", detail=str(error)[:300])
        except ForageError as error:
            return CommitVerdict(reason="no_environment", detail=str(error)[:300])
        except NotApplied as error:
            return CommitVerdict(reason="not_applied", detail=str(error)[:300])
        except CapExceeded as error:
            return CommitVerdict(reason="broke_container", detail=str(error)[:300])

    async def _judge(
        self, environment: Environment, image: str, candidate: Candidate, first: TestRun
    ) -> CommitVerdict:
        after, before = [first], list[TestRun]()

        def verdict(reason: CommitReason, detail: str = "") -> CommitVerdict:
            runs = [*after, *before]
            return CommitVerdict(
                reason=reason, runs=len(runs), seconds=sum(run.seconds for run in runs), detail=detail[:300]
            )

        if problem := _broken(first):
            return verdict(problem, _last_line(first.output))
        if not _passed(first):
            return verdict("nothing_passes", _last_line(first.output))
        limit = 5 * first.seconds + 10
        for number in range(len(HASH_SEEDS)):
            before.append(await self._run(image, candidate, fixed=False, number=number, limit=limit))
            if problem := _broken(before[-1]):
                return verdict(problem, _last_line(before[-1].output))
            if number == 0 and not any(_failed(before[0], test) for test in _passed(first)):
                return verdict("no_fail_to_pass")
            if number == 0:
                after.append(await self._run(image, candidate, fixed=True, number=1, limit=limit))
                if problem := _broken(after[-1]):
                    return verdict(problem, _last_line(after[-1].output))
        passing = [test for test in first.outcomes if all(run.outcomes.get(test) == "passed" for run in after)]
        fail = [test for test in passing if all(_failed(run, test) for run in before)]
        keep = [test for test in passing if all(run.outcomes.get(test) == "passed" for run in before)]
        if not fail:
            return verdict("unstable")
        texts = {name: text for run in before for name, text in run.failures.items()}
        return structs.replace(
            verdict("valid"),
            environment=environment,
            fail_to_pass=tuple(fail),
            pass_to_pass=tuple(keep),
            unstable=tuple(sorted({*_passed(first), *_passed(after[1])} - {*fail, *keep})),
            errors=tuple(test for test in fail if before[0].outcomes.get(test) in (None, "error")),
            failures={test: text for test in fail[:50] if (text := texts.get(test) or texts.get(file_of(test)))},
            slowest=max(run.seconds for run in after),
        )

    # ------------------------------------------------------------------------------------- environments

    async def _environment(self, candidate: Candidate) -> tuple[Environment, str, TestRun]:
        """The pinned environment at the parent, its image, and the first run with the commit.

        What a commit asks for is read from its parent's files. An environment found for a younger commit that asks
        for the same is taken where the tests do as well in it; otherwise the ladder is climbed.
        """
        base = structs.replace(self._source.environment, commit=candidate.base)
        files = await asyncio.to_thread(history.read_tree, self._source.path, candidate.base)
        project = await asyncio.to_thread(Project, self._source.name, files)
        plans = await asyncio.to_thread(detect.plans_for, project, base)
        key = digest([structs.replace(plan, commit="") for plan in plans])
        async with self._planning.setdefault(key, asyncio.Lock()):  # those that come after may have it for nothing
            known = list(self._found.get(key, ()))
            if not known:
                return await self._climbed(key, base, candidate, project)
        for environment, share in reversed(known):
            here = structs.replace(environment, commit=candidate.base)
            image = await self._image(here)
            run = await self._first(image, candidate)
            if _share(run) >= 0.9 * share:
                return here, image, run
        async with self._planning[key]:
            return await self._climbed(key, base, candidate, project)

    async def _climbed(
        self, key: str, base: Environment, candidate: Candidate, project: Project
    ) -> tuple[Environment, str, TestRun]:
        environment, run = await self._climb(base, candidate, project)
        async with self._builds:
            pinned = await freeze(self._engine, environment, self._note)
        if _passed(run):
            self._found.setdefault(key, []).append((pinned, _share(run)))
        return pinned, await self._image(pinned), run

    async def _climb(self, base: Environment, candidate: Candidate, project: Project) -> tuple[Environment, TestRun]:
        """The first rung of the ladder in which nearly all of the commit's tests pass; or the one in which most do.
        Where most fail, the environment of the newest commit is tried too."""

        async def attempt(environment: Environment) -> TestRun:
            return await self._first(await self._image(environment), candidate)

        date = history.iso(candidate.commit.time) if await tells_times() else ""
        failed: BuildError | None = None
        best: tuple[Environment, TestRun] | None = None
        try:
            found = await ladder.climb(project, base, attempt, self._note, {}, date=date, good=GOOD)
        except BuildError as error:
            failed = error
        else:
            best = found.environment, found.run
        if best is not None and (_share(best[1]) > POOR or best[1].timed_out):
            return best
        async with self._asking:
            if self._at_head is not None:
                self._head, self._at_head = await self._at_head(), None
        if self._head is not None:
            here = structs.replace(self._head, commit=candidate.base)
            try:
                other = await self._first(await self._image(here), candidate)
            except BuildError as error:
                self._note(f"{error}\n{error.log[-20_000:]}")
            else:
                best = (here, other) if best is None or _share(other) > _share(best[1]) else best
        if best is not None:
            return best
        raise failed or BuildError("no environment to build")

    async def _image(self, environment: Environment) -> str:
        async with self._builds:
            return await ensure_environment(self._engine, environment, self._note)

    # --------------------------------------------------------------------------------------------- runs

    async def _first(self, image: str, candidate: Candidate) -> TestRun:
        return await self._run(image, candidate, fixed=True, number=0, limit=self._seconds)

    async def _run(self, image: str, candidate: Candidate, *, fixed: bool, number: int, limit: float) -> TestRun:
        """One run of the commit's test modules, with its patch or without. Raises `NotApplied`."""
        patches = [candidate.test_patch, *([candidate.patch] if fixed else [])]
        async with (
            self._tests,
            await open_sandbox(
                self._engine,
                image,
                workdir=WORKDIR,
                run="forage",
                attempt=f"{candidate.commit.id[:10]} {'after' if fixed else 'before'} {number}",
                caps=CAPS,
                env={"PYTHONHASHSEED": HASH_SEEDS[number]},
            ) as sandbox,
        ):
            for n, patch in enumerate(patches):
                file = f"/tmp/.forager-{n}.patch"
                await sandbox.write_file(file, patch.encode())
                status, said = await sandbox.control(_APPLY.format(workdir=quote(WORKDIR), file=file), timeout=120)
                if status == 1:
                    raise NotApplied(said.decode("utf-8", "replace").strip().split("\n")[0])
                if status != 0:
                    raise SandboxError(f"a patch could not be put into the container (status {status})")
            return await run_tests(
                sandbox,
                workdir=WORKDIR,
                tests=candidate.modules,
                timeout=limit,
                args=() if fixed or number == 0 else ("--showlocals",),
            )


_APPLY = """
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=1
export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
cd {workdir} || exit 9
git apply --whitespace=nowarn {file} 2>&1 || exit 1
rm -f -- {file}
"""


def commit_task(
    source: Source,
    candidate: Candidate,
    verdict: CommitVerdict,
    sources: Mapping[str, bytes],
    *,
    issues: Issues,
    detail: Detail,
    limit: Callable[[float], float],
    written: Written | None = None,
) -> Task | None:
    """The task of a commit that was found valid; None if nothing that may be said of it makes a statement.

    `sources` are its test modules by path; `limit` gives the seconds of a grading run from those of a run; `written`
    is what a model has written, for a commit whose message and linked issue tell nothing.
    """
    commit = candidate.commit
    linked = issues.find(source.repo, commit.message)
    statement = commit_statement(source.name, candidate, linked, verdict.failures, sources, detail)
    by_model = written is not None and not statement
    if written is not None and written.report and by_model:
        statement = f"{written.report}\n\n{CLOSING}\n"
    if not statement:
        return None
    runs = len(HASH_SEEDS)
    return Task(
        instance_id=f"{source.label}-{commit.id[:10]}",
        repo=source.repo,
        base_commit=candidate.base,
        problem_statement=statement,
        patch=candidate.patch,
        test_patch=candidate.test_patch,
        FAIL_TO_PASS=verdict.fail_to_pass,
        PASS_TO_PASS=verdict.pass_to_pass,
        source="commit",
        environment=verdict.environment,
        test_seconds=limit(verdict.slowest),
        provenance={
            "commit": commit.id,
            "statement": "model" if by_model else "linked" if linked is not None else "message",
            **({"statement_model": written.model} if written is not None and by_model else {}),
            **({"linked": f"{linked.repo}#{linked.number}"} if linked is not None else {}),
            "left_out": list(candidate.left_out),
            "error_to_pass": len(verdict.errors),
            "runs": {"before": runs, "after": runs},
            "pass_rates": {
                "FAIL_TO_PASS": {"before": 0.0, "after": 1.0},
                "PASS_TO_PASS": {"before": 1.0, "after": 1.0},
            },
            "unstable": list(verdict.unstable[:50]),
        },
        extra={"created_at": datetime.fromtimestamp(commit.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
    )


def commit_material(
    source: Source, candidate: Candidate, verdict: CommitVerdict, sources: Mapping[str, bytes], detail: Detail
) -> Material:
    """What a model may write the statement of a commit's task from."""
    return Material(
        name=source.name,
        version="",
        files=candidate.code,
        functions=functions_in(candidate.patch),
        diff=candidate.patch,
        failures=verdict.failures,
        sources=sources,
        detail=detail,
        hidden=True,
        wanted=True,
        words=candidate.commit.message.strip()[:2000],
    )


def _broken(run: TestRun) -> CommitReason | None:
    """Why a run says nothing at all. (A conftest that cannot be imported is a usage error, and says something.)"""
    if run.timed_out:
        return "timeout"
    return None if run.complete or run.exit_code == USAGE_ERROR else "crashed"


def _share(run: TestRun) -> float:
    """Of the tests and modules that ran or should have, the share that passed."""
    return ladder.passed(run) / max(1, ladder.passed(run) + ladder.failed(run))


def _passed(run: TestRun) -> list[str]:
    return [test for test, outcome in run.outcomes.items() if outcome == "passed"]


def _failed(run: TestRun, test: str) -> bool:
    """Whether a test failed, or could not be run: its module was not importable, or did not have it."""
    return run.outcomes.get(test, "error") in ("failed", "error")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it prints nothing"
