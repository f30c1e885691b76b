"""The run directory: repaired on open, refused when it is another's, never doubled."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from forager.errors import UsageError
from forager.records import Limits, Trajectory, read_trajectories
from forager.run.config import RunConfig
from forager.run.store import RunStore, read_info
from tests.run.synthetic import PATCH, make_config, make_tasks, make_trajectory

TASKS = make_tasks(2)


def fill(path: Path, config: RunConfig) -> list[Trajectory]:
    trajectories = [make_trajectory(task, sample) for task in TASKS for sample in range(2)]
    with RunStore(path, config) as store:
        for trajectory in trajectories:
            store.add(trajectory)
    return trajectories


def agree(path: Path) -> None:
    """preds.jsonl says what trajectories.jsonl says."""
    said = [msgspec.json.decode(line) for line in (path / "preds.jsonl").read_bytes().splitlines()]
    trajectories = read_trajectories(path / "trajectories.jsonl")
    expected = [(trajectory.instance_id, trajectory.patch or "") for trajectory in trajectories]
    assert [(one["instance_id"], one["model_patch"]) for one in said] == expected


def test_what_is_added_is_there_when_the_run_is_opened_again(tmp_path: Path) -> None:
    config = make_config(TASKS, samples=2)
    trajectories = fill(tmp_path / "run", config)
    assert list(read_trajectories(tmp_path / "run/trajectories.jsonl")) == trajectories
    with RunStore(tmp_path / "run", config) as store:
        assert store.finished == 4
        assert store.is_finished("pkg__mod-1#1")
        with pytest.raises(ValueError, match="has its line already"):
            store.add(trajectories[0])
    agree(tmp_path / "run")
    assert read_info(tmp_path / "run").continued == 1


def test_cut_anywhere_a_run_opens_with_whole_lines_and_predictions_in_step(tmp_path: Path) -> None:
    config = make_config(TASKS, samples=2)
    path = tmp_path / "run"
    trajectories = fill(path, config)
    whole = {name: (path / name).read_bytes() for name in ("trajectories.jsonl", "preds.jsonl")}
    for name, every in (("trajectories.jsonl", 97), ("preds.jsonl", 7)):
        for cut in [*range(0, len(whole[name]) + 1, every), len(whole[name]) - 1]:
            for other, content in whole.items():
                (path / other).write_bytes(content[:cut] if other == name else content)
            with RunStore(path, config) as store:
                kept = list(read_trajectories(path / "trajectories.jsonl"))
                assert kept == trajectories[: len(kept)]
                assert store.finished == len(kept)
                agree(path)
                for trajectory in trajectories[len(kept) :]:
                    store.add(trajectory)
            agree(path)
            assert list(read_trajectories(path / "trajectories.jsonl")) == trajectories


def test_predictions_that_say_something_else_are_written_anew(tmp_path: Path) -> None:
    config = make_config(TASKS, samples=2)
    fill(tmp_path / "run", config)
    with (tmp_path / "run/preds.jsonl").open("ab") as preds:
        preds.write(b'{"instance_id": "stray", "model_name_or_path": "x", "model_patch": ""}\n')
    RunStore(tmp_path / "run", config).close()
    agree(tmp_path / "run")


def test_the_log_of_an_attempt_goes_with_its_line_and_stays_without_it(tmp_path: Path) -> None:
    config = make_config(TASKS)
    with RunStore(tmp_path / "run", config) as store:
        for task in TASKS:
            with store.journal(f"{task.instance_id}#0") as journal:
                journal({"event": "reply", "text": "hello"})
        store.add(make_trajectory(TASKS[0], 0))
    logs = list((tmp_path / "run/attempts").iterdir())
    assert [log.name for log in logs] == ["pkg__mod-1#0.jsonl"]
    events = [msgspec.json.decode(line) for line in logs[0].read_bytes().splitlines()]
    assert [event["event"] for event in events] == ["try", "reply"]
    assert events[0]["id"] == "pkg__mod-1#0"


def test_a_log_left_by_a_kill_after_the_line_goes_when_the_run_opens(tmp_path: Path) -> None:
    config = make_config(TASKS)
    with RunStore(tmp_path / "run", config) as store:
        store.journal("pkg__mod-0#0").close()
        log = (tmp_path / "run/attempts/pkg__mod-0#0.jsonl").read_bytes()
        store.add(make_trajectory(TASKS[0], 0))
    (tmp_path / "run/attempts/pkg__mod-0#0.jsonl").write_bytes(log)
    RunStore(tmp_path / "run", config).close()
    assert list((tmp_path / "run/attempts").iterdir()) == []


def test_a_hostile_id_stays_inside_the_run_directory(tmp_path: Path) -> None:
    with RunStore(tmp_path / "run", make_config(TASKS)) as store:
        store.journal("../../etc/passwd#0").close()
        name = store.write_log("../../../x\n#0", "log \udcff")
    assert name.startswith("logs/") and (tmp_path / "run" / name).is_file()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run"]


def test_every_key_that_decides_results_is_named_when_it_differs(tmp_path: Path) -> None:
    RunStore(tmp_path, make_config(TASKS, samples=2)).close()
    other = make_config(
        make_tasks(3), samples=1, model="gpt", limits=Limits(steps=7), sampling={"temperature": 0.5}, workers=9
    )
    with pytest.raises(UsageError) as refusal:
        RunStore(tmp_path, other)
    text = str(refusal.value)
    assert "limits.steps: was 128, is 7" in text
    assert 'model: was "search", is "gpt"' in text
    assert "sampling.temperature: was not set, is 0.5" in text
    assert "samples: was 2, is 1 (may grow, not shrink)" in text
    assert "tasks: was" in text
    assert "workers" not in text


def test_workers_key_and_server_may_change_and_samples_may_grow(tmp_path: Path) -> None:
    RunStore(tmp_path, make_config(TASKS, base_url="http://a/v1")).close()
    now = make_config(list(reversed(TASKS)), base_url="http://b/v1", workers=8, samples=4, retries=0)
    RunStore(tmp_path, now).close()
    assert read_info(tmp_path).config == now


def test_no_secret_is_written(tmp_path: Path) -> None:
    secret = "sk-" + os.urandom(8).hex()
    config = make_config(
        TASKS,
        base_url=f"https://user:{secret}@host:8000/v1?key={secret}",
        extra_body={"api_key": secret, "nested": {"Authorization": f"Bearer {secret}"}, "max_tokens": 5},
    )
    RunStore(tmp_path, config).close()
    RunStore(tmp_path, config).close()
    text = (tmp_path / "run.json").read_text()
    assert secret not in text
    assert read_info(tmp_path).config.base_url == "https://host:8000/v1"
    assert read_info(tmp_path).config.extra_body["max_tokens"] == 5


def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"is not a run: it has no run.json but holds thesis.tex"):
        RunStore(tmp_path, make_config(TASKS))
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is a file"):
        RunStore(tmp_path / "thesis.tex", make_config(TASKS))


def test_a_run_may_begin_beside_the_tasks_that_were_foraged_there(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_text("{}")
    (tmp_path / "attempts").mkdir()  # killed before run.json was there
    RunStore(tmp_path, make_config(TASKS)).close()


def test_a_damaged_run_is_refused_with_its_file_and_line(tmp_path: Path) -> None:
    config = make_config(TASKS, samples=2)
    fill(tmp_path, config)
    lines = (tmp_path / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "trajectories.jsonl").write_bytes(b"".join([lines[0], b"garbage\n", lines[2]]))
    with pytest.raises(UsageError, match=r"trajectories.jsonl, line 2: not a trajectory"):
        RunStore(tmp_path, config)
    (tmp_path / "trajectories.jsonl").write_bytes(b"".join([lines[0], lines[0]]))
    with pytest.raises(UsageError, match=r"line 2: attempt pkg__mod-0#0 is there twice"):
        RunStore(tmp_path, config)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"run.json is damaged"):
        RunStore(tmp_path, config)


def test_the_patch_of_a_prediction_is_empty_when_nothing_was_submitted(tmp_path: Path) -> None:
    fill(tmp_path, make_config(TASKS, samples=2))
    patches = [
        msgspec.json.decode(line)["model_patch"] for line in (tmp_path / "preds.jsonl").read_bytes().splitlines()
    ]
    assert patches == [PATCH, "", PATCH, ""]
