"""The ladder of environments: which rungs are tried, which is kept, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from forager.errors import BuildError, CapExceeded
from forager.evaluate.testrun import TestRun
from forager.forage.ladder import Climbed, climb
from forager.forage.pipeline import forage
from forager.forage.project import Project
from forager.records import Environment
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.grading import both_sides
from tests.forage.histories import FIXED, TESTS, commit, make

SOURCE = Environment(source="/clone", commit="0" * 40)
FILES = {
    "pyproject.toml": b'[project]\nname = "pkg"\n[dependency-groups]\ntest = ["mock<2"]\ndev = ["extra"]\n'
    b'[tool.pytest.ini_options]\naddopts = "--strict"\nfilterwarnings = ["error"]\n',
    "pkg.py": b"",
    "uv.lock": b'[[package]]\nname = "mock"\nversion = "1.3.0"\n',
}


def run(passed: int, failed: int = 0, text: str = "", *, broken: int = 0, timed_out: bool = False) -> TestRun:
    outcomes = {f"t.py::p{n}": "passed" for n in range(passed)} | {f"t.py::f{n}": "failed" for n in range(failed)}
    return TestRun(
        outcomes=outcomes,
        failures={"t.py::f0": text} if text else {},
        collect_errors=tuple(f"b{n}.py" for n in range(broken)),
        complete=not timed_out,
        timed_out=timed_out,
    )


async def climbed(
    behave: Callable[[Environment], TestRun], files: dict[str, bytes] | None = None, date: str = ""
) -> tuple[Climbed, list[Environment]]:
    seen: list[Environment] = []

    async def attempt(environment: Environment) -> TestRun:
        seen.append(environment)
        return behave(environment)

    project = Project("pkg", FILES if files is None else files)
    return await climb(project, SOURCE, attempt, lambda _: None, {}, date=date), seen


async def test_the_declared_way_is_enough_where_nearly_all_pass() -> None:
    found, seen = await climbed(lambda _: run(99, 1), {"pkg.py": b""})
    assert (found.rung, found.tried, len(seen)) == ("as declared", {"as declared": "99 pass, 1 fail"}, 1)


async def test_locked_and_dated_ways_come_first() -> None:
    found, seen = await climbed(lambda e: run(10 if "mock<2" in e.packages else 5, 5), date="2020-01-02T03:04:05Z")
    assert list(found.tried)[:3] == ["as locked", "as declared, of 2020-01-02", "as declared"]
    assert "mock==1.3.0" in seen[0].packages
    assert (seen[1].before, seen[2].before) == ("2020-01-02T03:04:05Z", "")


async def test_the_rung_in_which_most_pass_is_kept_and_changed_further() -> None:
    def behave(environment: Environment) -> TestRun:
        mends = ["-W default" in environment.env.get("PYTEST_ADDOPTS", ""), "pytest<8" in environment.packages]
        return run(6 + 2 * sum(mends), 4 - 2 * sum(mends))

    found, _ = await climbed(behave)
    assert found.rung == "pytest before 8"
    assert found.environment.env == {"PYTEST_ADDOPTS": "-W default"}
    assert found.tried["pytest before 8"] == "10 pass, 0 fail"
    assert list(found.tried)[-1] == "pytest before 8"


async def test_what_the_suite_misses_is_added_before_the_next_rung() -> None:
    def behave(environment: Environment) -> TestRun:
        if "pyyaml" in environment.packages:
            return run(10)
        return run(1, 9, "E  No module named 'yaml'")

    found, seen = await climbed(behave, {"pkg.py": b""})
    assert (found.rung, len(seen)) == ("as declared", 2)
    assert "pyyaml" in found.environment.packages


async def test_bounds_that_do_not_resolve_are_dropped() -> None:
    def behave(environment: Environment) -> TestRun:
        if any(text.startswith("mock") and text != "mock" for text in environment.packages):
            raise BuildError("forager/environment:x: no", "No solution found when resolving dependencies")
        return run(10)

    found, _ = await climbed(behave)
    assert found.rung == "without version bounds"
    assert list(found.tried) == ["as locked", "as declared", "without version bounds"]
    assert found.tried["as declared"] == "not built: no"


async def test_an_install_that_fails_is_tried_without_isolation_and_without_being_editable() -> None:
    def behave(environment: Environment) -> TestRun:
        if "direct_url" not in environment.install:
            raise BuildError("forager/repository:x: no", "ModuleNotFoundError: No module named 'numpy'")
        return run(10)

    found, seen = await climbed(behave, {"pkg.py": b""})
    assert found.rung == "not editable"
    assert any("--no-build-isolation" in e.install and "numpy" in e.packages for e in seen)


async def test_a_compiler_that_a_build_asks_for_is_installed() -> None:
    def behave(environment: Environment) -> TestRun:
        if "gcc" not in environment.system:
            raise BuildError("forager/environment:x: no", "error: command 'gcc' failed: No such file or directory")
        return run(10)

    found, seen = await climbed(behave, {"pkg.py": b""})
    assert (found.rung, len(seen)) == ("as declared", 2)


async def test_a_suite_that_hangs_ends_the_ladder() -> None:
    found, seen = await climbed(lambda _: run(3, timed_out=True))
    assert (len(seen), found.tried) == (1, {"as locked": "3 pass, 0 fail (out of time)"})


async def test_a_suite_that_needs_the_network_is_not_tried_twelve_times() -> None:
    _, seen = await climbed(
        lambda _: run(0, 1, "E  socket.gaierror: [Errno -3] Temporary failure in name resolution")
    )
    assert len(seen) == 1


async def test_what_breaks_its_container_or_never_builds_is_raised() -> None:
    def breaks(_: Environment) -> TestRun:
        raise CapExceeded("memory", "out of memory")

    def hangs(_: Environment) -> TestRun:
        raise BuildError("forager/repository:x: not built within 900 s")

    for behave, kind in ((breaks, CapExceeded), (hangs, BuildError)):
        with pytest.raises(kind):
            await climbed(behave)


async def test_no_more_rungs_than_there_are_attempts() -> None:
    _, seen = await climbed(lambda _: run(6, 4))
    assert 8 < len(seen) <= 12
    _, seen = await climbed(lambda _: run(93, 7))
    assert len(seen) == 4


BACKEND = """from setuptools.build_meta import build_sdist
from setuptools import build_meta


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    open("src/calc/_made.py", "w").write("NAME = 'made'\\n")
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
"""


@pytest.mark.docker
async def test_what_cannot_be_editable_is_installed_and_imported_from_the_tree(
    engine: Engine, tmp_path: Path
) -> None:
    tests = TESTS.replace("== 5\n", "== 4\n") + (
        "\n\ndef test_where():\n"
        "    import importlib.metadata\n    import calc\n    import calc._made\n"
        "    assert calc.__file__ == '/testbed/src/calc/__init__.py'\n"
        "    assert (calc._made.NAME, importlib.metadata.version('calc')) == ('made', '1.5')\n"
    )
    path = make(tmp_path / "calc")
    files = {
        "src/calc/__init__.py": FIXED,
        "tests/test_calc.py": tests,
        "backend.py": BACKEND,
        ".gitignore": "_made.py\n",
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n[project]\nname = "calc"\nversion = "1.5"\n',
    }
    commit(path, "Begin", files)
    (record,) = (await forage(engine, [str(path)], tmp_path / "out", mutations=1)).repositories
    assert (record.status, record.environment_rung, record.tests) == ("done", "not editable", 3)
    tried = [rung for rung in record.environment_tried if ", of " not in rung]  # tried where the index tells dates
    assert tried == ["as declared", "build without isolation", "not editable"]
    (task,) = load_tasks(tmp_path / "out" / "tasks.jsonl")
    assert await both_sides(engine, task) == (True, False)
