"""The live display on real pseudo-terminals, and Ctrl-C pressed in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from forager.sandbox.engine import Engine
from tests.end_to_end.command import Command, none_left, read, until
from tests.end_to_end.shelf import solving
from tests.end_to_end.terminal import Terminal
from tests.support.openai_script import Script
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.docker

HOSTILE = "sleep 0.2; printf '\\x1b[2J'; echo " + "wide " * 60


@pytest.mark.parametrize("width", [80, 140])
def test_a_run_on_a_terminal(engine: Engine, tasks: Path, tmp_path: Path, width: int) -> None:
    out = tmp_path / "run"
    script = Script(conversations=solving({"bash": HOSTILE}, {"bash": "true", "delay": 600.0}))
    with OpenAIServer(script) as server:
        command: Command = ["run", tasks, "-o", out, "-m", "any-name", "--base-url", server.base_url]
        with Terminal(*command, width=width) as terminal:
            until(lambda: server.count == 4, "requests", terminal.process)  # both workers wait for their second reply
            shown = terminal.wait_for("2 steps")
            assert "0/3" in shown and "2 running" in shown
            assert "shelf__mean#0" in shown and "shelf__clamp#0" in shown and "step 1" in shown, shown
            assert len(shown.splitlines()) == 4, "a bar, a line of totals, a line for each worker"
            assert terminal.screen.cursor_hidden, shown
            terminal.press_ctrl_c()
            assert terminal.finish() == 130
        none_left(engine, terminal.process.pid)
        told = "forager: interrupted: 0 of 3 attempts are done; run the same command again to go on"
        assert terminal.text.replace("\n", "") == told, "the display is gone, what remains is one line"
        sane(terminal)

        script.conversations = solving({"bash": HOSTILE})
        with Terminal(*command, width=width) as terminal:
            assert terminal.finish() == 0
        sane(terminal)
        lines = terminal.text.splitlines()
        ended = [line for line in lines if line.startswith("shelf__")]
        assert len(ended) == 3 and all("submitted resolved 3 steps" in line for line in ended), terminal.text
        assert "any-name on 3 tasks" not in terminal.text, "the display is gone"
        assert "3 of 3 (100.0 %)" in terminal.text and "forager show" in terminal.text
    assert len(read(out).trajectories) == 3

    pages: list[Command] = [["show", out], ["stats", out], ["show", out, "shelf__mean"]]
    for arguments in pages:
        with Terminal(*arguments, width=width, env={"PAGER": "cat"}) as terminal:
            assert terminal.finish() == 0
        sane(terminal)
        assert "shelf" in terminal.text or "any-name" in terminal.text


def sane(terminal: Terminal) -> None:
    """Nothing wrapped, nothing of a traceback, nothing hostile, and the terminal as it was."""
    assert terminal.screen.wrapped == "" and terminal.screen.unknown == set(), terminal.raw
    assert not terminal.screen.cursor_hidden, "the cursor is back"
    assert "Traceback" not in terminal.raw and "\x1b[2J" not in terminal.raw
