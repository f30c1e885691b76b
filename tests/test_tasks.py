"""Reading task sets in all their forms, and choosing among them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from forager.choosing import of_chosen
from forager.errors import UsageError
from forager.run.predictions import Candidate
from forager.tasks import Selection, load_tasks, matches, select


def raw(name: str, **more: Any) -> dict[str, Any]:
    given = {"instance_id": name, "repo": "pallets/flask", "problem_statement": "It breaks.", "version": "2.3"}
    return {**given, "FAIL_TO_PASS": '["t.py::a"]', "PASS_TO_PASS": ["t.py::b"], **more}


TWO = [raw("one"), raw("two", repo="psf/requests", provenance={"operator": "swap", "seed": 3})]


def written(path: Path, form: str) -> Path:
    if form == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([raw("one"), raw("two", repo="psf/requests")]), path)
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(entry) for entry in TWO) + "\n\n")
    elif form == "list":
        path.write_text(json.dumps(TWO, indent=1))
    else:
        path.write_text(
            json.dumps({e["instance_id"]: {k: v for k, v in e.items() if k != "instance_id"} for e in TWO})
        )
    return path


@pytest.mark.parametrize(
    ("name", "form"),
    [("t.jsonl", "jsonl"), ("t.json", "list"), ("t.jsonl", "list"), ("t.json", "mapping"), ("t.parquet", "parquet")],
)
def test_every_form_gives_the_same_tasks(tmp_path: Path, name: str, form: str) -> None:
    tasks = load_tasks(written(tmp_path / name, form))
    assert [task.instance_id for task in tasks] == ["one", "two"]
    assert [task.repo for task in tasks] == ["pallets/flask", "psf/requests"]
    assert tasks[0].FAIL_TO_PASS == ("t.py::a",) and tasks[0].PASS_TO_PASS == ("t.py::b",)
    assert tasks[0].extra["version"] == "2.3"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.jsonl", '{"instance_id": "x"\n', "line 1: not JSON"),
        ("t.jsonl", json.dumps(raw("x")) + "\n" + json.dumps(raw("x")), "line 2: instance_id 'x' is there twice"),
        ("t.jsonl", '"text"', "line 1: a task is a JSON object"),
        ("t.jsonl", "\n", "holds no task"),
        ("t.json", "{", "not JSON"),
        ("t.json", "3", "a task set is a list"),
        ("t.json", '[{"instance_id": "x"}]', "entry 1: task x: field 'repo' is missing"),
        ("t.parquet", "no parquet", "not parquet"),
    ],
)
def test_a_broken_file_is_one_line_that_says_where(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=complaint) as caught:
        load_tasks(tmp_path / name)
    assert "\n" not in str(caught.value).strip()


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.parquet"):
        with pytest.raises(UsageError, match=r"cannot read task file .*none"):
            load_tasks(tmp_path / name)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'forager\[parquet\]'"):
        load_tasks(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("repo==psf/requests", ["two"]),
        ("repo!=psf/requests", ["one"]),
        ("repo == 'pallets/flask' and version==2.3", ["one"]),
        ("instance_id~=^t", ["two"]),
        ("provenance.operator==swap", ["two"]),
        ("provenance.seed==3", ["two"]),
        ("nowhere==", ["one", "two"]),
    ],
)
def test_filters(tmp_path: Path, condition: str, expected: list[str]) -> None:
    tasks = load_tasks(written(tmp_path / "t.jsonl", "jsonl"))
    assert [task.instance_id for task in select(tasks, Selection(filters=(condition,)))] == expected


@pytest.mark.parametrize("condition", ["repo", "repo=x", "__import__('os')", "repo~=(", ""])
def test_a_filter_that_is_not_understood_is_refused(tmp_path: Path, condition: str) -> None:
    with pytest.raises(UsageError, match="--filter"):
        matches(load_tasks(written(tmp_path / "t.jsonl", "jsonl"))[0], condition)


def test_instances_by_name_and_by_file(tmp_path: Path) -> None:
    tasks = load_tasks(written(tmp_path / "t.jsonl", "jsonl"))
    (tmp_path / "ids").write_text("# mine\ntwo\none  # too\n")
    assert len(select(tasks, Selection(instances=("two,one",)))) == 2
    assert len(select(tasks, Selection(instances=(f"@{tmp_path / 'ids'}",)))) == 2
    assert [t.instance_id for t in select(tasks, Selection(instances=("two",)))] == ["two"]
    with pytest.raises(UsageError, match="no such instance in the task set: three"):
        select(tasks, Selection(instances=("one,three",)))
    with pytest.raises(UsageError, match="cannot read the list of instances"):
        select(tasks, Selection(instances=("@none",)))


def test_a_shuffle_is_the_same_for_a_seed_and_comes_before_the_limit(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([raw(f"t{n}") for n in range(30)]))
    tasks = load_tasks(tmp_path / "t.json")
    some = select(tasks, Selection(shuffle=True, seed=1, limit=5))
    assert some == select(tasks, Selection(shuffle=True, seed=1, limit=5))
    assert len(some) == 5 and some != tasks[:5]
    assert some != select(tasks, Selection(shuffle=True, seed=2, limit=5))
    assert select(tasks, Selection(limit=2)) == tasks[:2]
    with pytest.raises(UsageError, match="leaves no task"):
        select(tasks, Selection(filters=("repo==none",)))


def test_predictions_of_tasks_that_are_left_out_are_no_unknown_ones(tmp_path: Path) -> None:
    tasks = load_tasks(written(tmp_path / "t.jsonl", "jsonl"))
    given = [
        Candidate(id=f"{n}#0", instance_id=n, sample=0, model_name_or_path="m", patch="") for n in ("one", "two", "x")
    ]
    kept = of_chosen(given, tmp_path / "t.jsonl", tasks[:1])
    assert [candidate.instance_id for candidate in kept] == ["one", "x"]
