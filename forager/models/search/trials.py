"""Tries changes one after the other: makes each, runs tests in a process of its own, and takes it back.

    python trials.py SECONDS TEST... < changes

A change is a line `N path:line`, then the old lines behind `-` and the new ones behind `+`. Stops at the first change
with which the tests pass. Pytest is imported once, which makes a try several times faster than a run of its own.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SECONDS = float(sys.argv[1])
"""What one try may take before it counts as hanging."""
OPTIONS = ["-x", "-q", "--tb=native", "-p", "no:cacheprovider", *sys.argv[2:]]


class Reporter:
    """Writes a letter for each test that passed, and the reason of the first that did not."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.passed and report.when == "call":
            os.write(self.pipe, b".")

    def pytest_exception_interact(self, call: Any) -> None:
        kind, lines = call.excinfo.typename, str(call.excinfo.value).split("\n")
        reason = lines[-1].lstrip("E ") if kind == "CollectError" else f"{kind}: {lines[0]}"
        os.write(self.pipe, f" {reason[:110]}".encode(errors="replace"))


def run(learning: bool = False) -> tuple[bool, str]:
    """Runs the tests in a child. Whether they passed, and a line about it."""
    answer, pipe = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            sys.dont_write_bytecode = not learning
            code = pytest.main(OPTIONS, plugins=[Reporter(pipe)])
            os.write(pipe, f"\n{int(code)}".encode())
        os._exit(0)
    os.close(pipe)
    text, end = b"", time.monotonic() + SECONDS
    while select.select([answer], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(answer, 4096)
        text += piece
        if not piece or b"\n" in text:
            break
    else:
        text += f" no end after {SECONDS:.0f} s".encode()
    os.close(answer)
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    head, _, status = text.decode(errors="replace").partition("\n")
    dots, _, reason = head.partition(" ")
    if status == "0" and dots and not reason:
        return True, f"passes, {len(dots)} tests"
    return False, f"fails after {len(dots)} tests: {reason or 'no test ran'}"


def attempt(path: Path, first: int, old: list[str], new: list[str], number: int) -> tuple[bool, str]:
    """Makes one change, runs the tests, and puts the file back as it was, its times too."""
    content, times = path.read_bytes(), path.stat()
    lines = content.decode().split("\n")
    if lines[first - 1 : first - 1 + len(old)] != old:
        return False, "these lines are not there"
    lines[first - 1 : first - 1 + len(old)] = new
    try:
        path.write_bytes("\n".join(lines).encode())
        os.utime(path, (1e6 + number, 1e6 + number))  # a time of its own: compiled files are told apart by it
        return run()
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def prepare() -> None:
    """Imports pytest's own parts, nothing of the project, and has a place for compiled files outside of it."""
    empty = Path(__file__).with_name("empty")
    empty.mkdir(exist_ok=True)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
        pytest.main(["--collect-only", "--noconftest", "-c", os.devnull, "-p", "no:cacheprovider", str(empty)])
    del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    sys.path[0] = str(Path.cwd())
    sys.pycache_prefix = str(empty.with_name("compiled"))
    gc.freeze()


def main() -> None:
    prepare()
    began = time.monotonic()
    print("unchanged:", run(learning=True)[1], f"in {time.monotonic() - began:.2f} s", flush=True)
    changes: list[tuple[str, list[str], list[str]]] = []
    for line in sys.stdin.read().split("\n"):
        if line[:1] == "-":
            changes[-1][1].append(line[1:])
        elif line[:1] == "+":
            changes[-1][2].append(line[1:])
        elif line:
            changes.append((line, [], []))
    for head, old, new in changes:
        number, _, place = head.partition(" ")
        path, _, first = place.rpartition(":")
        passed, result = attempt(Path(path), int(first), old, new, int(number))
        print(number, result, flush=True)
        if passed:
            break


main()
