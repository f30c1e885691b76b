"""From what an agent did to an environment: what is left out, what is lifted, what the script does again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from forager.forage import steps
from forager.forage.steps import Done, assembled, looks, script, written
from forager.records import Environment

START = Environment(source="/clone", commit="0" * 40, packages=("pytest",), install=":")


def did(*commands: str) -> list[Done]:
    return [Done(command=command) for command in commands]


@pytest.mark.parametrize(
    "command",
    [
        "ls -la && cat setup.py",
        "cd docs && ls *.rst | head -3",
        "python -m pytest -x -q 2>&1 | tail -20",
        "FOO=1 pytest tests/test_a.py -k 'not slow'",
        'cat pyproject.toml; grep -rn "import yaml" . | wc -l',
        "git log --oneline | head -3 && git status",
        "find . -name '*.c'",
        "sed -n 1,20p setup.py",
        "pip list 2>/dev/null | grep -i num",
        "python --version && which gcc",
        'python -c "import numpy; print(numpy.__version__)"',
        "echo $PATH ${HOME}",
        "# what is there\nls",
        "sudo dpkg -l",
        "apt-cache search libxml2",
        "make --help",
        "uv python list | head",
        "uv pip list",
        "",
    ],
)
def test_what_only_looks_or_tests_is_no_step(command: str) -> None:
    assert looks(command)
    assert assembled(START, did(command), {}) == (START,)


@pytest.mark.parametrize(
    "command",
    [
        "make",
        "ls > files.txt",
        "find . -name '*.orig' -delete",
        "sed -i s/a/b/ setup.py",
        "python setup.py build_ext --inplace",
        'python -c \'open("x", "w")\'',
        "echo x | tee version.txt",
        "export LANG=C",
        "git checkout -b other",
        "echo $(make)",
        "cat <<END >x\nls\nEND",
        "command make",
        "ls & make",
        "git tag v1.0 HEAD",
        "git submodule update --init",
    ],
)
def test_what_may_change_something_is_a_step_as_it_was_written(command: str) -> None:
    assert not looks(command)
    (environment,) = assembled(START, did(command), {})
    assert command in environment.install


@pytest.mark.parametrize(
    ("commands", "system", "packages", "install"),
    [
        (
            ["apt-get update 2>&1 | tail -3", "apt-get install -y libxml2-dev g++"],
            ("g++", "libxml2-dev"),
            ("pytest",),
            ":",
        ),
        (
            ["apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -yq \\\n  libffi-dev"],
            ("libffi-dev",),
            ("pytest",),
            ":",
        ),
        (["pip install -q 'attrs>=20' \"yarl<2\""], (), ("attrs>=20", "pytest", "yarl<2"), ":"),
        (["python -m pip install --upgrade attrs 2>&1 | tail -3"], (), ("attrs", "pytest"), ":"),
        (["pip install 'pytest<8'", "pip install pytest"], (), ("pytest<8",), ":"),
        (["uv pip install requests[socks]"], (), ("pytest", "requests[socks]"), ":"),
        (
            ["pip install attrs && pip install -e .[test] && pytest"],
            (),
            ("attrs", "pytest"),
            "pip install -e .[test] || exit",
        ),
        (["cd /testbed && make"], (), ("pytest",), "cd /testbed && make || exit"),
        (["pip install ./vendor/x"], (), ("pytest",), "pip install ./vendor/x || exit"),
        (["pip install -r requirements.txt"], (), ("pytest",), "pip install -r requirements.txt || exit"),
        (["pip install git+https://host/x"], (), ("pytest",), "pip install git+https://host/x || exit"),
        (["CFLAGS=-O0 pip install attrs"], (), ("pytest",), "CFLAGS=-O0 pip install attrs || exit"),
        (["pip install attrs || true"], (), ("pytest",), "{ pip install attrs || true\n} || exit"),
        (["pip install attrs; make"], (), ("pytest",), "{ pip install attrs; make\n} || exit"),
        (
            ["apt-get update", "apt-get install -y libc6=2.36-9"],
            (),
            ("pytest",),
            "apt-get update || exit\napt-get install -y libc6=2.36-9 || exit",
        ),
    ],
)
def test_packages_are_lifted_where_a_command_says_no_more(
    commands: list[str], system: tuple[str, ...], packages: tuple[str, ...], install: str
) -> None:
    environment = assembled(START, did(*commands), {})[0]
    assert (environment.system, environment.packages, environment.install) == (system, packages, install)


def test_the_second_environment_is_by_the_agents_own_commands() -> None:
    lifted, verbatim = assembled(START, did("pip install attrs", "ls", "make"), {"A": "b c"})
    assert lifted.packages == ("attrs", "pytest")
    assert lifted.install == "make || exit"
    assert (verbatim.packages, verbatim.install) == (("pytest",), "pip install attrs || exit\nmake || exit")
    assert lifted.env == verbatim.env == {"A": "b c"}
    assert (lifted.source, lifted.commit) == (START.source, START.commit)


def test_another_python_is_the_environments() -> None:
    environment = assembled(START, did("uv venv --clear --seed --python 3.9 /opt/venv", "make"), {})[0]
    assert (environment.python, environment.install) == ("3.9", "make || exit")
    assert assembled(START, did("uv venv .venv --python 3.9"), {})[0].python == ""
    assert assembled(START, did("uv venv --clear -p 3.11 /opt/venv"), {})[0].python == ""


def test_the_script_does_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, sub = str(tmp_path), str(tmp_path / "sub dir")
    monkeypatch.setattr(steps, "WORKDIR", root)
    content = "it's $HOME\n`x`\nFORAGER_END\n"
    done = [
        Done(command="mkdir 'sub dir' && cd 'sub dir'", directory=root, after=sub),
        Done(command="export X=1", directory=sub, after=sub),
        Done(command="false\necho $X >one", directory=sub, after=sub),
        Done(command="cat >two <<'END'\na'b\nEND", directory=sub, after=sub),
        Done(command="pwd >three", directory=root, after=root),
        Done(command=written(f"{root}/four", content), directory=root, after=root),
        Done(command=written(f"{root}/five", "no end"), directory=root, after=root),
    ]
    subprocess.run(["bash", "-c", script(done)], cwd=root, check=True)
    assert (tmp_path / "sub dir" / "one").read_text() == "1\n"
    assert (tmp_path / "sub dir" / "two").read_text() == "a'b\n"
    assert (tmp_path / "three").read_text().strip() == str(tmp_path.resolve())
    assert (tmp_path / "four").read_text() == content
    assert (tmp_path / "five").read_text() == "no end"


def test_the_script_ends_where_a_step_fails(tmp_path: Path) -> None:
    for failing in ("exit 3", "false && true", "{ true; (exit 3); }", "grep x <<END\ny\nEND"):
        made = script([Done(command=failing), Done(command=f"touch {tmp_path}/later")], "touch never")
        assert subprocess.run(["bash", "-c", made], cwd=tmp_path, check=False).returncode != 0
    assert not list(tmp_path.iterdir())


def test_a_last_command_is_there_even_if_there_is_no_other() -> None:
    assert assembled(START, [], {}, "restore || exit")[0].install == "restore || exit"
    assert script([]) == ":"
