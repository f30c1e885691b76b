"""What a project's files say its tests need, over every place they may say it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from forager.forage.detect import candidates, detect, extend
from forager.forage.requirements import for_extra, merged
from forager.images.index import Sdist
from forager.records import Environment
from tests.support.index_server import tar_of


@pytest.fixture
def project(tmp_path: Path) -> object:
    def make(**files: str) -> Sdist:
        named = {f"pkg-1.0/{name}": text.encode() for name, text in files.items()}
        data = tar_of(named or {"pkg-1.0/pkg.py": b""})
        path = tmp_path / "pkg-1.0.tar.gz"
        path.write_bytes(data)
        return Sdist(name="pkg", version="1.0", sha256=hashlib.sha256(data).hexdigest(), path=path)

    return make


GROUPS = """
[dependency-groups]
base = ["freezegun>=1"]
tests = [{include-group = "base"}, "pytest>=7", {include-group = "tests"}]
dev = ["ruff", "hypothesis"]
"""
POETRY = """
[tool.poetry]
name = "pkg"
[tool.poetry.dependencies]
python = "^3.9"
[tool.poetry.group.test.dependencies]
pytest-mock = "^3.10"
freezegun = {version = "^1.2", optional = true}
"""
POETRY_RUNTIME = """
[tool.poetry.dependencies]
python = "~3.9"
click = "^8.1"
extra = {version = "1", optional = true}
"""
WORKFLOW = """
jobs:
  test:
    runs-on: ubuntu-latest
    strategy: {matrix: {python: ["3.8", "3.9"]}}
    steps:
      - run: pip install -r ci/dev.txt mock six
      - run: pytest -m "not slow" checks
        env: {MODE: "1", CI_TOKEN: x, PATH: /bin}
"""
NOX = """
import nox
@nox.session(python=["3.10", "3.12"])
def tests(session):
    session.install("mock", ".")
    session.run("pytest")
"""
HATCH = '[tool.hatch.envs.hatch-test]\nextra-dependencies = ["responses"]\n'
TOX = """
[testenv]
deps =
    # a comment
    pytest
    cov: coverage
    -r{toxinidir}/requirements/extra.txt
extras = testing
"""
METADATA = """Metadata-Version: 2.1
Name: pkg
Requires-Dist: click>=8 ; python_version >= "3.8"
Requires-Dist: pytz ; extra == 'testing'
Requires-Dist: tzdata ; (sys_platform == "win32") and extra == 'testing'
Provides-Extra: testing

Text that says Requires-Dist: nothing
"""


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ["pytest"]),
        ({"pyproject.toml": GROUPS}, ["freezegun>=1", "pytest>=7"]),
        (
            {"pyproject.toml": '[project.optional-dependencies]\ntest = ["pkg[x]", "six"]\nx = ["attrs"]\n'},
            "attrs pytest six",
        ),
        ({"pyproject.toml": POETRY}, "freezegun pytest pytest-mock"),
        ({"pyproject.toml": HATCH}, "pytest responses"),
        ({"pyproject.toml": '[project]\ndependencies = ["click"]\n'}, "click pytest"),
        ({"pyproject.toml": '[dependency-groups]\ndev = ["ruff", "sphinx-x", "hypothesis"]\n'}, "hypothesis pytest"),
        ({"pyproject.toml": '[tool.tox.env_run_base]\ndeps = ["babel"]\n'}, "babel pytest"),
        (
            {"pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--cov -n auto"\n'},
            "pytest pytest-cov pytest-xdist",
        ),
        ({"pytest.ini": "[pytest]\nasyncio_mode = auto\n"}, "pytest pytest-asyncio"),
        ({"setup.cfg": "[options]\ntests_require =\n  mock\n"}, "mock pytest"),
        ({"setup.cfg": "[options.extras_require]\ntest = \n  mock\n"}, "mock pytest"),
        (
            {"setup.py": "from setuptools import setup\nsetup(tests_require=['nose2', 'mock>=1'])\n"},
            "mock>=1 nose2 pytest",
        ),
        ({"setup.py": "raise SystemExit('never run')\nsetup(tests_require=[compute()])\n"}, ["pytest"]),
        (
            {
                "setup.py": "X = ['mock>=1']\nsetup(install_requires=['six'], extras_require={'test': X})\n",
                "setup.cfg": "[options]\ninstall_requires =\n  click\n",
            },
            "click mock>=1 pytest",
        ),
        ({".github/workflows/ci.yml": WORKFLOW, "ci/dev.txt": "black\nresponses\n"}, "mock pytest responses six"),
        ({"noxfile.py": NOX}, "mock pytest"),
        ({"Pipfile": "[dev-packages]\nmock = '*'\n"}, "mock pytest"),
        ({"tox.ini": "[testenv]\ncommands_pre = pip install mock\ncommands = pytest {posargs}\n"}, "mock pytest"),
        ({"pyproject.toml": POETRY_RUNTIME}, "click<9,>=8.1 pytest"),
        (
            {"requirements-test.txt": "responses==0.1 \\\n  --hash=sha256:00\n-e .\ngit+https://x/y\n"},
            "pytest responses==0.1",
        ),
        (
            {
                "requirements/tests.txt": "a==1\n",
                "requirements/tests.in": "-r more.in\na\n",
                "requirements/more.in": "b",
            },
            "a b pytest",
        ),
        ({"tests/requirements.txt": "-r ../../../etc/passwd\n-r requirements.txt\na\n"}, "a pytest"),
        ({"pyproject.toml": "this is [not toml", "tox.ini": "nor ini", "setup.cfg": "\0"}, ["pytest"]),
    ],
)
def test_requirements_are_found(project: object, files: dict[str, str], expected: str | list[str]) -> None:
    wanted = tuple(expected.split() if isinstance(expected, str) else expected)
    assert detect(project(**files)).packages == wanted  # type: ignore[operator]


def test_tox_and_metadata_together(project: object) -> None:
    sdist = project(**{"tox.ini": TOX, "PKG-INFO": METADATA, "requirements/extra.txt": "mock>=4"})  # type: ignore[operator]
    assert detect(sdist).packages == (
        'click>=8; python_version >= "3.8"',
        "mock>=4",
        "pytest",
        "pytz",
        'tzdata; sys_platform == "win32"',
    )


def test_the_environment_names_its_source_and_its_hash(project: object) -> None:
    sdist = project(
        **{"src/speed.c": "int x;", "tests/other.cpp": "", "PKG-INFO": "Requires-Python: >=3.12,<3.14\n\n"}
    )  # type: ignore[operator]
    environment = detect(sdist)
    assert (environment.source, environment.sha256) == ("pypi:pkg==1.0", sdist.sha256)
    assert environment.system == ("gcc", "libc6-dev")
    assert environment.python == "3.12"


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({}, ""),
        ({".github/workflows/ci.yml": WORKFLOW}, "3.9"),
        ({"noxfile.py": NOX}, "3.10"),
        ({"tox.ini": "[tox]\nenvlist = py{38,39}, lint\n[testenv]\ncommands = pytest\n"}, "3.9"),
        ({"setup.cfg": "[metadata]\nclassifiers =\n  Programming Language :: Python :: 3.8\n"}, "3.8"),
        ({"setup.py": "setup(python_requires='<3.11')", ".github/workflows/ci.yml": WORKFLOW}, "3.10"),
        ({"setup.cfg": "[options]\npython_requires = >=3.12\n"}, "3.12"),
        ({"pyproject.toml": POETRY_RUNTIME}, "3.9"),
        ({"noxfile.py": NOX, "pyproject.toml": "[project]\nrequires-python = '>=3.8'\n"}, ""),
    ],
)
def test_the_python_is_that_of_the_bounds_or_else_one_that_the_tests_run_with(
    project: object, files: dict[str, str], python: str
) -> None:
    assert detect(project(**files)).python == python  # type: ignore[operator]


def test_the_automation_says_which_tests_and_with_which_variables(project: object) -> None:
    files = {".github/workflows/ci.yml": WORKFLOW, "checks/test_a.py": ""}
    assert detect(project(**files)).env == {  # type: ignore[operator]
        "MODE": "1",
        "PYTEST_ADDOPTS": "-m 'not slow' -o testpaths=checks",
    }
    files["pytest.ini"] = "[pytest]\ntestpaths = other\n"
    assert detect(project(**files)).env["PYTEST_ADDOPTS"] == "-m 'not slow'"  # type: ignore[operator]


def test_looser_plans_follow(project: object) -> None:
    plans = candidates(project(**{"requirements-test.txt": "pytest==7.0\nmock==1.0\n"}))  # type: ignore[operator]
    assert [plan.packages for plan in plans] == [("mock==1.0", "pytest==7.0"), ("mock", "pytest"), ("pytest",)]


def test_what_a_run_misses_is_added_once() -> None:
    environment = Environment(source="pypi:pkg==1.0", packages=("pytest", "six"))
    output = """
E   ModuleNotFoundError: No module named 'yaml'
E   ModuleNotFoundError: No module named 'six.moves'
E   ModuleNotFoundError: No module named 'pkg.missing'
E   ModuleNotFoundError: No module named 'requests_mock.adapter'
E       fixture 'mocker' not found
ERROR: pytest: error: unrecognized arguments: --cov=pkg --timeout=3
"""
    extended = extend(environment, output, own=["pkg"])
    assert extended is not None
    assert extended.packages == (
        *("pytest", "pytest-cov", "pytest-mock", "pytest-timeout", "pyyaml", "requests_mock", "six"),
    )
    assert extend(extended, output, own=["pkg"]) is None
    assert extend(environment, "all is well") is None


def test_a_run_can_only_name_packages() -> None:
    environment = Environment(source="pypi:pkg==1.0", packages=("pytest",))
    hostile = (
        "No module named 'a; rm -rf /'\nNo module named --index-url=http://evil\nMissing required plugins: x\n-r /etc"
    )
    extended = extend(environment, hostile)
    assert extended is not None
    assert set(extended.packages) == {"pytest", "a", "x"}


def test_an_extras_clause_is_taken_off() -> None:
    assert for_extra("a>=1; extra == 'test'", "test") == "a>=1"
    assert for_extra('a; python_version < "3.9" and extra == "test"', "test") == 'a; python_version < "3.9"'
    assert for_extra('a; extra == "test" or extra == "dev"', "dev") == "a"
    assert for_extra('a; extra == "test"', "") is None
    assert for_extra("a @ https://example.com/a.zip", "") is None


def test_the_first_source_of_a_name_decides() -> None:
    assert merged([["Foo_Bar>=1"], ["foo-bar==2", "b"]]) == ("b", "Foo_Bar>=1")
