"""Repositories that cannot become tasks: each ends with the class of its failure, and none holds up the others."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from forager.forage.history import MAX_FILES
from forager.forage.pipeline import forage
from forager.forage.project import Project
from forager.forage.source import fetch_source
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.histories import FIXED, SETUP, TESTS, commit, make
from tests.images.histories import git

GOOD = {"calc.py": FIXED, "tests/test_calc.py": TESTS.replace("== 5\n", "== 4\n"), "setup.py": SETUP}
SUITE_SECONDS = 8.0

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"


def suite_of(*lines: str) -> dict[str, str]:
    """A package whose only test module has these lines in its tests."""
    tests = "".join(f"def test_{n}():\n    {line}\n\n\n" for n, line in enumerate(lines))
    return {**GOOD, "tests/test_calc.py": f"import os\nimport sys\n\n\n{tests}"}


def hostile(marker: Path) -> str:
    return f"import os\nos.makedirs({str(marker.parent)!r}, exist_ok=True)\nopen({str(marker)!r}, 'a').close()\n"


CASES: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "compiler": (
        "build",
        "needs_compiler",
        {**GOOD, "setup.py": "import subprocess\nsubprocess.check_call(['ghc', '--make', 'x.hs'])\n" + SETUP},
    ),
    "header": (
        "build",
        "needs_library",
        {
            **GOOD,
            "calc.c": "#include <never_there.h>\n",
            "setup.py": "from setuptools import Extension, setup\n"
            "setup(name='calc', py_modules=['calc'], ext_modules=[Extension('_calc', ['calc.c'])])\n",
        },
    ),
    "absent": (
        "build",
        "no_dependencies",
        {**GOOD, "setup.py": SETUP.replace("name=", "install_requires=['forager-never-there==9'], name=")},
    ),
    "database": (
        "baseline",
        "needs_service",
        suite_of("__import__('socket').create_connection(('127.0.0.1', 5432))"),
    ),
    "network": (
        "baseline",
        "needs_network",
        suite_of("__import__('urllib.request').request.urlopen('http://a.test')"),
    ),
    "rights": ("baseline", "needs_rights", suite_of("os.mknod('/tmp/disk', 0o60666, os.makedev(8, 0))")),
    "untested": ("detect", "no_tests", {"calc.py": FIXED, "setup.py": SETUP}),
    "bare": ("detect", "no_code", {"tests/test_calc.py": "def test_a():\n    pass\n"}),
    "skipped": ("baseline", "no_tests", suite_of("__import__('pytest').skip('never')")),
    "broken": ("baseline", "not_collected", {**GOOD, "tests/test_calc.py": "import calc\ncalc.no_such_name\n"}),
    "hangs": ("baseline", "hangs", suite_of("while True: pass")),
    "forks": ("baseline", "hangs|breaks_container|fails|not_started", suite_of("while True: os.fork()")),
    "prints": ("baseline", "hangs|breaks_off|not_started", suite_of("while True: os.write(2, b'x' * 65536)")),
    "dies": ("baseline", "breaks_off|not_started", suite_of("os._exit(3)")),
    "large": (
        "baseline",
        "needs_large_files",
        {
            **GOOD,
            ".gitattributes": "*.dat filter=lfs diff=lfs merge=lfs -text\n",
            "tests/table.dat": POINTER,
            "tests/test_calc.py": "import json\n\n\ndef test_a():\n    json.load(open('tests/table.dat'))\n",
        },
    ),
    "modules": (
        "baseline",
        "needs_submodules",
        {
            **GOOD,
            ".gitmodules": '[submodule "shared"]\n\tpath = tests/shared\n\turl = https://example.com/shared.git\n',
            "tests/test_calc.py": "def test_a():\n    open('tests/shared/table.json')\n",
        },
    ),
}


@pytest.mark.docker
async def test_each_ends_in_a_class_of_its_own_and_stops_no_other(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forager.forage.ladder.ATTEMPTS", 1)  # each rung would be built, and do no better
    marker = tmp_path / "marked" / "here"
    paths: dict[str, str] = {}
    everything = {name: files for name, (_, _, files) in CASES.items()}
    everything["hostile"] = {
        **GOOD,
        "setup.py": hostile(marker) + SETUP,
        "conftest.py": hostile(marker),
        "noxfile.py": hostile(marker),
        "calc.py": hostile(marker) + FIXED,
    }
    everything["root"] = {**GOOD, "conftest.py": "import os\nassert os.geteuid() == 0\n"}
    for name, files in everything.items():
        path = make(tmp_path / name)
        commit(path, "Begin", files)
        if name == "modules":
            git(path, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},tests/shared")
            git(path, "commit", "-q", "-m", "A submodule")
        paths[name] = str(path)
    started = time.monotonic()
    report = await forage(engine, list(paths.values()), tmp_path / "out", mutations=1, suite_seconds=SUITE_SECONDS)
    assert time.monotonic() - started < 900
    found = {name: next(r for r in report.repositories if r.repository == path) for name, path in paths.items()}
    told = {name: (record.stage, record.failure) for name, record in found.items() if name in CASES}
    wrong = {
        name: (*told[name], found[name].reason)
        for name, (stage, failure, _) in CASES.items()
        if told[name][0] != stage or told[name][1] not in failure.split("|")
    }
    assert not wrong
    for record in found.values():
        assert "\n" not in record.reason
        assert not record.again
        assert (tmp_path / "out" / record.log).stat().st_size < 4_000_000
    assert (found["hostile"].status, found["root"].status) == ("done", "done")
    assert len(load_tasks(tmp_path / "out" / "tasks.jsonl")) == 2
    assert not marker.exists()
    assert not marker.parent.exists()


def many_files(path: Path, count: int) -> Path:
    """A clone with this many modules, each with its own content, and a small suite."""
    make(path)
    given = [b"commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 0\n"]
    files = {name: text.encode() for name, text in GOOD.items()}
    files |= {f"data/d{n // 500}/m{n}.py": b"VALUE = %d\n" % n for n in range(count - len(files))}
    given += [b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(data), data) for name, data in files.items()]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, input=b"".join(given), check=True)
    return path


async def test_fifty_thousand_files_are_read_soon_and_in_little_memory(tmp_path: Path) -> None:
    source = await fetch_source(str(many_files(tmp_path / "many", MAX_FILES)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    files = source.read()
    project = Project(source.name, files)
    assert project.tests() == []
    assert len(files) == MAX_FILES
    assert time.monotonic() - started < 100  # git asked once for each file would take minutes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.docker
async def test_more_files_are_refused(engine: Engine, base_image: str, tmp_path: Path) -> None:
    assert base_image
    path = many_files(tmp_path / "many", MAX_FILES + 1)
    (record,) = (await forage(engine, [str(path)], tmp_path / "out", mutations=1)).repositories
    assert (record.stage, record.failure) == ("detect", "too_large")
    assert record.seconds < 60
