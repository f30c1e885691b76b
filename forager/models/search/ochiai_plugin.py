"""Pytest plugin: which lines do failing tests run that passing tests do not? (Ochiai)

Runs the failing tests and a bounded number of passing ones, records which lines of the project each of them
executes, and prints the most suspicious functions with the score of their lines.
"""

from __future__ import annotations

import ast
import math
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FAILING: tuple[str, ...] = ()
POINTS: tuple[tuple[str, int], ...] = ()  # lines seen in tracebacks, shown even if no test reaches them
NAMES: tuple[str, ...] = ()  # functions that error messages name, shown even if no test enters them
PASSING_TESTS = 250
TOTAL_SECONDS = 45.0
TEST_SECONDS = 10.0
FUNCTIONS = 16

ROOT = str(Path.cwd()) + os.sep
SKIP = ("site-packages", os.sep + "tests" + os.sep, os.sep + "test" + os.sep, "conftest.py", os.sep + "test_")
started = time.monotonic()
watched: dict[Any, str] = {}
test_files: set[str] = set()
lines: set[tuple[str, int]] = set()
imported: set[tuple[str, int]] = set()  # run while the tests were collected, so by every test in a way
ran: list[tuple[bool, frozenset[tuple[str, int]]]] = []
failed: set[str] = set()


class TooSlow(BaseException):
    """A test that did not end in time; nothing in the code under test may catch it."""


def on_alarm(number: int, frame: Any) -> None:
    raise TooSlow(f"no end after {TEST_SECONDS:.0f} s")


def wanted(code: Any) -> str:
    """The path of a function's file if it belongs to the project and is no test, else an empty string."""
    if code not in watched:
        path = code.co_filename
        project = path.startswith(ROOT) and path not in test_files and code.co_name != "<module>"
        watched[code] = path if project and not any(part in path for part in SKIP) else ""
    return watched[code]


def on_call(frame: Any, event: str, arg: Any) -> Any:
    path = wanted(frame.f_code)
    if not path:
        return None

    def on_line(frame: Any, event: str, arg: Any) -> Any:
        if event == "line":
            lines.add((path, frame.f_lineno))
        return on_line

    return on_line


def on_monitor(code: Any, line: int) -> Any:
    path = wanted(code)
    if path:
        lines.add((path, line))
    return sys.monitoring.DISABLE  # type: ignore[attr-defined,unused-ignore]


def start() -> None:
    lines.clear()
    if sys.version_info >= (3, 12):
        monitoring = sys.monitoring
        if monitoring.get_tool(4) is None:
            monitoring.use_tool_id(4, "ochiai")
            monitoring.register_callback(4, monitoring.events.LINE, on_monitor)
        monitoring.set_events(4, monitoring.events.LINE)
        monitoring.restart_events()
    else:
        sys.settrace(on_call)


def stop() -> None:
    if sys.version_info >= (3, 12):
        sys.monitoring.set_events(4, 0)
    else:
        sys.settrace(None)


def pytest_configure(config: Any) -> None:
    start()


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    stop()
    test_files.update(str(item.fspath) for item in items if isinstance(item, pytest.Function))  # no doctests
    imported.update(place for place in lines if place[0] not in test_files)
    watched.clear()
    failing = [item for item in items if item.nodeid in FAILING]
    files = {str(item.fspath) for item in failing}
    near = [item for item in items if item.nodeid not in FAILING and str(item.fspath) in files]
    far = [item for item in items if item.nodeid not in FAILING and str(item.fspath) not in files]
    passing = []
    for group, room in ((near, PASSING_TESTS), (far, PASSING_TESTS - min(len(near), PASSING_TESTS))):
        passing += group[:: max(1, math.ceil(len(group) / max(room, 1)))][:room]
    items[:] = failing + passing


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        failed.add(report.nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: Any) -> Any:
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS)
    start()
    yield
    stop()
    signal.setitimer(signal.ITIMER_REAL, 0)
    ran.append((item.nodeid in failed, frozenset(lines)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    if item.nodeid not in FAILING and time.monotonic() - started > TOTAL_SECONDS:
        pytest.skip("out of time")


def blocks(path: str) -> list[tuple[int, int, str, Any]]:
    """First line, last line and name of every function that is not inside another, and of every other statement."""
    found: list[tuple[int, int, str, Any]] = []

    def visit(body: list[Any], prefix: str) -> None:
        for node in body:
            first = min([node.lineno] + [d.lineno for d in getattr(node, "decorator_list", ())])
            if isinstance(node, ast.ClassDef):
                visit(node.body, prefix + node.name + ".")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.append((first, node.end_lineno or first, prefix + node.name, node))
            else:
                names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
                found.append((first, node.end_lineno or first, "/" + prefix + ",".join(names[:3]), node))

    visit(ast.parse(Path(path).read_text(encoding="utf-8", errors="replace")).body, "")
    return found


def naming() -> set[str]:
    """Files of the project that define a function of the NAMES."""
    defines = re.compile(rf"def ({'|'.join(map(re.escape, NAMES))})\b")
    paths = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    project = [p for p in paths if p.startswith(ROOT) and p.endswith(".py") and not any(part in p for part in SKIP)]
    return {p for p in project if NAMES and defines.search(Path(p).read_text(encoding="utf-8", errors="replace"))}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    stop()
    failing = [covered for bad, covered in ran if bad] or [frozenset()]
    counts: dict[tuple[str, int], list[int]] = {}
    for bad, covered in ran:
        for place in covered:
            counts.setdefault(place, [0, 0])[0 if bad else 1] += 1
    for place in imported - counts.keys():
        counts[place] = [len(failing), len(ran) - len(failing)]
    scores = {place: f / math.sqrt(len(failing) * (f + p)) for place, (f, p) in counts.items() if f}
    points = {(str(Path(ROOT, path)), line) for path, line in POINTS}
    entered = {place for _, covered in ran for place in covered}
    rows: list[tuple[float, str, str]] = []
    for path in sorted({path for path, _ in scores} | {path for path, _ in points} | naming()):
        used: set[str] = set()
        constants: list[tuple[int, int, str]] = []
        top = 0.0
        for first, last, name, node in blocks(path):
            inside = {n: scores[path, n] for n in range(first, last + 1) if scores.get((path, n))}
            seen = any((path, n) in points for n in range(first, last + 1)) or name.rpartition(".")[2] in NAMES
            if name.startswith("/") and not seen and not any((path, n) in entered for n in range(first, last + 1)):
                constants.append((first, last, name))
            elif inside or seen:
                best = max(inside.values(), default=0.5)
                top = max(top, best)
                used.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name))
                used.update(n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))
                text = " ".join(f"{n}:{score:.2f}" for n, score in sorted(inside.items()))
                rows.append((best, f"{path[len(ROOT) :]}:{first}-{last} {name}", text))
        for first, last, name in constants:
            if any(part in used for part in name[1:].rpartition(".")[2].split(",")):
                rows.append((top * 0.5, f"{path[len(ROOT) :]}:{first}-{last} {name}", ""))
    terminalreporter.section("suspicious lines")
    terminalreporter.line(
        f"{sum(bad for bad, _ in ran)} failing and {sum(not bad for bad, _ in ran)} passing tests recorded"
    )
    for best, head, text in sorted(rows, key=lambda row: (-row[0], row[1]))[:FUNCTIONS]:
        terminalreporter.line(f"{best:.2f} {head} | {text}")
    for path in sorted({head.split(":")[0] for _, head, _ in rows}):
        content = Path(path).read_bytes()
        terminalreporter.line(f"file {path}: {len(content.splitlines())} lines, {len(content)} bytes")
