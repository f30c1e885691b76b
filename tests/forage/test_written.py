"""Reports by a model of a real server: checked, asked for again with the reason, given up after three."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from forager.forage.replies import Asking, Replies
from forager.forage.statement import Detail
from forager.forage.written import Material, Written, tidy, write_report
from forager.models.registry import Models, ModelSpec
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

DIFF = """diff --git a/calc.py b/calc.py
--- a/calc.py
+++ b/calc.py
@@ -1,3 +1,3 @@
 def _limited(n, upper_end):
-    return min(n, upper_end)
+    return max(n, upper_end)
"""
TESTS = b"from calc import clamp\n\n\ndef test_clamp():\n    assert clamp(5, 2, 3) == 3\n"
TEXT = (
    "tests/test_calc.py:5: in test_clamp\n    assert clamp(5, 2, 3) == 3\n"
    "E   assert 5 == 3\nE    +  where 5 = clamp(5, 2, 3)"
)
MATERIAL = Material(
    name="calc",
    version="1.0",
    files=("calc.py",),
    functions=("_limited",),
    diff=DIFF,
    failures={"tests/test_calc.py::test_clamp": TEXT},
    sources={"tests/test_calc.py": TESTS},
)
GOOD = "# Numbers above the range come back\n\n```python\nassert clamp(5, 2, 3) == 3\n```\n\n`5` comes, not `3`."
WORDS = "# Numbers above the range are not cut off\n\n`clamp` called with 5, 2 and 3 gives `5` and not `3`."
TERSE = "# Range is not kept\n\nNumbers above the range come back as they are."
LEAK = f"{GOOD}\n\nThe cause is in `_limited`."


async def written(
    path: Path, turns: list[str], material: Material = MATERIAL
) -> tuple[Written, list[dict[str, Any]]]:
    """What comes of some replies, and the requests that the server saw."""
    with OpenAIServer(Script(turns=[{"text": text} for text in turns])) as server:
        async with Models(ModelSpec(name="m", base_url=server.base_url)) as models:
            with Replies(path / "replies.jsonl", path / "torn") as replies:
                found = await write_report(Asking(models.openai(), replies), material)
        return found, [request.body for request in server.requests]


async def test_a_report_that_gives_nothing_away_is_taken(tmp_path: Path) -> None:
    found, requests = await written(tmp_path, [GOOD])
    assert found == Written(report=GOOD, model="m")
    (request,) = requests
    asked = request["messages"][1]["content"]
    assert "tools" not in request
    for part in ("calc 1.0", DIFF.strip(), "assert clamp(5, 2, 3) == 3", "E   assert 5 == 3"):
        assert part in asked
    again, requests = await written(tmp_path, ["something else"])
    assert (again, requests) == (found, [])


async def test_one_that_gives_it_away_is_asked_for_again_with_the_reason(tmp_path: Path) -> None:
    found, requests = await written(tmp_path, [LEAK, "It fails.", GOOD])
    assert found.report == GOOD
    assert [reason.split(",")[0] for reason in found.refused] == [
        "it names the function _limited",
        'it does not begin with a title of one line ("# ...")',
    ]
    said = [message["content"] for message in requests[1]["messages"]]
    assert said[2] == LEAK
    assert "it names the function _limited" in said[3]


async def test_it_is_given_up_after_two_more(tmp_path: Path) -> None:
    found, requests = await written(tmp_path, [LEAK] * 9)
    assert (found.report, len(found.refused), len(requests)) == ("", 3, 3)


@pytest.mark.parametrize(
    ("detail", "report", "taken"),
    [
        ("full", GOOD, True),
        ("symptom", GOOD, False),
        ("symptom", WORDS, True),
        ("terse", GOOD, False),
        ("terse", TERSE, True),
        ("terse", f"{TERSE} {'It is so. ' * 100}", False),
        ("full", "# A title alone", False),
        ("full", f"{GOOD}\n{'x ' * 5000}", False),
    ],
)
async def test_levels_of_detail(tmp_path: Path, detail: Detail, report: str, taken: bool) -> None:
    found, requests = await written(tmp_path, [report], structs.replace(MATERIAL, detail=detail))
    assert bool(found.report) is taken
    assert json.dumps(requests[0]).count("Show no code of the tests") == (detail == "symptom")


async def test_names_of_hidden_tests_are_not_told(tmp_path: Path) -> None:
    hidden = structs.replace(MATERIAL, hidden=True)
    found, _ = await written(tmp_path, [f"{GOOD}\n\ntest_clamp shows it.", GOOD], hidden)
    assert found.refused == ("it names the test test_clamp, which nobody can see",)


def test_a_reply_is_cleaned() -> None:
    assert tidy("```markdown\n# A\x1b[31m\r\n\x00b\n```") == "# A\nb"
