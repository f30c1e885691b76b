"""Why a repository became no tasks, as one of a few stable words, for counting: the reason's line is for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from forager.errors import BuildError, CapExceeded, ForageError, InfrastructureError
from forager.evaluate.testrun import TestRun

Failure = Literal[
    "",
    "infrastructure",
    "not_found",
    "same_release",
    "too_large",
    "unreadable",
    "no_history",
    "no_tests",
    "no_code",
    "no_python",
    "no_dependencies",
    "needs_compiler",
    "needs_library",
    "not_built",
    "build_hangs",
    "needs_network",
    "needs_service",
    "needs_rights",
    "needs_submodules",
    "needs_large_files",
    "not_collected",
    "not_started",
    "hangs",
    "breaks_off",
    "breaks_container",
    "fails",
    "unstable",
    "no_environment",
]
"""`infrastructure`: not the repository's fault, it is tried again; `no_dependencies`: what it asks for cannot be
installed; `needs_service`: a database or another server; `needs_rights`: more than a container gives;
`needs_large_files`: files that git LFS keeps elsewhere; `breaks_off`: the runner does not reach its end;
`breaks_container`: memory, processes or disk used up; `unstable`: no test passes each time; `no_environment`: an
agent found none either."""

_BY_STAGE: dict[str, Failure] = {
    "fetch": "not_found",
    "detect": "unreadable",
    "build": "not_built",
    "baseline": "fails",
    "explore": "no_environment",
    "mine": "no_history",
}

_BUILDS: tuple[tuple[Failure, str], ...] = (
    ("build_hangs", r"not built within"),
    ("no_python", r"no Python \d|no virtual environment of Python|current Python version .* does not satisfy Python"),
    (
        "needs_compiler",
        r"command '?\S*(gcc|g\+\+|cc|clang|gfortran)'? failed: No such file|unable to execute '?\S*(gcc|cc|g\+\+)'?:"
        r"|Unknown compiler|No CMAKE_\w+_COMPILER|Rust (compiler|toolchain)|rustc.* not (found|installed)"
        r"|cargo.* not (found|installed)|can't find Rust|(cmake|CMake|ninja|swig|go|nvcc|make)\b.{0,40}"
        r"(not found|No such file|must be installed|executable does not exist)|No Fortran compiler"
        r"|No such file or directory: '[A-Za-z][\w+-]*'",  # a program, looked for on the path
    ),
    (
        "needs_library",
        r"fatal error: \S+\.h: No such file|cannot find -l\w+|pkg-config|pg_config|\w+-config.{0,30}not found",
    ),
    ("no_dependencies", r"No solution found when resolving|not found in the package registry|has no wheels with"),
)

_RUNS: tuple[tuple[Failure, str], ...] = (
    (
        "needs_service",
        r"Connection refused|ECONNREFUSED|could not connect to server|connection to server at|OperationalError"
        r"|ServerSelectionTimeoutError|Can't connect to (local )?(MySQL|server)|redis\S*ConnectionError"
        r"|No such file or directory: '?(psql|mysqld|redis-server|mongod|docker|postgres)|docker\.errors"
        r"|Cannot connect to the Docker daemon",
    ),
    (
        "needs_network",
        r"gaierror|Name or service not known|name resolution|Network is unreachable|Max retries exceeded"
        r"|urlopen error|NewConnectionError|NameResolutionError|ConnectTimeout|Cannot connect to host"
        r"|No route to host|ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED)|Could not resolve host",
    ),
    ("needs_large_files", r"git-lfs\.github\.com/spec"),
    ("needs_rights", r"PermissionError|Operation not permitted|must be (run as )?root|requires root|EPERM|not root"),
)

_MODULES = re.compile(r"^\s*path\s*=\s*(\S+)\s*$", re.MULTILINE)


class Classified(ForageError):
    """A `ForageError` that says which failure it is."""

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message)
        self.failure = failure


def classify(error: Exception, stage: str) -> Failure:
    """The word for what stopped a repository at a stage."""
    if isinstance(error, InfrastructureError):
        return "infrastructure"
    if isinstance(error, CapExceeded):
        return "breaks_container"
    if isinstance(error, BuildError):
        return of_build(error)
    if isinstance(error, Classified):
        return error.failure
    if re.search(r"; refused$", str(error)) and re.search(r"more than|larger than", str(error)):
        return "too_large"
    return _BY_STAGE.get(stage, "fails")


def reason_of(error: Exception) -> str:
    """One line for people: what happened, without the tag of the image that could not be built."""
    log = error.log if isinstance(error, BuildError) else ""
    if found := re.search(r"^.{0,300}\bfatal error: .{1,300}$", log[-60_000:], re.MULTILINE):
        return found[0].strip()
    return re.sub(r"^forager/\w+:\S+: ", "", (str(error).splitlines() or ["no word"])[0])


def of_build(error: BuildError) -> Failure:
    """Why something could not be built, by its output."""
    text = f"{error}\n{error.log[-60_000:]}"
    return next((failure for failure, pattern in _BUILDS if re.search(pattern, text)), "not_built")


def of_run(run: TestRun, files: Mapping[str, bytes]) -> Failure:
    """What most failures of a run have in common; empty if nothing. `files` are the repository's."""
    texts = list(run.failures.values()) or ([run.output] if not run.outcomes else [])
    if not texts:
        return ""
    modules = _MODULES.findall(files.get(".gitmodules", b"").decode("utf-8", "replace"))
    names = "|".join(re.escape(path.rstrip("/").rpartition("/")[2]) for path in modules[:50])
    patterns = list(_RUNS)
    if names:
        patterns.insert(
            0, ("needs_submodules", rf"(No such file|No module named|cannot import|not found).*\b({names})\b")
        )
    counts = {failure: sum(bool(re.search(pattern, text)) for text in texts) for failure, pattern in patterns}
    most = max(counts, key=lambda failure: counts[failure])
    if counts[most] * 2 > len(texts):
        return most
    large = any(b"filter=lfs" in data for path, data in files.items() if path.endswith(".gitattributes"))
    pointed = r"UnpicklingError|BadZipFile|not a (gzip|zip) file|cannot identify image|JSONDecodeError|Not a gzipped"
    if large and sum(bool(re.search(pointed, text)) for text in texts) * 2 > len(texts):
        return "needs_large_files"
    return ""


WORDS: dict[Failure, str] = {
    "needs_service": "most of its tests need a database or another server",
    "needs_network": "most of its tests need the network",
    "needs_large_files": "its tests read files that git LFS keeps elsewhere",
    "needs_rights": "most of its tests need rights that a container does not give",
    "needs_submodules": "its tests need git submodules",
}
"""What to say before the error of a run."""
