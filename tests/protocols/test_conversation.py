"""Whole attempts in the `text` protocol, from a plain completion server to the grade."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from forager.images.task import TaskImage
from forager.models.registry import ModelSpec
from forager.protocols.native import PROBLEM
from forager.protocols.text import SYSTEM
from forager.records import Limits, Task, Trajectory
from forager.run.single import attempt
from forager.sandbox.engine import Engine
from tests.evaluate.conftest import calc as calc
from tests.support.openai_script import Script, Turn
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

REPLIES = [
    "<think>\nA first idea:\n<tool: bash>\nrm -rf /testbed\n</tool>\nBetter not.\n</think>\nI read the code.\n\n"
    "<tool: bash>\ntail -n 3 calc/core.py\n</tool>",
    "<tool: edit>\ncalc/core.py\n<<<<<<< SEARCH\nreturn sum(values) / (len(values) + 1)\n=======\n"
    "return sum(values) / len(values)\n>>>>>>> REPLACE\n</tool>",
    "Indented.\n\n<tool: edit>\ncalc/core.py\n<<<<<<< SEARCH\n    return sum(values) / (len(values) + 1)\n=======\n"
    "    return sum(values) / len(values)\n>>>>>>> REPLACE\n</tool>",
    "<tool: submit>\n</tool>",
    "A last look.\n\n<tool: bash>\npython3 -Bc 'from calc import mean; print(mean([1, 2, 3]))'\n</tool>",
    "It is right.",
    "<tool: submit>\n</tool>",
    "<think>\nDone.\n</think>\n## Problem\nThe mean was wrong.\n\n## Solution\nThe divisor is the number of values.",
]

REVIEW = """\
<output>
Your submission is this patch:

<submission>
diff --git a/calc/core.py b/calc/core.py
index HASH..HASH 100644
--- a/calc/core.py
+++ b/calc/core.py
@@ -4,4 +4,4 @@ def add(a, b):
{space}
 def mean(values):
     values = list(values)
-    return sum(values) / (len(values) + 1)
+    return sum(values) / len(values)
</submission>

Review it. If it is not right yet, go on working and submit again. If it is, end with your final message, in sections
with ## headings and without a tool block.
</output>

<budget>
* Remaining turns: TURNS
* Remaining tokens: N
</budget>""".replace("{space}", " ")

ANSWERS = [
    "<output>\ndef mean(values):\n    values = list(values)\n    return sum(values) / (len(values) + 1)\n"
    "[exit code 0]\n</output>\n\n<budget>\n* Remaining turns: 127\n* Remaining tokens: N\n</budget>",
    "<output>\nError: calc/core.py: search was not found: lines 7-7 differ from it in white space only:\n"
    "     7\t    return sum(values) / (len(values) + 1)\n</output>\n\n"
    "<budget>\n* Remaining turns: 126\n* Remaining tokens: N\n</budget>",
    "<output>\nEdited calc/core.py; lines 7-7 are now:\n     7\t    return sum(values) / len(values)\n</output>\n\n"
    "<budget>\n* Remaining turns: 125\n* Remaining tokens: N\n</budget>",
    REVIEW.replace("TURNS", "124"),
    "<output>\n2.0\n[exit code 0]\n</output>\n\n<budget>\n* Remaining turns: 123\n* Remaining tokens: N\n</budget>",
    "FormatError: your reply holds neither a tool block nor a final message. Your patch is submitted: go on working "
    "with a\ntool block, or end with a final message in sections with ## headings.",
    REVIEW.replace("TURNS", "122"),
]


@pytest.fixture
def http() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


async def converse(
    engine: Engine, http: OpenAIServer, task: Task, replies: list[str | Turn], mode: str = "strict", **limits: Any
) -> Trajectory:
    turns: list[Turn] = [{"text": one} if isinstance(one, str) else one for one in replies]
    http.answer = Script(turns=[*turns, {"text": "I have nothing more to say."}])
    spec = ModelSpec(name="m", base_url=http.base_url, protocol="text", timeout=30)
    limit = Limits(**{"command_seconds": 20.0, **limits})
    return await attempt(task, spec, limit, engine=engine, protocol="text", protocol_mode=mode)


async def test_an_attempt_through_think_edit_failed_edit_submit_review_and_final_message(
    engine: Engine, http: OpenAIServer, calc: tuple[Task, TaskImage]
) -> None:
    task, _ = calc
    done = await converse(engine, http, task, list(REPLIES))
    opening = PROBLEM.format(workdir="/testbed", statement="The mean is wrong.", command_seconds=20.0, steps=128)
    expected = [("system", SYSTEM), ("user", opening), ("assistant", REPLIES[0])]
    for answer, reply in zip(ANSWERS, REPLIES[1:], strict=True):
        expected += [("user", answer), ("assistant", reply)]
    assert [(message["role"], _masked(message["content"])) for message in done.messages] == expected
    assert all(message.keys() == {"role", "content"} for message in done.messages)

    tokens = [int(n) for m in done.messages for n in re.findall(r"Remaining tokens: (\d+)", m["content"])]
    assert len(tokens) == 6 and tokens == sorted(tokens, reverse=True) and 120_000 < tokens[-1] < 131_072
    assert [(step.tool, step.exit_code) for step in done.steps] == [
        *(("bash", 0), ("edit", 1), ("edit", 0), ("submit", 0), ("bash", 0), ("submit", 0)),
    ]
    assert [step.observation - step.assistant for step in done.steps] == [1] * 6
    assert done.outcome.status == "submitted" and done.outcome.detail == ""
    assert done.patch == done.final_diff and done.evaluation is not None and done.evaluation.resolved
    assert done.model.protocol == "text" and done.tools == ()

    for number, request in enumerate(http.requests):
        assert "tools" not in request.body
        assert request.body["messages"] == list(done.messages[: 2 + 2 * number])


async def test_reasoning_that_the_server_gives_apart_stays_apart(
    engine: Engine, http: OpenAIServer, calc: tuple[Task, TaskImage]
) -> None:
    turn: Turn = {"text": "<tool: bash>\necho '</think>'\n</tool>", "reasoning": "<tool: bash>\nexit 9\n</tool>"}
    done = await converse(engine, http, calc[0], [turn], steps=1)
    assert done.outcome.status == "step_limit" and done.patch is None
    assert done.messages[2]["reasoning_content"] == turn["reasoning"] and done.messages[2]["content"] == turn["text"]
    assert done.messages[3]["content"].startswith("<output>\n</think>\n[exit code 0]\n</output>\n\n<budget>\n")


async def test_what_was_submitted_stands_when_the_review_comes_to_no_end(
    engine: Engine, http: OpenAIServer, calc: tuple[Task, TaskImage]
) -> None:
    repair, submit = REPLIES[2], REPLIES[3]
    undo = "<tool: bash>\necho 'def add(a, b): return 0' >calc/core.py\n</tool>"
    done = await converse(engine, http, calc[0], [repair, submit, undo], steps=3)
    assert done.outcome.status == "submitted" and "step_limit" in done.outcome.detail
    assert done.evaluation is not None and done.evaluation.resolved
    assert done.final_diff != done.patch and "return 0" in str(done.final_diff)
    silent = await converse(engine, http, calc[0], [repair, submit, "Hm.", "Hm.", "Hm."])
    assert silent.outcome.status == "submitted" and "3 replies in a row" in silent.outcome.detail
    assert silent.final_diff == silent.patch


@pytest.mark.parametrize(
    ("replies", "status"),
    [
        (["Done.", "## Problem\nNone.", "Really."], "no_submission"),
        (["<tool: bash>\nls", "<tool: bash>ls</tool>", "<tool: nothing>\n</tool>"], "format_error"),
    ],
)
async def test_replies_without_a_valid_block_end_it(
    engine: Engine, http: OpenAIServer, calc: tuple[Task, TaskImage], replies: list[str | Turn], status: str
) -> None:
    done = await converse(engine, http, calc[0], replies)
    assert (done.outcome.status, done.steps, done.patch) == (status, (), None)
    assert all("FormatError" in message["content"] for message in done.messages[3::2])


async def test_a_server_that_swallows_the_stop_string_is_understood_in_lenient_mode(
    engine: Engine, http: OpenAIServer, calc: tuple[Task, TaskImage]
) -> None:
    swallowed: list[str | Turn] = [reply.removesuffix("</tool>") for reply in (REPLIES[2], REPLIES[3])]
    done = await converse(engine, http, calc[0], [*swallowed, "The divisor was wrong."], "lenient")
    assert (done.outcome.status, done.outcome.detail) == ("submitted", "")
    assert done.evaluation is not None and done.evaluation.resolved


async def test_an_embedded_model_speaks_native_calls_whatever_the_protocol(
    engine: Engine, calc: tuple[Task, TaskImage]
) -> None:
    done = await attempt(calc[0], "oracle", engine=engine, protocol="text")
    assert done.evaluation is not None and done.evaluation.resolved
    assert done.model.protocol == "tools" and len(done.tools) == 4


def _masked(content: str) -> str:
    """A message without what is not the protocol's: token counts, git's hashes."""
    content = re.sub(r"(?m)^index [0-9a-f]+\.\.[0-9a-f]+", "index HASH..HASH", content)
    return re.sub(r"Remaining tokens: \d+", "Remaining tokens: N", content)
