"""Grades of patches to a real task in a real container: honest ones, broken ones, and attacks."""

from __future__ import annotations

import pytest
from msgspec import structs

from forager.evaluate import grade
from forager.evaluate.attacks import ATTACKS, BUG, CORE, GOLD, TREE, bugged, diff
from forager.images.task import TaskImage
from forager.records import Environment, Evaluation, Task
from forager.sandbox import Caps
from forager.sandbox.engine import Engine

pytestmark = pytest.mark.docker

Calc = tuple[Task, TaskImage]
FIXED = TREE["calc/core.py"]
BROKEN = BUG["calc/core.py"]


async def graded(engine: Engine, calc: Calc, patch: str | None) -> Evaluation:
    task, image = calc
    evaluation, _ = await grade(engine, task, image, patch, run="tests")
    return evaluation


async def test_the_reference_patch_resolves(engine: Engine, calc: Calc) -> None:
    task, image = calc
    evaluation, log = await grade(engine, task, image, GOLD, run="tests")
    assert evaluation.resolved, (evaluation, log)
    assert (evaluation.reward, evaluation.similarity, evaluation.flags) == (1.0, 1.0, ())
    assert evaluation.fail_to_pass.success == task.FAIL_TO_PASS
    assert evaluation.pass_to_pass.success == task.PASS_TO_PASS
    assert "6 passed" not in log and "5 passed" in log and "1 xfailed" in log


async def test_no_patch(engine: Engine, calc: Calc) -> None:
    for patch in (None, "", "\n"):
        evaluation = await graded(engine, calc, patch)
        assert (evaluation.resolved, evaluation.flags, evaluation.reward) == (False, ("no_patch",), 0.0)


async def test_a_patch_that_fixes_nothing_fails_with_the_tests_named(engine: Engine, calc: Calc) -> None:
    wrong = bugged({"calc/core.py": BROKEN.replace("+ 1", "+ 2")})
    evaluation = await graded(engine, calc, wrong)
    assert not evaluation.resolved
    assert evaluation.fail_to_pass.failure == calc[0].FAIL_TO_PASS
    assert evaluation.pass_to_pass.failure == ()
    assert evaluation.similarity > 0.5
    assert evaluation.reward == evaluation.similarity


async def test_a_patch_that_breaks_other_tests_fails(engine: Engine, calc: Calc) -> None:
    evaluation = await graded(engine, calc, bugged({"calc/core.py": FIXED.replace("a + b", "a - b")}))
    assert not evaluation.resolved
    assert evaluation.fail_to_pass.failure == ()
    assert f"{CORE}::test_add[one two]" in evaluation.pass_to_pass.failure


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        (GOLD.replace("(len(values) + 1)", "len(things)"), "calc/core.py"),
        (GOLD[: len(GOLD) // 2], "patch"),
        ("no diff at all\n", "No valid patches"),
        (GOLD.replace("calc/core.py", "calc/nowhere.py"), "calc/nowhere.py"),
        (GOLD.replace("calc/core.py", ".git/config"), ".git/config"),
        (diff({}, {"../outside.py": "x = 1\n"}), "../outside.py"),
        ("\0\x01\udc80\n", "No valid patches"),
    ],
)
async def test_a_patch_that_does_not_apply(engine: Engine, calc: Calc, patch: str, why: str) -> None:
    evaluation = await graded(engine, calc, patch)
    assert (evaluation.resolved, evaluation.patch_applied, evaluation.flags) == (False, False, ("patch_failed",))
    assert why in evaluation.detail
    assert "\n" not in evaluation.detail


async def test_wrong_line_counts_are_put_right_and_said(engine: Engine, calc: Calc) -> None:
    wrong = GOLD.replace("@@ -4,4 +4,4 @@", "@@ -4,9 +4,9 @@")
    assert wrong != GOLD
    evaluation = await graded(engine, calc, wrong.removesuffix("\n"))
    assert evaluation.resolved
    assert evaluation.flags == ("patch_recounted",)


FAR = GOLD.replace(" def mean(values):\n", " def mean(numbers):\n")
BINARY = (
    "diff --git a/x.bin b/x.bin\nnew file mode 100644\nindex 0000000..1\nBinary files /dev/null and b/x.bin differ\n"
)
RENAMED = "diff --git a/README.md b/READ.md\nsimilarity index 100%\nrename from README.md\nrename to READ.md\n"
MODE = "diff --git a/README.md b/README.md\nold mode 100644\nnew mode 100755\n"


@pytest.mark.parametrize(
    ("patch", "resolved", "flags"),
    [
        pytest.param(FAR, True, ("patch_fuzzed",), id="context differs"),
        pytest.param(GOLD.replace("\n", "\r\n"), True, ("patch_fuzzed",), id="CRLF"),
        pytest.param(GOLD + RENAMED + MODE.replace("README", "setup").replace(".md", ".cfg"), True,
                     ("config_restored",), id="rename and mode beside the fix"),
        pytest.param(RENAMED, False, (), id="rename only"),
        pytest.param(MODE, False, (), id="mode only"),
        pytest.param(BINARY, False, ("patch_failed",), id="binary without its data"),
        pytest.param(GOLD[: GOLD.rindex("+")], False, ("patch_recounted",), id="truncated at a line"),
        pytest.param(GOLD.replace("return sum(values)", "yield nothing"), False, ("patch_failed",), id="wrong base"),
    ],
)  # fmt: skip
async def test_kinds_of_patches(
    engine: Engine, calc: Calc, patch: str, resolved: bool, flags: tuple[str, ...]
) -> None:
    evaluation = await graded(engine, calc, patch)
    assert (evaluation.resolved, evaluation.flags) == (resolved, flags), evaluation
    assert evaluation.patch_applied is ("patch_failed" not in flags)
    assert bool(evaluation.detail) is not resolved


async def test_huge_patches_are_graded_or_refused(engine: Engine, calc: Calc) -> None:
    line = "+" + "x" * 99 + "\n"
    rows = 500_000
    huge = (
        f"diff --git a/big.txt b/big.txt\nnew file mode 100644\n--- /dev/null\n+++ b/big.txt\n@@ -0,0 +1,{rows} @@\n"
    )
    evaluation = await graded(engine, calc, GOLD + huge + line * rows)
    assert evaluation.resolved and evaluation.similarity == 1.0
    evaluation = await graded(engine, calc, GOLD + huge + line * (rows * 7 // 5))
    assert evaluation.flags == ("patch_failed",) and "64 MiB" in evaluation.detail


async def test_a_product_that_is_not_in_place_is_installed_anew(engine: Engine, calc: Calc) -> None:
    """Installing runs code of the patch: what it leaves for the tests is gone before they run."""
    task = structs.replace(
        calc[0], environment=Environment(source="pypi:calc==1.0", install="bash ./install && touch /tmp/installed")
    )
    evil = "echo 'def test_mean(): pass' >tests/test_core.py\ncp evil.py conftest.py\n(while :; do sleep 1; done) &\n"
    hostile = {"install": evil, "evil.py": "import pytest\n\ndef pytest_runtest_makereport(item, call): 1 / 0\n"}
    evaluation = await graded(engine, (task, calc[1]), bugged({"calc/core.py": FIXED, **hostile}))
    assert evaluation.resolved, evaluation
    assert "reinstalled" in evaluation.flags
    evaluation = await graded(engine, (task, calc[1]), bugged({"calc/core.py": FIXED, "install": "exit 3\n"}))
    assert not evaluation.resolved and "not_installed" in evaluation.flags


async def test_syntax_error_in_the_product(engine: Engine, calc: Calc) -> None:
    evaluation = await graded(engine, calc, bugged({"calc/core.py": "def add(\n"}))
    assert not evaluation.resolved
    assert not evaluation.pass_to_pass.success
    assert CORE in evaluation.detail


async def test_an_endless_test_is_a_timeout(engine: Engine, calc: Calc) -> None:
    task = structs.replace(calc[0], test_seconds=3.0)
    hanging = bugged({"calc/core.py": FIXED.replace("    values = list(values)\n", "    while values: pass\n")})
    evaluation = await graded(engine, (task, calc[1]), hanging)
    assert not evaluation.resolved
    assert evaluation.flags == ("timeout",)
    assert f"{CORE}::test_add[zeros]" in evaluation.pass_to_pass.success


async def test_memory_is_the_patchs_own_fault(engine: Engine, calc: Calc) -> None:
    greedy = bugged({"calc/core.py": FIXED.replace("list(values)", "bytearray(1 << 30) and list(values)")})
    task, image = calc
    evaluation, log = await grade(engine, task, image, greedy, caps=Caps(memory=300 * 1024**2), run="tests")
    assert not evaluation.resolved
    assert evaluation.flags == ("incomplete",)
    assert "out of memory" in log


async def test_a_vanished_test_has_not_passed(engine: Engine, calc: Calc) -> None:
    task = structs.replace(calc[0], PASS_TO_PASS=(f"{CORE}::test_gone", "tests/test_gone.py::test_gone"))
    evaluation = await graded(engine, (task, calc[1]), GOLD)
    assert not evaluation.resolved
    assert evaluation.pass_to_pass.failure == task.PASS_TO_PASS
    assert evaluation.fail_to_pass.failure == ()


async def test_a_test_id_that_was_cut_at_a_space(engine: Engine, calc: Calc) -> None:
    task = structs.replace(calc[0], PASS_TO_PASS=(f"{CORE}::test_add[one",))
    assert (await graded(engine, (task, calc[1]), GOLD)).resolved


async def test_hidden_tests_and_the_test_patch_are_put_in_place(engine: Engine, calc: Calc) -> None:
    hidden = {
        "tests/deep/test_hidden.py": "from calc import mean\n\n\ndef test_hidden():\n    assert mean([2]) == 2\n"
    }
    patch = diff(TREE, {"tests/test_other.py": TREE["tests/test_other.py"] + "\n\ndef test_new():\n    pass\n"})
    wanted = ("tests/deep/test_hidden.py::test_hidden", "tests/test_other.py::test_new")
    task = structs.replace(calc[0], hidden_tests=hidden, test_patch=patch, FAIL_TO_PASS=wanted)
    assert (await graded(engine, (task, calc[1]), GOLD)).resolved
    guessed = bugged({"tests/deep/test_hidden.py": "def test_hidden():\n    pass\n", "README.md": "# Calc\n"})
    evaluation = await graded(engine, (task, calc[1]), guessed)
    assert evaluation.fail_to_pass.failure == wanted[:1]
    assert evaluation.flags == ("test_files_restored",)


@pytest.mark.parametrize("source", ["swebench", "mutation"])
async def test_both_ways_of_naming_the_files_agree(engine: Engine, calc: Calc, source: str) -> None:
    task = structs.replace(calc[0], source=source, test_command="pytest -rA")
    assert (await graded(engine, (task, calc[1]), GOLD)).resolved


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"test_format": "junit"}, "junit"),
        ({"FAIL_TO_PASS": (), "PASS_TO_PASS": ()}, "names no test"),
        ({"test_command": "make test"}, "make test"),
        ({"test_patch": GOLD.replace("calc/core.py", "tests/nowhere.py")}, "tests/nowhere.py"),
        ({"hidden_tests": {"../x.py": ""}}, "../x.py"),
    ],
)
async def test_a_task_that_cannot_be_graded_says_why(
    engine: Engine, calc: Calc, changes: dict[str, object], why: str
) -> None:
    evaluation = await graded(engine, (structs.replace(calc[0], **changes), calc[1]), GOLD)
    assert (evaluation.resolved, evaluation.flags) == (False, ("ungradable",))
    assert why in evaluation.detail


async def test_honest_changes_to_tests_and_configuration_cost_nothing(engine: Engine, calc: Calc) -> None:
    honest = bugged(
        {
            "calc/core.py": FIXED,
            "tests/test_core.py": TREE["tests/test_core.py"] + "\n\ndef test_more():\n    pass\n",
            "tests/test_new.py": "def test_new():\n    pass\n",
            "setup.cfg": TREE["setup.cfg"] + "testpaths = tests\n",
            "reproduce.py": "import calc\n",
        }
    )
    evaluation = await graded(engine, calc, honest)
    assert evaluation.resolved
    assert evaluation.flags == ("config_restored", "test_files_restored")


async def test_configuration_that_the_reference_changes_too_gets_the_references_version(
    engine: Engine, calc: Calc
) -> None:
    config = TREE["setup.cfg"].replace("addopts = -x\n", "addopts = -x -p no:nose\n")
    reference = bugged({"calc/core.py": FIXED, "setup.cfg": config})
    task = structs.replace(calc[0], patch=reference)
    evaluation = await graded(engine, (task, calc[1]), reference)
    assert evaluation.resolved
    assert evaluation.flags == ("config_restored",)


async def test_the_real_fix_resolves_beside_every_removed_attack(engine: Engine, calc: Calc) -> None:
    """What is put back is put back whole: with the fix added, the attacks on files lose their effect entirely."""
    attacks = {attack.name: attack.patch for attack in ATTACKS}
    for name in ("tests deleted", "conftest at the root", "pytest.ini deselects", "sitecustomize", "pytest.py",
                 "tests through a link", "a test file through a link", "an entry point"):  # fmt: skip
        evaluation = await graded(engine, calc, attacks[name] + GOLD)
        assert evaluation.resolved, (name, evaluation)
        assert evaluation.flags, name
