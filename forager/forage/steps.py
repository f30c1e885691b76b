"""From what an agent did in a container to an environment that can be built: its actions that succeeded, in order.

What only looks or runs tests is left out. Debian packages, Python requirements and another Python go where the other
environments have theirs; the rest becomes the install script, as the agent wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from forager.forage import requirements
from forager.forage.project import BASE_PYTHON
from forager.forage.shell_lines import is_chain, parts_of, read
from forager.images.environment import VENV, WORKDIR
from forager.records import Environment, Record
from forager.sandbox.control import quote

NOTHING = ":"
"""An install command that installs nothing: an empty one means that the usual way is tried."""

_END = "FORAGER_END"


class Done(Record, frozen=True):
    """One action of an agent that succeeded."""

    command: str
    directory: str = WORKDIR
    """Where the shell was before it."""
    after: str = WORKDIR
    """And where it was then."""
    file: str = ""
    """The file that it wrote whole; empty for any other action."""


def written(path: str, content: str) -> str:
    """The command that leaves a file as it is now, whatever it was before."""
    if content and not content.endswith("\n"):
        return f"printf %s {quote(content)} >{quote(path)}"
    end = _END
    while end in content:
        end += "_"
    return f"cat >{quote(path)} <<'{end}'\n{content}{end}"


def assembled(
    start: Environment, done: Sequence[Done], variables: Mapping[str, str], last: str = ""
) -> tuple[Environment, ...]:
    """The environments that the actions stand for, best first. They begin where `start` ends.

    `variables` are what the agent's shell exports beyond what it was given. `last` is a command to end with. In the
    first environment, packages are installed as those of others are, in one go; in the second, where that makes a
    difference, by the agent's own commands. It is for packages that go in one after the other and not together.
    """
    kept = _needed([one for one in done if not looks(one.command)])
    system = list(start.system)
    packages = list(start.packages)
    python = start.python
    rest: list[Done] = []
    for one in kept:
        parts = parts_of(one.command, _looks)
        here: list[str] = []
        for text, words in parts:
            if found := debian_packages(words):
                system += found
            elif asked := python_requirements(words):
                packages = _merged(packages, asked)
            elif version := other_python(words):
                python = "" if version == BASE_PYTHON else version
            elif not words or words[0] == "cd" or not _looks(words):
                here.append(text)
        rest.append(one if len(here) == len(parts) else structs.replace(one, command=" && ".join(here)))
    rest = _needed([one for one in rest if not looks(one.command)])
    env = {**start.env, **variables}
    lifted = structs.replace(
        start,
        python=python,
        system=tuple(sorted(set(system))),
        packages=tuple(sorted(packages, key=str.lower)),
        install=script(rest, last),
        env=env,
    )
    verbatim = structs.replace(start, install=script(kept, last), env=env)
    return (lifted,) if lifted == verbatim else (lifted, verbatim)


def script(done: Iterable[Done], last: str = "") -> str:
    """A bash script that does the same again from the working directory, and ends where something fails."""
    lines: list[str] = []
    here = WORKDIR
    for one in done:
        if one.directory != here:
            lines.append(f"cd {quote(one.directory)} || exit")
        command = one.command.strip()
        lines.append(f"{command} || exit" if is_chain(command) else f"{{ {command}\n}} || exit")
        here = one.after
    return "\n".join([*lines, *([last] if last else [])]) or NOTHING


# ------------------------------------------------------------------------------------- what a command is for

_LOOKING = {
    *("ls", "cat", "head", "tail", "less", "more", "grep", "egrep", "fgrep", "rg", "pwd", "echo", "printf", "true"),
    *("test", "[", "which", "type", "whereis", "wc", "sort", "uniq", "cut", "tr", "diff", "cmp", "file"),
    *("stat", "du", "df", "free", "uname", "id", "whoami", "printenv", "date", "tree", "nl", "ps", "sleep", "nproc"),
    *("apt-cache", "dpkg-query", "ldd", "getconf", "basename", "dirname", "realpath", "readlink", "lsb_release"),
    *("cd", "column", "jq", "strings", "pytest", "py.test", "tox", "nox"),
}
"""Programs that leave everything as it is, or only run tests. (`cd`: where a command began is known.)"""
_GIT = {
    "status",
    "log",
    "diff",
    "show",
    "branch",
    "ls-files",
    "describe",
    "rev-parse",
    "grep",
    "blame",
    "remote",
    "tag",
}
_PIP = {"list", "show", "freeze", "check", "config", "debug", "index", "--version", "-V", "help", "inspect"}
_MODULES = {"pytest", "unittest", "nose", "tox", "nox", "doctest", "site", "sysconfig", "this"}
_PYTHON = re.compile(r"(?:/\S*/)?(?:python|pypy)[\d.]*")
_ACTS = re.compile(r"open\(|write|subprocess|system|shutil|install|download|makedirs|mkdir|rename|setup|compile")


def looks(command: str) -> bool:
    """Whether a command only looks, or only runs tests."""
    found = read(command)
    return found is not None and all(_looks(simple.words) for simple in found)


def _looks(words: Sequence[str]) -> bool:
    words = _program(words)
    if not words:
        return True
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "find":
        return not any(word.startswith(("-delete", "-exec", "-ok", "-fprint", "-fls")) for word in rest)
    if name in ("env", "command"):
        return not rest or rest[0] == "-v"
    if name == "sed":
        return not any(re.match(r"-[a-zA-Z]*i|--in-place", word) for word in rest)
    if name == "git":
        return bool(rest) and rest[0] in _GIT and not (rest[0] in ("branch", "remote", "tag") and len(rest) > 2)
    if name == "dpkg":
        return bool(rest) and rest[0] in ("-l", "-L", "-s", "-S", "--list", "--status", "--version")
    if name in ("apt", "apt-get"):
        return bool(rest) and rest[0] in ("list", "search", "show", "policy", "--version")
    if name == "uv" and rest[:1] == ["python"]:
        return rest[1:2] in (["list"], ["find"], ["dir"])
    if pip := _pip(words):
        return len(pip) > 1 and pip[1] in _PIP
    if _PYTHON.fullmatch(words[0]):
        if rest[:1] == ["-m"]:
            return len(rest) > 1 and rest[1] in _MODULES
        if rest[:1] == ["-c"]:
            return len(rest) > 1 and not _ACTS.search(rest[1])
        return rest in (["-V"], ["--version"])
    return name in _LOOKING or (len(rest) == 1 and rest[0] in ("--version", "--help", "-V"))


def _program(words: Sequence[str]) -> list[str]:
    """The words without assignments before the program, and without `sudo`: the agent is root."""
    rest = list(words)
    while rest and (re.match(r"[A-Za-z_]\w*=", rest[0]) or rest[0] == "sudo"):
        rest.pop(0)
    return rest


def _needed(done: Sequence[Done]) -> list[Done]:
    """Without the lists of Debian's packages, where nothing is installed from them."""
    if any(re.search(r"\bapt(-get)?\b", one.command) and not _is_update(one.command) for one in done):
        return list(done)
    return [one for one in done if not _is_update(one.command)]


def _is_update(command: str) -> bool:
    for _, words in parts_of(command, _looks):
        plain = [word for word in _program(words) if not word.startswith("-")]
        if plain not in (["apt-get", "update"], ["apt", "update"]):
            return False
    return True


_APT_OPTIONS = re.compile(
    r"-y|-q+|-qy|-yq+|--yes|--assume-yes|--quiet|--no-install-(recommends|suggests)|--fix-missing"
)


def debian_packages(words: Sequence[str]) -> list[str]:
    """The packages of an `apt-get install` that says nothing more; else none."""
    if any(re.match(r"\w+=", word) and not word.startswith("DEBIAN_FRONTEND=") for word in _assignments(words)):
        return []
    words = _program(words)
    if words[:1] not in (["apt-get"], ["apt"]):
        return []
    plain = [word for word in words[1:] if not _APT_OPTIONS.fullmatch(word)]
    if plain[:1] != ["install"] or not all(re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", word) for word in plain[1:]):
        return []
    return plain[1:]


_PIP_OPTIONS = re.compile(
    r"-U|-q+|-v+|--upgrade|--quiet|--no-cache(-dir)?|--no-input|--disable-pip-version-check|--progress-bar=off|"
    r"--root-user-action=ignore|--no-warn-script-location|--prefer-binary|--only-binary=:all:"
)


def python_requirements(words: Sequence[str]) -> list[str]:
    """The requirements of a `pip install` that an index satisfies and that says nothing more; else none."""
    words = _pip(words)
    if words[1:2] != ["install"]:
        return []
    plain = [word for word in words[2:] if not _PIP_OPTIONS.fullmatch(word)]
    return plain if all(map(requirements.name, plain)) else []


def _pip(words: Sequence[str]) -> list[str]:
    """The words of a pip of the virtual environment, from `pip` on; none for another command."""
    words = list(words)
    for way in (["python", "-m", "pip"], ["python3", "-m", "pip"], ["uv", "pip"], ["pip"], ["pip3"]):
        for folder in ("", f"{VENV}/bin/", "/opt/uv/bin/"):
            named = [folder + way[0], *way[1:]]
            if words[: len(named)] == named:
                return ["pip", *words[len(named) :]]
    return []


def other_python(words: Sequence[str]) -> str:
    """The version in a command that makes the virtual environment anew with another Python; else empty."""
    words = list(words)
    if words[:2] not in (["uv", "venv"], ["/opt/uv/bin/uv", "venv"]) or VENV not in words:
        return ""
    found = re.search(r"(?:--python|-p)[ =](\d+\.\d+(?:\.\d+)?)(?: |$)", " ".join(words))
    return found[1] if found else ""


def _assignments(words: Sequence[str]) -> list[str]:
    return [word for word in words[: len(words) - len(_program(words))] if word != "sudo"]


def _merged(packages: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Requirements with later ones: of the same name, the later one says what is there in the end."""
    names = {requirements.name(text) for text in asked if requirements.parse(text) and re.search(r"[<>=~!\[]", text)}
    have = {requirements.name(text) for text in packages}
    fresh = [text for text in asked if requirements.name(text) in names or requirements.name(text) not in have]
    return [*(text for text in packages if requirements.name(text) not in names), *fresh]
