"""Which paths of a patch are put back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from forager.evaluate.trust import Plan, is_configuration, patch_paths, plan
from forager.evaluate.trust import test_files as files_of
from forager.records import Task

TREE = frozenset({
    "setup.cfg", "src/pkg/__init__.py", "src/pkg/core.py", "src/pkg/tests/test_core.py", "src/pkg/tests/data.json",
    "tests/test_a.py", "tests/helpers.py", "README.md",
})  # fmt: skip


def planned(
    changed: Iterable[str] = (), added: Iterable[str] = (), tree: Iterable[str] = TREE, patch: str = ""
) -> Plan:
    wanted = ("tests/test_a.py::test_a[x/y::z]",)
    problem = Task(instance_id="x", repo="x", problem_statement="", FAIL_TO_PASS=wanted, patch=patch)
    return plan(problem, frozenset(changed), frozenset(added), frozenset(tree))


def test_the_product_is_left_alone() -> None:
    assert planned(["src/pkg/core.py", "README.md"], ["src/pkg/new.py", "src/pkg/types.py", "repro.sh"]) == Plan()


def test_tests_and_what_they_import_go_back() -> None:
    found = planned(["tests/test_a.py", "tests/helpers.py", "src/pkg/core.py"], ["tests/json.py"])
    assert found.restore == ("tests/helpers.py", "tests/test_a.py")
    assert found.remove == ("tests/json.py",)
    assert found.flags == ("test_files_restored",)


def test_a_test_folder_that_the_reference_changes_is_product() -> None:
    reference = "--- a/tests/helpers.py\n+++ b/tests/helpers.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert planned(["tests/helpers.py"], patch=reference) == Plan()
    assert planned(["tests/test_a.py"], patch=reference).restore == ("tests/test_a.py",)


@pytest.mark.parametrize("path", [
    "conftest.py", "src/pkg/conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg",
    "pyproject.toml", "sitecustomize.py", "a/usercustomize.py", "evil.pth", "src/x.egg-info/entry_points.txt",
    "x-1.dist-info/METADATA", "conftest/__init__.py", "sitecustomize.cpython-311-x86_64-linux-gnu.so", "conftest.pyc",
])  # fmt: skip
def test_configuration_is_known_wherever_it_lies(path: str) -> None:
    assert is_configuration(path)
    assert planned(added=[path]).remove == (path,)


@pytest.mark.parametrize("path", ["src/pkg/config.py", "docs/conf.py", "mypytest.ini", "src/conftest_plugin.py"])
def test_other_files_are_no_configuration(path: str) -> None:
    assert not is_configuration(path)


def test_modules_that_hide_the_runner_are_removed() -> None:
    added = ["pytest.py", "src/_pytest/__init__.py", "src/_pytest/config.py", "unittest/__init__.py", "lib/json.py"]
    found = planned(added=added)
    assert found.remove == ("lib/json.py", "pytest.py", "src/_pytest", "unittest")
    assert found.flags == ("runner_shadowed",)
    assert planned(added=["src/pkg/pytest.py", "src/pkg/json.py", "docs/json.py"]).remove == ()


def test_the_runners_own_repository_may_be_patched_and_it_is_said() -> None:
    tree = {"src/_pytest/runner.py", "src/pytest/__init__.py", "tests/test_a.py"}
    found = planned(["src/_pytest/runner.py"], ["src/_pytest/new.py"], tree)
    assert (found.restore, found.remove) == ((), ())
    assert found.flags == ("runner_touched",)


def test_bytecode_is_removed() -> None:
    assert planned(added=["src/pkg/__pycache__/core.cpython-311.pyc"]).remove == (
        "src/pkg/__pycache__/core.cpython-311.pyc",
    )


def test_what_stands_in_the_way_of_a_trusted_file_is_removed() -> None:
    gone = [path for path in TREE if path.startswith("tests/")]
    assert planned(gone, ["tests"]).remove == ("tests",)
    assert planned(["tests/test_a.py"], ["tests/test_a.py/x"]).remove == ("tests/test_a.py",)


def test_ids_below_a_deeper_root_folder_are_found() -> None:
    assert files_of(["tests/test_core.py::test_x"], TREE) >= {"src/pkg/tests/test_core.py"}
    assert files_of(["../src/pkg/tests/test_core.py::test_x"], TREE) >= {"src/pkg/tests/test_core.py"}


def test_paths_of_a_patch() -> None:
    patch = (
        'diff --git "a/t\\303\\251st \\"x\\".py" "b/t\\303\\251st \\"x\\".py"\nnew file mode 100644\n'
        '--- /dev/null\n+++ "b/t\\303\\251st \\"x\\".py"\n@@ -0,0 +1,2 @@\n+++ b/not/this.py\n+x\n'
        "diff --git a/old.py b/new.py\nsimilarity index 100%\nrename from old.py\nrename to new.py\n"
        "diff --git a/mode.sh b/mode.sh\nold mode 100644\nnew mode 100755\n"
        "--- a/plain.py\t2020-01-01\n+++ b/plain.py\t2020-01-01\n@@ -1 +1 @@\n--- a/nor/this.py\n+y\n"
    )
    assert patch_paths(patch) == {'tést "x".py', "old.py", "new.py", "mode.sh", "plain.py"}
