"""The shell scripts, in a checkout of their own: what they say, what they pass on, what they return."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forager.sandbox.engine import Engine

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose set-up is done: this Python stands in for its .venv, and its tools are stubs."""
    root = tmp_path / "check out"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copytree(ROOT / ".ci", root / ".ci")
    shutil.copy(ROOT / "pyproject.toml", root)
    stub(root, "python", f'exec "{sys.executable}" "$@"')
    stamp = hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()
    (root / ".venv" / ".stamp").write_text(f"{stamp}  - {root} ")
    for tool in ("ruff", "mypy"):
        stub(root, tool, f"echo {tool} >>tools")
    return root


def stub(root: Path, name: str, script: str) -> None:
    path = root / ".venv" / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def run(path: Path, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        [str(path), *arguments],
        cwd=cwd or "/",
        env={**inherited, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["demo", "test", "bench"])
def test_no_engine_where_docker_host_says_is_one_line(checkout: Path, name: str) -> None:
    done = run(checkout / "scripts" / name, "--help", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"scripts/{name}: no Docker engine answers at DOCKER_HOST=tcp://127.0.0.1:1; start it, or unset DOCKER_HOST"
    ]


def test_a_python_that_is_too_old_or_none_is_one_line(checkout: Path) -> None:
    done = run(checkout / "scripts" / "demo", PYTHON="/bin/false")
    assert done.returncode == 3
    assert done.stderr.splitlines() == ["scripts/demo: PYTHON=/bin/false is not a Python 3.11 or newer"]


@pytest.mark.docker
def test_demo_passes_arguments_and_exit_code(checkout: Path, base_image: str, tmp_path: Path) -> None:
    stub(checkout, "forager", 'printf "%s|" "$PWD" "$@"; exit 7')
    done = run(checkout / "scripts" / "demo", "--workers", "a b", "$x", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{checkout}|demo|--workers|a b|$x|", "")


@pytest.mark.docker
def test_test_lints_first_and_ends_with_pytests_own_line(checkout: Path, base_image: str) -> None:
    stub(checkout, "pytest", 'echo pytest "$@" >>tools; echo "3 passed in 0.1s"')
    workers = min(len(os.sched_getaffinity(0)) + 1, 8)
    done = run(checkout / "scripts" / "test", "-k", "x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3 passed in 0.1s"
    assert (checkout / "tools").read_text().splitlines() == ["ruff", "ruff", "mypy", f"pytest -n {workers} -k x"]
    stub(checkout, "mypy", "exit 1")
    assert run(checkout / "scripts" / "test").returncode == 1


@pytest.mark.docker
@pytest.mark.parametrize("closing", ["no tests ran in 0.1s", "5 skipped in 0.1s", "0 passed", ""])
def test_ci_does_not_take_nothing_for_success(checkout: Path, base_image: str, closing: str) -> None:
    stub(checkout, "pytest", f"echo {closing!r}")
    done = run(checkout / ".ci" / "run")
    assert done.returncode != 0
    assert "no test passed" in done.stderr


@pytest.mark.docker
def test_ci_names_a_container_that_is_left(checkout: Path, engine: Engine, base_image: str) -> None:
    name = f"forager-tests-left-{time.time_ns()}"
    create = f"create_container('{base_image}', name='{name}', labels={{'forager.run': 'x'}})"
    code = f"import docker; docker.from_env().api.{create}"
    stub(checkout, "pytest", f'"{sys.executable}" -c "{code}"; echo 1 passed')
    try:
        done = run(checkout / ".ci" / "run")
        assert done.returncode == 1
        assert name in done.stderr
    finally:
        engine.api.remove_container(name, force=True)


def test_ci_says_no_more_than_set_up_did(checkout: Path) -> None:
    done = run(checkout / ".ci" / "run", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.returncode == 3
    assert "no Docker engine answers at DOCKER_HOST" in done.stdout
    assert done.stderr == ""
