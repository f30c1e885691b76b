"""Running a repository's tests in a sandbox, with results that are the runner's own and not its printed text.

The run is done by `runner.py` (see there), the report is read here. It comes out of a container that runs hostile
code: every line is checked, and what does not check out is refused and counted.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from forager.errors import UsageError
from forager.records import Record
from forager.sandbox import CommandResult, Sandbox

OUTPUT_LIMIT = 256 * 1024
"""Bytes kept of what a test run prints."""
REPORT_LIMIT = 128 * 1024**2
"""Bytes read of a report; about half a million tests."""
FAILURES = 50
"""Failures whose text is kept. Of the others the runner leaves the traceback out, which takes longer to put together
than most tests take to run."""
TEXT_LIMIT = 4100
"""Characters of one failure's text (the runner cuts at 4,000)."""

OPTIONS = ("--color=no", "--tb=short", "--continue-on-collection-errors", "--maxfail=0")
"""Added to every run, after the suite's own options: what every pytest knows and what hides no result. The suite's
own choice of tests (`-m`, `-k`, `testpaths` in its configuration) stays: it is part of how the project is tested, and
grading uses the configuration of the starting tree."""

OUTCOMES = frozenset({"passed", "failed", "error", "skipped", "xfailed", "xpassed"})
_WORST = ("xfailed", "skipped", "xpassed", "passed", "error", "failed")
USAGE_ERROR = 4
"""Pytest's exit code when it cannot make sense of its options, import a conftest, or find a test that it was given by
name; it then runs none."""
_SOURCE = Path(__file__).with_name("runner.py")


class TestRun(Record, frozen=True):
    """What one run of the tests gave."""

    __test__: ClassVar[bool] = False

    outcomes: dict[str, str] = msgspec.field(default_factory=dict)
    """Node id to passed, failed, error, skipped, xfailed or xpassed. A test that is not here did not run."""
    durations: dict[str, float] = msgspec.field(default_factory=dict)
    """Node id to the seconds of its setup, call and teardown, as the runner says."""
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    """Node id to the failure's text, for the first of the tests that failed and modules that could not be
    collected: `FAILURES` at most, none where none were asked for."""
    collect_errors: tuple[str, ...] = ()
    """Node ids of what could not be collected, usually files."""
    unmarked: tuple[str, ...] = ()
    """Node ids of tests that were expected to fail though no mark said so: something called `pytest.xfail`."""
    exit_code: int | None = None
    timed_out: bool = False
    complete: bool = False
    """Whether the runner reached its end. False after `os._exit`, a crash, a kill, a usage error."""
    forged: int = 0
    """Lines of the report that the runner did not write."""
    output: str = ""
    """What the run printed, head and tail."""
    seconds: float = 0.0


class PytestCommand(Record, frozen=True):
    """A test command, taken apart."""

    assignments: tuple[str, ...]
    """`NAME=value`"""
    interpreter: tuple[str, ...]
    """Words that start Python; empty when the command is `pytest` itself."""
    arguments: tuple[str, ...]


def parse_command(command: str) -> PytestCommand:
    """The parts of `[NAME=value ...] pytest ...` or `[NAME=value ...] PYTHON [options] -m pytest ...`.

    Raises `UsageError` for anything else.
    """
    wrong = UsageError(
        f"test command {command!r} is not understood: "
        "it has to be `pytest ...` or `python -m pytest ...`, options allowed, one command"
    )
    try:
        words = shlex.split(command)
    except ValueError:
        raise wrong from None
    split = next((n for n, word in enumerate(words) if not re.match(r"[A-Za-z_]\w*=", word)), len(words))
    assignments, words = words[:split], words[split:]
    if not words or re.search(r"[;&|<>`\n]|\$\(", command):
        raise wrong
    program = words[0].rpartition("/")[2]
    if program in ("pytest", "py.test"):
        return PytestCommand(assignments=tuple(assignments), interpreter=(), arguments=tuple(words[1:]))
    if re.fullmatch(r"(python|pypy)[\d.]*", program):
        for n in range(1, len(words) - 1):
            if words[n] == "-m" and words[n + 1] in ("pytest", "py.test"):
                return PytestCommand(
                    assignments=tuple(assignments), interpreter=tuple(words[:n]), arguments=tuple(words[n + 2 :])
                )
    raise wrong


def file_of(test: str) -> str:
    """The file part of a node id, as written."""
    return test.partition("::")[0]


async def run_tests(
    sandbox: Sandbox,
    *,
    workdir: str,
    test_command: str = "python -m pytest",
    tests: Sequence[str] = (),
    timeout: float,
    args: Sequence[str] = (),
    only: bool = False,
    as_arguments: bool = False,
    shuffle: int | None = None,
    most_failing: int = 0,
    texts: int = FAILURES,
) -> TestRun:
    """Run the files that hold `tests` (node ids or files), or the whole suite when there are none.

    A file or test that does not exist is simply not in the outcomes. `only` leaves out the other tests of these
    files; an id without parameters stands for all of them. `as_arguments` names the files on pytest's command line,
    as SWE-bench does, so that pytest looks for its configuration from there; without it configuration and ids are
    those of the whole suite.
    `shuffle` is the seed of another order of modules, and of the tests in each (not under xdist).
    `args` are further pytest options. `timeout` in seconds; the run also ends when `most_failing` tests have failed,
    unless that is 0. `texts` is how many failures are told with their text.

    Raises `UsageError` for a command that is not pytest's, `SandboxError` when the container is gone.
    """
    command = parse_command(test_command)
    asked = {
        "workdir": workdir,
        "arguments": (*command.arguments, *args, *OPTIONS),
        **selection(tests, only=only),
        "as_arguments": as_arguments,
        "shuffle": shuffle,
        "most_failing": most_failing,
        "texts": texts,
    }
    run = TestRun()
    # Second try: a suite whose own options clash with ours (`-p no:cov` in its configuration, say).
    for extras in (True, False):
        run = await _run(sandbox, command, {**asked, "extras": extras}, timeout)
        if run.complete or run.exit_code != USAGE_ERROR:
            break
    return run


def selection(tests: Sequence[str], *, only: bool) -> dict[str, list[str]]:
    """What a job for the runner says of these tests: their files, and, with `only`, the tests themselves."""
    return {
        "files": list(dict.fromkeys(map(file_of, tests))),
        "only": list(dict.fromkeys(test for test in tests if "::" in test)) if only else [],
    }


async def _run(sandbox: Sandbox, command: PytestCommand, asked: Mapping[str, Any], timeout: float) -> TestRun:
    folder, cache = new_places(asked["arguments"])
    key = secrets.token_bytes(32)
    job = {**asked, "key": key.hex(), "cache": cache}
    try:
        ran = await start_runner(sandbox, command, job, folder, timeout)
    finally:
        report = await read_left(sandbox, f"{folder}/report", REPORT_LIMIT)
        await sandbox.control(f"rm -rf -- {folder} {cache}")
    return read_report(report, key, ran)


def new_places(arguments: Sequence[str]) -> tuple[str, str]:
    """Where a job and pytest's cache go in a sandbox; the second is empty where these arguments want no cache."""
    cache = "" if "no:cacheprovider" in " ".join(arguments) else f"/tmp/.pytest-cache-{secrets.token_hex(8)}"
    return f"/tmp/.forager-{secrets.token_hex(8)}", cache


async def start_runner(
    sandbox: Sandbox, command: PytestCommand, job: Mapping[str, Any], folder: str, timeout: float
) -> CommandResult:
    """Do a job in a new folder of the sandbox, where what the runner reports is found afterwards."""
    await sandbox.control(f"umask 0; mkdir {folder}")
    await sandbox.write_file(f"{folder}/runner.py", _SOURCE.read_bytes())
    await sandbox.write_file(f"{folder}/job.json", json.dumps(job).encode())
    return await sandbox.run(_shell_command(command, job["workdir"], folder), timeout, OUTPUT_LIMIT)


async def read_left(sandbox: Sandbox, path: str, most: int) -> bytes:
    """Up to `most` bytes of a file that code under test has had in its reach: by now it may be anything, a pipe, a
    link, endless, or nothing."""
    script = f"r={path}; if [[ -f $r && ! -L $r ]]; then timeout -k 1 60 head -c {most} -- $r; fi"
    return (await sandbox.control(script, timeout=90, limit=most))[1]


def _shell_command(command: PytestCommand, workdir: str, folder: str) -> str:
    """The bash command that starts the runner, in a subshell so that nothing of it stays in the session."""
    lines = [f"cd {shlex.quote(workdir)} || exit", "export PYTHONDONTWRITEBYTECODE=1"]
    for assignment in command.assignments:
        name, _, value = assignment.partition("=")
        lines.append(f"export {name}={shlex.quote(value)}")
    if command.interpreter:
        lines.append(f"exec {shlex.join(command.interpreter)} {folder}/runner.py")
    else:  # `pytest`: the Python that its script names, and the script's folder on the path as it would be
        lines += [
            "script=$(command -v pytest) || { echo 'pytest: command not found'; exit 127; }",
            "IFS= read -r first <\"$script\"; python=${first#'#!'}; python=${python# }",
            '[[ $first == "#!"/* && -x $python ]] || python=python',
            f'exec "$python" {folder}/runner.py "$script"',
        ]
    return "(\n" + "\n".join(lines) + "\n)"


def read_report(report: bytes, key: bytes, ran: CommandResult) -> TestRun:
    """The run that a report tells of. Lines that `key` did not sign, or out of order, are refused and counted."""
    outcomes: dict[str, str] = {}
    durations: dict[str, float] = {}
    failures: dict[str, str] = {}
    collect_errors: dict[str, None] = {}
    unmarked: dict[str, None] = {}
    complete, forged, expected = False, 0, 0
    *lines, _torn = report.split(b"\n")
    for line in lines:
        fields = _authentic(line, key, expected)
        if fields is None:
            forged += 1
            continue
        expected += 1
        if "end" in fields:
            complete = True
            continue
        kind = "collect" if "collect" in fields else "test"
        name, outcome = clean(str(fields.get(kind, ""))), fields.get("outcome")
        if outcome not in OUTCOMES:
            forged += 1
            continue
        if kind == "collect":
            collect_errors[name] = None
        elif name not in outcomes or _WORST.index(outcome) > _WORST.index(outcomes[name]):
            outcomes[name] = outcome
        if kind == "test" and isinstance(seconds := fields.get("seconds"), float):
            durations[name] = seconds
        if "unmarked" in fields:
            unmarked[name] = None
        if "text" in fields and len(failures) < FAILURES:
            failures[name] = clean(str(fields["text"])[:TEXT_LIMIT])
    return TestRun(
        outcomes=outcomes,
        durations=durations,
        failures=failures,
        collect_errors=tuple(collect_errors),
        unmarked=tuple(unmarked),
        exit_code=ran.exit_code,
        timed_out=ran.timed_out,
        complete=complete,
        forged=forged,
        output="".join([ran.output, *(f"\n[{notice}]" for notice in ran.notices)]),
        seconds=ran.seconds,
    )


def _authentic(line: bytes, key: bytes, number: int) -> dict[str, Any] | None:
    mac, _, payload = line.partition(b" ")
    wanted = hashlib.sha256(key + hashlib.sha256(key + payload).digest()).hexdigest()
    if not secrets.compare_digest(mac, wanted.encode()):
        return None
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):  # the key was found out
        return None
    return fields if isinstance(fields, dict) and fields.get("n") == number else None


def clean(text: str) -> str:
    """`text` with lone surrogates written out, so that it can be stored as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
