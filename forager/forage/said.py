"""What shell commands of a project's automation install, and how they start its tests. Read as text, never run.

    read("pip install -e .[test] -r dev.txt\\npytest -m 'not slow' tests")

CI workflows, tox, nox: all of them end in such commands. What cannot be told from the text alone (a variable, a
pattern, a script) is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from forager.forage import requirements
from forager.records import Record

ALL = "*"
"""Among extras or groups: all of them."""
UNKNOWN = "$?"
"""Stands for a part of a command that is known only when it runs."""
LONGEST = 50_000
"""Characters of commands that are looked at."""


class Said(Record, frozen=True):
    """What some commands say. All of it is text of somebody else's."""

    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Requirement files, relative to the repository's top."""
    extras: tuple[str, ...] = ()
    """Of the project itself."""
    groups: tuple[str, ...] = ()
    """Dependency groups."""
    system: tuple[str, ...] = ()
    """Debian packages."""
    tests: bool = False
    """Whether tests are run, by whatever command."""
    whole: bool = False
    """Whether pytest is started without saying where the tests are."""
    paths: tuple[str, ...] = ()
    """Where pytest is told to look for tests."""
    options: tuple[str, ...] = ()
    """Options of pytest that leave tests out: `-m 'not ...'`, `-k 'not ...'`, `--ignore`, `--deselect`; and
    `--import-mode`."""

    def __add__(self, other: Said) -> Said:
        return Said(
            requirements=_once(self.requirements, other.requirements),
            files=_once(self.files, other.files),
            extras=_once(self.extras, other.extras),
            groups=_once(self.groups, other.groups),
            system=_once(self.system, other.system),
            tests=self.tests or other.tests,
            whole=self.whole or other.whole,
            paths=_once(self.paths, other.paths),
            options=self.options or other.options,
        )


def _once(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for found in lists for item in found))


def read(text: str) -> Said:
    """What the commands in `text` say, line by line."""
    said = Said()
    for line in re.sub(r"\\\r?\n", " ", text[:LONGEST]).splitlines():
        for words in _commands(line):
            said += read_words(words)
    return said


def _commands(line: str) -> Iterable[list[str]]:
    """The simple commands of a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for word in lexer:
            if word and not word.strip(";&|()"):
                yield command
                command = []
            else:
                command.append(word)
    except ValueError:  # a quote that is not closed
        return
    yield command


_BEFORE = {"sudo", "time", "exec", "command", "then", "do", "else", "env", "nice", "xvfb-run", "!", "-E", "if"}
_RUNNERS = {"uv", "poetry", "pdm", "hatch", "pipenv", "pipx", "uvx", "rye", "pixi"}
_PIP_VALUES = {
    *("-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t", "--target"),
    *("--python", "-p", "--prefix", "--progress-bar", "--timeout", "--upgrade-strategy", "--config-settings", "-C"),
    *("--no-binary", "--only-binary", "--root", "--platform", "--python-version", "--retries", "--proxy", "--cert"),
    *("--trusted-host", "--cache-dir", "--log", "--src", "--index", "--default-index", "--exclude-newer", "--with"),
    *("--resolution", "--prerelease", "--index-strategy", "--build-option", "--global-option", "--implementation"),
}
_EXTRAS, _GROUPS = {"--extra", "-E", "--extras"}, {"--group", "--only-group", "--with", "-G", "--dev-group"}
_TESTING = re.compile(r"(py\.?test|unittest|nose2?|nosetests|tox|nox|stestr|trial|zope-testrunner)$")


def read_words(words: Sequence[str]) -> Said:
    """What one simple command says."""
    words = list(words)
    while words and (words[0] in _BEFORE or re.match(r"[A-Za-z_]\w*=", words[0])):
        words.pop(0)
    if not words:
        return Said()
    program, rest = PurePosixPath(words[0]).name, words[1:]
    if re.fullmatch(r"(python|pypy|py)[\d.]*", program) and "-m" in rest[:4]:
        return read_words(rest[rest.index("-m") + 1 :])
    if re.fullmatch(r"(python|pypy)[\d.]*", program) and rest[:2] == ["setup.py", "test"]:
        return Said(tests=True, whole=True)
    if program == "coverage" and "run" in rest[:1]:
        return read_words(rest[rest.index("-m") + 1 :]) if "-m" in rest else Said()
    if program in _RUNNERS and rest[:1] == ["run"]:
        return _installed_by_run(rest[1:])
    if program == "uvx" or (program == "uv" and rest[:2] == ["tool", "run"]):
        return read_words(_without_options(rest[2 * (program == "uv") :]))
    if re.fullmatch(r"pip[\d.]*", program) and rest[:1] == ["install"]:
        return _pip(rest[1:])
    if program == "uv" and rest[:2] == ["pip", "install"]:
        return _pip(rest[2:])
    if program in ("uv", "poetry", "pdm") and rest[:1] in (["sync"], ["install"]):
        return _sync(rest[1:], default_groups=program != "uv" or "--no-dev" not in rest)
    if program in ("apt", "apt-get", "aptitude") and "install" in rest:
        names = [word for word in rest[rest.index("install") + 1 :] if not word.startswith("-")]
        return Said(system=tuple(name for name in names if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)))
    if program in ("pytest", "py.test"):
        return _pytest(rest)
    if _TESTING.match(program) or (program in ("make", "hatch", "just") and any("test" in w for w in rest[:2])):
        return Said(tests=True, whole=program not in ("tox", "nox", "make", "hatch", "just"))
    return Said()


def _installed_by_run(words: list[str]) -> Said:
    """`uv run [--extra X] [--with Y] pytest ...`"""
    said = Said()
    while words and words[0].startswith("-"):
        name, equals, value = words.pop(0).partition("=")
        takes = {
            *_EXTRAS,
            *_GROUPS,
            "-p",
            "--python",
            "--with-requirements",
            "--package",
            "--env-file",
            "--directory",
        }
        if name in ("-m", "--module"):
            break
        if not equals and name in takes and words:
            value = words.pop(0)
        if name == "--with":
            said += Said(requirements=(value,) if requirements.parse(value) else ())
        else:
            said += _chosen(name, value)
    return said + read_words(words)


def _without_options(words: list[str]) -> list[str]:
    """The command that `uvx` runs in an environment of its own."""
    words = list(words)
    while words and words[0].startswith("-"):
        if words.pop(0) in ("--with", "--from", "-p", "--python") and words:
            words.pop(0)
    return words


def _chosen(option: str, value: str) -> Said:
    """What an option such as `--extra test` asks for."""
    if option == "--all-extras" or option in _EXTRAS:
        return Said(extras=_names(value) or (ALL,))
    if option == "--all-groups" or option in _GROUPS:
        return Said(groups=_names(value) or (ALL,))
    return Said()


def _names(value: str) -> tuple[str, ...]:
    return tuple(name for name in re.split(r"[\s,]+", value) if re.fullmatch(r"[A-Za-z0-9][\w.-]*", name))


def _pip(words: Sequence[str]) -> Said:
    said, queue = Said(), list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("-r") and not word.startswith("--") and len(word) > 2:
            name, equals, value = "-r", "=", word[2:].strip()
        if name in ("-r", "--requirement", "--requirements", "-e", "--editable", "--group", "--extra"):
            value = value if equals else queue.pop(0) if queue else ""
            match name:
                case "--group":
                    said += Said(groups=_names(value.rpartition(":")[2]))
                case "--extra":
                    said += Said(extras=_names(value))
                case "-e" | "--editable":
                    said += _own(value)
                case _:
                    said += Said(files=(_inside(value),) if "$" not in value else ())
        elif name in _PIP_VALUES:
            if not equals and queue:
                queue.pop(0)
        elif name == "--all-extras":
            said += Said(extras=(ALL,))
        elif not word.startswith("-"):
            own = _own(word)
            said += own if own.extras else _requirement(word)
    return said


def _own(word: str) -> Said:
    """The extras in `.[test,other]`, `{toxinidir}[test]`, `file.whl[test]`; nothing for another repository's path."""
    match = re.fullmatch(r"(?:\.|\./?|\{toxinidir\}/?|\{tox_root\}/?|.*\.(?:whl|tar\.gz))\[([^\]]*)\]", word)
    return Said(extras=_names(match[1])) if match else Said()


def _requirement(word: str) -> Said:
    bare = "$" in word or "*" in word.partition("==")[0] or "/" in word or word.endswith((".whl", ".gz", ".txt"))
    return Said() if bare or not requirements.parse(word) else Said(requirements=(word,))


def _sync(words: Sequence[str], *, default_groups: bool) -> Said:
    said, queue = Said(groups=("dev",) if default_groups else ()), list(words)
    while queue:
        name, equals, value = queue.pop(0).partition("=")
        if name in _EXTRAS or name in _GROUPS:
            value = value if equals else queue.pop(0) if queue else ""
        said += _chosen(name, value)
    return said


_CHOOSING = {"-m", "-k", "--ignore", "--ignore-glob", "--deselect", "--import-mode"}
_PYTEST_VALUES = {
    *("-n", "-p", "-W", "-o", "-c", "-r", "--cov", "--cov-report", "--cov-config", "--junitxml", "--junit-xml"),
    *("--durations", "--maxfail", "--tb", "--timeout", "--numprocesses", "--dist", "--rootdir", "--basetemp"),
    *("--color", "--reruns", "--override-ini", "--confcutdir", "--html", "--log-level", "--splits", "--group"),
}


def _pytest(words: Sequence[str]) -> Said:
    options: list[str] = []
    paths: list[str] = []
    queue, packages = list(words), False
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            paths.append(_inside(word))
            continue
        packages = packages or name == "--pyargs"
        if name in _CHOOSING:
            value = value if equals else queue.pop(0) if queue else ""
            chooses = name not in ("-m", "-k") or value.startswith("not ")  # the rest is another command's
            if value and chooses and "$" not in value and "{" not in value:
                options += [f"{name}={value}"] if name.startswith("--") else [name, value]
        elif name in _PYTEST_VALUES and not equals and queue and not queue[0].startswith("-"):
            queue.pop(0)
    told = [path for path in paths if re.fullmatch(r"[\w./-]+", path) and not path.startswith(("/", "-", ".."))]
    return Said(
        tests=True, whole=packages or len(told) < len(paths) or not paths, paths=tuple(told), options=tuple(options)
    )


def _inside(word: str) -> str:
    """A path as seen from the repository's top; `{posargs:default}` of tox is its default."""
    word = re.sub(r"^\{posargs:([^{}]*)\}$", r"\1", word)
    return re.sub(r"^(\{toxinidir\}|\{tox_root\}|\.)/", "", word).rstrip("/") or "."


def merged(found: Iterable[Said]) -> Said:
    """All of some, those that come first before the others."""
    total = Said()
    for said in found:
        total += said
    return total
