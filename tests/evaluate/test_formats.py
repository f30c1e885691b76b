"""Results that are not pytest's own: junit files, and logs through the parsers of the `swebench` package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forager.evaluate.formats import directives, problem_with_format, read_junit, run_listed
from forager.evaluate.grading import judge
from forager.evaluate.testrun import TestRun
from forager.records import Task
from tests.evaluate.local import LocalSandbox

REPORT = b"""<?xml version="1.0"?>
<testsuites><testsuite name="a" tests="5">
<testcase classname="pkg.A" name="good"/>
<testcase classname="pkg.A" name="bad"><failure message="no"/></testcase>
<testcase classname="pkg.A" name="broken"><error message="no"/></testcase>
<testcase name="left"><skipped/></testcase>
<testsuite name="inner"><testcase classname="B" name="deep"/></testsuite>
</testsuite></testsuites>"""


def task(**fields: object) -> Task:
    known: dict[str, object] = {"instance_id": "x", "repo": "sympy/sympy", "problem_statement": "", **fields}
    return Task(**known)  # type: ignore[arg-type]


def test_junit() -> None:
    assert read_junit(REPORT) == {
        "pkg.A::good": "passed", "pkg.A::bad": "failed", "pkg.A::broken": "error", "left": "skipped",
        "B::deep": "passed",
    }  # fmt: skip
    for broken in (b"", b"<a>", b"{}", REPORT[:90], b'<!DOCTYPE x [<!ENTITY a "b">]>' + REPORT):
        assert read_junit(broken) is None


async def test_a_command_that_writes_junit(tmp_path: Path) -> None:
    (tmp_path / "made.xml").write_bytes(REPORT)
    (tmp_path / "out.xml").write_text("stale")
    one = task(test_format="junit:out.xml", test_command="cp made.xml out.xml; false", workdir=str(tmp_path))
    sandbox = LocalSandbox(tmp_path, Path(sys.executable).parent)
    run = await run_listed(sandbox, one, (), 60)  # type: ignore[arg-type]
    assert run.complete and run.exit_code == 1 and run.outcomes["pkg.A::good"] == "passed"
    silent = task(test_format="junit:out.xml", test_command="true", workdir=str(tmp_path))
    run = await run_listed(sandbox, silent, (), 60)  # type: ignore[arg-type]
    assert not run.complete and run.outcomes == {}


async def test_a_log_of_sympys_runner(tmp_path: Path) -> None:
    log = "test process starts\ntest_a ok\ntest_b F\ntest_c E\ntests finished: 1 passed\n"
    (tmp_path / "log").write_text(log)
    one = task(
        test_format="swebench:sympy/sympy", test_command="cat log; echo given:", workdir=str(tmp_path),
        FAIL_TO_PASS=("test_a",), PASS_TO_PASS=("test_b",),
        test_patch="--- a/core/test_basic.py\n+++ b/core/test_basic.py\n@@ -1 +1 @@\n-a\n+b\n",
    )  # fmt: skip
    assert problem_with_format(one) == ""
    sandbox = LocalSandbox(tmp_path, Path(sys.executable).parent)
    run = await run_listed(sandbox, one, (), 60)  # type: ignore[arg-type]
    assert run.outcomes == {"test_a": "passed", "test_b": "failed", "test_c": "error"}
    assert "given: core/test_basic.py" in run.output
    evaluation = judge(one, run)
    assert evaluation.flags == ("log_parsed",) and not evaluation.resolved
    assert evaluation.fail_to_pass.success == ("test_a",) and evaluation.tests == {
        "test_b": "failed",
        "test_c": "error",
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [("tap", "known: pytest, junit:FILE"), ("junit", "known"), ("junit:../x.xml", "known"),
     ("swebench:nobody/nothing", "nobody/nothing")],
)  # fmt: skip
def test_a_format_that_is_not_known(name: str, why: str) -> None:
    assert why in problem_with_format(task(test_format=name))


def test_directives_of_django_are_modules() -> None:
    patch = "--- a/tests/a/test_b.py\n+++ b/tests/a/test_b.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert directives(task(repo="django/django", test_patch=patch)) == ["a.test_b"]
    assert directives(task(test_patch=patch)) == ["tests/a/test_b.py"]


def test_ids_that_swebench_cut_or_shortened() -> None:
    outcomes = {
        "t.py::test_a[x y]": "passed", "t.py::test_a[x z]": "failed", "t.py::test_b[[1] 2]": "xfailed",
        "t.py::test_c[/long/way/f.py]": "passed", "t.py::test_d": "xpassed",
    }  # fmt: skip
    run = TestRun(outcomes=outcomes, complete=True)
    wanted = ("t.py::test_a[x", "t.py::test_b[[1]", "t.py::test_c[/f.py]", "t.py::test_d", "t.py::test_gone")
    evaluation = judge(task(FAIL_TO_PASS=wanted), run)
    assert evaluation.fail_to_pass.success == ("t.py::test_b[[1]", "t.py::test_c[/f.py]")
    assert evaluation.tests["t.py::test_a[x"] == "failed"
    assert evaluation.tests["t.py::test_gone"] == "missing"
    assert evaluation.tests["t.py::test_d"] == "xpassed"
