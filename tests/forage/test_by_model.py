"""Foraging with a model, end to end in Docker: a package made here, and a real server that plays the model."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from forager.errors import UnfitError, UsageError
from forager.evaluate import grade
from forager.forage.events import Event
from forager.forage.pipeline import ForageReport, forage
from forager.images.task import ensure_task_image, remove_task_image
from forager.models.registry import ModelSpec
from forager.models.server import Retries
from forager.sandbox.engine import Engine
from forager.tasks import load_tasks
from tests.forage.histories import commit, make
from tests.support.openai_script import Answer, Request, fault, reply
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

CALC = '''def clamp(n, low, high):
    """The nearest number to n from low to high, both included."""
    if n < low:
        return low
    return min(n, high)


def total(numbers):
    found = 0
    for number in numbers:
        found += number
    return found


def halves(numbers):
    found = []
    for number in numbers:
        found.append(number // 2)
    return found


def label(number):
    sign = "-" if number < 0 else ""
    return f"{sign}{abs(number)}"
'''
TESTS = """from calc import clamp, halves, label, total


def test_clamp():
    assert clamp(1, 2, 3) == 2
    assert clamp(5, 2, 3) == 3
    assert clamp(2, 1, 3) == 2


def test_total():
    assert total([1, 2]) == 3


def test_halves():
    assert halves([1, 2]) == [0, 1]


def test_label():
    assert label(-1) == "-1"
"""
REWRITES = {
    "clamp": CALC.split("\n\n\n")[0].replace("min(n, high)", "max(n, high)"),
    "total": CALC.split("\n\n\n")[1].replace("    found = 0", "    # from nothing\n    found = (0)"),
    "halves": CALC.split("\n\n\n")[2].replace("(numbers)", "(numbers, by=2)"),
}
LEAK = "# Clamped numbers come out too large\n\nThe cause is in calc.py, in the last line of clamp."
GOOD = "# Clamped numbers come out too large\n\nNumbers in the range come back as its upper end."
WANTED = "# Doubling\n\nThe package has no way to double a number yet."


def play(request: Request) -> Answer:
    """What the model says to a prompt."""
    asked = request.body["messages"][1]["content"]
    if match := re.search(r"Rewrite the function `(\w+)`", asked):
        code = REWRITES.get(match[1])
        return reply({"text": f"```python\n{code}\n```" if code else "I had rather not."}, request)
    if "lacks something" in asked:
        return reply({"text": WANTED}, request)
    return reply({"text": GOOD if request.turn else LEAK}, request)


class Foraged(NamedTuple):
    clone: Path
    out: Path
    server: OpenAIServer
    report: ForageReport
    events: list[Event]
    asked: int
    """Requests that the server saw."""

    def call(self, **more: int) -> dict[str, object]:
        return call(self.server, **more)


def call(server: OpenAIServer, **more: int) -> dict[str, object]:
    """The arguments of a call."""
    wanted = {"mutations": 0, "rewrites": 2, "commits": 1, **more}
    spec = ModelSpec(
        name="m", base_url=server.base_url, retries=Retries(attempts=2, first_wait=0.01, longest_wait=0.02)
    )
    return {**wanted, "detail": "terse", "statements": "model", "workers": 1, "runs": 2, "model": spec}


@pytest.fixture(scope="module")
def foraged(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foraged]:
    """What comes of a call whose server first refuses the key, then fails, and then answers."""
    folder = tmp_path_factory.mktemp("model")
    clone = make(folder / "calc")
    setup = "from setuptools import setup\nsetup(name='calc', py_modules=['calc'])\n"
    commit(clone, "Begin", {"calc.py": CALC, "tests/test_calc.py": TESTS, "setup.py": setup})
    doubled = f"{TESTS}\n\ndef test_double():\n    import calc\n\n    assert calc.double(2) == 4\n"
    commit(clone, "wip", {"calc.py": f"{CALC}\n\ndef double(n):\n    return n * 2\n", "tests/test_calc.py": doubled})
    out, events = folder / "out", list[Event]()
    with pytest.MonkeyPatch.context() as patch, OpenAIServer() as server:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        server.answer = lambda _: fault("401")
        with pytest.raises(UnfitError, match="401"):
            asyncio.run(forage(engine, [str(clone)], out, **call(server)))  # type: ignore[arg-type]
        assert (out / "tasks.jsonl").read_bytes() == b""
        server.answer = lambda _: fault("500")
        (failed,) = asyncio.run(forage(engine, [str(clone)], out, **call(server))).repositories  # type: ignore[arg-type]
        assert (failed.status, failed.stage, failed.again) == ("failed", "mutate", True)
        assert "500" in failed.reason
        refused, server.answer = server.count, play
        asked = call(server)
        report = asyncio.run(forage(engine, [str(clone)], out, progress=events.append, **asked))  # type: ignore[arg-type]
        yield Foraged(clone, out, server, report, events, server.count - refused)


def test_a_rewritten_function_becomes_a_task_and_other_replies_are_counted(foraged: Foraged) -> None:
    (record,) = foraged.report.repositories
    assert record.status == "done", record.reason
    assert record.replies_rejected == {"no_code": 3, "same": 5, "signature": 3}
    assert record.reason == "1 of 2 tasks after 1 mutants and 11 replies of the model that were none"
    (task,) = (task for task in load_tasks(foraged.out / "tasks.jsonl") if task.source == "mutation")
    assert task.instance_id.startswith("calc-")
    assert "-rewrite-" in task.instance_id
    assert {key: task.provenance[key] for key in ("operator", "function", "line", "model")} == {
        "operator": "rewrite",
        "function": "clamp",
        "line": 5,
        "model": "m",
    }
    assert task.FAIL_TO_PASS == ("tests/test_calc.py::test_clamp",)
    assert "+    return max(n, high)" in task.setup


def test_a_statement_that_tells_the_place_is_refused_and_asked_for_again(foraged: Foraged) -> None:
    (task,) = (task for task in load_tasks(foraged.out / "tasks.jsonl") if task.source == "mutation")
    assert task.problem_statement.startswith(f"{GOOD}\n\nOne test of the package's own suite fails")
    assert (task.provenance["statement"], task.provenance["statement_model"]) == ("model", "m")
    (record,) = foraged.report.repositories
    assert (record.reports_refused, record.templates) == (1, 0)
    assert any("refused: it names the file calc.py" in event.text for event in foraged.events)


def test_a_commit_whose_message_says_nothing_has_its_statement_from_the_model(foraged: Foraged) -> None:
    (task,) = (task for task in load_tasks(foraged.out / "tasks.jsonl") if task.source == "commit")
    assert task.problem_statement.startswith(WANTED)
    assert task.provenance["statement"] == "model"
    assert "n * 2" not in task.problem_statement


def test_tokens_are_counted(foraged: Foraged) -> None:
    (record,) = foraged.report.repositories
    kept = [json.loads(line) for path in (foraged.out / "work").glob("*.replies.jsonl") for line in path.open()]
    assert len(kept) == foraged.asked == 15
    assert record.usage.total == sum(
        line["usage"]["prompt_tokens"] + line["usage"]["completion_tokens"] for line in kept
    )


async def test_the_reference_patch_resolves_it(engine: Engine, foraged: Foraged) -> None:
    (task,) = (task for task in load_tasks(foraged.out / "tasks.jsonl") if task.source == "mutation")
    image = await ensure_task_image(engine, task)
    try:
        fixed, _ = await grade(engine, task, image, task.patch, run="tests")
        broken, _ = await grade(engine, task, image, None, run="tests")
    finally:
        await remove_task_image(engine, image)
    assert (fixed.resolved, broken.resolved) == (True, False)


async def test_a_later_call_asks_nothing_again_and_adds_functions_to_write(engine: Engine, foraged: Foraged) -> None:
    before, count = (foraged.out / "tasks.jsonl").read_bytes(), foraged.server.count
    same = await forage(engine, [str(foraged.clone)], foraged.out, **foraged.call())  # type: ignore[arg-type]
    assert same == foraged.report
    more = await forage(engine, [str(foraged.clone)], foraged.out, **foraged.call(implementations=1))  # type: ignore[arg-type]
    assert foraged.server.count == count
    assert (foraged.out / "tasks.jsonl").read_bytes().startswith(before)
    assert more.task_count == foraged.report.task_count + 1
    assert more.repositories[0].usage == foraged.report.repositories[0].usage
    task = load_tasks(foraged.out / "tasks.jsonl")[-1]
    assert task.provenance["operator"] == "implement"
    assert task.problem_statement.startswith("# Write `clamp` of calc")
    assert "raise NotImplementedError" in task.setup
    assert Counter(t.provenance.get("operator", t.source) for t in load_tasks(foraged.out / "tasks.jsonl")) == {
        "rewrite": 1,
        "commit": 1,
        "implement": 1,
    }


async def test_what_needs_a_model_is_refused_without_one(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--model"):
        await forage(engine, ["pypi:x==1"], tmp_path, rewrites=1)
    with pytest.raises(UsageError, match="--model"):
        await forage(engine, ["pypi:x==1"], tmp_path, statements="model")
