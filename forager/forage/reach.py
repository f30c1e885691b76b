"""Which test runs which lines of the clean code, mapped once: a mutant then needs only the tests that reach it.

Coverage.py records it, with a context for each test. It comes in an image layer over the repository's image that is
removed again when the map is made: no task's image ever holds it. Where that does not work (no network, a Python too
old, a suite that starts other processes from shared fixtures) there is no map, and mutants run the whole suite.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from forager.errors import BuildError, CapExceeded, ForageError, SandboxError
from forager.evaluate.testrun import run_tests
from forager.files import write_atomic
from forager.forage.baseline import Baseline
from forager.forage.validate import CAPS, Suite
from forager.images.build import Report
from forager.images.layer import add_layer, drop_image
from forager.records import Record, digest, encode
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine

WORTH = 40.0
"""Seconds that the suite would take for all tasks wanted, once each, from which a map is worth making. Below, making
it takes longer than it saves."""
LEAST = 2.0
"""Seconds of a suite below which a map is of no use: the start of a run is most of it, and a map means more runs."""
SHARED = -1
"""In a set of tests: what runs for no test in particular, as an import or the fixture of a module does."""

_FOLDER = "/opt/forager-coverage"
_SCRIPT = f"""set -euo pipefail
/opt/uv/bin/uv pip install --quiet --python "${{VIRTUAL_ENV:-/opt/venv}}/bin/python" --target {_FOLDER} coverage
chmod -R a+rX {_FOLDER}
"""
_SOURCE = Path(__file__).with_name("recorder.py")
_LARGEST = 256 * 1024**2
"""Bytes of a map as it is read; about twenty thousand tests of a large package."""


class Reach(Record, frozen=True):
    """The map."""

    tests: tuple[str, ...]
    """Node ids."""
    seconds: tuple[float, ...]
    """Of each, while it was recorded: more than it takes without."""
    sets: tuple[tuple[int, ...], ...]
    """Sets of tests, by their place in `tests`; -1 is what runs for no test in particular."""
    files: dict[str, dict[int, int]]
    """Files, relative to the root, to their lines to the place of a set in `sets`."""
    always: tuple[int, ...] = ()
    """Tests to run whatever was changed: they start other processes, which could not be watched, or did not pass
    while the map was made."""
    overhead: float = 0.0
    """Seconds of a run beyond those of its tests."""


class Selection(Record, frozen=True):
    """What has to run for a change."""

    tests: tuple[str, ...]
    """Node ids of those that run the changed lines, in the suite's order."""
    shared: bool = False
    """Whether the lines also run for no test in particular, so that any test may depend on them."""


class _Recorded(Record, frozen=True):
    tests: tuple[str, ...]
    sets: tuple[tuple[int, ...], ...]
    files: dict[str, dict[int, int]]
    starting: tuple[int, ...]
    blind: bool


async def make_reach(
    engine: Engine,
    suite: Suite,
    baseline: Baseline,
    files: Iterable[str],
    *,
    seconds: float = 3600.0,
    report: Report | None = None,
    attempt: str = "",
) -> Reach:
    """The map of `files` (paths of the package's own code), by one run of the suite's clean code under coverage.

    `seconds` is the longest that this run is worth.

    Raises `ForageError` or `BuildError` where it cannot be had, `InfrastructureError` for what another try may mend.
    """
    tag = f"forager/coverage:{digest([suite.image, _SCRIPT])[:16]}"
    await add_layer(engine, parent=suite.image, tag=tag, kind="coverage", script=_SCRIPT, network=True, report=report)
    try:
        return await _record(engine, suite, tag, baseline, files, seconds, attempt)
    finally:
        await drop_image(engine, tag)


async def _record(
    engine: Engine,
    suite: Suite,
    image: str,
    baseline: Baseline,
    files: Iterable[str],
    seconds: float,
    attempt: str,
) -> Reach:
    folder = f"/tmp/.forager-reach-{secrets.token_hex(8)}"
    job = {
        "workdir": suite.workdir,
        "files": [f"{suite.workdir}/{path}" for path in files],
        "coverage": _FOLDER,
    }
    env = {"PYTHONHASHSEED": "0", "PYTHONPATH": folder}
    async with await open_sandbox(
        engine, image, workdir=suite.workdir, run="forage", attempt=attempt, caps=CAPS, env=env
    ) as sandbox:
        await sandbox.control(f"umask 0; mkdir {folder}")
        await sandbox.write_file(f"{folder}/forager_recorder.py", _SOURCE.read_bytes())
        await sandbox.write_file(f"{folder}/recorder.json", json.dumps(job).encode())
        try:
            run = await run_tests(
                sandbox,
                workdir=suite.workdir,
                test_command=suite.test_command,
                timeout=min(4 * baseline.limit + 60, seconds),
                args=("-p", "forager_recorder"),
            )
        except CapExceeded as error:
            raise ForageError(f"the suite under coverage breaks its container: {error}") from None
        _, text = await sandbox.control(
            f"r={folder}/reach.json; [[ -f $r && ! -L $r ]] && timeout -k 1 60 head -c {_LARGEST} -- $r", timeout=90
        )
    if not run.complete or run.timed_out:
        raise ForageError(f"the suite does not reach its end under coverage (in {run.seconds:.0f} s)")
    try:
        found = msgspec.json.decode(text, type=_Recorded)
    except msgspec.MsgspecError as error:
        raise ForageError(f"coverage tells nothing of use: {error}") from None
    return checked(found, run.outcomes, run.durations, run.seconds, baseline)


def checked(
    found: _Recorded, outcomes: Mapping[str, str], durations: Mapping[str, float], seconds: float, baseline: Baseline
) -> Reach:
    """The map of what was recorded, if it is fit for use; otherwise raises `ForageError`."""
    places = len(found.tests)
    if not all(-1 <= test < places for tests in found.sets for test in tests) or not all(
        0 <= place < len(found.sets) for lines in found.files.values() for place in lines.values()
    ):
        raise ForageError("coverage tells of tests that did not run")
    if found.blind:
        raise ForageError("fixtures of a module or the session start other processes, which coverage does not see")
    index = {test: place for place, test in enumerate(found.tests)}
    odd = [test for test in baseline.passing if outcomes.get(test) != "passed" or test not in index]
    if len(odd) > len(baseline.passing) / 5:
        raise ForageError(f"{len(odd)} of {len(baseline.passing)} tests do not pass under coverage")
    tests = (*found.tests, *(test for test in odd if test not in index))
    index = {test: place for place, test in enumerate(tests)}
    counted = set(baseline.passing)
    starting = [place for place in found.starting if 0 <= place < places and tests[place] in counted]
    spent = tuple(round(durations.get(test, 0.0), 3) for test in tests)
    return Reach(
        tests=tests,
        seconds=spent,
        sets=found.sets,
        files=found.files,
        always=tuple(sorted({*starting, *(index[test] for test in odd)})),
        overhead=max(0.0, seconds - sum(spent)),
    )


def select(reach: Reach, passing: frozenset[str], file: str, source: bytes, start: int, end: int) -> Selection:
    """What has to run for a change of the bytes `start` to `end` of a clean file, of the tests in `passing`."""
    lines = reach.files.get(file, {})
    first, last, body = spread(source, start, end)

    def running(first: int, last: int) -> set[int]:
        return {test for n in range(first, last + 1) if n in lines for test in reach.sets[lines[n]]}

    found = running(first, last)
    if body is not None:
        # a default or a decorator is evaluated once, and makes itself felt where the function runs
        inside = running(*body) - {SHARED}
        found = inside or found
    chosen = sorted({test for test in found if test != SHARED} | set(reach.always))
    names = [test for test in chosen if reach.tests[test] in passing]
    return Selection(
        tests=tuple(reach.tests[test] for test in names),
        shared=SHARED in found,
    )


def spread(source: bytes, start: int, end: int) -> tuple[int, int, tuple[int, int] | None]:
    """First and last line (from 1) that tell whether a change runs: those of the statements it is in.

    Of a compound statement the header counts; of an `elif`, everything from its `if`. For the header of a function
    its body comes third, as first and last line.
    """
    first = source.count(b"\n", 0, start) + 1
    last = first + source.count(b"\n", start, max(start, end - 1))
    low, high, body = first, last, None
    chains: dict[ast.stmt, int] = {}
    for node in ast.walk(ast.parse(source)):  # an `if` comes before its `elif`
        if not isinstance(node, ast.stmt | ast.ExceptHandler):
            continue
        top, bottom = _header(node)
        within = top <= first <= bottom
        if isinstance(node, ast.If):
            top = chains.get(node, top)
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                chains[node.orelse[0]] = top
        if within:
            low, high = min(low, top), max(high, bottom)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and last <= bottom < node.body[0].lineno:
                body = (node.body[0].lineno, node.end_lineno or node.body[0].lineno)
    return low, high, body


def _header(node: ast.stmt | ast.ExceptHandler) -> tuple[int, int]:
    """First and last line of a statement, or of what stands before the body of one that has a body."""
    inner: list[ast.stmt] = getattr(node, "body", [])
    if inner:
        return _top(node), max(node.lineno, _top(inner[0]) - 1)
    return node.lineno, node.end_lineno or node.lineno


def _top(node: ast.stmt | ast.ExceptHandler) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


class _Kept(Record, frozen=True):
    key: str
    reach: Reach | None
    problem: str = ""
    seconds: float = 0.0
    """What the run was given. A map that could not be had in that time may be had in more."""


def reach_key(suite: Suite, baseline: Baseline, sources: Mapping[str, bytes]) -> str:
    """What decides a map: the image, the tests that count, the code, and how it is recorded."""
    code = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(sources.items())}
    recorder = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()
    return digest([suite, baseline.passing, code, recorder, _SCRIPT])


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None


async def kept_reach(
    path: Path, key: str, make: Callable[[], Awaitable[Reach]], report: Report, seconds: float
) -> Reach | None:
    """The map in the file at `path` if it was made under the same `key`, otherwise a new one, written there.

    `seconds` is what making it is given.

    None where it cannot be had: that is kept too, unless it is the engine's or the network's fault.
    """
    kept = await asyncio.to_thread(_read, path)
    if kept is not None and kept.key == key and (kept.reach is not None or kept.seconds >= seconds):
        return kept.reach
    try:
        kept = _Kept(key=key, reach=await make())
    except (ForageError, BuildError) as error:
        report(f"no map of which test runs which lines: {error}; every mutant runs the whole suite")
        kept = _Kept(key=key, reach=None, problem=str(error), seconds=seconds)
    except SandboxError as error:
        report(f"no map of which test runs which lines this time: {error}")
        return None
    write_atomic(path, encode(kept) + b"\n")
    return kept.reach
