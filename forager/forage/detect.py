"""The environment that a repository's tests need, from its own files. Nothing of it is run, and no model is asked.

The order of trust: what names tests (dependency groups, extras, tox, requirement files), then what the automation
installs for them (nox, CI), and only where there is none of that, what names development. What is missing still shows
when the tests are collected: see `extend`. What to try when all that does not do is in `ladder`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec import structs

from forager.forage import requirements
from forager.forage.missing import extend
from forager.forage.project import Project
from forager.forage.source import of_release
from forager.images.index import Sdist
from forager.records import Environment

__all__ = ["candidates", "candidates_for", "detect", "extend", "plans_for"]


def detect(sdist: Sdist) -> Environment:
    """The first choice of `candidates`. Raises `ForageError` for an archive that cannot be read."""
    return candidates(sdist)[0]


def candidates(sdist: Sdist) -> tuple[Environment, ...]:
    """`candidates_for` a release. Raises `ForageError` for an archive that cannot be read."""
    source = of_release(sdist)
    return candidates_for(source.name, source.environment, source.read())


def candidates_for(name: str, source: Environment, files: Mapping[str, bytes]) -> tuple[Environment, ...]:
    """Environments to try, best first: everything the tests ask for; the same without version bounds; pytest alone.

    The later ones are for when the first does not resolve or build; `ladder` knows more of them. `name` is the
    project's, `source` says where it comes from, `files` are its own by path. `packages` are requirement strings, not
    pinned yet: `images.environment.freeze` pins them once they are installed.
    """
    return plans_for(Project(name, files), source)


def plans_for(project: Project, source: Environment) -> tuple[Environment, ...]:
    """`candidates_for` a project whose files have been read."""
    runtime, tests = project.runtime(), project.tests()
    plans = [
        requirements.merged([tests, runtime, project.plugins(), ["pytest"]]),
        requirements.merged([map(requirements.unpinned, tests), runtime, project.plugins(), ["pytest"]]),
        requirements.merged([runtime, ["pytest"]]),
    ]
    declared = structs.replace(
        source,
        python=project.python(),
        system=tuple(sorted({*project.system(), *project.automation.said.system})),
        env={**source.env, **variables(project)},
    )
    return tuple(structs.replace(declared, packages=packages) for packages in dict.fromkeys(plans))


def variables(project: Project) -> dict[str, str]:
    """The variables that the automation gives to its tests, pytest's options among them as `PYTEST_ADDOPTS`."""
    said, settings = project.automation.said, project.pytest_settings
    words = list(said.options)
    there = [path for path in said.paths if any(f == path or f.startswith(f"{path}/") for f in project.tree)]
    if there and len(there) == len(said.paths) and not said.whole and not settings.get("testpaths"):
        words += ["-o", f"testpaths={' '.join(there)}"]
    return {**project.automation.env, **({"PYTEST_ADDOPTS": shlex.join(words)} if words else {})}
