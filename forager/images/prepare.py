"""From task records to tasks that can be built: specification, repository, published image, test command.

SWE-bench's files say which commit and which tests; what to run them in comes from here, see `specs.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from forager.errors import ForageError, UsageError
from forager.images import mirrors, swebench_specs
from forager.images.published import image_name
from forager.images.requirements import conda_requirements, file_requirements
from forager.images.specs import FILE, Spec, Specs, find_spec, read_specs
from forager.packaged import folder
from forager.records import Environment, Task

Report = Callable[[str], None]


async def prepare(
    tasks: Sequence[Task],
    *,
    tasks_file: Path | None = None,
    environments: Path | None = None,
    repos: Path | None = None,
    image_template: str = "",
    report: Report | None = None,
) -> list[Task]:
    """The tasks with what they lack: an environment to build (or the name of a published image), a test command.

    Tasks that have an environment stay as they are. `repos` is a folder of local clones: those needed go into
    the cache of mirrors, so that it is not needed again. What is wrong with one task's specification or repository
    does not stop the others: it stands in its environment (`problem`), and comes out when its image is asked for.

    Raises `UsageError` for a file or folder that is wrong.
    """
    files = await asyncio.to_thread(_files, tasks_file, environments, repos)
    named = [_named(task, image_template) for task in tasks]
    found = {
        task.instance_id: find_spec(task, files) for task in named if task.environment is None and task.base_commit
    }
    sources: dict[str, _Source] = {}
    for task in named:
        if spec := found.get(task.instance_id):
            source = sources.setdefault(_address(task, spec), _Source())
            source.commits += [task.base_commit, *([_setup_commit(task)] if spec.requirements else [])]
            source.read |= bool(spec.requirements)
        elif task.environment is not None and task.environment.commit:
            sources.setdefault(task.environment.source, _Source()).commits.append(task.environment.commit)
    for address, source in sources.items():
        await source.find(address, repos, report)
    return [
        await asyncio.to_thread(_with_environment, task, found[task.instance_id], sources)
        if task.instance_id in found
        else task
        for task in named
    ]


class _Source:
    """A repository that tasks need, and its mirror as far as it is needed now."""

    def __init__(self) -> None:
        self.commits: list[str] = []
        self.read = False
        """Whether files of it have to be read now. What is only built from it is fetched when its image is."""
        self.mirror: Path | None = None
        self.absent: frozenset[str] = frozenset()
        """Commits that the mirror does not have."""
        self.problem = ""
        self.requirements: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
        """What files say at a commit: the same for all tasks of a version."""

    async def find(self, address: str, repos: Path | None, report: Report | None) -> None:
        here = repos is not None and mirrors.find_clone(repos, mirrors.name_of(address)) is not None
        if not (self.read or here):
            return
        known = [commit for commit in dict.fromkeys(self.commits) if mirrors.COMMIT.fullmatch(commit)]
        try:
            self.mirror = await mirrors.mirror(address, known, clones=repos, report=report)
            self.absent = frozenset(await asyncio.to_thread(mirrors.missing, self.mirror, known))
        except (ForageError, UsageError) as error:
            self.problem = str(error)


def _files(tasks_file: Path | None, environments: Path | None, repos: Path | None) -> list[Specs]:
    if repos is not None and not repos.is_dir():
        raise UsageError(f"--repos {repos}: there is no such folder")
    beside = tasks_file.parent / FILE if tasks_file else None
    chosen = environments or (beside if beside and beside.is_file() else None)
    return [*([read_specs(chosen)] if chosen else []), read_specs(folder("tasks") / "swebench.toml")]


def _with_environment(task: Task, spec: Spec | None, sources: dict[str, _Source]) -> Task:
    if spec is None:
        return task if task.image else _with_problem(task, _no_spec(task))
    address = _address(task, spec)
    source, mirror = sources[address], sources[address].mirror
    if source.problem:
        return _with_problem(task, f"{task.instance_id}: {source.problem}")
    try:
        if task.base_commit in source.absent:
            raise ForageError(f"base commit {task.base_commit[:12]} is not in the clone of {task.repo}")
        listed = _requirements(task, spec.requirements, source) if spec.requirements else ()
    except ForageError as error:
        return _with_problem(task, f"{task.instance_id}: {error}")
    environment = Environment(
        source=address,
        commit=task.base_commit,
        image=spec.image or "",
        python=spec.python or "",
        system=spec.system or (),
        packages=(*listed, *(spec.packages or ())),
        pins=spec.pins or (),
        prepare=spec.prepare or "",
        install=spec.install or "",
        env=spec.env or {},
    )
    prepared = structs.replace(task, environment=environment)
    if spec.test_command and task.test_command == Task.__struct_defaults__[_default("test_command")]:
        prepared = structs.replace(prepared, test_command=spec.test_command)
    if spec.parser and task.test_format == "pytest":
        prepared = structs.replace(prepared, test_format=spec.parser)
    return qualified(prepared, mirror) if prepared.test_format == "pytest" else prepared


def qualified(task: Task, mirror: Path | None = None) -> Task:
    """The task with node ids for tests that are listed by their bare name, as SWE-bench does for sympy.

    A bare name stands for that test in the files of the test patch; with several files, in those that define it.
    """
    if all("::" in test for test in (*task.FAIL_TO_PASS, *task.PASS_TO_PASS)):
        return task
    files = [
        path for path in re.findall(r"^\+\+\+ b/(.+?)\t?$", task.test_patch, re.MULTILINE) if path.endswith(".py")
    ]
    texts = {path: _text(task, mirror, path) for path in files} if len(files) > 1 else {}

    def ids(test: str) -> list[str]:
        if "::" in test or "/" in test or not re.match(r"[A-Za-z_]\w*", test):
            return [test]
        name = re.escape(test.partition("[")[0])
        places = [path for path, text in texts.items() if re.search(rf"^\+?\s*def {name}\b", text, re.MULTILINE)]
        return [f"{path}::{test}" for path in places or files[:1]] or [test]

    return structs.replace(
        task,
        FAIL_TO_PASS=tuple(dict.fromkeys(name for test in task.FAIL_TO_PASS for name in ids(test))),
        PASS_TO_PASS=tuple(dict.fromkeys(name for test in task.PASS_TO_PASS for name in ids(test))),
    )


# -------------------------------------------------------------------------------------------------- parts


def _no_spec(task: Task) -> str:
    version = task.extra.get("version")
    of = f"{task.repo} {version}" if version else task.repo
    more = "" if swebench_specs.installed() else ", or install forager[swebench] if it is one of SWE-bench's own"
    return f"{task.instance_id}: nothing says how to build {of}; add it to an {FILE} next to the tasks{more}"


def _named(task: Task, template: str) -> Task:
    return structs.replace(task, image=image_name(template, task)) if template else task


def _with_problem(task: Task, problem: str) -> Task:
    source = mirrors.address(task.repo)
    return structs.replace(task, environment=Environment(source=source, commit=task.base_commit, problem=problem))


def _address(task: Task, spec: Spec) -> str:
    return mirrors.address(spec.source or task.repo)


def _setup_commit(task: Task) -> str:
    return str(task.extra.get("environment_setup_commit") or task.base_commit)


def _requirements(task: Task, paths: tuple[str, ...], source: _Source) -> tuple[str, ...]:
    commit = _setup_commit(task)
    if commit in source.absent or not mirrors.COMMIT.fullmatch(commit):
        raise ForageError(f"environment_setup_commit {commit[:12]} is not in the clone of {task.repo}")
    if (commit, paths) not in source.requirements:
        source.requirements[commit, paths] = _read_requirements(task.repo, commit, paths, source.mirror)
    return source.requirements[commit, paths]


def _read_requirements(repo: str, commit: str, paths: tuple[str, ...], mirror: Path | None) -> tuple[str, ...]:
    def read(path: str) -> str | None:
        data = mirrors.read_file(mirror, commit, path) if mirror else None
        return None if data is None else data.decode("utf-8", "replace")

    for path in paths:
        if (text := read(path)) is not None:
            return (
                conda_requirements(text) if path.endswith((".yml", ".yaml")) else file_requirements(path, text, read)
            )
    raise ForageError(f"none of {', '.join(paths)} is in {repo} at {commit[:12]}")


def _text(task: Task, mirror: Path | None, path: str) -> str:
    data = mirrors.read_file(mirror, task.base_commit, path) if mirror else None
    part = re.search(rf"^\+\+\+ b/{re.escape(path)}.*?(?=^diff --git |\Z)", task.test_patch, re.MULTILINE | re.DOTALL)
    return (data or b"").decode("utf-8", "replace") + (part[0] if part else "")


def _default(name: str) -> int:
    return Task.__struct_fields__.index(name) - (len(Task.__struct_fields__) - len(Task.__struct_defaults__))
