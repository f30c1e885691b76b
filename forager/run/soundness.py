"""What repeated grades of a task, with its reference fix and without it, say of the task and of each of its tests.

Pure functions: `validation.py` makes the grades. A test counts as passed as in grading. It belongs in FAIL_TO_PASS if
it passed in every run with the fix and in none without it, in PASS_TO_PASS if it passed in every run with the fix.
Without the fix, only the first run is asked about PASS_TO_PASS: the others may have left it out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import compress

import msgspec
from msgspec import structs

from forager.records import Evaluation, Record, Task

_NETWORK = re.compile(
    r"name resolution|Name or service not known|Network is unreachable|getaddrinfo failed|No route to host"
    r"|NewConnectionError|gaierror|Failed to establish a new connection|Could not resolve host|UnknownHostException",
    re.IGNORECASE,
)
"""What a test that misses the network leaves in its output, whatever the library."""

_SECTION = re.compile(r"_{3,} (.+) _{3,}")
"""What pytest writes over the failure of a test."""

_NO_VERDICT = {
    "ungradable": "it cannot be graded",
    "tampered": "its tests are not as they are written",
    "patch_failed": "the reference patch does not apply",
    "memory": "its tests need more memory than a container has",
    "disk": "its tests need more disk than a container has",
    "timeout": "its tests do not end in time",
    "incomplete": "its test process ends before the runner does",
}
"""Flags of a grade with the fix that spoil a task, and what they mean."""


class Soundness(Record, frozen=True, omit_defaults=False):
    """A task after its runs: whether it can be used, with which tests, and why not."""

    reason: str = ""
    """Why the task is rejected, one line; empty if it is accepted."""
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    flaky: dict[str, str] = msgspec.field(default_factory=dict)
    """Test to its results, `with the fix: pass fail; without: fail fail`: it was not constant. In neither list."""
    order_dependent: dict[str, str] = msgspec.field(default_factory=dict)
    """Tests of FAIL_TO_PASS that were constant in the suite's own order only, with what they gave in other orders or
    alone. Kept, as no other test tells the fix, and grades run in that order."""
    broken: tuple[str, ...] = ()
    """Tests that failed in every run, with the fix too: broken by the environment. In neither list."""
    moved: tuple[str, ...] = ()
    """Tests of FAIL_TO_PASS that passed in every run without the fix: now in PASS_TO_PASS."""
    network: str = ""
    """A line of a broken test's output that shows that it wants the network, if there is one."""


def hopeless(fixed: Evaluation) -> bool:
    """Whether one grade with the fix shows that no further run can make the task acceptable."""
    return bool({*fixed.flags} & {*_NO_VERDICT}) or not fixed.fail_to_pass.success


def examine(task: Task, fixed: Sequence[Evaluation], bare: Sequence[Evaluation], output: str = "") -> Soundness:
    """The soundness of a task from its grades with the reference fix and without any, of which the first is of all
    tests and the others of FAIL_TO_PASS at least. `output` is what the tests printed with the fix."""
    for grade in fixed:
        for flag, meaning in _NO_VERDICT.items():
            if flag in grade.flags:
                return Soundness(reason=f"with its fix, {meaning}" + (f": {grade.detail}" if grade.detail else ""))
    for grade in bare:
        for flag in ("ungradable", "tampered"):
            if flag in grade.flags:
                return Soundness(reason=f"without its fix, {_NO_VERDICT[flag]}: {grade.detail}")
    with_fix, without = [_passed(grade) for grade in fixed], [_passed(grade) for grade in bare]
    # Where the tests did not come to their end, what did not run says nothing of a test's constancy.
    ended = [not {"timeout", "incomplete"} & {*grade.flags} for grade in bare]
    flaky: dict[str, str] = {}
    broken: list[str] = []
    moved: list[str] = []
    fail: list[str] = []
    keep: list[str] = []
    unfixed: list[str] = []
    harmed: list[str] = []
    for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS):
        wanted = test in task.FAIL_TO_PASS
        asked = len(bare) if wanted else 1
        good, before = [test in passed for passed in with_fix], [test in passed for passed in without[:asked]]
        if len(set(good)) > 1 or len(set(compress(before, ended))) > 1:
            flaky[test] = f"with the fix: {_told(good)}; without: {_told(before)}"
        elif not any(good):
            broken.append(test)
            if wanted:
                unfixed.append(test)
            elif any(before):
                harmed.append(test)
        elif not wanted:
            keep.append(test)
        elif not any(before):
            fail.append(test)
        else:
            moved.append(test)
    wanting = _wanting_network(broken, output)
    network = next(iter(wanting.values()), "")
    unfixed_here = [test for test in unfixed if test not in wanting]
    return Soundness(
        reason=_reason(task, fail, unfixed if not fail else unfixed_here, harmed, flaky, moved, network),
        fail_to_pass=tuple(fail),
        pass_to_pass=(*moved, *keep),
        flaky=flaky,
        broken=tuple(broken),
        moved=tuple(moved),
        network=network,
    )


def undecided(task: Task, sound: Soundness) -> bool:
    """Whether a task is rejected only because the tests that tell the fix were not constant."""
    return bool(sound.reason) and not sound.fail_to_pass and any(test in sound.flaky for test in task.FAIL_TO_PASS)


def in_order(task: Task, sound: Soundness, fixed: Sequence[Evaluation], bare: Sequence[Evaluation]) -> Soundness:
    """An `undecided` task after more grades, all in the suite's own order: as it was, or accepted by the tests that
    are constant in it."""
    own = examine(task, fixed, bare)
    dependent = {test: sound.flaky[test] for test in own.fail_to_pass if test in sound.flaky}
    if own.reason or not dependent:
        return sound
    flaky = {test: told for test, told in sound.flaky.items() if test not in dependent}
    return structs.replace(sound, reason="", fail_to_pass=tuple(dependent), flaky=flaky, order_dependent=dependent)


def _reason(
    task: Task,
    fail: list[str],
    unfixed: list[str],
    harmed: list[str],
    flaky: dict[str, str],
    moved: list[str],
    network: str,
) -> str:
    every = len(task.FAIL_TO_PASS)
    because = f", for want of the network ({network})" if network else ""
    if not every:
        return "it has no FAIL_TO_PASS test, so nothing shows that it is solved"
    if unfixed:
        return f"oracle does not resolve it: {_share(unfixed, every)} FAIL_TO_PASS tests fail with the fix{because}"
    if harmed:
        return f"oracle does not resolve it: its fix breaks {len(harmed)} PASS_TO_PASS tests ({harmed[0]}, ...)"
    if not fail and len(moved) == every:
        return "nop resolves it: every FAIL_TO_PASS test passes without the fix"
    if not fail:
        unsteady = sum(test in flaky for test in task.FAIL_TO_PASS)
        return f"no FAIL_TO_PASS test tells the fix: {unsteady} are not constant, {len(moved)} pass without it"
    return ""


def _share(tests: list[str], every: int) -> str:
    return f"all {every}" if len(tests) == every else f"{len(tests)} of {every}"


def _passed(grade: Evaluation) -> frozenset[str]:
    return frozenset((*grade.fail_to_pass.success, *grade.pass_to_pass.success))


def _told(results: Sequence[bool]) -> str:
    return " ".join("pass" if result else "fail" for result in results)


def _wanting_network(tests: Sequence[str], output: str) -> dict[str, str]:
    """The tests among these that failed for want of the network, and the line that shows it. Where the output has no
    section for each test, as pytest's has, one such line speaks for all."""
    title, found, sections = "", dict[str, str](), 0
    for line in output.splitlines():
        if match := _SECTION.fullmatch(line):
            title, sections = match[1], sections + 1
        elif _NETWORK.search(line):
            found.setdefault(title, " ".join(line.removeprefix("E ").split())[:200])
    if not sections:
        return dict.fromkeys(tests, found[""]) if found else {}
    names = {test: test.partition("::")[2].replace("::", ".") or test for test in tests}
    return {
        test: line
        for test, name in names.items()
        for title, line in found.items()
        if title == name or title.endswith(f" {name}")
    }
