"""How a task's tests are run and their results read: our pytest reporter, junit XML, or a log parser of SWE-bench's.

`test_format` of a task: `pytest`; `junit` (the command writes the XML file named after a colon, `junit:report.xml`);
`swebench:NAME`, a repository (`sympy/sympy`) or parser (`parse_log_sympy`) of the `swebench` package. Junit files and
logs can be forged by the code under test more easily than our report: canaries still see it, and evaluations from a
log are flagged `log_parsed`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import posixpath
import re
import secrets
import shlex
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from forager.errors import UsageError
from forager.evaluate.testrun import OUTPUT_LIMIT, TestRun, clean, file_of, parse_command, run_tests
from forager.evaluate.trust import patch_paths
from forager.records import Task
from forager.sandbox import Sandbox
from forager.sandbox.control import quote

LOG_LIMIT = 32 * 1024**2
"""Bytes of output that a log parser reads."""
XML_LIMIT = 32 * 1024**2

_STATUS = {"PASSED": "passed", "FAILED": "failed", "ERROR": "error", "SKIPPED": "skipped", "XFAIL": "xfailed"}

Parser = Callable[[str], dict[str, str]]


async def run_listed(
    sandbox: Sandbox,
    task: Task,
    tests: Sequence[str],
    timeout: float,
    *,
    only: bool = False,
    shuffle: int | None = None,
) -> TestRun:
    """Run what holds these tests of `task`, in its format. `only` leaves out other tests, `shuffle` is the seed of
    another order; pytest's only.

    Raises `UsageError` for a format or command that is not understood; see `problem_with_format`.
    """
    if task.test_format == "pytest":
        return await run_tests(
            sandbox,
            workdir=task.workdir,
            test_command=task.test_command,
            tests=tests,
            timeout=timeout,
            as_arguments=task.source == "swebench",
            only=only,
            shuffle=shuffle,
        )
    if task.test_format.startswith("junit:"):
        return await _run_junit(sandbox, task, timeout)
    return await _run_logged(sandbox, task, timeout)


def problem_with_format(task: Task) -> str:
    """Why the tests of this task can't be run or read here; empty when they can."""
    kind, _, name = task.test_format.partition(":")
    try:
        if task.test_format == "pytest":
            parse_command(task.test_command)
        elif kind == "swebench" and name:
            _parser(name)
        elif kind != "junit" or not name or posixpath.isabs(name) or ".." in name.split("/"):
            return (
                f"test format {task.test_format!r} is not known; known: pytest, junit:FILE (inside the working "
                "directory), swebench:REPOSITORY"
            )
    except UsageError as error:
        return str(error)
    return ""


def directives(task: Task) -> list[str]:
    """What SWE-bench adds to its test command: the test patch's files; for Django their module names."""
    names = sorted(path for path in patch_paths(task.test_patch) if path.endswith(".py"))
    if task.repo == "django/django":
        return [name.removesuffix(".py").removeprefix("tests/").replace("/", ".") for name in names]
    return names


def test_modules(task: Task) -> list[str]:
    """Files that may hold the tests, for formats whose ids name no file."""
    files = [file_of(test) for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS) if "::" in test]
    return list(dict.fromkeys([*files, *sorted(p for p in patch_paths(task.test_patch) if p.endswith(".py"))]))


async def _run_logged(sandbox: Sandbox, task: Task, timeout: float) -> TestRun:
    parse = _parser(task.test_format.partition(":")[2])
    log = f"/tmp/.forager-{secrets.token_hex(8)}.log"
    words = " ".join(map(shlex.quote, directives(task)))
    ran = await sandbox.run(
        f"( cd {shlex.quote(task.workdir)} || exit; export PYTHONDONTWRITEBYTECODE=1; {task.test_command} {words}\n) "
        f"2>&1 | tee {log}; (exit ${{PIPESTATUS[0]}})",
        timeout,
        OUTPUT_LIMIT,
    )
    _, data = await sandbox.control(
        f"[[ -f {log} && ! -L {log} ]] && timeout -k 1 60 head -c {LOG_LIMIT} -- {log}; rm -f -- {log}", timeout=90
    )
    text = data.decode("utf-8", "replace")
    found = await asyncio.to_thread(parse, text)
    outcomes = {clean(name): _STATUS[status] for name, status in found.items() if status in _STATUS}
    return TestRun(
        outcomes=outcomes,
        exit_code=ran.exit_code,
        timed_out=ran.timed_out,
        complete=not ran.timed_out and bool(outcomes),
        output="".join([ran.output, *(f"\n[{notice}]" for notice in ran.notices)]),
        seconds=ran.seconds,
    )


async def _run_junit(sandbox: Sandbox, task: Task, timeout: float) -> TestRun:
    path = posixpath.join(task.workdir, task.test_format.partition(":")[2])
    await sandbox.control(f"rm -rf -- {quote(path)}")
    ran = await sandbox.run(
        f"( cd {shlex.quote(task.workdir)} || exit; {task.test_command}\n)", timeout, OUTPUT_LIMIT
    )
    _, data = await sandbox.control(
        f'p={quote(path)}; [[ -f $p && ! -L $p ]] && timeout -k 1 60 head -c {XML_LIMIT} -- "$p"', timeout=90
    )
    outcomes = await asyncio.to_thread(read_junit, data)
    return TestRun(
        outcomes=outcomes or {},
        exit_code=ran.exit_code,
        timed_out=ran.timed_out,
        complete=outcomes is not None and not ran.timed_out,
        output="".join([ran.output, *(f"\n[{notice}]" for notice in ran.notices)]),
        seconds=ran.seconds,
    )


def read_junit(data: bytes) -> dict[str, str] | None:
    """`classname::name` (the name alone without a class) to outcome; None for what is no junit XML."""
    from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestCase, TestSuite

    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entities that grow
        return None
    try:
        report: Any = JUnitXml.fromstring(data)
    except (JUnitXmlError, SyntaxError, ValueError):
        return None
    outcomes: dict[str, str] = {}
    suites: list[Any] = [report]
    while suites:
        for element in suites.pop():
            if isinstance(element, TestSuite):
                suites.append(element)
            elif isinstance(element, TestCase):
                kinds = {type(result) for result in element.result}
                outcome = "passed"
                for kind, name in ((Skipped, "skipped"), (Failure, "failed"), (Error, "error")):
                    outcome = name if kind in kinds else outcome
                name = clean("::".join(part for part in (element.classname, element.name) if part))
                if name not in outcomes or outcomes[name] in ("passed", "skipped"):
                    outcomes[name] = outcome
    return outcomes


class _TestStatus(Enum):
    FAILED = "FAILED"
    PASSED = "PASSED"
    SKIPPED = "SKIPPED"
    ERROR = "ERROR"
    XFAIL = "XFAIL"


@cache
def _parser(name: str) -> Parser:
    """A log parser of the `swebench` package, by repository or by its own name.

    Its one file of parsers for Python is read by itself: importing the package would import data set and cloud
    libraries with it.
    """
    found = importlib.util.find_spec("swebench")
    folders = list(found.submodule_search_locations or ()) if found else []
    paths = [path for folder in folders if (path := Path(folder, "harness/log_parsers/python.py")).is_file()]
    if not paths:
        raise UsageError(f"log parser {name!r} is the `swebench` package's: `pip install 'swebench>=4,<5'`")
    source = re.sub(r"(?m)^from swebench\..*$", "", paths[0].read_text())
    space: dict[str, Any] = {"TestStatus": _TestStatus, "TestSpec": object, "__name__": "swebench_log_parsers"}
    exec(compile(source, str(paths[0]), "exec"), space)
    parse = space.get("MAP_REPO_TO_PARSER_PY", {}).get(name)
    if parse is None and re.fullmatch(r"parse_log_\w+", name):
        parse = space.get(name)
    if parse is None:
        raise UsageError(f"log parser {name!r}: the `swebench` package has none for it")
    return lambda log: dict(parse(log, None))
