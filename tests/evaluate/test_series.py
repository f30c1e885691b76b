"""Series of real pytest runs in one place, with other files each time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from forager.evaluate import TestRun, run_tests
from forager.evaluate.series import Round, run_series
from tests.evaluate.local import LocalSandbox

PRODUCT = "def double(n):\n    return 2 * n\n"
WRONG = b"def double(n):\n    return n\n"
TESTS = """
import os, time
from product import double

def test_two(): assert double(2) == 4
def test_zero(): assert double(0) == 0
def test_negative():
    if double(-1) == 99: os._exit(3)
    if double(-1) == 98: time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "product.py").write_text(PRODUCT)
    (tmp_path / "test_product.py").write_text(TESTS)
    return tmp_path


def one(*names: str, product: bytes | None = None, limit: float = 30) -> Round:
    files = {} if product is None else {"product.py": product}
    return Round(tests=tuple(f"test_product.py::{name}" for name in names), files=files, limit=limit)


async def series(folder: Path, *rounds: Round, **more: Any) -> list[TestRun]:
    sandbox: Any = LocalSandbox(folder, Path(sys.executable).parent, more.pop("env", None))
    return await run_series(sandbox, rounds, workdir=str(folder), **more)


async def test_each_round_has_its_own_files_and_tests(folder: Path) -> None:
    before = (folder / "product.py").stat().st_mtime_ns
    runs = await series(
        folder,
        one("test_two", "test_zero", product=WRONG),
        one("test_two"),
        one("test_zero", product=b"def double(n):\n    return 1\n"),
    )
    assert [run.outcomes for run in runs] == [
        {"test_product.py::test_two": "failed", "test_product.py::test_zero": "passed"},
        {"test_product.py::test_two": "passed"},
        {"test_product.py::test_zero": "failed"},
    ]
    assert all(run.complete and not run.timed_out and not run.forged for run in runs)
    assert "assert 2 == 4" in runs[0].failures["test_product.py::test_two"]
    assert (folder / "product.py").read_text() == PRODUCT
    assert (folder / "product.py").stat().st_mtime_ns == before  # so that byte code of it stays good


async def test_a_round_that_breaks_off_ends_the_series_before_it(folder: Path) -> None:
    crashing = b"def double(n):\n    return 99\n"
    runs = await series(folder, one("test_zero"), one("test_negative", product=crashing), one("test_zero"))
    assert [run.outcomes for run in runs] == [{"test_product.py::test_zero": "passed"}]


async def test_a_module_that_cannot_be_imported_is_told(folder: Path) -> None:
    runs = await series(folder, one("test_two", product=b"import nothing_of_that_name"), one("test_two"))
    assert [(run.collect_errors, list(run.outcomes.values())) for run in runs] == [
        (("test_product.py",), []),
        ((), ["passed"]),
    ]


async def test_a_round_that_takes_too_long_is_the_last(folder: Path) -> None:
    hanging = b"def double(n):\n    return 98\n"
    runs = await series(folder, one("test_zero", "test_negative", product=hanging, limit=3), one("test_zero"))
    assert [(run.timed_out, run.complete) for run in runs] == [(True, False)]
    assert (folder / "product.py").read_text() == PRODUCT


async def test_many_failures_end_a_round_and_not_the_series(folder: Path) -> None:
    nothing = b"def double(n):\n    return 7\n"
    runs = await series(
        folder, one("test_two", "test_zero", "test_negative", product=nothing), one("test_two"), most_failing=1
    )
    assert [list(run.outcomes.values()) for run in runs] == [["failed"], ["passed"]]


async def test_the_standard_library_is_imported_once_and_the_repositorys_own_each_time(folder: Path) -> None:
    """Also where a module of the repository has a name that is in the standard library."""
    (folder / "colorsys.py").write_text("OURS = True\n")
    (folder / "test_product.py").write_text(
        "import sys\n"
        "before = set(sys.modules)\n"
        "import colorsys, wave, product\n"
        "def test_ours(): assert colorsys.OURS and product.double(2) == 4\n"
        "def test_first(): assert not {'colorsys', 'wave', 'product'} & before\n"
        "def test_later(): assert {'colorsys', 'wave', 'product'} & before == {'wave'}\n"
    )
    names = ("test_ours", "test_first", "test_later")
    first, *later = await series(folder, one(*names), one(*names), one(*names, product=WRONG))
    assert list(first.outcomes.values()) == ["passed", "passed", "failed"]
    assert [list(run.outcomes.values()) for run in later] == [
        ["passed", "failed", "passed"],
        ["failed", "failed", "passed"],
    ]


async def test_a_round_without_tests_is_of_all(folder: Path) -> None:
    (run,) = await series(folder, one(product=WRONG))
    assert list(run.outcomes.values()) == ["failed", "passed", "passed"]


async def test_what_pytest_itself_runs_on_is_in_no_series(folder: Path) -> None:
    """Its rounds would all have the clean code."""
    site = Path(pytest.__file__).parents[1]
    shutil.copytree(site / "iniconfig", folder / "iniconfig")
    found = await series(folder, one("test_two"), env={"PYTHONPATH": str(folder)})
    assert len(found) == 1  # pytest found the other copy, not this one

    copies = folder / "site"
    for name in ("pytest", "_pytest", "pluggy", "packaging", "pygments"):
        shutil.copytree(site / name, copies / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(site / "py.py", copies)
    for described in site.glob("pluggy-*"):
        shutil.copytree(described, copies / described.name)
    env = {"PYTHONPATH": f"{folder}:{copies}"}
    local: Any = LocalSandbox(folder, Path(sys.executable).parent, env)
    alone = await run_tests(local, workdir=str(folder), test_command="python -S -m pytest", timeout=30)
    assert alone.outcomes.get("test_product.py::test_two") == "passed", alone.output
    assert await series(folder, one("test_two"), env=env, test_command="python -S -m pytest") == []
