"""Which tests tell a mutant from the clean code. Each side runs twice, every run in a fresh container.

Fresh, because grading is: nothing that a run leaves behind (processes, files, caches) can reach the next one, and a
test that passes only on what another run left does not get into the lists. A container costs a fifth of a second.
The two runs of a side differ in `PYTHONHASHSEED`, which shows the commonest kind of test that is not constant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from forager.errors import CapExceeded, ForageError
from forager.evaluate.testrun import TestRun, file_of, run_tests
from forager.records import Record
from forager.sandbox import Caps
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

HASH_SEEDS = ("0", "1729")
"""Of the first and the second run. The first is what every sandbox has."""

CAPS = Caps(memory=2 * 1024**3, output=16 * 1024**2)

Reason = Literal["valid", "survived", "nothing_passes", "timeout", "crashed", "unstable", "broke_container"]
"""Why a mutant is a task or is not. `survived`: no test fails; `nothing_passes`: it breaks every test, as an import
that fails does; `crashed`: the runner did not reach its end; `unstable`: no test fails both times."""


class Suite(Record, frozen=True):
    """What to run, and where."""

    image: str
    workdir: str = "/testbed"
    test_command: str = "python -m pytest"


class Baseline(Record, frozen=True):
    """What the clean side gave."""

    passing: tuple[str, ...]
    """Node ids that passed in both runs, without those in the package's own code (doctests): the mutated file has to
    be free to change."""
    unstable: tuple[str, ...]
    """Passed once only."""
    not_passing: int
    """Failed, skipped, ... in both runs."""
    seconds: float
    """Wall time of the slower run."""

    @property
    def limit(self) -> float:
        """Seconds that a mutant's run may take; longer, and it hangs."""
        return 5 * self.seconds + 10


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
    """Of all runs together."""


async def run_suite(
    engine: Engine,
    suite: Suite,
    *,
    timeout: float,
    hash_seed: str = HASH_SEEDS[0],
    files: Mapping[str, bytes] | None = None,
    locals_shown: bool = False,
    attempt: str = "",
) -> TestRun:
    """One run of the whole suite in a fresh container without network, `files` (by path) written over the clean ones.

    `timeout` in seconds; `locals_shown` puts local variables into the failure texts. Raises `SandboxError` when the
    engine fails, `CapExceeded` when the tests broke the container's limits, `UnfitError` when nothing will work.
    """
    env = {"PYTHONHASHSEED": hash_seed}
    async with await open_sandbox(
        engine, suite.image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS, env=env
    ) as sandbox:
        for path, content in (files or {}).items():
            await sandbox.write_file(f"{suite.workdir}/{path}", content)
        return await run_tests(
            sandbox,
            workdir=suite.workdir,
            test_command=suite.test_command,
            timeout=timeout,
            args=("--showlocals",) if locals_shown else (),
        )


def compare_clean(first: TestRun, second: TestRun, own: Collection[str]) -> Baseline:
    """The baseline from two runs of the clean code. `own` are the paths of the package's own code.

    Raises `ForageError` saying what is wrong with a suite that cannot tell a bug from none.
    """
    for run in (first, second):
        check_clean(run)
    passed = [
        {test for test, outcome in run.outcomes.items() if outcome == "passed" and file_of(test) not in own}
        for run in (first, second)
    ]
    constant = passed[0] & passed[1]
    ever = {test for run in (first, second) for test, outcome in run.outcomes.items() if outcome == "passed"}
    known = {*first.outcomes, *second.outcomes}
    if not constant:
        raise ForageError("no test passes in both runs of the clean code")
    return Baseline(
        passing=tuple(test for test in first.outcomes if test in constant),
        unstable=tuple(sorted((passed[0] | passed[1]) - constant)),
        not_passing=len(known - ever),
        seconds=max(first.seconds, second.seconds),
    )


def check_clean(run: TestRun) -> None:
    """Raise `ForageError`, one line, where a run of the clean code shows that the suite is of no use."""
    if run.timed_out:
        raise ForageError(f"the suite of the clean code does not end within {run.seconds:.0f} s")
    if not run.outcomes and run.collect_errors:
        raise ForageError(f"no test can be collected: {_first_error(run)}")
    if not run.complete and not run.outcomes:
        raise ForageError(f"the tests do not start: {_last_line(run.output)}")
    if not run.outcomes:
        raise ForageError("the package has no tests")
    modules, broken = len({file_of(test) for test in run.outcomes}), len(run.collect_errors)
    if broken > modules:
        raise ForageError(f"{broken} of {modules + broken} test modules cannot be collected: {_first_error(run)}")
    if not run.complete:
        raise ForageError(f"the suite breaks off after {len(run.outcomes)} tests: {_last_line(run.output)}")
    passed = sum(outcome == "passed" for outcome in run.outcomes.values())
    failed = sum(outcome in ("failed", "error") for outcome in run.outcomes.values())
    if not passed:
        raise ForageError(f"no test of the clean code passes ({failed} fail): {_first_error(run)}")
    if failed > passed:
        raise ForageError(f"the suite does not pass: {failed} of {passed + failed} tests fail: {_first_error(run)}")


async def validate(
    engine: Engine, suite: Suite, baseline: Baseline, files: Mapping[str, bytes], *, attempt: str = ""
) -> Verdict:
    """Run the tests twice with `files` (by path, mutated) over the clean ones, and say what came of it.

    The second run is left out where the first already tells that no task comes of the mutant. Raises `SandboxError`
    and `UnfitError` as `run_suite` does.
    """
    runs: list[TestRun] = []
    passing = frozenset(baseline.passing)

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
                locals_shown=number == 1,
                attempt=attempt,
            )
        except CapExceeded:
            return verdict("broke_container")
        runs.append(run)
        if run.timed_out:
            return verdict("timeout")
        if not run.complete and run.exit_code != _USAGE_ERROR:
            return verdict("crashed")
        if number == 0 and not any(_failed(run, test) for test in passing):
            return verdict("survived")
        if number == 0 and not any(run.outcomes.get(test) == "passed" for test in passing):
            return verdict("nothing_passes")
    first, second = runs
    fail = {test for test in passing if _failed(first, test) and _failed(second, test)}
    keep = {test for test in passing if first.outcomes.get(test) == second.outcomes.get(test) == "passed"}
    if not fail or not keep:
        return verdict("unstable")
    texts = {**first.failures, **second.failures}
    return Verdict(
        reason="valid",
        fail_to_pass=tuple(test for test in baseline.passing if test in fail),
        pass_to_pass=tuple(test for test in baseline.passing if test in keep),
        unstable=tuple(test for test in baseline.passing if test not in fail and test not in keep),
        failures={test: text for test in sorted(fail) if (text := texts.get(test) or texts.get(file_of(test)))},
        runs=len(runs),
        seconds=sum(run.seconds for run in runs),
    )


_USAGE_ERROR = 4
"""Pytest's exit code when a conftest cannot be imported."""


def _failed(run: TestRun, test: str) -> bool:
    """Whether a known test failed, or could not run because its module or package could not be imported."""
    if test in run.outcomes:
        return run.outcomes[test] in ("failed", "error")
    return any(test.startswith((f"{broken}::", f"{broken}/")) for broken in run.collect_errors if broken)


def _first_error(run: TestRun) -> str:
    """The most telling line of a run's failures."""
    for text in (*run.failures.values(), run.output):
        for line in text.splitlines():
            if line.startswith("E  ") and line[1:].strip():
                return line[1:].strip()[:200]
    return _last_line(run.output)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it prints nothing"
