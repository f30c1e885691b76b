"""A project's own files, read as text: what it needs to run and what its tests need. No rule is about one package."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from forager.forage import requirements

BASE_PYTHON = "3.11"
"""What the base image has; a package that refuses it gets the nearest version that it takes."""
PYTHONS = tuple(f"3.{minor}" for minor in range(8, 15))

_TEST = re.compile(
    r"(unit[-_.]?)?(py)?tests?(ing|suite)?([-_.]?(deps?|requires?|reqs?|requirements|base|core|min\w*))?"
)
_DEV = re.compile(r"dev|devel|develop|development|dev[-_]?deps?|dev[-_.]requirements|requirements[-_.]dev")
_TEST_FILE = re.compile(r"(requirements?[-_.])?(unit[-_.]?)?(py)?tests?(ing)?([-_.]requirements?)?\.(txt|in|pip)")
_DEV_FILE = re.compile(r"(requirements?[-_.])?dev(el|elop|elopment)?([-_.]requirements?)?\.(txt|in|pip)")

_NOT_FOR_TESTS = {
    *("black", "ruff", "isort", "flake8", "pylint", "mypy", "pyright", "bandit", "autopep8", "yapf", "pre-commit"),
    *("tox", "tox-uv", "nox", "twine", "build", "wheel", "bump2version", "bumpversion", "towncrier", "zest-releaser"),
    *("sphinx", "mkdocs", "mkdocs-material", "furo", "myst-parser", "sphinx-rtd-theme", "jupyter", "notebook"),
    *("ipython", "ipdb", "pip-tools", "pipdeptree", "commitizen", "codecov", "coveralls", "pyupgrade", "uv", "pip"),
}
"""Left out of development lists: heavy, and no test imports them (one that does gets it back by `extend`)."""

_OPTIONS = {
    r"--cov\b|--no-cov|--cov-": "pytest-cov",
    r"(^|\s)-n[\s=]?(auto|\d)|--numprocesses|--dist\b|--max-worker-restart": "pytest-xdist",
    r"--benchmark": "pytest-benchmark",
    r"--timeout|(^|\n)timeout\s*=": "pytest-timeout",
    r"asyncio_mode|asyncio_default_": "pytest-asyncio",
    r"--reruns": "pytest-rerunfailures",
    r"--random-order": "pytest-random-order",
    r"--randomly|(^|\s)-p\s*no:randomly": "pytest-randomly",
    r"--doctest-plus|doctest_plus": "pytest-doctestplus",
    r"--snapshot|--inline-snapshot": "syrupy",
    r"--mypy\b": "pytest-mypy",
    r"--hypothesis": "hypothesis",
    r"--strict-docs|DJANGO_SETTINGS_MODULE|--ds=": "pytest-django",
}
"""Options and settings of pytest that a plugin brings."""


class Project:
    """The files of one source tree, and the questions asked of them."""

    def __init__(self, name: str, tree: Mapping[str, bytes]) -> None:
        self.name = name
        self.tree = tree
        self.pyproject = self._toml("pyproject.toml")
        self.setup_cfg = self._ini("setup.cfg")
        self.tox = self._ini("tox.ini")
        metadata = HeaderParser().parsestr(self._text("PKG-INFO"))
        self.requires_dist = [str(value) for value in metadata.get_all("Requires-Dist", [])]
        self.extras = [str(value) for value in metadata.get_all("Provides-Extra", [])]
        self.requires_python = str(
            metadata.get("Requires-Python") or _at(self.pyproject, "project.requires-python") or ""
        )

    def _text(self, path: str) -> str:
        return self.tree.get(path, b"").decode("utf-8", "replace")

    def _toml(self, path: str) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text(path))
        except tomllib.TOMLDecodeError:
            return {}

    def _ini(self, path: str) -> dict[str, dict[str, str]]:
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read_string(self._text(path))
        except configparser.Error:
            return {}
        return {section: {k: v or "" for k, v in parser.items(section)} for section in parser.sections()}

    # -- what the repository itself needs

    def runtime(self) -> list[str]:
        if self.requires_dist:
            return [found for text in self.requires_dist if (found := requirements.for_extra(text, ""))]
        declared = _strings(_at(self.pyproject, "project.dependencies"))
        return requirements.from_lines(declared or self._egg_info(""), self.tree)

    def python(self) -> str:
        """Empty when the base image's own will do."""
        try:
            wanted = SpecifierSet(self.requires_python)
        except InvalidSpecifier:
            return ""
        if not self.requires_python or wanted.contains(f"{BASE_PYTHON}.9"):
            return ""
        fitting = [version for version in PYTHONS if wanted.contains(f"{version}.9")]
        base = PYTHONS.index(BASE_PYTHON)
        return min(fitting, key=lambda version: abs(PYTHONS.index(version) - base), default="")

    def system(self) -> tuple[str, ...]:
        """Compilers, where the tree has something to compile."""
        code = [p for p in self.tree if not re.match(r"(tests?|docs?|examples?|benchmarks?)/", p)]
        packages: set[str] = set()
        if any(p.endswith((".c", ".pyx")) for p in code):
            packages |= {"gcc", "libc6-dev"}
        if any(p.endswith((".cc", ".cpp", ".cxx")) for p in code):
            packages |= {"g++"}
        return tuple(sorted(packages))

    # -- what its tests need

    def tests(self) -> list[str]:
        """Requirements of the tests, from every place that names tests; from development ones where none does."""
        named = requirements.merged([self._groups(_TEST), self._extras(_TEST), *self._tox(), self._tools(_TEST)])
        named = requirements.merged([named, self._files(_TEST_FILE), self._setup_py("tests_require"), self._old()])
        if not [text for text in named if not requirements.name(text).startswith(("pytest", "coverage", "tox"))]:
            loose = requirements.merged(
                [self._groups(_DEV), self._extras(_DEV), self._tools(_DEV), self._files(_DEV_FILE)]
            )
            kept = [
                t for t in loose if requirements.name(t) not in _NOT_FOR_TESTS and not _docs(requirements.name(t))
            ]
            named = requirements.merged([named, kept])
        return [text for text in named if requirements.name(text) != self.name]

    def _groups(self, wanted: re.Pattern[str]) -> list[str]:
        """Dependency groups (PEP 735), `include-group` followed."""
        groups = _at(self.pyproject, "dependency-groups")
        names = [name for name in _table(groups) if wanted.fullmatch(name.lower())]
        return [text for name in names for text in self._group(name, frozenset())]

    def _group(self, name: str, above: frozenset[str]) -> list[str]:
        found: list[str] = []
        entries = {k.lower(): v for k, v in _table(_at(self.pyproject, "dependency-groups")).items()}.get(
            name.lower()
        )
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, str):
                found += requirements.from_lines([entry], self.tree)
            elif (
                isinstance(entry, dict)
                and isinstance(inner := entry.get("include-group"), str)
                and inner not in above
            ):
                found += self._group(inner, above | {name, inner})
        return found

    def _extras(self, wanted: re.Pattern[str]) -> list[str]:
        names = {*self.extras, *_table(_at(self.pyproject, "project.optional-dependencies"))}
        names |= set(self.setup_cfg.get("options.extras_require", {}))
        return [text for name in sorted(names) if wanted.fullmatch(name.lower()) for text in self._extra(name, 0)]

    def _extra(self, name: str, depth: int) -> list[str]:
        """What one extra asks for; an extra of the project's own (`pkg[other]`) is followed."""
        found = [r for text in self.requires_dist if (r := requirements.for_extra(text, name))]
        if not found:
            declared = _table(_at(self.pyproject, "project.optional-dependencies")).get(name)
            own = self.setup_cfg.get("options.extras_require", {}).get(name, "")
            found = requirements.from_lines([*_strings(declared), *requirements.lines(own)], self.tree)
        followed: list[str] = []
        for text in found:
            parsed = requirements.parse(text)
            if parsed and requirements.name(text) == self.name:
                if depth < 4:
                    followed += [t for extra in sorted(parsed.extras) for t in self._extra(extra, depth + 1)]
            else:
                followed.append(text)
        return followed

    def _tox(self) -> Iterator[list[str]]:
        """`deps`, `extras` and `dependency_groups` of tox's plain test environment, in any of its three files."""
        legacy = _at(self.pyproject, "tool.tox.legacy_tox_ini")
        sections = [self.tox.get("testenv", {})]
        if isinstance(legacy, str):
            parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
            try:
                parser.read_string(legacy)
                sections.append({k: v or "" for k, v in parser.items("testenv")} if "testenv" in parser else {})
            except configparser.Error:
                pass
        for section in sections:
            plain = [
                line for line in requirements.lines(section.get("deps", "")) if not re.match(r"[\w.,{}!-]+:\s", line)
            ]
            yield requirements.from_lines(plain, self.tree)
            yield [t for extra in _words(section.get("extras", "")) for t in self._extra(extra, 0)]
            yield [t for g in _words(section.get("dependency_groups", "")) for t in self._group(g, frozenset())]
        for table in (self._toml("tox.toml"), _table(_at(self.pyproject, "tool.tox"))):
            base = _table(table.get("env_run_base"))
            yield requirements.from_lines(_strings(base.get("deps")), self.tree)
            yield [t for extra in _strings(base.get("extras")) for t in self._extra(extra, 0)]
            yield [t for g in _strings(base.get("dependency_groups")) for t in self._group(g, frozenset())]

    def _tools(self, wanted: re.Pattern[str]) -> list[str]:
        """Groups of poetry, pdm, hatch and uv. Poetry's own version syntax is dropped, names stay."""
        found: list[str] = []
        poetry = _table(_at(self.pyproject, "tool.poetry"))
        groups = {
            name: _table(_table(group).get("dependencies")) for name, group in _table(poetry.get("group")).items()
        }
        groups["dev"] = {**_table(poetry.get("dev-dependencies")), **groups.get("dev", {})}
        for name, group in groups.items():
            if wanted.fullmatch(name.lower()):
                found += requirements.from_lines([n for n in group if n.lower() != "python"], self.tree)
        pdm = _table(_at(self.pyproject, "tool.pdm.dev-dependencies"))
        found += requirements.from_lines(
            [t for n in pdm if wanted.fullmatch(n.lower()) for t in _strings(pdm[n])], self.tree
        )
        hatch = _table(_at(self.pyproject, "tool.hatch.envs"))
        for name, env in hatch.items():
            if wanted.fullmatch(name.lower()) or (name in ("default", "hatch-test") and wanted is _TEST):
                both = [*_strings(_table(env).get("dependencies")), *_strings(_table(env).get("extra-dependencies"))]
                found += requirements.from_lines(both, self.tree)
                found += [t for extra in _strings(_table(env).get("features")) for t in self._extra(extra, 0)]
        if wanted is _DEV:
            found += requirements.from_lines(_strings(_at(self.pyproject, "tool.uv.dev-dependencies")), self.tree)
        return found

    def _files(self, wanted: re.Pattern[str]) -> list[str]:
        """Requirement files at the top, in `requirements/` and in the tests' folder. Of `.in` and `.txt`, the `.in`:
        the other pins what was current once."""
        found: dict[str, str] = {}
        for path in sorted(self.tree):
            pure = PurePosixPath(path)
            inside = str(pure.parent) in ("requirements", "requirements.d", "reqs", "ci")
            in_tests = str(pure.parent) in ("tests", "test") and re.fullmatch(r"requirements?\.(txt|in)", pure.name)
            if (wanted is _TEST_FILE and in_tests) or (
                (str(pure.parent) == "." or inside) and wanted.fullmatch(pure.name.lower())
            ):
                if not inside and "requirement" not in pure.name.lower():
                    continue
                key = str(pure.with_suffix(""))
                if key not in found or pure.suffix == ".in":
                    found[key] = path
        return [
            text
            for path in found.values()
            for text in requirements.from_lines(
                requirements.lines(self._text(path)), self.tree, str(PurePosixPath(path).parent)
            )
        ]

    def _old(self) -> list[str]:
        """`tests_require` of setup.cfg, and the test sections of a generated `requires.txt`."""
        declared = requirements.lines(self.setup_cfg.get("options", {}).get("tests_require", ""))
        return requirements.from_lines([*declared, *self._egg_info("test"), *self._egg_info("tests")], self.tree)

    def _egg_info(self, section: str) -> list[str]:
        found: list[str] = []
        for path in self.tree:
            if path.endswith(".egg-info/requires.txt"):
                current = ""
                for line in requirements.lines(self._text(path)):
                    if line.startswith("["):
                        current = line.strip("[]")
                    elif current == section:
                        found.append(line)
        return found

    def _setup_py(self, keyword: str) -> list[str]:
        """A literal list given to `setup(...)`, read from the syntax tree."""
        try:
            module = ast.parse(self._text("setup.py"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
        for node in ast.walk(module):
            if isinstance(node, ast.keyword) and node.arg == keyword:
                try:
                    return requirements.from_lines(_strings(ast.literal_eval(node.value)), self.tree)
                except (ValueError, TypeError, SyntaxError, RecursionError):
                    return []
        return []

    def plugins(self) -> list[str]:
        """Plugins that the pytest configuration cannot start without."""
        settings = [_at(self.pyproject, "tool.pytest.ini_options"), _at(self.pyproject, "tool.pytest")]
        text = "\n".join(str(_table(table).get("addopts", "")) for table in settings)
        text += "\n".join(key for table in settings for key in _table(table))
        ini = [self._ini(name).get("pytest", {}) for name in ("pytest.ini", ".pytest.ini", "tox.ini")]
        for section in [*ini, self.setup_cfg.get("tool:pytest", {})]:
            text += "\n" + section.get("addopts", "") + "\n" + "\n".join(f"{key} =" for key in section)
        required = [_table(table).get("required_plugins") for table in settings]
        names = [word for value in required for word in (_strings(value) or str(value or "").split())]
        return [*plugins_for(text), *requirements.from_lines(names, self.tree)]


def plugins_for(text: str) -> list[str]:
    return [plugin for pattern, plugin in _OPTIONS.items() if re.search(pattern, text)]


def _docs(name: str) -> bool:
    return name.startswith(("sphinx", "mkdocs", "flake8-", "types-", "pylint-", "python-lsp"))


def _at(table: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of nested tables, or None."""
    value: Any = table
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [line.strip() for line in value.splitlines() if line.strip()]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word and ":" not in word]
