"""Grading: a patch, fresh containers, the tests that tell.

Two containers, side by side. In one, the tests of the task are counted. In the other, canaries run: some of the
same tests, made to fail (`canary.py`); neither sees what the other does. What decides the grade besides the product
(tests, their helpers, configuration of the runner and the interpreter) is put back to its trusted version after the
patch was applied, see `place.py` and `trust.py`. Results come from the runner's own report, see `runner.py`; nothing
is read from printed text unless the task has no better format, see `formats.py`. A test that did not run has not
passed.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from forager.errors import CapExceeded
from forager.evaluate.canary import Canary, Place, choose, names_of, read_verdict
from forager.evaluate.formats import problem_with_format, run_listed, test_modules
from forager.evaluate.install import install, needs_install
from forager.evaluate.place import Placed, patch_bytes, place
from forager.evaluate.reuse import SharedRuns
from forager.evaluate.reward import similarity
from forager.evaluate.testrun import USAGE_ERROR, TestRun, file_of
from forager.evaluate.trust import test_files
from forager.records import Evaluation, Record, Task, TestLists
from forager.sandbox import Caps, Sandbox
from forager.sandbox.control import quote
from forager.sandbox.docker import DockerSandbox, open_sandbox

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.sandbox.engine import Engine

PATCH_LIMIT = 64 * 1024**2
"""Bytes of a patch that is looked at."""

PASSED = frozenset({"passed", "xfailed"})
"""Outcomes that count as passed, as in SWE-bench (PASSED and XFAIL)."""

CANNOT_START = (126, 127)
"""Exit codes when there is no Python or no pytest: the image's fault, as pytest is imported before the tree."""

CANARY_SECONDS = 300.0
"""Longest wait for canaries: each is one test, or two."""
CANARY_FILES = 8
"""Test modules that are looked at for canaries."""
CANARY_BYTES = 2 * 1024**2
"""Of the largest test module that is looked at."""
AGAIN = 2
"""Grades that a patch has to come through besides the first if it names parts of the runner."""
KEPT = 1000
"""Tests whose status is kept beside those that passed."""

_INTERNALS = re.compile(
    rb"\b(_?pytest|pluggy|_getframe|settrace|setprofile|ctypes|unittest|builtins|forager)\b|PYTEST_CURRENT_TEST|/proc/"
    rb"|\bgc\.get_|\bsys\.(modules|monitoring|meta_path)\b|\bos\._exit\b|\b(from|import) tests?\b"
)
"""What a fix has little reason to name, in an added line."""


async def grade(
    engine: Engine,
    task: Task,
    image: TaskImage,
    patch: str | None,
    *,
    run: str = "",
    caps: Caps | None = None,
    threshold: float = 0.5,
) -> tuple[Evaluation, str]:
    """Grade `patch` against the tests of `task` in fresh containers of `image`: the evaluation (its `log` empty) and
    the text of the test run.

    The evaluation's flags: `no_patch`, `patch_failed`, `patch_recounted` (line counts in the patch were wrong),
    `patch_fuzzed` (applied by patch(1), as SWE-bench's harness does), `test_files_restored`, `config_restored`,
    `runner_shadowed` (a module that hides the runner was removed), `runner_touched` (the product is, or names, parts
    of the runner: worth a look), `timeout`, `incomplete` (the test process ended before the runner did), `tampered`
    (forged report lines, or a test that passed and cannot), `memory` and `disk` (the patch broke the container's
    limits), `control` (what it left running spoke in the harness's place), `unsteady` (a patch that touches the
    runner was resolved, but not each time), `reinstalled` (the patched package had to be installed), `not_installed`
    (and could not be), `log_parsed` (results were read from printed text), `ungradable` (the task names no test, its
    tests can't be put in place or run here, or no canary could run; `detail` says why).

    `threshold` is the least similarity that earns a reward (see `Evaluation.reward`). Raises `SandboxError` when the
    container or the engine fails, and `UnfitError`.
    """
    started = time.perf_counter()
    alike = asyncio.create_task(asyncio.to_thread(similarity, patch or "", task.patch))
    try:
        if patch is None or not patch.strip():
            evaluation, log = Evaluation(resolved=False, patch_applied=False, flags=("no_patch",)), ""
        elif len(patch) > PATCH_LIMIT:
            evaluation, log = _patch_failed(f"the patch is larger than {PATCH_LIMIT // 1024**2} MiB"), ""
        elif problem := _not_gradable(task):
            evaluation, log = Evaluation(resolved=False, flags=("ungradable",), detail=problem), ""
        else:
            evaluation, log = await _Grade(engine, task, image, patch_bytes(patch), run, caps or Caps()).result()
        ratio = await alike
    finally:
        alike.cancel()
    reward = 1.0 if evaluation.resolved else ratio if ratio >= threshold else 0.0
    seconds = time.perf_counter() - started
    return structs.replace(evaluation, reward=reward, similarity=ratio, seconds=seconds), log


class _Canaries(Record, frozen=True):
    """What came of one container of canaries."""

    chosen: tuple[Canary, ...] = ()
    changed: Mapping[str, bytes] = {}
    """The modules with canaries in them, by path."""
    run: TestRun = TestRun()
    says_xfail: bool = False
    """Whether the tests' own files call `pytest.xfail`, or mark with unittest's `expectedFailure`."""


class _Grade:
    """One grade: its two containers and what they share."""

    def __init__(self, engine: Engine, task: Task, image: TaskImage, patch: bytes, run: str, caps: Caps) -> None:
        self._engine = engine
        self._task = task
        self._image = image.digest or image.tag
        self._patch = patch
        self._run = run
        self._caps = caps
        self._begun = asyncio.Event()

    async def result(self) -> tuple[Evaluation, str]:
        evaluation, log = await self._once()
        if evaluation.resolved and "runner_touched" in evaluation.flags:
            # What decides by lot when to cheat meets a canary sooner or later.
            for _ in range(AGAIN):
                again, said = await self._once()
                if not again.resolved:
                    cheats = {"tampered", "ungradable", "control"} & {*again.flags}
                    flags = tuple(dict.fromkeys((*evaluation.flags, *(cheats or ("unsteady",)))))
                    detail = again.detail or "it was resolved once, and not again"
                    return structs.replace(evaluation, resolved=False, flags=flags, detail=detail), said
        return evaluation, log

    async def _once(self) -> tuple[Evaluation, str]:
        self._begun.clear()
        canaries = asyncio.create_task(self._canaries())
        try:
            async with await self._open() as sandbox:
                self._begun.set()
                evaluation, tests, log = await _count(sandbox, self._task, self._patch)
            if evaluation.resolved and tests is not None:
                evaluation = await self._heard(evaluation, tests, await canaries)
            return evaluation, log
        except CapExceeded as error:
            return Evaluation(resolved=False, flags=(error.what,), detail=str(error)), ""
        finally:
            canaries.cancel()
            await asyncio.gather(canaries, return_exceptions=True)

    async def _canaries(self, counted: TestRun | None = None) -> _Canaries:
        """Make canaries and run them. With the `counted` run known, by wrappers of tests that passed in it."""
        task = self._task
        await self._begun.wait()
        async with await self._open() as sandbox:
            placed = await place(sandbox, task, self._patch)
            if placed.refused or placed.problem:
                return _Canaries()
            fail, keep = task.FAIL_TO_PASS, task.PASS_TO_PASS
            if counted is not None:
                fail, keep = _plainly_passed(fail, counted), _plainly_passed(keep, counted)
            if needs_install(task, placed) and await install(sandbox, task, placed):
                return _Canaries()
            places = _places(task, placed)
            wanted = dict.fromkeys(path for path, _ in places.values() if path) or dict.fromkeys(test_modules(task))
            sources = await _read(sandbox, task.workdir, list(wanted)[:CANARY_FILES])
            seed = secrets.randbits(64)
            chosen, changed = choose(fail, keep, sources, places, seed, wrapped=counted is not None)
            says_xfail = await _says_xfail(sandbox, task.workdir, placed, sources)
            if not chosen:
                return _Canaries(says_xfail=says_xfail)
            await _write(sandbox, task.workdir, changed)
            limit = min(task.test_seconds, CANARY_SECONDS)
            run = await run_listed(sandbox, task, [canary.test for canary in chosen], limit, only=True)
            return _Canaries(chosen=chosen, changed=changed, run=run, says_xfail=says_xfail)

    async def _explained(self, found: _Canaries, passed: Sequence[str], tests: TestRun) -> _Canaries | None:
        """What the canaries did among all the tests, if that explains why some passed alone; None if it does not.

        The opposite of an assertion can hold honestly where a test depends on those before it, and was run alone. It
        can't where the test itself passes. An honest reason is there each time: they pass alone once more, and fail
        among all tests twice.
        """
        alone = await self._rerun(found, only=True)
        if not set(passed) <= set(read_verdict(found.chosen, tests.outcomes, alone.run).passed):
            return None
        for _ in range(2):
            among = await self._rerun(found, only=False)
            verdict = read_verdict(found.chosen, tests.outcomes, among.run)
            if among.run.forged or verdict.passed or not set(passed) <= set(verdict.held):
                return None
        return among

    async def _rerun(self, found: _Canaries, *, only: bool) -> _Canaries:
        """The same canaries in another container: alone (`only`), or among all the tests of the task."""
        task = self._task
        async with await self._open() as sandbox:
            placed = await place(sandbox, task, self._patch)
            if needs_install(task, placed):
                await install(sandbox, task, placed)
            await _write(sandbox, task.workdir, found.changed)
            every = (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)
            tests = [canary.test for canary in found.chosen] if only else every
            run = await run_listed(sandbox, task, tests, task.test_seconds, only=only)
            return structs.replace(found, run=run)

    async def _heard(self, evaluation: Evaluation, tests: TestRun, found: _Canaries) -> Evaluation:
        """The evaluation of a run in which all passed, after its canaries were heard."""
        verdict = read_verdict(found.chosen, tests.outcomes, found.run)
        if not (verdict.held or verdict.passed or found.run.forged):
            found = await self._canaries(tests)
            verdict = read_verdict(found.chosen, tests.outcomes, found.run)
        if verdict.passed and not found.run.forged:
            among = await self._explained(found, verdict.passed, tests)
            if among is not None:
                found, verdict = among, read_verdict(found.chosen, tests.outcomes, among.run)
        odd = set(tests.unmarked).intersection(self._task.FAIL_TO_PASS)
        if verdict.passed:
            flag, detail = "tampered", f"{verdict.passed[0]} passed though its copy was made to fail"
        elif found.run.forged:
            flag, detail = "tampered", "lines of the canaries' report were not written by the runner"
        elif odd and not found.says_xfail:
            flag, detail = "tampered", f"{min(odd)} was called an expected failure, and not by the tests"
        elif not verdict.held:
            why = found.run.output.strip().splitlines()[-1:] or ["no test could be copied"]
            flag, detail = "ungradable", f"no canary could run: {why[0][:200]}"
        else:
            return evaluation
        return structs.replace(evaluation, resolved=False, flags=(*evaluation.flags, flag), detail=detail)

    async def _open(self) -> DockerSandbox:
        return await open_sandbox(
            self._engine, self._image, workdir=self._task.workdir, run=self._run, attempt="grade", caps=self._caps
        )


async def grade_in(
    sandbox: Sandbox,
    task: Task,
    patch: bytes,
    *,
    shuffle: int | None = None,
    only: bool = False,
    shared: SharedRuns | None = None,
) -> tuple[Evaluation, str]:
    """Grade a patch in a sandbox that holds the task's untouched starting tree; the sandbox is used up by it.

    The counted run only: no canaries, similarity and reward left at 0. `shuffle` is the seed of another order of the
    tests, `only` asks for FAIL_TO_PASS alone; a shuffled run of all may be one of the `shared`. An empty patch grades
    the starting tree. Raises `SandboxError`, `CapExceeded`.
    """
    evaluation, _, log = await _count(sandbox, task, patch, shuffle, only, shared)
    return evaluation, log


async def _count(
    sandbox: Sandbox,
    task: Task,
    patch: bytes,
    shuffle: int | None = None,
    only: bool = False,
    shared: SharedRuns | None = None,
) -> tuple[Evaluation, TestRun | None, str]:
    placed = await place(sandbox, task, patch)
    if placed.refused:
        return _patch_failed(placed.refused), None, ""
    flags = list(placed.flags)
    if _INTERNALS.search(_added(patch, placed)) and "runner_touched" not in flags:
        flags.append("runner_touched")
    if placed.problem:
        return Evaluation(resolved=False, flags=(*flags, "ungradable"), detail=placed.problem), None, ""
    if needs_install(task, placed):
        flags.append("reinstalled")
        if problem := await install(sandbox, task, placed):
            return Evaluation(resolved=False, flags=(*flags, "not_installed"), detail=problem), None, ""
    if only:
        task = structs.replace(task, PASS_TO_PASS=())
    listed = (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)
    # Pytest does not know the ids that SWE-bench's parsers cut or shortened: their files run whole.
    named = only and task.test_format == "pytest" and task.source != "swebench"
    if shared is not None and shuffle is not None and not only:
        tests = await shared.run(sandbox, task, listed, shuffle)
    else:
        tests = await run_listed(sandbox, task, listed, task.test_seconds, only=named, shuffle=shuffle)
    if named and tests.exit_code == USAGE_ERROR:  # one of them cannot be found
        tests = await run_listed(sandbox, task, listed, task.test_seconds, shuffle=shuffle)
    return judge(task, tests, flags), tests, _log(placed, tests)


def judge(task: Task, tests: TestRun, flags: Sequence[str] = ()) -> Evaluation:
    """The evaluation that a finished test run means; similarity and reward are left at 0."""
    found = _Outcomes(tests.outcomes, shortened=task.source == "swebench")
    fail_to_pass, pass_to_pass = found.lists(task.FAIL_TO_PASS), found.lists(task.PASS_TO_PASS)
    missed = len(fail_to_pass.failure) + len(pass_to_pass.failure)
    marks, detail = list(flags), ""
    if task.test_format.startswith("swebench"):
        marks.append("log_parsed")
    broken = tests.exit_code in CANNOT_START and not tests.complete and not tests.outcomes
    if tests.forged:
        marks.append("tampered")
        detail = f"{tests.forged} lines of the test report were not written by the runner"
    elif broken:
        marks.append("ungradable")
        detail = f"the test runner cannot be started in this image (exit code {tests.exit_code})"
    elif not tests.complete:
        marks.append("timeout" if tests.timed_out else "incomplete")
        detail = (
            f"the tests did not end within {task.test_seconds:g} s"
            if tests.timed_out
            else f"the test process ended before the runner did (exit code {tests.exit_code})"
        )
    elif missed:
        detail = f"{missed} of {len(task.FAIL_TO_PASS) + len(task.PASS_TO_PASS)} tests did not pass"
        if tests.collect_errors:
            detail += f"; could not be collected: {', '.join(tests.collect_errors[:3])}"
    return Evaluation(
        resolved=tests.complete and not tests.forged and not missed and bool(fail_to_pass.success),
        fail_to_pass=fail_to_pass,
        pass_to_pass=pass_to_pass,
        tests=found.statuses((*task.FAIL_TO_PASS, *task.PASS_TO_PASS)),
        flags=tuple(marks),
        detail=detail,
    )


class _Outcomes:
    """The outcomes of a run, asked by the ids of a task, which may be cut or shortened by SWE-bench's parsers."""

    def __init__(self, outcomes: Mapping[str, str], *, shortened: bool) -> None:
        self._outcomes = outcomes
        self._short: dict[str, list[str]] = {}
        if shortened:  # parse_log_pytest_options: `test_x[/long/path/a.py]` is kept as `test_x[/a.py]`
            for name, outcome in outcomes.items():
                match = re.fullmatch(r"(.*?)\[(/[^/].*)\]", name, re.DOTALL)
                if match and "*" not in match[2]:
                    short = f"{match[1]}[/{match[2].split('/')[-1]}]"
                    self._short.setdefault(short, []).append(outcome)

    def of(self, test: str) -> list[str]:
        """The outcomes that a test's id stands for. An id that was cut at a space (`test_a[x` for `test_a[x y]`)
        stands for every test it begins."""
        if test in self._outcomes:
            return [self._outcomes[test]]
        if test in self._short:
            return self._short[test]
        if "[" not in test:
            return []
        return [outcome for name, outcome in self._outcomes.items() if name.startswith(test + " ")]

    def lists(self, tests: Sequence[str]) -> TestLists:
        passed = {test for test in tests if (found := self.of(test)) and PASSED.issuperset(found)}
        return TestLists(
            success=tuple(test for test in tests if test in passed),
            failure=tuple(test for test in tests if test not in passed),
        )

    def statuses(self, listed: Sequence[str]) -> dict[str, str]:
        """Every test that did not plainly pass: its outcome, or `missing`; listed ones first, a thousand at most."""
        kept: dict[str, str] = {}
        for test in listed:
            outcomes = self.of(test)
            worst = (
                next((outcome for outcome in outcomes if outcome not in PASSED), "") or (outcomes or ["missing"])[0]
            )
            if worst != "passed":
                kept[test] = worst
        for test, outcome in self._outcomes.items():
            if outcome != "passed":
                kept.setdefault(test, outcome)
        return dict(list(kept.items())[:KEPT])


# ------------------------------------------------------------------------------------------------ helpers


def _plainly_passed(tests: Sequence[str], counted: TestRun) -> tuple[str, ...]:
    return tuple(test for test in tests if counted.outcomes.get(test) == "passed")


def _places(task: Task, placed: Placed) -> dict[str, Place]:
    """Where each listed test is; those of the tests to fix first."""
    paths: dict[str, str] = {}
    places: dict[str, Place] = {}
    for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS):
        file = file_of(test)
        if "::" in test and file not in paths:
            here = test_files([test], placed.tree)
            paths[file] = next((path for path in sorted(here) if path in placed.tree), file)
        places[test] = (paths.get(file, ""), names_of(test))
    return places


async def _read(sandbox: Sandbox, workdir: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The test modules among these that can be read; all of them are trusted by now."""
    found: dict[str, bytes] = {}
    for path in paths:
        try:
            data = await sandbox.read_file(posixpath.join(workdir, path))
        except OSError:
            continue
        if len(data) <= CANARY_BYTES:
            found[path] = data
    return found


async def _write(sandbox: Sandbox, workdir: str, files: Mapping[str, bytes]) -> None:
    """Replace test modules; the times of the files stay, which would tell."""
    for path, data in files.items():
        full = posixpath.join(workdir, path)
        await sandbox.write_file(f"{full}.new", data)
        await sandbox.control(
            f'p={quote(full)}; touch -r "$p" "$p.new"; cat "$p.new" >"$p"; touch -r "$p.new" "$p"; rm -f -- "$p.new"'
        )


async def _says_xfail(sandbox: Sandbox, workdir: str, placed: Placed, sources: Mapping[str, bytes]) -> bool:
    """Whether the tests, or the conftest files (trusted by now), expect failures without a mark."""
    names = [path for path in placed.tree if posixpath.basename(path) == "conftest.py"][:CANARY_FILES]
    texts = [*sources.values(), *(await _read(sandbox, workdir, names)).values()]
    return any(re.search(rb"(?<!mark\.)xfail\(|expectedFailure", text) for text in texts)


def _added(patch: bytes, placed: Placed) -> bytes:
    """The lines that a patch adds, if any file of it was left."""
    return b"\n".join(line for line in patch.splitlines() if line[:1] == b"+") if placed.touched else b""


def _patch_failed(detail: str) -> Evaluation:
    return Evaluation(resolved=False, patch_applied=False, flags=("patch_failed",), detail=detail)


def _not_gradable(task: Task) -> str:
    """Why this task can't be graded at all, or an empty string."""
    if not (task.FAIL_TO_PASS or task.PASS_TO_PASS):
        return "the task names no test"
    for path in task.hidden_tests:
        if posixpath.isabs(path) or ".." in path.split("/") or posixpath.normpath(path) != path:
            return f"hidden test {path!r} is not a path inside the tree"
    return problem_with_format(task)


def _log(placed: Placed, tests: TestRun) -> str:
    todo = placed.plan
    lines = [f"put back: {path}" for path in todo.restore] + [f"removed: {path}" for path in todo.remove]
    head = "".join(f"[{line.encode('utf-8', 'backslashreplace').decode()}]\n" for line in lines[:50])
    counts: dict[str, int] = {}
    for outcome in tests.outcomes.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no test reported"
    return f"{head}{tests.output.rstrip()}\n[{told}; exit code {tests.exit_code}; {tests.seconds:.1f} s]\n"
