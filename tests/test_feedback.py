"""What commands print, from real runners, and what is read from it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from forager import records  # its TestFeedback would be taken for a test class here
from forager.feedback import test_feedback as feedback

SUITE = """
import unittest, pytest

def test_ok(): pass
def test_bad(): assert 1 == 2
@pytest.mark.parametrize("value", ["a - b", "c"])
def test_odd(value): assert value == "c"
@pytest.mark.skip
def test_skipped(): pass
@pytest.fixture
def broken(): raise ValueError
def test_error(broken): pass
"""

CASES = """
import unittest

class Cases(unittest.TestCase):
    def test_ok(self): pass
    def test_bad(self): self.assertEqual(1, 2)
    def test_error(self): raise ValueError
    @unittest.skip("no")
    def test_skipped(self): pass
"""


def ran(command: list[str], folder: Path) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout, done.returncode


@pytest.mark.parametrize("options", [[], ["-q"], ["-v"], ["--color=yes"], ["-v", "-rN"], ["--tb=no", "-ra"]])
def test_pytest_is_read_in_every_verbosity(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    output, code = ran(["pytest", "-p", "no:cacheprovider", *options], tmp_path)
    found = feedback("python -m pytest", output, code)
    assert found == records.TestFeedback(
        runner="pytest", passed=2, failed=2, errors=1, skipped=1, failing=found.failing if found else ()
    )
    assert sorted(found.failing) == [
        "test_suite.py::test_bad",
        "test_suite.py::test_error",
        "test_suite.py::test_odd[a - b]",
    ]


def test_unittest(tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(CASES)
    output, code = ran(["unittest"], tmp_path)
    found = feedback("python -m unittest", output, code)
    assert found is not None
    assert (found.runner, found.passed, found.failed, found.errors, found.skipped) == ("unittest", 1, 1, 1, 1)
    assert sorted(found.failing) == ["test_cases.Cases.test_bad", "test_cases.Cases.test_error"]


def test_no_tests_ran() -> None:
    line = "=========== no tests ran in 0.01s ==========="
    assert feedback("pytest -k nothing", line, 5) == records.TestFeedback(runner="pytest")


def test_the_last_of_several_runs_counts() -> None:
    output = (
        "FAILED a.py::test_a - assert 0\n==== 1 failed, 4 passed in 0.10s ====\n"
        "ok now\n...\n==== 5 passed, 2 warnings in 61.20s (0:01:01) ====\nbye\n"
    )
    assert feedback("pytest; fix; pytest", output, 0) == records.TestFeedback(runner="pytest", passed=5)


def test_old_pytest_and_plugins_with_counts_of_their_own() -> None:
    old = "===== 1 failed, 2 passed, 1 error in 0.78 seconds ====="
    assert feedback("pytest", old, 1) == records.TestFeedback(runner="pytest", passed=2, failed=1, errors=1)
    new = "3 passed, 2 subtests passed in 0.10s"
    assert feedback("pytest -q", new, 0) == records.TestFeedback(runner="pytest", passed=3)


def test_expected_failures_are_no_failures() -> None:
    found = feedback("pytest", "==== 1 passed, 2 xfailed, 1 xpassed in 0.1s ====", 0)
    assert found == records.TestFeedback(runner="pytest", passed=2, skipped=2)


def test_other_runners() -> None:
    cargo = "test a::b ... FAILED\ntest result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out\n"
    assert feedback("cargo test", cargo, 101) == records.TestFeedback(
        runner="cargo", passed=5, failed=1, skipped=2, failing=("a::b",)
    )
    jest = "  ● adds -> works\n\nTests:       1 failed, 2 skipped, 5 passed, 8 total\n"
    assert feedback("npm test", jest, 1) == records.TestFeedback(
        runner="jest", passed=5, failed=1, skipped=2, failing=("adds -> works",)
    )
    go = "--- PASS: TestA (0.00s)\n--- FAIL: TestB (0.01s)\nFAIL\n"
    assert feedback("go test -v", go, 1) == records.TestFeedback(runner="go", passed=1, failed=1, failing=("TestB",))


@pytest.mark.parametrize(
    "text",
    ["", "3 passed", "all tests passed in a minute", "12 failed attempts in 3s", "Ran 3 tests in 0.1s\n", "in 0.1s"],
)
def test_text_that_only_looks_alike_is_left_alone(text: str) -> None:
    assert feedback("make", text, 0) is None


@pytest.mark.parametrize("command", ["cat log.txt", "cd logs && tail -5 run.log", "grep passed log | head -1"])
def test_showing_an_old_log_is_no_test_run(command: str) -> None:
    assert feedback(command, "==== 1 failed, 4 passed in 0.10s ====", 0) is None


@pytest.mark.parametrize(
    "text",
    ["=" * 32_768, "1 passed, " * 3300, "FAILED [" * 4000, " in " * 8000, "\n".join(["= in 1s"] * 4000),
     "FAIL: a (" * 3600, "a::" * 10_000, "\n" * 32_768, "test result: ok. " * 1900, "\x1b[" * 16_000],
)  # fmt: skip
def test_hostile_text_costs_little(text: str) -> None:
    started = time.process_time()
    feedback("pytest", text, 1)
    assert time.process_time() - started < 2


def test_at_most_fifty_failing_ids() -> None:
    output = "\n".join(f"FAILED t.py::test_{n} - x" for n in range(80)) + "\n80 failed in 1.00s\n"
    found = feedback("pytest", output, 1)
    assert found is not None
    assert (found.failed, len(found.failing)) == (80, 50)
