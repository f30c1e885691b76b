"""`forager images` as a user types it, with a task file, clones and specifications of her own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forager.cli import app
from tests.images.histories import make_history

pytestmark = pytest.mark.docker

SPECS = '[[environment]]\nrepo = "owner/calc"\npackages = ["pytest"]\ninstall = "true"\n'


def test_build_list_and_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    history = make_history(tmp_path / "clones/owner/calc", {"calc.py": "a\n"}, {"calc.py": "b\n"})
    named = {"repo": "owner/calc", "problem_statement": "x"}
    tasks = [
        {"instance_id": "good", "base_commit": history.base, **named},
        {"instance_id": "absent", "base_commit": "0" * 40, **named},
        {"instance_id": "other", "base_commit": history.base, **named, "repo": "owner/none"},
        {"instance_id": "left-out", "base_commit": history.base, **named},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    (tmp_path / "environments.toml").write_text(SPECS)
    chosen = ["--repos", str(tmp_path / "clones"), "--filter", "instance_id!=left-out", "-o", str(tmp_path / "out")]
    runner = CliRunner()
    done = runner.invoke(app, ["images", "build", str(tmp_path / "tasks.json"), *chosen])
    assert done.exit_code == 1
    assert "absent: base commit 000000000000 is not in the clone of owner/calc" in done.output
    assert "other: nothing says how to build owner/none" in done.output
    assert "1 of 3 images are ready" in done.output
    assert (tmp_path / "out/logs/absent.log").read_text().startswith("absent: base commit")

    listed = [json.loads(line) for line in runner.invoke(app, ["images", "list", "--json"]).output.splitlines()]
    (mine,) = (image for image in listed if image["tags"][0].startswith("forager/task:good-"))
    assert mine["kind"] == "task" and 0 < mine["own"] < mine["size"]
    table = runner.invoke(app, ["images", "list"], env={"COLUMNS": "200"}).output
    assert mine["tags"][0] in table and "on disk" in table
    assert runner.invoke(app, ["images", "remove", mine["tags"][0]]).output == "removed 1 image\n"
