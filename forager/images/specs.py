"""Environment specifications: what tasks run in, written down in TOML.

    [[environment]]
    repo = "pallets/flask"
    versions = ">=2.2,<4"                    # of the task's `version`; a specifier, or a list; left out: any
    python = "3.11"                          # or `image`, to build on another image
    system = ["libxml2-dev"]                 # Debian packages
    requirements = ["requirements/dev.txt"]  # files of the repository, at the commit that the version goes by
    packages = ["pytest"]                    # Python requirements
    pins = ["click==8.1.3"]                  # requirements installed after those, whatever they asked for
    prepare = "sed -i s/a/b/ setup.py"       # before the install; undone in tracked files after it
    install = "python -m pip install -e ."
    test_command = "python -m pytest"
    parser = "pytest"                        # how results are read: the task's `test_format`
    [environment.env]
    LANG = "C.UTF-8"

    [instances.pallets__flask-5014]          # any of these keys, for one instance
    pins = ["click==8.1.3", "werkzeug==2.3.7"]

The first entry that fits counts. `extends = "swebench"` starts from what the `swebench` package says. Where no entry
fits, Forager's own `tasks/swebench.toml` is looked at, and then that package, if it is installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from forager.errors import UsageError
from forager.images import swebench_specs
from forager.records import Record, Task

FILE = "environments.toml"
"""Looked for next to a task set."""


class Spec(Record, frozen=True, forbid_unknown_fields=True):
    """What one environment is made of; the keys of the TOML file. A key that is None says nothing."""

    source: str | None = None
    """Where the repository comes from, if not from GitHub under its name: an address or a path."""
    image: str | None = None
    python: str | None = None
    system: tuple[str, ...] | None = None
    requirements: tuple[str, ...] | None = None
    """Files of the repository with requirements (or a conda `environment.yml`); the first that is there counts."""
    packages: tuple[str, ...] | None = None
    pins: tuple[str, ...] | None = None
    prepare: str | None = None
    install: str | None = None
    test_command: str | None = None
    parser: str | None = None
    env: dict[str, str] | None = None
    extends: str | None = None

    def over(self, other: Spec) -> Spec:
        """This one, and where it says nothing, the other."""
        mine = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return structs.replace(other, **mine)


class Entry(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A specification with what it is for."""

    repo: str
    versions: str | tuple[str, ...] = ()


class Specs(Record, frozen=True, forbid_unknown_fields=True):
    """A file of specifications."""

    environment: tuple[Entry, ...] = ()
    instances: dict[str, Spec] = msgspec.field(default_factory=dict)


def read_specs(path: Path) -> Specs:
    """The specifications in a TOML file. Raises `UsageError` naming the file and what is wrong in it."""
    try:
        specs = msgspec.convert(tomllib.loads(path.read_text()), Specs)
    except OSError as error:
        raise UsageError(f"cannot read environment file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path}: {error}") from None
    for spec in (*specs.environment, *specs.instances.values()):
        if spec.extends not in (None, "swebench"):
            raise UsageError(f'{path}: extends = {spec.extends!r}; it can only be "swebench"')
    for entry in specs.environment:
        if isinstance(entry.versions, str):
            try:
                SpecifierSet(entry.versions)
            except InvalidSpecifier:
                raise UsageError(
                    f'{path}: {entry.repo}: versions {entry.versions!r} is not like ">=2.2,<4"'
                ) from None
    return specs


def find_spec(task: Task, files: Sequence[Specs]) -> Spec | None:
    """What says how to build the environment of a task: of `files` the first that has it, then the `swebench`
    package; None if nothing does."""
    version = str(task.extra.get("version") or "")
    for n, specs in enumerate(files):
        own = specs.instances.get(task.instance_id, Spec())
        fitting = next((e for e in specs.environment if e.repo == task.repo and fits(e.versions, version)), None)
        if fitting is None and own == Spec():
            continue
        spec = own.over(_plain(fitting)) if fitting else own
        if spec.extends:
            below = _swebench(task)
            if below is None:
                raise UsageError(
                    f'{task.repo} {version}: extends = "swebench", which says nothing of it here; '
                    "`pip install 'forager[swebench]'`, or write the specification out"
                )
            return spec.over(below)
        if fitting is None and (below := find_spec(task, files[n + 1 :])):
            return spec.over(below)
        return spec
    return _swebench(task)


def fits(versions: str | tuple[str, ...], version: str) -> bool:
    """Whether a task's version is in a range or list; no range fits every version."""
    if not versions:
        return True
    if not isinstance(versions, str):
        return version in versions
    try:
        return SpecifierSet(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _plain(entry: Entry) -> Spec:
    return Spec(**{name: getattr(entry, name) for name in Spec.__struct_fields__})


def _swebench(task: Task) -> Spec | None:
    raw = swebench_specs.spec_of(task.repo, str(task.extra.get("version") or ""))
    return msgspec.convert(raw, Spec) if raw else None
