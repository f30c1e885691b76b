"""What commands of a project's automation are understood to install and to run."""

from __future__ import annotations

import pytest

from forager.forage.said import ALL, Said, read


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("pip install -e .[test,docs]", Said(extras=("test", "docs"))),
        (
            "python3.11 -m pip install --upgrade 'mock>=4' -r reqs/dev.txt",
            Said(requirements=("mock>=4",), files=("reqs/dev.txt",)),
        ),
        ("sudo -E FOO=1 pip3 install \\\n  -c constraints.txt six", Said(requirements=("six",))),
        ("uv pip install --system -r requirements.txt .", Said(files=("requirements.txt",))),
        ("pip install dist/*.whl $EXTRA ../other git+https://x/y wheel.whl[cli]", Said(extras=("cli",))),
        ("pip install --group test", Said(groups=("test",))),
        ("uv sync --no-dev --all-extras --group=ci", Said(extras=(ALL,), groups=("ci",))),
        ("poetry install -E socks --with test", Said(extras=("socks",), groups=("dev", "test"))),
        ("apt-get update && sudo apt-get install -y libffi-dev 'a;b' gcc", Said(system=("libffi-dev", "gcc"))),
        (
            "uv run --extra all --with six pytest tests",
            Said(requirements=("six",), extras=("all",), tests=True, paths=("tests",)),
        ),
        ("coverage run --parallel -m pytest ./tests/unit/", Said(tests=True, paths=("tests/unit",))),
        (
            "pytest -v -n auto -m 'not slow' --cov pkg --ignore=tests/old -k fast",
            Said(tests=True, whole=True, options=("-m", "not slow", "--ignore=tests/old")),
        ),
        ("pytest --pyargs pkg", Said(tests=True, whole=True, paths=("pkg",))),
        ("pytest $WHERE /abs", Said(tests=True, whole=True)),
        ('if [ -n "$X" ]; then pytest; fi', Said(tests=True, whole=True)),
        ("uvx --with tox-uv tox run -e py311", Said(tests=True)),
        ("python setup.py test", Said(tests=True, whole=True)),
        ("echo 'pip install six", Said()),
        ("make lint; cd docs && make html", Said()),
        ("make test", Said(tests=True)),
    ],
)
def test_commands_are_read(commands: str, said: Said) -> None:
    assert read(commands) == said


def test_several_commands_add_up() -> None:
    found = read("pip install six\npip install six mock\npytest a\npytest b\n")
    assert found == Said(requirements=("six", "mock"), tests=True, paths=("a", "b"))
