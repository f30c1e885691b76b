"""Grading: a patch, a fresh container, the tests that tell.

What decides the grade besides the product (tests, their helpers, configuration of the runner and the interpreter)
is put back to its trusted version after the patch was applied, see `trust.py`. Results come from the runner's own
report, see `runner.py`; nothing is read from printed text. A test that did not run has not passed.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import secrets
import tarfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from forager.errors import CapExceeded, SandboxError, UsageError
from forager.evaluate.reward import similarity
from forager.evaluate.testrun import TestRun, parse_command, run_tests
from forager.evaluate.trust import Plan, plan
from forager.records import Evaluation, Record, Task, TestLists
from forager.sandbox import Caps, Sandbox
from forager.sandbox.control import quote
from forager.sandbox.docker import open_sandbox

if TYPE_CHECKING:
    from forager.images.task import TaskImage
    from forager.sandbox.engine import Engine

PATCH_LIMIT = 64 * 1024**2
"""Bytes of a patch that is looked at."""

PASSED = frozenset({"passed", "xfailed"})
"""Outcomes that count as passed, as in SWE-bench (PASSED and XFAIL)."""

CANNOT_START = (126, 127)
"""Exit codes when there is no Python or no pytest: the image's fault, as pytest is imported before the tree."""

# git with the harness's own repository over the tree: the tree's .git, the user's and the system's settings are out.
_GIT = """
unset "${{!GIT_@}}"
export GIT_DIR=/.forager/git GIT_WORK_TREE={workdir} GIT_INDEX_FILE={scratch}.index GIT_LITERAL_PATHSPECS=1
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 HOME=/nonexistent LC_ALL=C
cd {workdir} || exit 9
"""

# Apply the patch, then say what differs: how, files changed or gone, files added, all files of the starting tree;
# items end in NUL, sections in an empty item. Exit status 1: the patch does not apply, and why.
_APPLY = """
cp -p /.forager/git/index {scratch}.index || exit 9
git update-index -q --refresh >/dev/null
git ls-files -z --others | sort -z >{scratch}.before || exit 9
how=strict
if ! git apply --whitespace=nowarn {scratch}.patch 2>{scratch}.said; then
  how=recounted
  if ! git apply --whitespace=nowarn --recount {scratch}.patch 2>/dev/null; then
    head -c 2000 {scratch}.said
    exit 1
  fi
fi
printf '%s\\0\\0' $how
git diff-files -z --name-only --ignore-submodules || exit 9
printf '\\0'
git ls-files -z --others | sort -z | comm -z -13 {scratch}.before - || exit 9
printf '\\0'
git ls-files -z
"""

# Put trusted files back. Exit status 3: what the task itself brings does not apply.
_RESTORE = """
mkdir {scratch} && tar -xf {scratch}.tar -C {scratch} || exit 9
while IFS= read -r -d '' path; do rm -rf -- "$path"; done <{scratch}/remove
git checkout-index -f -z --stdin <{scratch}/restore >/dev/null || exit 9
if [[ -s {scratch}/reference.patch ]]; then
  include=()
  while IFS= read -r -d '' path; do include+=("--include=$path"); done <{scratch}/include
  git apply --whitespace=nowarn "${{include[@]}}" {scratch}/reference.patch 2>&1 || exit 3
fi
if [[ -e {scratch}/hidden.tar ]]; then
  tar -xf {scratch}/hidden.tar --no-same-owner 2>&1 || exit 3
fi
if [[ -s {scratch}/test.patch ]]; then
  git apply --whitespace=nowarn {scratch}/test.patch 2>&1 || exit 3
fi
"""

_CLEAN_UP = "rm -rf -- {scratch} {scratch}.*"


class Applied(Record, frozen=True):
    """A patch in the tree, and how the tree now differs from the starting tree."""

    problem: str = ""
    """Why it does not apply, one line; everything else is then empty."""
    recounted: bool = False
    """It applied only after its hunks' line counts were corrected."""
    changed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    tree: frozenset[str] = frozenset()


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
    """Grade `patch` against the tests of `task` in a fresh container of `image`: the evaluation (its `log` empty) and
    the text of the test run.

    The evaluation's flags: `no_patch`, `patch_failed`, `patch_recounted` (line counts in the patch were wrong),
    `test_files_restored`, `config_restored`, `runner_shadowed` (a module that hides the runner was removed),
    `runner_touched` (the product is, or patches, the runner), `timeout`, `incomplete` (the test process ended before
    the runner did), `tampered` (forged report lines), `memory`, `disk` (the patch broke the container's limits),
    `ungradable` (the task names no test, or its tests can't be put in place or run here; `detail` says why).

    `threshold` is the least similarity that earns a reward (see `Evaluation.reward`). Raises `SandboxError` when the
    container or the engine fails, and `UnfitError`.
    """
    started = time.perf_counter()
    alike = asyncio.create_task(asyncio.to_thread(similarity, patch or "", task.patch))
    try:
        if patch is None or not patch.strip():
            evaluation, log = Evaluation(resolved=False, patch_applied=False, flags=("no_patch",)), ""
        elif problem := _not_gradable(task):
            evaluation, log = Evaluation(resolved=False, flags=("ungradable",), detail=problem), ""
        else:
            evaluation, log = await _graded(engine, task, image, patch, run, caps or Caps())
        ratio = await alike
    finally:
        alike.cancel()
    reward = 1.0 if evaluation.resolved else ratio if ratio >= threshold else 0.0
    seconds = time.perf_counter() - started
    return structs.replace(evaluation, reward=reward, similarity=ratio, seconds=seconds), log


async def _graded(
    engine: Engine, task: Task, image: TaskImage, patch: str, run: str, caps: Caps
) -> tuple[Evaluation, str]:
    data = _bytes(patch)
    if len(data) > PATCH_LIMIT:
        return _patch_failed(f"the patch is larger than {PATCH_LIMIT // 1024**2} MiB"), ""
    name = image.digest or image.tag
    async with await open_sandbox(engine, name, workdir=task.workdir, run=run, attempt="grade", caps=caps) as sandbox:
        try:
            return await grade_in(sandbox, task, data)
        except CapExceeded as error:
            return Evaluation(resolved=False, flags=(error.what,), detail=str(error)), ""


async def grade_in(sandbox: Sandbox, task: Task, patch: bytes) -> tuple[Evaluation, str]:
    """Grade a patch in a sandbox that holds the task's untouched starting tree; the sandbox is used up by it.

    Similarity and reward are left at 0. Raises `SandboxError`, `CapExceeded`.
    """
    scratch = f"/tmp/.forager-{secrets.token_hex(8)}"
    applied = await _apply(sandbox, task.workdir, scratch, patch)
    if applied.problem:
        return _patch_failed(applied.problem), ""
    todo = plan(task, applied.changed, applied.added, applied.tree)
    flags = [*todo.flags, *(["patch_recounted"] if applied.recounted else [])]
    if problem := await _restore(sandbox, task, scratch, todo):
        return Evaluation(resolved=False, flags=(*flags, "ungradable"), detail=problem), ""
    tests = await run_tests(
        sandbox,
        workdir=task.workdir,
        test_command=task.test_command,
        tests=(*task.FAIL_TO_PASS, *task.PASS_TO_PASS),
        timeout=task.test_seconds,
        as_arguments=task.source == "swebench",
    )
    return judge(task, tests, flags), _log(todo, tests)


def judge(task: Task, tests: TestRun, flags: Sequence[str] = ()) -> Evaluation:
    """The evaluation that a finished test run means; similarity and reward are left at 0."""
    fail_to_pass = _lists(task.FAIL_TO_PASS, tests.outcomes)
    pass_to_pass = _lists(task.PASS_TO_PASS, tests.outcomes)
    missed = len(fail_to_pass.failure) + len(pass_to_pass.failure)
    found, detail = list(flags), ""
    broken = tests.exit_code in CANNOT_START and not tests.complete and not tests.outcomes
    if tests.forged:
        found.append("tampered")
        detail = f"{tests.forged} lines of the test report were not written by the runner"
    elif broken:
        found.append("ungradable")
        detail = f"pytest cannot be started in this image (exit code {tests.exit_code})"
    elif not tests.complete:
        found.append("timeout" if tests.timed_out else "incomplete")
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
        flags=tuple(found),
        detail=detail,
    )


# ------------------------------------------------------------------------------------------------- steps


async def _apply(sandbox: Sandbox, workdir: str, scratch: str, patch: bytes) -> Applied:
    await sandbox.write_file(f"{scratch}.patch", patch)
    status, output = await _script(sandbox, _APPLY, workdir, scratch)
    if status == 1:
        said = output.decode("utf-8", "replace").strip().splitlines()
        return Applied(problem=(said[0] if said else "git apply refused it").removeprefix("error: ")[:300])
    if status != 0:
        raise SandboxError(f"the starting tree cannot be read in the container (status {status})")
    items = output.decode("utf-8", "surrogateescape").split("\0")
    sections: list[list[str]] = [[]]
    for item in items:
        if item or len(sections) == 4:
            sections[-1].append(item)
        else:
            sections.append([])
    how, changed, added, tree = sections[:4]
    return Applied(
        recounted=how == ["recounted"],
        changed=frozenset(changed),
        added=frozenset(added),
        tree=frozenset(tree) - {""},
    )


async def _restore(sandbox: Sandbox, task: Task, scratch: str, todo: Plan) -> str:
    """Put the trusted files in place; what is wrong with the task if that fails."""
    files = {
        "remove": _names(todo.remove),
        "restore": _names(todo.restore),
        "include": _names([_literal(path) for path in todo.from_reference]),
        "reference.patch": _bytes(task.patch) if todo.from_reference else b"",
        "test.patch": _bytes(task.test_patch),
    }
    if task.hidden_tests:
        files["hidden.tar"] = _tar({path: text.encode() for path, text in task.hidden_tests.items()})
    await sandbox.write_file(f"{scratch}.tar", _tar(files))
    status, output = await _script(sandbox, _RESTORE + _CLEAN_UP, task.workdir, scratch)
    if status == 3:
        said = output.decode("utf-8", "replace").strip().splitlines()
        return f"the task's own tests cannot be put in place: {(said or ['no reason given'])[0][:300]}"
    if status != 0:
        raise SandboxError(f"trusted files could not be put back in the container (status {status})")
    return ""


async def _script(sandbox: Sandbox, script: str, workdir: str, scratch: str) -> tuple[int, bytes]:
    return await sandbox.control((_GIT + script).format(workdir=quote(workdir), scratch=scratch), timeout=300)


def _lists(tests: Sequence[str], outcomes: Mapping[str, str]) -> TestLists:
    passed = {test for test in tests if _passed(test, outcomes)}
    return TestLists(
        success=tuple(test for test in tests if test in passed),
        failure=tuple(test for test in tests if test not in passed),
    )


def _passed(test: str, outcomes: Mapping[str, str]) -> bool:
    """Whether a test passed. An id that SWE-bench's parser cut at a space (`test_a[x` for `test_a[x y]`) stands for
    every test it begins, and all of them must pass."""
    if test in outcomes:
        return outcomes[test] in PASSED
    if "[" not in test or test.endswith("]"):
        return False
    found = [outcome for name, outcome in outcomes.items() if name.startswith(test + " ")]
    return bool(found) and all(outcome in PASSED for outcome in found)


def _patch_failed(detail: str) -> Evaluation:
    return Evaluation(resolved=False, patch_applied=False, flags=("patch_failed",), detail=detail)


def _not_gradable(task: Task) -> str:
    """Why this task can't be graded at all, or an empty string."""
    if task.test_format != "pytest":
        return f"test format {task.test_format!r} is not known; known: pytest"
    if not (task.FAIL_TO_PASS or task.PASS_TO_PASS):
        return "the task names no test"
    for path in task.hidden_tests:
        if posixpath.isabs(path) or ".." in path.split("/") or posixpath.normpath(path) != path:
            return f"hidden test {path!r} is not a path inside the tree"
    try:
        parse_command(task.test_command)
    except UsageError as error:
        return str(error)
    return ""


def _log(todo: Plan, tests: TestRun) -> str:
    lines = [f"put back: {path}" for path in todo.restore] + [f"removed: {path}" for path in todo.remove]
    head = "".join(f"[{line.encode('utf-8', 'backslashreplace').decode()}]\n" for line in lines[:50])
    counts: dict[str, int] = {}
    for outcome in tests.outcomes.values():
        counts[outcome] = counts.get(outcome, 0) + 1
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no test reported"
    return f"{head}{tests.output.rstrip()}\n[{told}; exit code {tests.exit_code}; {tests.seconds:.1f} s]\n"


def _names(paths: Sequence[str]) -> bytes:
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)


def _literal(path: str) -> str:
    """A path as a pattern that matches only itself."""
    return "".join("\\" + char if char in "*?[\\" else char for char in path)


def _bytes(patch: str) -> bytes:
    """A patch as it goes to git: with a newline at its end, whatever else it lacks."""
    data = patch.encode("utf-8", "surrogatepass")
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
