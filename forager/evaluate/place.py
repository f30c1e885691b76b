"""A patch put into the starting tree, and what decides its grade put back to the trusted version.

Everything goes through the harness's own git (`/.forager/git`): nothing in the tree, its `.git` or the user's
settings changes what is applied. Nothing of the patch runs here.
"""

from __future__ import annotations

import io
import secrets
import tarfile
import time
from collections.abc import Mapping, Sequence

from forager.errors import SandboxError
from forager.evaluate.trust import Plan, patch_paths, plan
from forager.records import Record, Task
from forager.sandbox import Sandbox
from forager.sandbox.control import quote

# git with the harness's own repository over the tree: the tree's .git, the user's and the system's settings are out.
_GIT = """
unset "${{!GIT_@}}"
export GIT_DIR=/.forager/git GIT_WORK_TREE={workdir} GIT_INDEX_FILE={scratch}.index GIT_LITERAL_PATHSPECS=1
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 HOME=/nonexistent LC_ALL=C
cd {workdir} || exit 9
"""

# Apply the patch, then say what differs: how, files changed or gone, files added, all files of the starting tree;
# items end in NUL, sections in an empty item. Exit status 1: the patch does not apply, and why.
# The last way is SWE-bench's: patch(1) with fuzz 5. It takes no other format than unified (`ed` scripts are code).
_APPLY = """
set -o pipefail
cp -p /.forager/git/index {scratch}.index || exit 9
git update-index -q --refresh >/dev/null
git ls-files -z --others | sort -z >{scratch}.before || exit 9
how=strict
if [[ -s {scratch}.patch ]] && ! git apply --whitespace=nowarn {scratch}.patch 2>{scratch}.said; then
  how=recounted
  if ! git apply --whitespace=nowarn --recount {scratch}.patch 2>/dev/null; then
    how=fuzzed
    if [[ -e {scratch}.strict ]] || grep -qE '^(GIT binary patch|Binary files )' {scratch}.patch ||
      ! command -v patch >/dev/null ||
      ! patch --batch --forward --fuzz=5 -p1 -u --no-backup-if-mismatch -r - -i {scratch}.patch >/dev/null 2>&1; then
      head -c 2000 {scratch}.said
      exit 1
    fi
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

# Say what the tree is: git's name of everything in it that is not ignored. Objects are made aside.
_TREE = """
mkdir {scratch} && cp -p /.forager/git/index {scratch}.index || exit 9
export GIT_OBJECT_DIRECTORY={scratch} GIT_ALTERNATE_OBJECT_DIRECTORIES=/.forager/git/objects
git add --all . >/dev/null || exit 9
git write-tree || exit 9
"""

_CLEAN_UP = "rm -rf -- {scratch} {scratch}.*"


class Placed(Record, frozen=True):
    """What became of a patch."""

    refused: str = ""
    """Why it does not apply, one line."""
    problem: str = ""
    """Why the task's own tests can't be put in place, one line."""
    flags: tuple[str, ...] = ()
    plan: Plan = Plan()
    tree: frozenset[str] = frozenset()
    """The files of the starting tree."""
    touched: frozenset[str] = frozenset()
    """What the patch changed or added and was left."""


class _Applied(Record, frozen=True):
    refused: str = ""
    how: str = "strict"
    changed: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    tree: frozenset[str] = frozenset()


async def place(sandbox: Sandbox, task: Task, patch: bytes) -> Placed:
    """Apply `patch` to the untouched starting tree in `sandbox`, then put back what it must not decide.

    Flags: `patch_recounted` and `patch_fuzzed` for how it applied, and those of `trust.plan`.
    Raises `SandboxError`, `CapExceeded`.
    """
    scratch = f"/tmp/.forager-{secrets.token_hex(8)}"
    applied = await _apply(sandbox, task.workdir, scratch, patch)
    if applied.refused:
        return Placed(refused=applied.refused)
    todo = plan(task, applied.changed, applied.added, applied.tree)
    flags = [*todo.flags, *([f"patch_{applied.how}"] if applied.how != "strict" else [])]
    problem = await _restore(sandbox, task, scratch, todo)
    touched = frozenset(applied.changed | applied.added) - {*todo.restore, *todo.remove}
    return Placed(problem=problem, flags=tuple(flags), plan=todo, tree=applied.tree, touched=touched)


async def tree_id(sandbox: Sandbox, workdir: str) -> str:
    """The name that git gives to what is in the working directory, ignored files left out.

    Raises `SandboxError`, `CapExceeded`.
    """
    scratch = f"/tmp/.forager-{secrets.token_hex(8)}"
    status, output = await _script(sandbox, _TREE + _CLEAN_UP, workdir, scratch)
    if status != 0:
        raise SandboxError(f"the tree cannot be read in the container (status {status})")
    return output.decode().strip()


async def _apply(sandbox: Sandbox, workdir: str, scratch: str, patch: bytes) -> _Applied:
    await sandbox.write_file(f"{scratch}.patch", patch)
    names = patch_paths(patch.decode("utf-8", "surrogateescape"))
    if any(".git" in name.lower().split("/") for name in names):  # patch(1) would write there
        await sandbox.write_file(f"{scratch}.strict", b"")
    status, output = await _script(sandbox, _APPLY, workdir, scratch)
    if status == 1:
        said = output.decode("utf-8", "replace").strip().splitlines()
        return _Applied(refused=(said[0] if said else "git apply refused it").removeprefix("error: ")[:300])
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
    return _Applied(
        how=how[0],
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
        "reference.patch": patch_bytes(task.patch) if todo.from_reference else b"",
        "test.patch": patch_bytes(task.test_patch),
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


def patch_bytes(patch: str) -> bytes:
    """A patch as it goes to git: with a newline at its end, whatever else it lacks."""
    data = patch.encode("utf-8", "surrogatepass")
    return data if not data or data.endswith(b"\n") else data + b"\n"


def _names(paths: Sequence[str]) -> bytes:
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)


def _literal(path: str) -> str:
    """A path as a pattern that matches only itself."""
    return "".join("\\" + char if char in "*?[\\" else char for char in path)


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
