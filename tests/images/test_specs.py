"""Environment specifications: from TOML, from the swebench package, and onto tasks."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forager.errors import UsageError
from forager.images import mirrors, swebench_specs
from forager.images.prepare import prepare, qualified
from forager.images.published import image_name
from forager.images.requirements import conda_requirements, file_requirements
from forager.images.specs import find_spec, fits, read_specs
from forager.packaged import folder
from forager.records import Environment, Task
from tests.images.histories import History, make_history

TOML = """
[[environment]]
repo = "owner/name"
versions = ">=2.0,<3"
python = "3.9"
system = ["libxml2"]
packages = ["pytest==7.4.0"]
test_command = "pytest -x"
[environment.env]
LANG = "C.UTF-8"

[[environment]]
repo = "owner/name"
versions = ["1.0", "1.1"]
requirements = ["requirements/dev.txt"]
pins = ["click==8.0"]

[instances.owner__name-7]
python = "3.11"
install = "true"
"""

CONSTANTS = """
MAP_REPO_VERSION_TO_SPECS_PY = {
    "owner/other": {
        "1.0": {
            "python": "3.9",
            "packages": "requirements.txt",
            "install": "python -m pip install .",
            "pre_install": ["apt-get update && apt-get install -y locales ffmpeg", "sed -i s/a/b/ setup.py"],
            "pip_packages": ["click==8.1.3"],
            "eval_commands": ["export LANG=en_US.UTF-8"],
            "test_cmd": "pytest -rA --tb=no",
        },
        "2.0": {"python": "3.6", "packages": "'numpy==1.19.2' cython", "install": "x", "test_cmd": "bin/test -C"},
    },
}
MAP_REPO_TO_REQS_PATHS = {"owner/other": ["none.txt", "requirements/dev.txt"]}
MAP_REPO_TO_ENV_YML_PATHS = {}
"""


def make_task(number: int = 1, version: str = "2.3", repo: str = "owner/name", **more: object) -> Task:
    return Task(
        instance_id=f"{repo.replace('/', '__')}-{number}",
        repo=repo,
        problem_statement="x",
        extra={"version": version, **({"environment_setup_commit": more.pop("setup")} if "setup" in more else {})},
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def specs_file(tmp_path: Path) -> Path:
    path = tmp_path / "environments.toml"
    path.write_text(TOML)
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package laid out as swebench 4.x is."""
    root = tmp_path / "site"
    (root / "swebench/harness/constants").mkdir(parents=True)
    (root / "swebench/__init__.py").write_text("raise RuntimeError('imports far too much')\n")
    (root / "swebench/harness/constants/python.py").write_text(CONSTANTS)
    (root / "swebench-4.1.0.dist-info").mkdir()
    (root / "swebench-4.1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: swebench\nVersion: 4.1.0\n")
    monkeypatch.syspath_prepend(str(root))
    swebench_specs.constants.cache_clear()
    yield root
    swebench_specs.constants.cache_clear()


@pytest.fixture
def history(tmp_path: Path) -> History:
    files = {
        "requirements/dev.txt": "-r base.txt\n-e .\n# c\nsphinx==4.5  # why\ntypes-pkg_resources==0.1\n.[test]\n",
        "requirements/base.txt": "-r dev.txt\npytest==7.3\n--index-url https://x\nfoo==1 ; python_version<'3.9'\n",
        "tests/test_a.py": "def test_one():\n    pass\n",
    }
    return make_history(tmp_path / "clones/owner__name", files, {"a.py": "fix\n"})


async def prepared(task: Task, tmp_path: Path, **more: object) -> Task:
    (only,) = await prepare([task], tasks_file=tmp_path / "tasks.jsonl", **more)  # type: ignore[arg-type]
    return only


async def test_a_specification_becomes_an_environment(specs_file: Path, tmp_path: Path) -> None:
    task = await prepared(make_task(base_commit="1" * 40), tmp_path)
    assert task.environment == Environment(
        source="https://github.com/owner/name.git",
        commit="1" * 40,
        python="3.9",
        system=("libxml2",),
        packages=("pytest==7.4.0",),
        env={"LANG": "C.UTF-8"},
    )
    assert task.test_command == "pytest -x"


async def test_an_instances_own_keys_go_before(specs_file: Path, tmp_path: Path) -> None:
    task = await prepared(make_task(7, base_commit="1" * 40), tmp_path)
    assert task.environment is not None
    assert (task.environment.python, task.environment.install) == ("3.11", "true")
    assert task.environment.packages == ("pytest==7.4.0",)


async def test_requirements_are_read_at_the_commit_that_the_version_goes_by(
    specs_file: Path, tmp_path: Path, history: History
) -> None:
    task = make_task(version="1.1", base_commit=history.future, setup=history.base)
    made = await prepared(task, tmp_path, repos=history.path.parent)
    assert made.environment is not None
    assert made.environment.problem == ""
    assert made.environment.packages == (
        "pytest==7.3",
        "foo==1 ; python_version<'3.9'",
        "sphinx==4.5",
        "types-setuptools",
    )
    assert made.environment.pins == ("click==8.0",)
    before = await prepared(make_task(version="1.1", base_commit=history.past), tmp_path, repos=history.path.parent)
    assert before.environment is not None
    assert "none of requirements/dev.txt is in owner/name at" in before.environment.problem


async def test_what_is_wrong_with_one_task_leaves_the_others(
    specs_file: Path, tmp_path: Path, history: History
) -> None:
    tasks = [
        make_task(1, base_commit=history.base),
        make_task(2, base_commit="0" * 40),
        make_task(3, version="9.9", base_commit=history.base),
        make_task(4, base_commit=history.base, environment=Environment(source="pypi:x==1")),
    ]
    made = await prepare(tasks, tasks_file=tmp_path / "tasks.jsonl", repos=history.path.parent)
    problems = [task.environment.problem for task in made if task.environment]
    assert problems[0] == problems[3] == ""
    assert problems[1] == "owner__name-2: base commit 000000000000 is not in the clone of owner/name"
    assert problems[2].startswith(
        "owner__name-3: nothing says how to build owner/name 9.9; add it to an environments.toml"
    )
    assert made[3] == tasks[3]


async def test_the_clones_serve_tasks_that_have_their_environment_already(tmp_path: Path, history: History) -> None:
    built = Environment(source="https://github.com/owner/name.git", commit=history.base)
    task = make_task(base_commit=history.base, environment=built)
    assert await prepared(task, tmp_path, repos=history.path.parent) == task
    assert mirrors.missing(mirrors.mirror_path(built.source), [history.base]) == []


async def test_a_published_image_is_named_and_needs_no_specification(tmp_path: Path) -> None:
    task = make_task(repo="Owner/thing", base_commit="1" * 40)
    made = await prepared(task, tmp_path, image_template="swebench/sweb.eval.x86_64.{id}")
    assert made.image == "swebench/sweb.eval.x86_64.owner_1776_thing-1"
    assert made.environment is None
    with pytest.raises(UsageError, match="the fields are"):
        image_name("x/{other}", task)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[[environment]]\nrepo = 'a/b'\npyton = '3'", "pyton"),
        ("[[environment]]\npython = '3'", "repo"),
        ("[[environment]]\nrepo = 'a/b'\nversions = 'newer'", "versions 'newer'"),
        ("[[environment]]\nrepo = 'a/b'\nextends = 'other'", "extends"),
        ("[[", "environments.toml"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "environments.toml").write_text(content)
    with pytest.raises(UsageError, match=complaint):
        read_specs(tmp_path / "environments.toml")


async def test_wrong_places_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--repos"):
        await prepare([make_task()], repos=tmp_path / "none")
    with pytest.raises(UsageError, match="cannot read environment file"):
        await prepare([make_task()], environments=tmp_path / "none.toml")


def test_versions() -> None:
    assert fits((), "") and fits(">=2,<3", "2.10") and fits(("1.0",), "1.0") and fits(">=2", "2.1.dev3")
    assert not fits(">=2,<3", "3.0") and not fits(("1.0",), "1.1") and not fits(">=2", "")


@pytest.mark.usefixtures("package")
def test_the_swebench_package_is_read_without_being_imported() -> None:
    assert importlib.metadata.version("swebench") == "4.1.0"
    assert swebench_specs.spec_of("owner/other", "1.0") == {
        "python": "3.9",
        "requirements": ["none.txt", "requirements/dev.txt"],
        "packages": ["pytest"],
        "pins": ["pip<25", "setuptools<80", "click==8.1.3"],
        "system": ["locales", "ffmpeg"],
        "prepare": "sed -i s/a/b/ setup.py",
        "install": "python -m pip install -e .",
        "env": {"LANG": "en_US.UTF-8"},
        "test_command": "python -m pytest",
        "parser": "pytest",
    }
    other = swebench_specs.spec_of("owner/other", "2.0")
    assert other is not None
    assert other["packages"] == ["numpy==1.19.2", "cython"]
    assert (other["test_command"], other["parser"]) == ("bin/test -C", "swebench:owner/other")
    assert swebench_specs.spec_of("owner/other", "3.0") is None
    assert "swebench" not in sys.modules


@pytest.mark.usefixtures("package")
def test_a_file_can_start_from_what_the_package_says(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(
        '[[environment]]\nrepo = "owner/other"\nextends = "swebench"\npins = ["click==9"]\n'
        '[instances.owner__other-2]\nprepare = "true"\n'
    )
    files = [read_specs(tmp_path / "e.toml")]
    spec = find_spec(make_task(1, "1.0", "owner/other"), files)
    assert spec is not None and (spec.python, spec.pins) == ("3.9", ("click==9",))
    spec = find_spec(make_task(2, "1.0", "owner/other"), files)
    assert spec is not None and (spec.prepare, spec.pins, spec.system) == (
        "true",
        ("click==9",),
        ("locales", "ffmpeg"),
    )


def test_bare_names_become_node_ids() -> None:
    one = "diff --git a/x/test_a.py b/x/test_a.py\n--- a/x/test_a.py\n+++ b/x/test_a.py\n@@ -1 +1,2 @@\n a\n"
    one += "+def test_x():\n"
    two = one + one.replace("test_a", "test_b").replace("test_x", "test_y")
    lists: dict[str, Any] = {"FAIL_TO_PASS": ("test_x",), "PASS_TO_PASS": ("test_y", "x/test_a.py::test_z")}
    single = qualified(make_task(test_patch=one, **lists))
    assert single.FAIL_TO_PASS == ("x/test_a.py::test_x",)
    assert single.PASS_TO_PASS == ("x/test_a.py::test_y", "x/test_a.py::test_z")
    assert qualified(make_task(test_patch=two, **lists)).PASS_TO_PASS[0] == "x/test_b.py::test_y"


def test_requirement_files() -> None:
    assert file_requirements("r.txt", "a==1 \\\n  --hash=sha256:00\n-c x.txt\nb>=2\n", lambda _: None) == (
        "a==1",
        "b>=2",
    )
    listed = "dependencies:\n  - python=3.9\n  - numpy>=1.2\n  - conda-forge::scipy=1.5\n"
    listed += "  - pip:\n    - mpl==1\n    - -e .\n"
    assert conda_requirements(listed) == ("numpy>=1.2", "scipy==1.5.*", "mpl==1")


def test_our_own_file_is_sound() -> None:
    assert read_specs(folder("tasks") / "swebench.toml").environment
