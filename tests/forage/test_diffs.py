"""Diffs of single files: git takes them, and they say no more than what changed."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from forager.forage.diffs import changed_lines, unified

NEARLY = "def {name}(values):\n\n    total = 0\n{steps}    return total\n\n\n"


def test_git_makes_one_file_of_the_other(tmp_path: Path) -> None:
    chance = random.Random(3)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for _ in range(60):
        before = [chance.choice("abc\f\r") for _ in range(chance.choice((0, 1, 9, 40)))]
        after = list(before)
        for _ in range(chance.randint(0, 4)):
            at = chance.randint(0, len(after))
            after[at : at + chance.randint(0, 2)] = chance.choice(([], ["x"], ["a", "y"]))
        old, new = ("\n".join(lines) + chance.choice(("", "\n")) for lines in (before, after))
        diff = unified("a file.py", old.encode(), new.encode())
        assert (old == new) == (not diff)
        if diff and old and new:  # git has other words for files that come or go
            (tmp_path / "a file.py").write_bytes(old.encode())
            subprocess.run(["git", "apply", "--unidiff-zero", "-"], cwd=tmp_path, input=diff.encode(), check=True)
            assert (tmp_path / "a file.py").read_bytes() == new.encode()


def test_a_function_that_is_much_like_another_is_not_taken_for_it() -> None:
    steps = "".join(f"    total += values[{n}]\n" for n in range(200))
    clean = "".join(NEARLY.format(name=name, steps=steps) for name in ("first", "second"))
    for changes in (["total += values[9]"], ["total = 0", "total += values[9]", "return total"]):
        broken = clean
        for text in changes:
            broken = broken.replace(text, text.replace("total", "other"), 1)
        out, put_in = changed_lines(unified("x.py", broken.encode(), clean.encode()))
        assert len(out) == len(put_in) == len(changes)
