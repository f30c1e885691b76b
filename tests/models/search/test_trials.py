"""The script that tries changes: says what each leads to, stops at one that passes, leaves everything as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forager.models import search

SCRIPT = Path(search.__file__).with_name("trials.py")
SOURCE = "def double(x):\n    y = x + 3\n    return y\n"
TESTS = "from pkg import double\n\ndef test_double():\n    assert double(3) == 6\n    assert double(2) == 4\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "pkg.py").write_text(SOURCE)
    (root / "test_pkg.py").write_text(TESTS)
    os.utime(root / "pkg.py", (1e9, 1e9))
    return root


def change(number: int, old: str, new: str) -> str:
    return f"{number} pkg.py:2\n-    {old}\n+    {new}\n"


def tried(project: Path, changes: str) -> list[str]:
    script = project.parent / "scratch" / "trials.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(SCRIPT.read_text())
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(script), "2", "test_pkg.py"], cwd=project, input=changes, text=True,
                          capture_output=True, check=True, env=environment)  # fmt: skip
    assert (project / "pkg.py").read_text() == SOURCE
    assert (project / "pkg.py").stat().st_mtime == 1e9
    assert sorted(path.name for path in project.iterdir()) == ["pkg.py", "test_pkg.py"]
    return done.stdout.splitlines()


def test_each_change_gets_a_line_and_the_first_that_passes_ends_it(project: Path) -> None:
    lines = tried(
        project,
        change(4, "y = x + 3", "y = x * 3")
        + change(5, "y = x + 3", "y = x +")
        + change(6, "y = x + 3", "y = x * 2")
        + change(7, "y = x + 3", "y = x + x"),
    )
    assert lines[0].startswith("unchanged: fails after 0 tests: AssertionError")
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "4 fails after 0 tests", "5 fails after 0 tests", "6 passes, 1 tests",
    ]  # fmt: skip
    assert "SyntaxError" in lines[2]


def test_changes_of_the_same_size_within_a_second_are_told_apart(project: Path) -> None:
    """Compiled files are told apart by time and size: a stale one would show the result of another change."""
    lines = tried(project, change(1, "y = x + 3", "y = x - 3") + change(2, "y = x + 3", "y = x + x"))
    assert lines[2] == "2 passes, 1 tests"


def test_a_change_that_hangs_or_kills_is_survived(project: Path) -> None:
    lines = tried(
        project,
        change(1, "y = x + 3", "while x: pass")
        + change(2, "y = x + 3", "import os; os._exit(0)")
        + change(3, "not there", "y = 1")
        + change(4, "y = x + 3", "y = 2 * x"),
    )
    assert lines[1:] == [
        "1 fails after 0 tests: no end after 2 s",
        "2 fails after 0 tests: no test ran",
        "3 these lines are not there",
        "4 passes, 1 tests",
    ]
