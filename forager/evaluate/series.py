"""Several runs of some tests each, one after the other in one container, with other files in place each time.

A run of a few tests is mostly the start of a container and the import of pytest. A series pays for these once: see
`do_rounds` of `runner.py`. Its rounds share the container, and code under test could read what another round reports
with; so it is for finding out about code, and grading never uses it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence

import msgspec

from forager.evaluate.testrun import (
    FAILURES,
    OPTIONS,
    REPORT_LIMIT,
    TestRun,
    new_places,
    parse_command,
    read_left,
    read_report,
    selection,
    start_runner,
)
from forager.records import Record
from forager.sandbox import CommandResult, Sandbox

START = 60.0
"""Seconds for all that is not a round."""
_ENDED_LIMIT = 1024**2


class Round(Record, frozen=True):
    """One run of a series."""

    tests: tuple[str, ...]
    """Node ids of those to run; none means all."""
    files: Mapping[str, bytes]
    """By path relative to the root: what takes the place of files that are there."""
    limit: float
    """Seconds."""


class _Ended(Record, frozen=True):
    status: int | None
    seconds: float


async def run_series(
    sandbox: Sandbox,
    rounds: Sequence[Round],
    *,
    workdir: str,
    test_command: str = "python -m pytest",
    args: Sequence[str] = (),
    most_failing: int = 0,
    texts: int = FAILURES,
) -> list[TestRun]:
    """The runs of these rounds, in order; fewer, where one did not end as a run of pytest does, and none of that one
    unless it took too long. None at all where pytest itself runs on what is tested.

    `args`, `most_failing` and `texts` as in `run_tests`, for each round. Nothing that is printed is kept.
    Raises `UsageError` for a command that is not pytest's, `SandboxError` when the container is gone, `CapExceeded`
    when the tests broke its limits.
    """
    command = parse_command(test_command)
    arguments = (*command.arguments, *args, *OPTIONS)
    folder, cache = new_places(arguments)
    keys = [secrets.token_bytes(32) for _ in rounds]
    job = {
        "workdir": workdir,
        "arguments": arguments,
        "as_arguments": False,
        "shuffle": None,
        "most_failing": most_failing,
        "texts": texts,
        "cache": cache,
        "extras": True,
        "rounds": [
            {
                **selection(one.tests, only=True),
                "changes": {path: base64.b64encode(content).decode() for path, content in one.files.items()},
                "limit": one.limit,
                "key": key.hex(),
            }
            for one, key in zip(rounds, keys, strict=True)
        ],
    }
    await start_runner(sandbox, command, job, folder, START + sum(one.limit for one in rounds))
    runs: list[TestRun] = []
    lines = (await read_left(sandbox, f"{folder}/ended", _ENDED_LIMIT)).splitlines()
    for number, (line, key) in enumerate(zip(lines, keys, strict=False)):
        try:
            ended = msgspec.json.decode(line, type=_Ended)
        except msgspec.MsgspecError:
            break
        ran = CommandResult(output="", exit_code=ended.status, timed_out=ended.status is None, seconds=ended.seconds)
        run = read_report(await read_left(sandbox, f"{folder}/report-{number}", REPORT_LIMIT), key, ran)
        if not (run.complete or run.timed_out):
            break
        runs.append(run)
    return runs
