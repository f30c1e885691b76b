"""Lists of repositories: both kinds of file, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.errors import UsageError
from forager.forage.lists import expand, read_list

DEMO = Path(__file__).parents[2] / "tasks" / "demo.toml"


def test_the_demos_list_pins_at_least_four_packages() -> None:
    found = read_list(DEMO)
    assert len(found.repositories) >= 4
    assert all(spec.startswith("pypi:") and "==" in spec for spec in found.repositories)
    assert (found.mutations or 0) * len(found.repositories) >= 16


def test_plain_text_list(tmp_path: Path) -> None:
    path = tmp_path / "packages.txt"
    path.write_text("# ours\npypi:a==1\n\npypi:b  # the newest\n")
    assert read_list(path).repositories == ("pypi:a==1", "pypi:b")


def test_arguments_and_files_mix_and_each_repository_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('seed = 3\nrewrites = 2\nrepositories = ["pypi:b==1", "pypi:a==1"]\n')
    found = expand(["pypi:a==1", str(path)])
    assert (found.repositories, found.mutations, found.seed) == (("pypi:a==1", "pypi:b==1"), None, 3)
    assert (found.rewrites, found.implementations) == (2, None)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "repositories = 3", "repositories"),
        ("a.toml", "repositories = []", "names no repository"),
        ("a.toml", "repos = ['x']", "repos"),
        ("a.toml", "= 3", "a.toml"),
        ("a.txt", "# nothing\n", "names no repository"),
    ],
)
def test_a_wrong_list_is_refused_by_name(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_list(path)


def test_an_argument_that_is_neither_is_refused() -> None:
    with pytest.raises(UsageError, match="neither"):
        expand(["itsdangerous"])
    with pytest.raises(UsageError, match="no repository"):
        expand([])
