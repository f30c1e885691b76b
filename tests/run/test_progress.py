"""What is told while work goes on, on a terminal and elsewhere."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from forager.plain import count, duration, one_line, short_id
from forager.records import Usage
from forager.run.live import LiveProgress
from forager.run.progress import Activity, Ended, JsonProgress, PlainProgress, Progress, make_progress

ID = "itsdangerous__signer-comparison-0123456789abcdef0123456789#0"
HOSTILE = "rm -rf /\n\x1b[31m[red]x[/red]\u202e"


def play(progress: Progress) -> None:
    progress.start("search on 4 tasks", 4, done=1)
    progress.begin(0, ID)
    progress.begin(1, "b#0")
    usage = Usage(prompt_tokens=40_000, completion_tokens=2_000)
    progress.activity(0, Activity(phase="tool", step=3, tool="bash", detail=HOSTILE, usage=usage, cost=0.5))
    progress.activity(1, Activity(phase="image"))
    progress.end(0, Ended(id=ID, status="submitted", resolved=True, steps=14, seconds=8.2, usage=usage, cost=0.5))
    progress.end(1, Ended(id="b#0", status="model_error", detail=HOSTILE, again=4.0))
    progress.begin(0, "c#0")
    progress.activity(0, Activity(phase="tool", step=3, tool="bash", detail=HOSTILE, usage=usage, cost=0.5))


def test_plain_lines_one_for_each_end() -> None:
    out = io.StringIO()
    progress = make_progress(Console(file=out))
    play(progress)
    progress.end(1, Ended(id="b#0", status="sandbox_error", detail="gone", failed=True))
    progress.close()
    lines = out.getvalue().splitlines()
    assert lines[0] == "search on 4 tasks: 3 to do, 1 done before"
    assert lines[1].startswith("[2/4] itsdangerous__signer") and lines[1].endswith(
        "#0 submitted resolved 14 steps 8.2 s"
    )
    assert lines[2] == "[2/4] b#0 model_error 0.0 s (again in 4 s) - rm -rf / ␛[31m[red]x[/red]\\u202e"
    assert lines[3] == "[3/4] b#0 sandbox_error 0.0 s - gone"
    assert len(lines) == 4


def test_json_lines_for_programs() -> None:
    out = io.StringIO()
    play(JsonProgress(out))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["start", "begin", "begin", "end", "end", "begin"]
    assert events[3]["id"] == ID and events[3]["resolved"] is True and events[3]["done"] == 2


def test_a_reader_that_leaves_does_not_end_the_work() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    play(PlainProgress(Gone()))


@pytest.mark.parametrize("width", [80, 140])
def test_the_live_display_says_what_runs_and_fits_the_terminal(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, height=24, force_terminal=True, color_system=None)
    progress = make_progress(console)
    assert isinstance(progress, LiveProgress)
    play(progress)
    picture = io.StringIO()
    Console(file=picture, width=width, height=24, color_system=None, force_terminal=True).print(progress._render())
    progress.close()
    text = picture.getvalue()
    for part in ("2/4", "1 running", "1 of 1 resolved (100 %)", "1 to retry", "step 3", "bash", "rm -rf /"):
        assert part in text
    assert "$1.00" in text and "84.0 k tokens" in text and "17 steps" in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text and "\u202e" not in text
    assert width < 100 or "[red]x[/red]" in text


def test_many_workers_do_not_overflow_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=80, height=20, force_terminal=True, color_system=None)
    progress = LiveProgress(console)
    progress.start("x", 100)
    for worker in range(64):
        progress.begin(worker, f"task-{worker}#0")
    picture = io.StringIO()
    Console(file=picture, width=80, color_system=None).print(progress._render())
    progress.close()
    assert len(picture.getvalue().splitlines()) < 20
    assert "… and 51 more" in picture.getvalue()


def test_ids_and_numbers_are_short_and_readable() -> None:
    assert short_id("a__b-1#3", 20) == "a__b-1#3"
    short = short_id(ID, 20)
    assert len(short) == 20 and short.endswith("#0") and "…" in short
    assert one_line("a\n\t b", 10) == "a b"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert [count(n) for n in (812, 12_400, 1_200_000)] == ["812", "12.4 k", "1.2 M"]
    assert [duration(s) for s in (8.2, 185, 7800)] == ["8.2 s", "3 min 05 s", "2 h 10 min"]
