"""The similarity of patches: CWM's formula, and what it costs at worst."""

from __future__ import annotations

import difflib
import time

import pytest

from forager.evaluate import similarity
from forager.evaluate.attacks import BUG, GOLD, TREE, bugged, diff


def test_the_same_patch_is_one_and_none_is_zero() -> None:
    assert similarity(GOLD, GOLD) == 1.0
    assert similarity("", GOLD) == 0.0
    assert similarity(GOLD, "") == 0.0


def test_the_formula() -> None:
    other = bugged({"calc/core.py": BUG["calc/core.py"].replace("+ 1", "+ 2")})
    ours, theirs = (patch.partition("\n+++ ")[2].partition("\n")[2].strip() for patch in (other, GOLD))
    expected = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    assert similarity(other, GOLD) == pytest.approx(expected, abs=1e-12)
    assert 0.5 < expected < 1.0


def test_a_missing_file_counts_zero_and_an_extra_one_nothing() -> None:
    two = bugged({"calc/core.py": TREE["calc/core.py"], "README.md": "# Calc\n"})
    assert similarity(GOLD, two) == 0.5
    assert similarity(two, GOLD) == 1.0


def test_binary_files_are_left_out() -> None:
    binary = "diff --git a/x.bin b/x.bin\nindex 1..2 100644\nBinary files a/x.bin and b/x.bin differ\n"
    assert similarity(GOLD, binary + GOLD) == 1.0
    assert similarity(GOLD, binary) == 0.0


def test_a_rename_is_compared_under_its_old_name() -> None:
    rename = (
        "diff --git a/calc/core.py b/calc/base.py\nsimilarity index 90%\nrename from calc/core.py\n"
        "rename to calc/base.py\n" + GOLD[GOLD.index("--- ") :].replace("+++ b/calc/core.py", "+++ b/calc/base.py")
    )
    assert similarity(rename, rename) == 1.0
    assert 0.7 < similarity(rename, GOLD) < 1.0


@pytest.mark.parametrize(
    "patch",
    [
        "not a patch",
        "--- a/x\n+++ b/x\n@@ broken @@\n",
        "@@ -1 +1 @@\n-a\n+b\n",
        GOLD[:-40],
        GOLD.replace("@@ -4,4", "@@ -4,9"),
        "diff --git a/calc/core.py b/calc/core.py\nrename from \n@@ -0 +0 @@\n",
        "diff --git a/calc/core.py b/calc/core.py\nBinary files differ\nGIT binary patch\nliteral 0\n",
        "\0\ud800\n" + GOLD[80:],
        "+++ b/calc/core.py\n",
    ],
)
def test_an_unreadable_patch_scores_and_raises_nothing(patch: str) -> None:
    assert 0.0 <= similarity(patch, GOLD) <= 1.0
    assert similarity(patch, GOLD) < 1.0


@pytest.mark.parametrize("size", [20_000, 400_000, 30_000_000])
def test_huge_patches_cost_little(size: int) -> None:
    line = "x = [1, 2, 3]  # a line like many others\n"
    huge = diff({"big.py": "a = 1\n"}, {"big.py": "a = 1\n" + line * (size // len(line))})
    reference = diff({"big.py": "a = 1\n"}, {"big.py": "a = 1\n" + (line * 200).replace("3", "4")})
    started = time.process_time()
    assert 0.0 <= similarity(huge, reference) < 1.0
    assert time.process_time() - started < 15
    started = time.process_time()
    assert similarity(huge + GOLD, GOLD) == 1.0
    assert time.process_time() - started < 2


def test_long_files_are_compared_by_lines() -> None:
    lines = [f"value_{n} = {n * n}\n" for n in range(2000)]
    before = {"a.py": ""}
    reference = diff(before, {"a.py": "".join(lines)})
    half = diff(before, {"a.py": "".join(lines[:1000]) + "other = 1\n" * 1000})
    assert 0.4 < similarity(half, reference) < 0.6
