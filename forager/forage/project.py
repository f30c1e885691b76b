"""A project's own files, read as text: what it needs to run and what its tests need. No rule is about one package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from email.parser import HeaderParser
from pathlib import PurePosixPath
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from forager.forage import requirements
from forager.forage.automation import automation
from forager.forage.literals import setup_arguments
from forager.forage.plugins import plugins_for
from forager.forage.said import ALL
from forager.forage.tables import at, read_ini, read_toml, strings_of, table_of

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
        self.setup = setup_arguments(tree.get("setup.py", b""))
        self.poetry = table_of(at(self.pyproject, "tool.poetry"))
        self.requires_python = self._requires_python(str(metadata.get("Requires-Python") or ""))
        self.legacy_tox = read_ini(str(at(self.pyproject, "tool.tox.legacy_tox_ini") or "")).get("testenv", {})
        tox_tables = (self._toml("tox.toml"), table_of(at(self.pyproject, "tool.tox")))
        self.tox_tables = [table_of(table.get("env_run_base")) for table in tox_tables]
        envlist = [str(self.tox.get("tox", {}).get("envlist", self.tox.get("tox", {}).get("env_list", "")))]
        envlist += [name for table in tox_tables for name in strings_of(table.get("env_list"))]
        self.automation = automation(
            tree,
            self.tox.get("testenv") or self.legacy_tox,
            " ".join(envlist),
            next(filter(None, self.tox_tables), {}),
        )
        classifiers = [*metadata.get_all("Classifier", []), *strings_of(at(self.pyproject, "project.classifiers"))]
        classifiers += [*strings_of(self.setup.get("classifiers")), *strings_of(self.poetry.get("classifiers"))]
        classifiers += requirements.lines(self.setup_cfg.get("metadata", {}).get("classifiers", ""))
        found = re.findall(r"Python :: (3\.\d{1,2})\b", "\n".join(map(str, classifiers)))
        self.pythons = tuple(dict.fromkeys([*self.automation.pythons, *found]))
        """Versions that somebody says it works with, those of its automation first."""

    def _text(self, path: str) -> str:
        return self.tree.get(path, b"").decode("utf-8", "replace")

    def _toml(self, path: str) -> dict[str, Any]:
        return read_toml(self._text(path))

    def _ini(self, path: str) -> dict[str, dict[str, str]]:
        return read_ini(self._text(path))

    # -- what the repository itself needs

    def runtime(self) -> list[str]:
        """From the first place that says anything."""
        if self.requires_dist:
            return [kept for text in self.requires_dist if (kept := requirements.for_extra(text, ""))]
        dynamic = at(self.pyproject, "tool.setuptools.dynamic.dependencies.file")
        poetry = {k: v for k, v in table_of(self.poetry.get("dependencies")).items() if not _optional(v)}
        options = self.setup_cfg.get("options", {}).get("install_requires", "")
        declared = [
            strings_of(at(self.pyproject, "project.dependencies")),
            [line for path in strings_of(dynamic) for line in requirements.lines(self._text(path))],
            self._egg_info(""),
            [requirements.of_poetry(name, value) for name, value in poetry.items() if name.lower() != "python"],
            requirements.lines(options),
            strings_of(self.setup.get("install_requires")),
            [line for line in requirements.lines(self._text("requirements.txt")) if _of_use(line)],
        ]
        return next((found for lines in declared if (found := requirements.from_lines(lines, self.tree))), [])

    def _requires_python(self, said: str) -> str:
        poetry = table_of(self.poetry.get("dependencies")).get("python")
        places = [
            at(self.pyproject, "project.requires-python"),
            self.setup_cfg.get("options", {}).get("python_requires"),
            self.setup.get("python_requires"),
            requirements.poetry_bounds(poetry) if isinstance(poetry, str) else "",
        ]
        return said or next((value for value in places if isinstance(value, str) and value), "")

    def python(self) -> str:
        """Empty when the base image's own will do. Where no bounds are given, one that the tests run with."""
        if self.requires_python:
            fitting = self._fitting(PYTHONS)
        else:
            fitting = [version for version in self.pythons if version in PYTHONS]
        return "" if BASE_PYTHON in fitting else _nearest(fitting)

    def other_python(self) -> str:
        """Another one to try: the newest that its automation or its classifiers name, if not the base image's."""
        named = [version for version in self._fitting(PYTHONS) if version in self.pythons]
        other = max(named, key=PYTHONS.index, default="")
        if not other or BASE_PYTHON in named:  # it says that it works there: an older one is the likelier to differ
            other = next((version for version in reversed(named) if version < BASE_PYTHON and version != "3.9"), "")
        return "" if other in (BASE_PYTHON, self.python()) else other

    def _fitting(self, versions: Iterable[str]) -> list[str]:
        """Those that the bounds allow; all where the bounds are not readable or refuse all."""
        versions = list(versions)
        try:
            wanted = SpecifierSet(self.requires_python)
        except InvalidSpecifier:
            return versions
        return (
            [version for version in versions if wanted.contains(f"{version}.9")] if self.requires_python else versions
        )

    def build_requires(self) -> list[str]:
        """What building it takes, for a build without isolation."""
        declared = [
            *strings_of(at(self.pyproject, "build-system.requires")),
            *strings_of(self.setup.get("setup_requires")),
        ]
        declared += requirements.lines(self.setup_cfg.get("options", {}).get("setup_requires", ""))
        return requirements.from_lines([*declared, "setuptools", "wheel"], self.tree)

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
        tests_require = requirements.from_lines(strings_of(self.setup.get("tests_require")), self.tree)
        named = requirements.merged([named, self._files(_TEST_FILE), tests_require, self._old(), self._automated()])
        if not [text for text in named if not requirements.name(text).startswith(("pytest", "coverage", "tox"))]:
            named = requirements.merged([named, self._development()])
        return [text for text in named if requirements.name(text) != self.name]

    def everything(self) -> list[str]:
        """Requirements of the tests and of whatever else the files name but documentation and checks of style."""
        extras = [
            t for name in sorted(self._extra_names()) if not name.startswith("doc") for t in self._extra(name, 0)
        ]
        named = requirements.merged([self.tests(), self._development(), filter(_of_use, extras)])
        return [text for text in named if requirements.name(text) != self.name]

    def _development(self) -> list[str]:
        loose = [self._groups(_DEV), self._extras(_DEV), self._tools(_DEV), self._files(_DEV_FILE), self._pipfile()]
        return [text for text in requirements.merged(loose) if _of_use(text)]

    def _automated(self) -> list[str]:
        """What tox, nox and the CI workflows install for the tests."""
        said = self.automation.said
        found = list(said.requirements)
        for path in said.files:
            if path in self.tree:
                lines = requirements.lines(self._text(path))
                found += requirements.from_lines(lines, self.tree, str(PurePosixPath(path).parent))
        extras = self._extra_names() if ALL in said.extras else said.extras
        groups = table_of(at(self.pyproject, "dependency-groups")) if ALL in said.groups else said.groups
        found += [text for extra in sorted(extras) for text in self._extra(extra, 0)]
        for group in groups:
            found += self._group(group, frozenset()) or self._tools(re.compile(re.escape(group.lower())))
        own = [
            parsed for text in found if (parsed := requirements.parse(text)) and requirements.name(text) == self.name
        ]
        found += [text for parsed in own for extra in sorted(parsed.extras) for text in self._extra(extra, 0)]
        return [text for text in found if _of_use(text)]

    def _pipfile(self) -> list[str]:
        tables = [table_of(self._toml("Pipfile").get(key)) for key in ("packages", "dev-packages")]
        return [name for table in tables for name in table if requirements.parse(name)]

    def _groups(self, wanted: re.Pattern[str]) -> list[str]:
        """Dependency groups (PEP 735), `include-group` followed."""
        groups = at(self.pyproject, "dependency-groups")
        names = [name for name in table_of(groups) if wanted.fullmatch(name.lower())]
        return [text for name in names for text in self._group(name, frozenset())]

    def _group(self, name: str, above: frozenset[str]) -> list[str]:
        found: list[str] = []
        entries = {k.lower(): v for k, v in table_of(at(self.pyproject, "dependency-groups")).items()}.get(
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
        names = self._extra_names()
        return [text for name in sorted(names) if wanted.fullmatch(name.lower()) for text in self._extra(name, 0)]

    def _extra_names(self) -> set[str]:
        names = {*self.extras, *table_of(at(self.pyproject, "project.optional-dependencies"))}
        names |= {*self.setup_cfg.get("options.extras_require", {}), *table_of(self.poetry.get("extras"))}
        return names | {name for name in table_of(self.setup.get("extras_require")) if not name.startswith(":")}

    def _extra(self, name: str, depth: int) -> list[str]:
        """What one extra asks for; an extra of the project's own (`pkg[other]`) is followed."""
        found = [r for text in self.requires_dist if (r := requirements.for_extra(text, name))]
        if not found:
            declared = table_of(at(self.pyproject, "project.optional-dependencies")).get(name)
            own = self.setup_cfg.get("options.extras_require", {}).get(name, "")
            old = table_of(self.setup.get("extras_require")).get(name)
            listed = [*strings_of(declared), *requirements.lines(own), *strings_of(old)]
            found = requirements.from_lines(
                [*listed, *strings_of(table_of(self.poetry.get("extras")).get(name))], self.tree
            )
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
        sections = [self.tox.get("testenv", {}), self.legacy_tox]
        for section in sections:
            plain = [
                line for line in requirements.lines(section.get("deps", "")) if not re.match(r"[\w.,{}!-]+:\s", line)
            ]
            yield requirements.from_lines(plain, self.tree)
            yield [t for extra in _words(section.get("extras", "")) for t in self._extra(extra, 0)]
            yield [t for g in _words(section.get("dependency_groups", "")) for t in self._group(g, frozenset())]
        for base in self.tox_tables:
            yield requirements.from_lines(strings_of(base.get("deps")), self.tree)
            yield [t for extra in strings_of(base.get("extras")) for t in self._extra(extra, 0)]
            yield [t for g in strings_of(base.get("dependency_groups")) for t in self._group(g, frozenset())]

    def _tools(self, wanted: re.Pattern[str]) -> list[str]:
        """Groups of poetry, pdm, hatch and uv. Poetry's own version syntax is dropped, names stay."""
        found: list[str] = []
        poetry = self.poetry
        groups = {
            name: table_of(table_of(group).get("dependencies"))
            for name, group in table_of(poetry.get("group")).items()
        }
        groups["dev"] = {**table_of(poetry.get("dev-dependencies")), **groups.get("dev", {})}
        for name, group in groups.items():
            if wanted.fullmatch(name.lower()):
                found += requirements.from_lines([n for n in group if n.lower() != "python"], self.tree)
        pdm = table_of(at(self.pyproject, "tool.pdm.dev-dependencies"))
        found += requirements.from_lines(
            [t for n in pdm if wanted.fullmatch(n.lower()) for t in strings_of(pdm[n])], self.tree
        )
        hatch = table_of(at(self.pyproject, "tool.hatch.envs"))
        for name, env in hatch.items():
            if wanted.fullmatch(name.lower()) or (name in ("default", "hatch-test") and wanted is _TEST):
                both = [
                    *strings_of(table_of(env).get("dependencies")),
                    *strings_of(table_of(env).get("extra-dependencies")),
                ]
                found += requirements.from_lines(both, self.tree)
                found += [t for extra in strings_of(table_of(env).get("features")) for t in self._extra(extra, 0)]
        if wanted is _DEV:
            found += requirements.from_lines(strings_of(at(self.pyproject, "tool.uv.dev-dependencies")), self.tree)
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

    @property
    def pytest_settings(self) -> dict[str, str]:
        """pytest's own configuration, from wherever it is."""
        found: dict[str, str] = {}
        for name in ("pytest.ini", ".pytest.ini", "tox.ini"):
            found = found or self._ini(name).get("pytest", {})
        found = found or self.setup_cfg.get("tool:pytest", {})
        for table in (at(self.pyproject, "tool.pytest.ini_options"), at(self.pyproject, "tool.pytest")):
            found = found or {key: str(value) for key, value in table_of(table).items()}
        return found

    def plugins(self) -> list[str]:
        """Plugins that the pytest configuration cannot start without."""
        settings = [at(self.pyproject, "tool.pytest.ini_options"), at(self.pyproject, "tool.pytest")]
        text = "\n".join(str(table_of(table).get("addopts", "")) for table in settings)
        text += "\n".join(key for table in settings for key in table_of(table))
        ini = [self._ini(name).get("pytest", {}) for name in ("pytest.ini", ".pytest.ini", "tox.ini")]
        for section in [*ini, self.setup_cfg.get("tool:pytest", {})]:
            text += "\n" + section.get("addopts", "") + "\n" + "\n".join(f"{key} =" for key in section)
        required = [table_of(table).get("required_plugins") for table in settings]
        names = [word for value in required for word in (strings_of(value) or str(value or "").split())]
        return [*plugins_for(text), *requirements.from_lines(names, self.tree)]


def _of_use(text: str) -> bool:
    """Whether a requirement of some development list may be one of the tests'."""
    return requirements.name(text) not in _NOT_FOR_TESTS and not _docs(requirements.name(text))


def _docs(name: str) -> bool:
    return name.startswith(("sphinx", "mkdocs", "flake8-", "types-", "pylint-", "python-lsp"))


def _nearest(versions: Iterable[str]) -> str:
    """The one nearest to the base image's; empty if there is none."""
    base = PYTHONS.index(BASE_PYTHON)
    return min(versions, key=lambda version: abs(PYTHONS.index(version) - base), default="")


def _optional(value: Any) -> bool:
    return isinstance(value, dict) and value.get("optional") in (True, "true")


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word and ":" not in word]
