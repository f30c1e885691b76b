"""The functions of a package in a fair order, rewritten by a real server that plays the model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from forager.forage.mutate import Mutant
from forager.forage.replies import Asking, Replies
from forager.forage.rewrites import IN_A_ROW, ROUNDS, Rewrites
from forager.models.registry import Models, ModelSpec
from tests.support.openai_script import Answer, Request, reply
from tests.support.openai_server import OpenAIServer

SOURCES = {
    f"pkg/m{file}.py": "".join(
        f"def f{file}{n}(a, b):\n    c = a + {n}\n    return c + b\n\n\n" for n in range(5)
    ).encode()
    for file in range(4)
}


def changed(request: Request) -> Answer:
    """A rewritten function whose bug depends on the kind that is asked for."""
    asked = request.body["messages"][1]["content"]
    name = re.search(r"Rewrite the function `(\w+)`", asked)
    kind = re.search(r"of this kind: (.*)\.", asked)
    assert name
    assert kind
    code = f"def {name[1]}(a, b):\n    c = a + {name[1][-1]}\n    return c - b - {len(kind[1])}\n"
    return reply({"text": f"```python\n{code}```"}, request)


def took(
    path: Path, answer: Callable[[Request], Answer], *counts: int, reaches: Callable[[Mutant], bool] = lambda _: True
) -> tuple[list[list[Mutant]], Rewrites, int]:
    """What comes of taking so many, and of how many requests."""

    async def run() -> tuple[list[list[Mutant]], Rewrites, int]:
        with OpenAIServer(answer) as server:
            async with Models(ModelSpec(name="m", base_url=server.base_url)) as models:
                with Replies(path / "replies.jsonl", path / "torn") as replies:
                    asking = Asking(models.openai(), replies)
                    rewrites = Rewrites(asking, "pkg", SOURCES, "0", reaches, lambda *_: None)
                    return [list(await rewrites.take(count)) for count in counts], rewrites, server.count

    return asyncio.run(run())


def test_they_spread_over_files_and_more_go_on_where_fewer_stopped(tmp_path: Path) -> None:
    ((first,), _, asked) = took(tmp_path, changed, 4)
    assert asked == 4
    assert len({mutant.file for mutant in first}) == 4
    ((again, more), _, asked) = took(tmp_path, changed, 4, 3)
    assert (again, asked) == (first, 3)
    assert len({(mutant.file, mutant.function) for mutant in (*again, *more)}) == 7


def test_a_function_comes_again_for_other_kinds_of_bugs_and_then_it_is_over(tmp_path: Path) -> None:
    ((everything,), rewrites, asked) = took(tmp_path, changed, 1000)
    assert asked == 20 * ROUNDS
    assert len(everything) + rewrites.rejected["same"] == asked
    assert len({(mutant.file, mutant.function) for mutant in everything[20:]}) > 10


def test_a_model_that_gives_nothing_of_use_is_given_up(tmp_path: Path) -> None:
    ((none, still), rewrites, asked) = took(tmp_path, lambda request: reply({"text": "No."}, request), 1, 1)
    assert (none, still, asked) == ([], [], IN_A_ROW)
    assert rewrites.rejected == {"no_code": IN_A_ROW}


def test_functions_that_no_test_runs_are_not_paid_for(tmp_path: Path) -> None:
    ((found,), _, asked) = took(tmp_path, changed, 1000, reaches=lambda mutant: mutant.file == "pkg/m1.py")
    assert {mutant.file for mutant in found} == {"pkg/m1.py"}
    assert asked == 5 * ROUNDS
