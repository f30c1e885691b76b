"""Which tests tell a mutant from the clean code. Each side runs twice, every run in a fresh container.

Fresh, because grading is: nothing that a run leaves behind (processes, files, caches) can reach the next one, and a
test that passes only on what another run left does not get into the lists. A container costs a fifth of a second.
The two runs of a side differ in `PYTHONHASHSEED`, which shows the commonest kind of test that is not constant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import msgspec

from forager.errors import CapExceeded
from forager.evaluate.series import Round, run_series
from forager.evaluate.testrun import FAILURES, USAGE_ERROR, TestRun, file_of, run_tests
from forager.forage.baseline import Baseline
from forager.records import Record
from forager.sandbox import Caps
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine

HASH_SEEDS = ("0", "1729")
"""Of the first and the second run. The first is what every sandbox has."""

MOST_FAILING = 1000
"""Failing tests from which a bug is no task: it tells nothing that the first of them does not, and each costs the
runner more than a test that passes."""

CAPS = Caps(memory=2 * 1024**3, output=16 * 1024**2)

Reason = Literal[
    "valid",
    "survived",
    "unreached",
    "nothing_passes",
    "breaks_much",
    "timeout",
    "crashed",
    "unstable",
    "broke_container",
    "unowned",
]
"""Why a mutant is a task or is not. `survived`: no test fails; `unreached`: no test runs its lines; `nothing_passes`:
it breaks every test, as an import that fails does; `breaks_much`: `MOST_FAILING` tests fail or more; `crashed`: the
runner did not reach its end; `unstable`: no test fails both times; `unowned`: a place of a combined bug makes no test
fail that the others leave alone."""


class Suite(Record, frozen=True):
    """What to run, and where."""

    image: str
    workdir: str = "/testbed"
    test_command: str = "python -m pytest"


class Verdict(Record, frozen=True):
    """What the mutated side gave, and whether a task comes of it."""

    reason: Reason
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()
    """Tests that passed on the clean side and were not constant on the mutated one; in neither list."""
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    """Node ids of FAIL_TO_PASS to pytest's failure text, where there is one."""
    runs: int = 0
    seconds: float = 0.0
    """Of all runs together; of a run with others, its share."""


async def run_suite(
    engine: Engine,
    suite: Suite,
    *,
    timeout: float,
    hash_seed: str = HASH_SEEDS[0],
    files: Mapping[str, bytes] | None = None,
    tests: Sequence[str] = (),
    shuffle: int | None = None,
    texts: int = FAILURES,
    locals_shown: bool = False,
    most_failing: int = 0,
    attempt: str = "",
) -> TestRun:
    """One run of the suite in a fresh container without network, `files` (by path) written over the clean ones.

    `tests` (node ids) are the only ones to run; none means all. `timeout` in seconds; `shuffle` is the seed of
    another order; `texts` is how many failures are told with their text, `locals_shown` puts local variables into
    these; the run ends when `most_failing` tests have failed, unless that is 0.

    Raises `SandboxError` when the engine fails, `CapExceeded` when the tests broke the container's limits,
    `UnfitError` when nothing will work.
    """
    async with await _container(engine, suite, hash_seed, attempt) as sandbox:
        for path, content in (files or {}).items():
            await sandbox.write_file(f"{suite.workdir}/{path}", content)
        return await run_tests(
            sandbox,
            workdir=suite.workdir,
            test_command=suite.test_command,
            tests=tests,
            only=bool(tests),
            timeout=timeout,
            shuffle=shuffle,
            most_failing=most_failing,
            texts=texts,
            args=("--showlocals",) if locals_shown else (),
        )


async def _container(engine: Engine, suite: Suite, hash_seed: str, attempt: str) -> DockerSandbox:
    env = {"PYTHONHASHSEED": hash_seed}
    return await open_sandbox(
        engine, suite.image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS, env=env
    )


async def run_rounds(
    engine: Engine,
    suite: Suite,
    rounds: Sequence[Round],
    *,
    hash_seed: str,
    texts: int,
    most_failing: int,
    attempt: str = "",
) -> list[TestRun]:
    """Runs of some tests each, in one fresh container, as `run_series` gives them: as many as went well. The
    failures' texts show local variables.

    Raises as `run_suite` does.
    """
    async with await _container(engine, suite, hash_seed, attempt) as sandbox:
        return await run_series(
            sandbox,
            rounds,
            workdir=suite.workdir,
            test_command=suite.test_command,
            most_failing=most_failing,
            texts=texts,
            args=("--showlocals",) if texts else (),
        )


async def validate(
    engine: Engine,
    suite: Suite,
    baseline: Baseline,
    files: Mapping[str, bytes],
    *,
    whole: Sequence[str] = (),
    attempt: str = "",
) -> Verdict:
    """Run the tests twice with `files` (by path, mutated) over the clean ones, and say what came of it.

    The second run is left out where the first already tells that no task comes of the mutant. `whole` (node ids)
    stands for the whole suite.
    Raises `SandboxError` and `UnfitError` as `run_suite` does.
    """
    runs: list[TestRun] = []
    passing = frozenset(baseline.passing)
    most = MOST_FAILING + baseline.not_passing

    def verdict(reason: Reason) -> Verdict:
        return Verdict(reason=reason, runs=len(runs), seconds=sum(run.seconds for run in runs))

    for number, seed in enumerate(HASH_SEEDS):
        try:
            run = await run_suite(
                engine,
                suite,
                timeout=baseline.limit,
                hash_seed=seed,
                files=files,
                tests=whole,
                texts=FAILURES if number == 1 else 0,
                locals_shown=number == 1,
                most_failing=most,
                attempt=attempt,
            )
        except CapExceeded:
            return verdict("broke_container")
        runs.append(run)
        if reason := fault(run, most):
            return verdict(reason)
        if number == 0 and not any(run.outcomes.get(test) == "passed" for test in passing):
            return verdict("nothing_passes")
        if number == 0 and not any(failed(run, test) for test in passing):
            return verdict("survived")
    first, second = runs
    fail = {test for test in passing if failed(first, test) and failed(second, test)}
    keep = {test for test in passing if first.outcomes.get(test) == second.outcomes.get(test) == "passed"}
    return settled(baseline.passing, fail, keep, runs, len(runs), sum(run.seconds for run in runs))


def settled(
    passing: Sequence[str],
    fail: Collection[str],
    keep: Collection[str],
    alone: Sequence[TestRun],
    runs: int,
    seconds: float,
) -> Verdict:
    """The verdict once it is known which of the `passing` tests fail each time, and which pass each time.

    `alone` are the runs with no other bug in the tree, the latest last, for the failure texts; `runs` is how many
    there were with others, too, and `seconds` what they took, as far as it is this bug's share.
    """
    if not fail or not keep or len(fail) >= MOST_FAILING:
        reason: Reason = "unstable" if not fail else "breaks_much" if keep else "nothing_passes"
        return Verdict(reason=reason, runs=runs, seconds=seconds)
    texts = {test: text for run in alone for test, text in run.failures.items()}
    return Verdict(
        reason="valid",
        fail_to_pass=tuple(test for test in passing if test in fail),
        pass_to_pass=tuple(test for test in passing if test in keep),
        unstable=tuple(test for test in passing if test not in fail and test not in keep),
        failures={test: text for test in sorted(fail) if (text := texts.get(test) or texts.get(file_of(test)))},
        runs=runs,
        seconds=seconds,
    )


def fault(run: TestRun, most_failing: int) -> Reason | None:
    """What is wrong with a run as such; None where its results can be read."""
    if sum(outcome in ("failed", "error") for outcome in run.outcomes.values()) >= most_failing:
        return "breaks_much"
    if run.timed_out:
        return "timeout"
    return None if run.complete or run.exit_code == USAGE_ERROR else "crashed"


def failed(run: TestRun, test: str) -> bool:
    """Whether a known test failed, or could not run because its module or package could not be imported."""
    if test in run.outcomes:
        return run.outcomes[test] in ("failed", "error")
    return any(test.startswith((f"{broken}::", f"{broken}/")) for broken in run.collect_errors if broken)
