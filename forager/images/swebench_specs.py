"""SWE-bench's own repositories: their specifications, read from the `swebench` package (4.x) if it is installed.

Its module of constants is read by itself: importing the package would import data set and cloud libraries with it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shlex
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from forager.errors import UsageError

_EDITABLE = "python -m pip install -e ."

_ERA = ("pip<25", "setuptools<80")
"""The tools these specifications were written for. With later ones, an editable install of a `setup.py` puts an
import hook in the place of a path, and code that looks for files along `sys.path` fails (pylint's own, for one)."""


def installed() -> bool:
    """Whether there is a `swebench` package to read."""
    return _location() is not None


def spec_of(repo: str, version: str) -> dict[str, Any] | None:
    """What the package says of a repository's version, with the keys of `specs.Spec`; None if it says nothing.

    Raises `UsageError` for a `swebench` package of another line than 4.x.
    """
    found = constants()
    if found is None:
        return None
    raw = found.MAP_REPO_VERSION_TO_SPECS_PY.get(repo, {}).get(version)
    return None if raw is None else _translated(repo, raw, found)


def _translated(repo: str, raw: dict[str, Any], constants: ModuleType) -> dict[str, Any]:
    spec: dict[str, Any] = {"python": raw.get("python"), "pins": [*_ERA, *(raw.get("pip_packages") or ())]}
    packages = str(raw.get("packages") or "")
    if packages == "requirements.txt":
        spec["requirements"] = list(constants.MAP_REPO_TO_REQS_PATHS.get(repo) or [packages])
    elif packages == "environment.yml":
        spec["requirements"] = list(constants.MAP_REPO_TO_ENV_YML_PATHS.get(repo) or [packages])
    else:
        spec["packages"] = shlex.split(packages)
    system, prepare = _system(list(raw.get("pre_install") or ()))
    env, more = _exports(list(raw.get("eval_commands") or ()))
    spec["system"] = system
    spec["prepare"] = "\n".join([*prepare, *more])
    spec["env"] = env
    spec["install"] = _in_place(str(raw.get("install") or ""))
    command = str(raw.get("test_cmd") or "")
    if re.match(r"(pytest|tox)\b", command):  # its options are about the printed summary, which nobody reads here
        spec["test_command"], spec["parser"] = "python -m pytest", "pytest"
        if not any(re.match(r"pytest\b", name) for name in [*spec["pins"], *spec.get("packages", ())]):
            spec["packages"] = [*spec.get("packages", ()), *([] if repo == "pytest-dev/pytest" else ["pytest"])]
    elif command:
        spec["test_command"], spec["parser"] = command, f"swebench:{repo}"
    return {key: value for key, value in spec.items() if value}


def _system(commands: list[str]) -> tuple[list[str], list[str]]:
    """The Debian packages that commands install, for the layer that all instances share; and the other commands."""
    packages: list[str] = []
    others: list[str] = []
    for command in commands:
        if found := re.search(r"apt-get (?:-y )?install (?:-y )?([^&|;]+)$", command):
            packages += [word for word in found[1].split() if not word.startswith("-")]
        else:
            others.append(command)
    return packages, others


def _exports(commands: list[str]) -> tuple[dict[str, str], list[str]]:
    """The variables that commands export, and the other commands."""
    env: dict[str, str] = {}
    others: list[str] = []
    for command in commands:
        if found := re.fullmatch(r"export (\w+)=(\S*)", command.strip()):
            env[found[1]] = found[2].strip("'\"")
        else:
            others.append(command)
    return env, others


def _in_place(command: str) -> str:
    """The install command, in place: a copy elsewhere would not follow what a patch changes."""
    if re.fullmatch(r"python -m pip install \.|python setup\.py install", command.strip()):
        return _EDITABLE
    return command


@cache
def constants() -> ModuleType | None:
    """The package's module of constants; None without the package. Raises `UsageError` for another line than 4.x."""
    package = _location()
    if package is None:
        return None
    version = importlib.metadata.version("swebench")
    if not version.startswith("4."):
        raise UsageError(
            f"swebench {version} is installed; Forager reads the 4.x line: `pip install 'swebench>=4,<5'`"
        )
    spec = importlib.util.spec_from_file_location(
        "forager_swebench_constants", package / "harness/constants/python.py"
    )
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _location() -> Path | None:
    spec = importlib.util.find_spec("swebench")
    return Path(spec.origin).parent if spec is not None and spec.origin else None
