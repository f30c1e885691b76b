"""What the session reads from the tools' answers."""

from __future__ import annotations

from forager.models.search import observations as seen

OUTPUT = """\
..F.E                                                                    [100%]
=========================== short test summary info ============================
FAILED tests/test_a.py::test_one[a - b] - AssertionError: assert 1 == 2
FAILED tests/test_a.py::TestX::test_two - KeyError: 'x'
FAILED tests/test_a.py::test_three
ERROR tests/test_b.py - ImportError: cannot import name 'f'
3 failed, 12 passed, 1 error in 0.31s
[exit code 1]"""


def test_the_summary_of_a_run() -> None:
    report = seen.read_report(OUTPUT)
    assert report.failing == (
        "tests/test_a.py::test_one[a - b]",
        "tests/test_a.py::TestX::test_two",
        "tests/test_a.py::test_three",
        "tests/test_b.py",
    )
    assert report.messages["tests/test_a.py::TestX::test_two"] == "KeyError: 'x'"
    assert (report.exit_code, report.passed, report.failed, report.good) == (1, 12, 4, False)


def test_only_a_run_in_which_tests_passed_is_good() -> None:
    assert seen.read_report("3 passed in 0.1s\n[exit code 0]").good
    assert not seen.read_report("no tests ran in 0.00s\n[exit code 5]").good
    assert not seen.read_report("3 passed in 0.1s\n[timed out after 120 s; what the command started was killed]").good
    assert not seen.read_report("[exit code 0]").good


def test_source_lines_are_exact_or_not_used() -> None:
    assert seen.source_lines("def f():\n\n\treturn 1\n[exit code 0]", 3) == ["def f():", "", "\treturn 1"]
    assert seen.source_lines("a\n[... 12,345 bytes left out ...]\nb\n[exit code 0]", 900) is None
    assert seen.source_lines("a\ufffd\n[exit code 0]", 1) is None
    assert seen.source_lines("sed: no such file\n[exit code 2]", 1) is None


def test_places_in_tracebacks_are_those_of_the_project() -> None:
    output = "src/p/a.py:12: in f\n/usr/lib/python3/x.py:3: in g\ntests/test_a.py:7: AssertionError\n"
    assert seen.frames(output) == [("src/p/a.py", 12), ("tests/test_a.py", 7)]
