"""Real pytest runs, through the real runner, of suites that are odd, broken or deceitful."""

from __future__ import annotations

import ast
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from forager.errors import UsageError
from forager.evaluate import TestRun, run_tests
from forager.evaluate.testrun import parse_command
from tests.evaluate.local import LocalSandbox


class Suite:
    """Files in a folder, and runs of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **files: str) -> None:
        """`tests__test_a="..."` writes tests/test_a.py; other suffixes with `name__dot__ini`."""
        for name, text in files.items():
            path = self.folder / name.replace("__dot__", ".").replace("__", "/")
            path = path if path.suffix else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    async def run(
        self, *tests: str, timeout: float = 60, env: dict[str, str] | None = None, **more: object
    ) -> TestRun:
        sandbox = LocalSandbox(self.folder, Path(sys.executable).parent, env)
        return await run_tests(sandbox, workdir=str(self.folder), tests=tests, timeout=timeout, **more)  # type: ignore[arg-type]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


ODD = r"""
import unittest

import pytest

IDS = ["a b", "ünïcode", "[x]", "new\nline", "a::b", "\ud800", "", "tab\t", "x" * 90]

@pytest.mark.parametrize("value", range(len(IDS)), ids=IDS)
def test_odd(value):
    assert value != 1

@pytest.mark.parametrize("value", [0], ids=["y" * 5000])
def test_long(value): pass

class Base:
    def test_inherited(self): pass

class TestOne(Base): pass
class TestTwo(Base): pass

class TestUnit(unittest.TestCase):
    def test_sub(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertNotEqual(n, 1)
    @unittest.expectedFailure
    def test_expected(self): self.fail()
    def test_skipped(self): self.skipTest("no")

@pytest.mark.xfail
def test_xfail(): assert 0
@pytest.mark.xfail
def test_xpass(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.mark.skip
def test_skip(): pass
@pytest.fixture
def broken(): raise ValueError("in setup")
@pytest.fixture
def late():
    yield
    raise ValueError("in teardown")
def test_setup(broken): pass
def test_teardown(late): pass
def test_fails(): assert [1, 2] == [1, 3]
"""


async def test_every_outcome_under_pytests_own_ids(suite: Suite) -> None:
    suite.write(tests__test_odd=ODD, tests__test_broken="import nowhere\n")
    run = await suite.run()
    assert run.complete and not run.timed_out and run.forged == 0 and run.exit_code == 1
    by_outcome: dict[str, set[str]] = {}
    for name, outcome in run.outcomes.items():
        by_outcome.setdefault(outcome, set()).add(name.removeprefix("tests/test_odd.py::"))
    assert by_outcome["failed"] == {r"test_odd[\xfcn\xefcode]", "TestUnit::test_sub", "test_strict", "test_fails"}
    assert by_outcome["error"] == {"test_setup", "test_teardown"}
    assert by_outcome["skipped"] == {"test_skip", "TestUnit::test_skipped"}
    assert by_outcome["xfailed"] == {"test_xfail", "TestUnit::test_expected"}
    assert by_outcome["xpassed"] == {"test_xpass"}
    assert {"test_odd[a b]", "test_odd[[x]]", r"test_odd[new\nline]", "test_odd[a::b]", "test_odd[]"} <= by_outcome[
        "passed"
    ]
    assert {"TestOne::test_inherited", "TestTwo::test_inherited"} <= by_outcome["passed"]
    assert len(run.outcomes) == 22
    assert run.collect_errors == ("tests/test_broken.py",)
    assert "No module named 'nowhere'" in run.failures["tests/test_broken.py"]
    assert "assert [1, 2] == [1, 3]" in run.failures["tests/test_odd.py::test_fails"]
    assert "in teardown" in run.failures["tests/test_odd.py::test_teardown"]


async def test_files_and_whole_suite_agree_on_ids(suite: Suite) -> None:
    """Also where a folder of tests has a configuration of its own, which a file on the command line would find."""
    suite.write(
        tests__test_odd=ODD,
        tests__test_other="def test_other(): pass\n",
        tests__pytest__dot__ini="[pytest]\npython_functions = nothing*\n",
    )
    whole = await suite.run()
    part = await suite.run("tests/test_odd.py::test_skip", "tests/test_odd.py", "tests/test_gone.py::test_x")
    expected = {name: outcome for name, outcome in whole.outcomes.items() if "test_odd.py" in name}
    assert part.complete
    assert part.outcomes == expected
    named = await suite.run("tests/test_other.py", as_arguments=True)
    assert named.outcomes == {}  # the folder's configuration, as plain pytest would have it


async def test_under_xdist_the_controller_reports(suite: Suite) -> None:
    suite.write(
        tests__test_odd=ODD,
        tests__test_broken="import nowhere\n",
        tests__test_c="def test_c(): pass\n",
        tests__pytest__dot__ini="[pytest]\npython_functions = nothing*\n",
    )
    plain = await suite.run("tests/test_odd.py", "tests/test_broken.py")
    spread = await suite.run("tests/test_odd.py", "tests/test_broken.py", args=["-n2"])
    assert spread.complete and spread.forged == 0
    assert spread.outcomes == plain.outcomes
    assert spread.collect_errors == ("tests/test_broken.py",)


async def test_a_worker_that_dies_fails_its_test_only(suite: Suite) -> None:
    suite.write(test_a="import os\ndef test_dies(): os._exit(1)\ndef test_lives(): pass\n")
    run = await suite.run(args=["-n1"])
    assert run.outcomes == {"test_a.py::test_dies": "error", "test_a.py::test_lives": "passed"}


@pytest.fixture
def benchmark_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pytest-benchmark in it."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "pytest-benchmark", "py-cpuinfo"], check=True, timeout=300)
    return site


async def test_what_is_benchmarked_is_not_repeated_for_a_second(suite: Suite, benchmark_site: Path) -> None:
    suite.write(
        test_a="""
            def test_quick(benchmark):
                assert benchmark(sum, [1, 2]) == 3
                assert benchmark.stats.stats.rounds == 5
        """
    )
    run = await suite.run(env={"PYTHONPATH": str(benchmark_site)})
    assert run.outcomes == {"test_a.py::test_quick": "passed"}, run.output


async def test_only_the_named_tests(suite: Suite) -> None:
    suite.write(test_a="def test_one(): pass\ndef test_two(): pass\n")
    assert (await suite.run("test_a.py::test_two", only=True)).outcomes == {"test_a.py::test_two": "passed"}
    assert len((await suite.run("test_a.py::test_two")).outcomes) == 2


async def test_nothing_asked_for_exists(suite: Suite) -> None:
    suite.write(test_a="def test_one(): pass\n")
    run = await suite.run("test_gone.py::test_x")
    assert run.complete and run.outcomes == {}


async def test_options_that_hide_results_are_overridden_and_the_suites_choice_is_kept(suite: Suite) -> None:
    suite.write(
        pytest__dot__ini="[pytest]\naddopts = -x --tb=no -m 'not slow'\nmarkers = slow\n",
        test_a="""
            import pytest
            def test_bad(): assert 0
            def test_good(): pass
            @pytest.mark.slow
            def test_slow(): pass
        """,
    )
    run = await suite.run()
    assert run.outcomes == {"test_a.py::test_bad": "failed", "test_a.py::test_good": "passed"}
    assert "assert 0" in run.failures["test_a.py::test_bad"]


async def test_nothing_is_left_behind(suite: Suite) -> None:
    suite.write(test_a="def test_a(cache): cache.set('a', 1)\n", pkg="")
    run = await suite.run()
    assert run.outcomes == {"test_a.py::test_a": "passed"}
    assert sorted(path.name for path in suite.folder.rglob("*")) == ["pkg.py", "test_a.py"]


async def test_a_suite_whose_options_clash_with_ours_still_runs(suite: Suite) -> None:
    suite.write(
        pytest__dot__ini="""
            [pytest]
            filterwarnings = error
            addopts = -p no:cacheprovider -p no:asyncio --strict-config
        """,
        test_a="def test_a(): pass\n",
    )
    assert (await suite.run()).outcomes == {"test_a.py::test_a": "passed"}


async def test_it_looks_like_the_command_it_stands_for(suite: Suite) -> None:
    suite.write(
        test_a="""
            import multiprocessing, os, sys

            def test_main():
                import __main__
                assert __main__.__spec__.name == "pytest.__main__"
                assert sys.argv[0].endswith("pytest/__main__.py")
                assert os.environ["COLOUR"] == "dark blue"
                assert not [x for x in [*sys.argv, *sys.path, *os.environ.values()] if "forager-" in x]

            def test_path():
                assert sys.path.count(os.getcwd()) >= 1

            def test_spawn():
                child = multiprocessing.get_context("spawn").Process(target=print)
                child.start()
                child.join(30)
                assert child.exitcode == 0

            def test_fork():
                child = os.fork()
                if not child:
                    sys.exit("this child runs into pytest's ending")
                os.waitpid(child, 0)
        """
    )
    run = await suite.run(test_command="COLOUR='dark blue' python -W default -m pytest -rA --import-mode=importlib")
    assert set(run.outcomes.values()) == {"passed"}, run.output
    assert len(run.outcomes) == 4
    plain = await suite.run(test_command="COLOUR='dark blue' pytest --import-mode=importlib")
    assert plain.outcomes["test_a.py::test_path"] == "failed"  # `pytest` does not put the folder on the path


# ------------------------------------------------------------------------------------- cut off, deceitful


@pytest.mark.parametrize("where", ["import os; os._exit(0)", "def test_c():\n    import os\n    os._exit(0)"])
async def test_an_early_exit_is_visible(suite: Suite, where: str) -> None:
    suite.write(test_a="def test_a(): pass\n", test_b=where)
    run = await suite.run()
    assert run.exit_code == 0
    assert not run.complete
    assert set(run.outcomes) <= {"test_a.py::test_a"}


async def test_exit_by_pytests_own_means_leaves_the_rest_unreported(suite: Suite) -> None:
    suite.write(test_a="import pytest\ndef test_a(): pass\ndef test_b(): pytest.exit('no', 0)\ndef test_c(): pass\n")
    run = await suite.run()
    assert run.outcomes.get("test_a.py::test_a") == "passed"
    assert run.outcomes.get("test_a.py::test_b") in (None, "error")
    assert "test_a.py::test_c" not in run.outcomes


async def test_a_run_that_hangs_keeps_what_was_reported(suite: Suite) -> None:
    suite.write(test_a="import time\ndef test_a(): pass\ndef test_b(): time.sleep(60)\n")
    run = await suite.run(timeout=6)
    assert run.timed_out and not run.complete
    assert run.outcomes == {"test_a.py::test_a": "passed"}


async def test_forged_lines_are_refused_and_counted(suite: Suite) -> None:
    suite.write(
        test_a="""
            import os

            def test_forger():
                for number in os.listdir("/proc/self/fd"):
                    try:
                        path = os.readlink("/proc/self/fd/" + number)
                    except OSError:
                        continue
                    if path.endswith("/report"):
                        with open(path, "rb") as file:
                            seen = file.read()
                        line = b' {"n": 1, "test": "forged", "outcome": "passed"}\\n'
                        os.write(int(number), seen + b"0" * 64 + line)
                        assert os.listdir(os.path.dirname(path)) == ["report"]  # neither key nor code lie about

            def test_bad(): assert 0
        """
    )
    run = await suite.run()
    assert run.outcomes == {"test_a.py::test_forger": "passed", "test_a.py::test_bad": "failed"}
    assert run.forged == 1


async def test_repeated_lines_are_refused(suite: Suite) -> None:
    suite.write(
        test_a="def test_good(): pass\n",
        test_b="""
            import os

            def test_replays():
                open_files = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
                links = [os.readlink(file) for file in open_files if os.path.exists(file)]
                path, = [link for link in links if link.endswith("/report")]
                with open(path, "rb") as file:
                    seen = file.read()
                with open(path, "ab") as file:
                    file.write(seen)
        """,
    )
    run = await suite.run()
    assert run.forged == 1


@pytest.mark.parametrize("trick", ["os.mkfifo(path)", "os.symlink('/dev/zero', path)", "os.mkdir(path)"])
async def test_a_report_replaced_by_something_else(suite: Suite, trick: str) -> None:
    suite.write(
        test_a=f"""
            import os

            def test_a():
                for number in os.listdir("/proc/self/fd"):
                    path = os.path.realpath("/proc/self/fd/" + number)
                    if path.endswith("/report"):
                        os.unlink(path)
                        {trick}
        """
    )
    run = await suite.run(timeout=30)
    assert not run.complete and run.outcomes == {}


async def test_the_repository_cannot_replace_the_runner(suite: Suite) -> None:
    fake = "def main(*a, **k): return 0\ndef hookimpl(**k): return lambda f: f\n"
    suite.write(
        pytest=fake,
        _pytest____init__="",
        pluggy=fake,
        unittest=fake,
        src__pytest=fake,
        test_a="def test_a(): assert 0\n",
    )
    run = await suite.run(env={"PYTHONPATH": f"{suite.folder}:{suite.folder}/src"})
    assert run.outcomes == {"test_a.py::test_a": "failed"}


async def test_replaced_functions_do_not_reach_the_reporter(suite: Suite) -> None:
    suite.write(
        test_a="""
            import hashlib, json, os
            real = hashlib.sha256
            os.write = lambda descriptor, data: len(data)
            hashlib.sha256 = lambda *a, **k: real(b"nothing")
            json.encoder.encode_basestring_ascii = None
            os.getpid = lambda: -1

            def test_a(): assert 0
        """
    )
    run = await suite.run()
    assert run.complete and run.outcomes == {"test_a.py::test_a": "failed"}


async def test_no_pytest_in_the_image(suite: Suite, tmp_path: Path) -> None:
    suite.write(test_a="def test_a(): pass\n")
    run = await suite.run(test_command="python -S -m pytest")
    assert run.exit_code == 127 and not run.complete
    assert "pytest" in run.output


async def test_output_is_kept(suite: Suite) -> None:
    suite.write(test_a="def test_a():\n    print('marker-of-this-test')\n    assert 0\n")
    run = await suite.run()
    assert "marker-of-this-test" in run.output
    assert "\x1b[" not in run.output


PRINTS = """
import os

def pytest_configure():
    for n in range(5000):
        os.write(1 + n % 2, b"%d\\n" % n)
"""


async def test_output_comes_whole_and_in_order(suite: Suite) -> None:
    suite.write(conftest=PRINTS, test_a="def test_a(): pass\n")
    run = await suite.run()
    assert run.output.startswith("".join(f"{n}\n" for n in range(5000)))


@pytest.mark.parametrize(
    ("last", "statuses"),
    [
        ("os._exit(3)", {3}),
        ("os.kill(os.getpid(), 9)", {-9, 137}),
        ("os.abort()", {-6, 134}),
        ("os.close(1); os.close(2); time.sleep(1); os._exit(4)", {4}),
    ],
)
async def test_what_was_printed_before_a_sudden_end_is_kept_and_so_is_the_status(
    suite: Suite, last: str, statuses: set[int]
) -> None:
    suite.write(test_a=f"import os, time\nos.write(1, b'x' * 20_000)\nos.write(1, b'the end')\n{last}\n")
    run = await suite.run(args=["-s"])
    assert run.exit_code in statuses and not run.complete
    assert "x" * 20_000 + "the end" in run.output


async def test_a_process_that_a_test_leaves_behind_holds_nothing_up(suite: Suite, tmp_path: Path) -> None:
    suite.write(
        test_a="""
        import pathlib, subprocess

        def test_a():
            left = subprocess.Popen(["sh", "-c", "while sleep 0.1; do echo here; done"], start_new_session=True)
            pathlib.Path(__file__).with_name("left").write_text(str(left.pid))
        """
    )
    run = await suite.run(args=["-s"], timeout=20)
    with contextlib.suppress(OSError):  # it may have ended, or never begun
        os.killpg(int((tmp_path / "left").read_text()), signal.SIGKILL)
    assert run.complete and run.outcomes == {"test_a.py::test_a": "passed"} and not run.timed_out


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGUSR1"])
async def test_signals_that_a_test_sends_to_its_group_and_handles_end_nothing(suite: Suite, name: str) -> None:
    suite.write(
        test_a=f"""
        import os, signal, time

        def test_a():
            got = []
            signal.signal(signal.{name}, lambda *what: got.append(what))
            os.killpg(os.getpgrp(), signal.{name})
            time.sleep(0.3)
            assert got

        def test_b(): time.sleep(0.3)
        """
    )
    run = await suite.run()
    assert run.complete and run.outcomes == {"test_a.py::test_a": "passed", "test_a.py::test_b": "passed"}
    assert "2 passed" in run.output


async def test_who_prints_without_waiting_has_room(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os

        def test_a():
            os.set_blocking(1, False)
            for _ in range(900):
                os.write(1, b"x" * 1000)
        """
    )
    run = await suite.run(args=["-s"])
    assert run.outcomes == {"test_a.py::test_a": "passed"}


async def test_very_many_failures_are_told_and_not_printed_one_by_one(suite: Suite) -> None:
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(1600))\ndef test_a(n): assert n % 1600 == 'x'\n"
    )
    run = await suite.run()
    assert run.complete and list(run.outcomes.values()) == ["failed"] * 1600
    assert "1600 tests failed: too many to print each" in run.output and "_ test_a[3] _" not in run.output
    assert "1600 == 'x'" in run.failures["test_a.py::test_a[0]"]


async def test_texts_of_the_first_failures_only_and_of_none_on_request(suite: Suite) -> None:
    suite.write(test_a="import pytest\n@pytest.mark.parametrize('n', range(60))\ndef test_a(n): assert n == 'x'\n")
    run = await suite.run()
    assert list(run.outcomes.values()) == ["failed"] * 60
    assert list(run.failures) == [f"test_a.py::test_a[{n}]" for n in range(50)]
    assert "assert 0 == 'x'" in run.failures["test_a.py::test_a[0]"]
    assert "_ test_a[49] _" in run.output
    none = await suite.run(texts=0)
    assert none.outcomes == run.outcomes
    assert not none.failures and "_ test_a[0] _" not in none.output


async def test_a_suite_without_pytests_terminal(suite: Suite) -> None:
    suite.write(test_a="def test_a(): assert 0\n", pytest__dot__ini="[pytest]\naddopts = -p no:terminal\n")
    run = await suite.run()
    assert (run.outcomes, run.complete) == ({"test_a.py::test_a": "failed"}, True)


# ------------------------------------------------------------------------------------------------ commands


def test_commands_are_taken_apart() -> None:
    command = parse_command("A=1 B='x y' python3.9 -W ignore -m pytest -rA -k 'not slow'")
    assert command.assignments == ("A=1", "B=x y")
    assert command.interpreter == ("python3.9", "-W", "ignore")
    assert command.arguments == ("-rA", "-k", "not slow")
    assert parse_command("/venv/bin/pytest -q").interpreter == ()


@pytest.mark.parametrize(
    "command", ["", "make test", "pytest; rm -rf /", "pytest `id`", "tox -e py", "python -m unittest", "pytest 'x"]
)
def test_other_commands_are_refused_with_the_command_named(command: str) -> None:
    with pytest.raises(UsageError, match="is not understood"):
        parse_command(command)


def test_the_runner_is_python_3_6() -> None:
    source = (Path(__file__).parents[2] / "forager/evaluate/runner.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    assert "walrus" not in source


async def test_another_order_on_request(suite: Suite) -> None:
    suite.write(**{
        f"test_{letter}": "".join(f"def test_{n}(): pass\n" for n in range(8)) for letter in "abc"
    })  # fmt: skip
    plain = list((await suite.run()).outcomes)
    first, second = [list((await suite.run(shuffle=seed)).outcomes) for seed in (1, 2)]
    assert sorted(first) == sorted(second) == plain
    assert plain != first != second != plain
    assert first == list((await suite.run(shuffle=1)).outcomes)
    files = [test.partition("::")[0] for test in first]
    assert sum(a != b for a, b in itertools.pairwise(files)) == 2
