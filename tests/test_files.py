"""Torn lines, full disks, whole replacement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forager.errors import UnfitError
from forager.files import LineFile, write_atomic

FULL_DISK = """
import resource, sys
from pathlib import Path
from forager.errors import UnfitError
from forager.files import LineFile
folder = Path(sys.argv[1])
file = LineFile(folder / "lines.jsonl", folder / "torn")
file.append(b'{"n": 1}')
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    file.append(b'{"n": "' + b"x" * 5000 + b'"}')
except UnfitError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append(b'{"n": 2}')
"""


def test_lines_cut_anywhere_are_repaired_and_what_was_cut_is_kept(tmp_path: Path) -> None:
    lines = [b'{"id": "a", "text": "one"}', '{"id": "b", "text": "zwei é"}'.encode(), b'{"id": "c"}']
    whole = b"".join(line + b"\n" for line in lines)
    for cut in range(len(whole) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        path = folder / "lines.jsonl"
        path.write_bytes(whole[:cut])
        file = LineFile(path, folder / "torn")
        file.append(b'{"id": "new"}')
        file.close()
        kept = path.read_bytes()
        torn = [entry.read_bytes() for entry in (folder / "torn").glob("*")]
        complete = [line for end, line in zip(_ends(lines), lines, strict=True) if cut >= end - 1]
        assert kept == b"".join(line + b"\n" for line in [*complete, b'{"id": "new"}'])
        assert b"".join(torn) == (b"" if cut + 1 in _ends(lines) else whole[:cut].rpartition(b"\n")[2])
        for line in kept.splitlines():
            json.loads(line)


def _ends(lines: list[bytes]) -> list[int]:
    return [sum(len(line) + 1 for line in lines[: n + 1]) for n in range(len(lines))]


def test_a_torn_line_longer_than_a_block_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"id": "a"}\n' + b'{"text": "' + b"x" * 200_000)
    file = LineFile(path, tmp_path / "torn")
    file.close()
    assert path.read_bytes() == b'{"id": "a"}\n'
    assert file.size == 12


def test_a_line_the_disk_does_not_take_leaves_nothing_half_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.count("\n") == 1
    assert "lines.jsonl: File too large; free some space" in done.stdout
    assert (tmp_path / "lines.jsonl").read_bytes() == b'{"n": 1}\n{"n": 2}\n'


def test_replacing_a_file_that_cannot_be_written_keeps_the_old_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "report.json", b"old")
    (tmp_path / ".report.json.tmp").mkdir()
    with pytest.raises(UnfitError, match=r"cannot write .*report.json"):
        write_atomic(tmp_path / "report.json", b"new")
    assert (tmp_path / "report.json").read_bytes() == b"old"
