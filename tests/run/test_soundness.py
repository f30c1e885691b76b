"""What repeated grades say of a task: who is accepted, with which tests, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from forager.records import Evaluation, Task, TestLists
from forager.run.soundness import Soundness, examine, in_order, undecided

FAIL, KEEP = ("t.py::fix1", "t.py::fix2"), ("t.py::keep1", "t.py::keep2")
EVERY = (*FAIL, *KEEP)
TASK = Task(instance_id="t", repo="r", problem_statement="", patch="p", FAIL_TO_PASS=FAIL, PASS_TO_PASS=KEEP)


def grade(*passed: str, **fields: Any) -> Evaluation:
    def lists(tests: Sequence[str]) -> TestLists:
        good = tuple(test for test in tests if test in passed)
        return TestLists(success=good, failure=tuple(test for test in tests if test not in passed))

    return Evaluation(resolved=len(passed) == 4, fail_to_pass=lists(FAIL), pass_to_pass=lists(KEEP), **fields)


GOLD, NOP = grade(*EVERY), grade(*KEEP)
PART = Evaluation(resolved=False, fail_to_pass=TestLists(failure=FAIL))
"""A grade without the fix that was not asked about PASS_TO_PASS."""


def without(*gone: str) -> Evaluation:
    return grade(*(test for test in EVERY if test not in gone))


def test_a_sound_task_is_accepted_as_it_is() -> None:
    assert examine(TASK, [GOLD] * 3, [NOP] * 3) == Soundness(fail_to_pass=FAIL, pass_to_pass=KEEP)


def test_of_the_runs_without_the_fix_only_the_first_is_asked_about_pass_to_pass() -> None:
    assert examine(TASK, [GOLD] * 3, [NOP, PART, PART]) == examine(TASK, [GOLD] * 3, [NOP] * 3)
    hanging = msgspec.structs.replace(NOP, flags=("timeout",))
    assert examine(TASK, [GOLD] * 2, [hanging, PART]) == examine(TASK, [GOLD] * 2, [NOP] * 2)
    harmed = examine(TASK, [without("t.py::keep2")] * 2, [NOP, PART])
    assert "its fix breaks 1 PASS_TO_PASS tests (t.py::keep2" in harmed.reason
    broken = examine(TASK, [without("t.py::keep2")] * 2, [grade("t.py::keep1"), PART])
    assert (broken.reason, broken.broken, broken.flaky) == ("", ("t.py::keep2",), {})


def test_fail_to_pass_is_asked_in_every_run_without_the_fix() -> None:
    lucky = Evaluation(resolved=False, fail_to_pass=TestLists(success=FAIL[1:], failure=FAIL[:1]))
    found = examine(TASK, [GOLD] * 3, [NOP, PART, lucky])
    assert (found.reason, found.fail_to_pass, found.pass_to_pass) == ("", FAIL[:1], KEEP)
    assert found.flaky == {"t.py::fix2": "with the fix: pass pass pass; without: fail fail pass"}
    found = examine(TASK, [GOLD] * 2, [GOLD, PART])
    assert "2 are not constant" in found.reason and undecided(TASK, found)


def test_a_test_that_is_not_constant_leaves_the_lists() -> None:
    found = examine(TASK, [GOLD, without("t.py::fix1", "t.py::keep2")], [NOP, PART])
    assert found.reason == ""
    assert found.fail_to_pass == ("t.py::fix2",) and found.pass_to_pass == ("t.py::keep1",)
    assert found.flaky == {
        "t.py::fix1": "with the fix: pass fail; without: fail fail",
        "t.py::keep2": "with the fix: pass fail; without: pass",
    }


def test_a_task_without_a_constant_test_that_tells_is_rejected() -> None:
    found = examine(TASK, [GOLD, without(*FAIL)], [NOP, NOP])
    assert "2 are not constant" in found.reason and len(found.flaky) == 2


def test_tests_that_depend_on_the_order_are_kept_if_no_other_tells_the_fix() -> None:
    shuffled = examine(TASK, [GOLD, without(*FAIL)], [NOP, NOP])
    assert undecided(TASK, shuffled)
    kept = in_order(TASK, shuffled, [GOLD] * 3, [NOP] * 3)
    assert (kept.reason, kept.fail_to_pass, kept.flaky) == ("", FAIL, {})
    assert kept.order_dependent == dict.fromkeys(FAIL, "with the fix: pass fail; without: fail fail")
    assert kept.pass_to_pass == KEEP

    one = in_order(TASK, shuffled, [GOLD, GOLD, without("t.py::fix1")], [NOP] * 3)
    assert (one.reason, one.fail_to_pass, tuple(one.flaky)) == ("", ("t.py::fix2",), ("t.py::fix1",))
    assert in_order(TASK, shuffled, [GOLD, without(*FAIL)], [NOP] * 2) == shuffled
    assert not undecided(TASK, examine(TASK, [GOLD, without("t.py::fix1")], [NOP, NOP]))


def test_a_test_that_passes_without_the_fix_is_moved() -> None:
    found = examine(TASK, [GOLD] * 2, [grade("t.py::fix1", *KEEP)] * 2)
    assert (found.reason, found.fail_to_pass, found.moved) == ("", ("t.py::fix2",), ("t.py::fix1",))
    assert found.pass_to_pass == ("t.py::fix1", *KEEP)


def test_what_nop_resolves_is_rejected() -> None:
    assert examine(TASK, [GOLD] * 2, [GOLD] * 2).reason.startswith("nop resolves it")


def test_a_test_that_fails_whatever_one_does_is_broken_by_the_environment() -> None:
    found = examine(TASK, [without("t.py::keep2")] * 2, [grade("t.py::keep1")] * 2)
    assert (found.reason, found.broken, found.pass_to_pass) == ("", ("t.py::keep2",), ("t.py::keep1",))


def test_a_fix_that_does_not_fix_is_rejected() -> None:
    found = examine(TASK, [without("t.py::fix1")] * 2, [NOP] * 2)
    assert found.reason == "oracle does not resolve it: 1 of 2 FAIL_TO_PASS tests fail with the fix"


def test_a_fix_that_breaks_a_test_is_rejected() -> None:
    found = examine(TASK, [without("t.py::keep2")] * 2, [NOP] * 2)
    assert "its fix breaks 1 PASS_TO_PASS tests (t.py::keep2" in found.reason


@pytest.mark.parametrize(
    "line",
    [
        "E   socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "E   OSError: [Errno 101] Network is unreachable",
        "requests.exceptions.ConnectionError: HTTPConnectionPool: Failed to establish a new connection",
    ],
)
def test_a_test_that_wants_the_network_is_said_to(line: str) -> None:
    plain = f"a log of another runner\n{line}\nE   other"
    titles = ("fix1", "ERROR at setup of fix2", "keep2")
    sections = "".join(f"________ {title} ________\nt.py:1: in x\n{line}\n" for title in titles)
    for output in (plain, sections):
        all_fail = examine(TASK, [grade(*KEEP)] * 2, [NOP] * 2, output)
        assert "all 2 FAIL_TO_PASS tests fail with the fix, for want of the network" in all_fail.reason
        assert line.removeprefix("E ").split()[0] in all_fail.network
        some = examine(TASK, [without("t.py::fix1", "t.py::keep2")] * 2, [grade("t.py::keep1")] * 2, output)
        assert (some.reason, some.fail_to_pass) == ("", ("t.py::fix2",)) and len(some.broken) == 2


def test_one_test_that_wants_the_network_does_not_excuse_another() -> None:
    output = "____ keep2 ____\nE  gaierror: name resolution\n____ fix1 ____\nE  assert 1 == 2\n"
    found = examine(TASK, [without("t.py::fix1", "t.py::keep2")] * 2, [grade("t.py::keep1")] * 2, output)
    assert found.reason.startswith("oracle does not resolve it: 1 of 2 FAIL_TO_PASS tests fail with the fix")


@pytest.mark.parametrize("flag", ["ungradable", "tampered", "patch_failed", "memory", "timeout", "incomplete"])
def test_a_run_with_the_fix_that_says_nothing_rejects_the_task(flag: str) -> None:
    found = examine(TASK, [GOLD, grade(flags=(flag,), detail="so it is")], [NOP] * 2)
    assert found.reason.startswith("with its fix, ") and found.reason.endswith(": so it is")


def test_a_bug_that_hangs_is_still_a_bug() -> None:
    hanging = grade(flags=("timeout",))
    found = examine(TASK, [GOLD] * 2, [grade("t.py::keep1", flags=("timeout",)), hanging])
    assert found == Soundness(fail_to_pass=FAIL, pass_to_pass=KEEP)


def test_a_task_without_tests_that_tell_is_rejected() -> None:
    task = Task(instance_id="t", repo="r", problem_statement="", PASS_TO_PASS=KEEP)
    assert "no FAIL_TO_PASS test" in examine(task, [GOLD], [NOP]).reason
