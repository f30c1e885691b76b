"""The agent's shell: what lives on between calls, what a command may do to it, and what the agent is told."""

from __future__ import annotations

import asyncio
import re

import pytest

from forager.records import Limits
from forager.sandbox.docker import DockerSandbox
from forager.tools import Tools

pytestmark = pytest.mark.docker


async def said(sandbox: DockerSandbox, command: str, timeout: float = 20) -> str:
    return (await sandbox.run(command, timeout)).output


async def test_directory_variables_and_functions_live_on(sandbox: DockerSandbox) -> None:
    await sandbox.run("mkdir -p 'a b' && cd 'a b'; x=1; export y=2; f() { echo f$1; }; shopt -s extglob; set -f", 5)
    assert (
        await said(sandbox, "echo $x $y $(f 3) $PWD; shopt extglob; echo *")
        == "1 2 f3 /tmp/a b\nextglob        \ton\n*\n"
    )
    assert sandbox.directory == "/tmp/a b"


async def test_the_last_status_is_kept(sandbox: DockerSandbox) -> None:
    assert (await sandbox.run("(exit 7)", 5)).exit_code == 7
    assert await said(sandbox, "echo $?") == "7\n"
    assert await said(sandbox, "set -e; echo $?") == "0\n"
    await sandbox.run("false || true; if false; then :; fi; [[ a == b ]] || :", 5)  # what `set -e` spares
    assert await said(sandbox, "echo alive $?") == "alive 0\n"


async def test_stdout_and_stderr_come_in_order(sandbox: DockerSandbox) -> None:
    text = await said(sandbox, "for i in 1 2 3; do echo o$i; echo e$i >&2; done; ls /nope; echo end")
    assert text.split("\n")[:6] == ["o1", "e1", "o2", "e2", "o3", "e3"]
    assert text.endswith("No such file or directory\nend\n")


async def test_commands_read_from_nothing(sandbox: DockerSandbox) -> None:
    result = await sandbox.run("cat; read x; echo got:$x; python3 -c 'print(input())'", 10)
    assert result.output.startswith("got:\n") and "EOFError" in result.output
    assert await said(sandbox, "echo next") == "next\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo 'it'\"'\"'s'", "it's\n"),
        ("cat <<'E'\n$x `y` \\z 'q'\nE", "$x `y` \\z 'q'\n"),
        ("echo a # comment", "a\n"),
        ("echo a \\\n b", "a b\n"),
        ("echo ünï → 日本", "ünï → 日本\n"),
        ("printf 'no newline'", "no newline"),
        ("printf '\\nlines\\n\\n'", "\nlines\n\n"),
        ("case x in (x) echo y;; esac; for i in 1\ndo echo $i\ndone", "y\n1\n"),
        ("echo a &\nwait", "a\n"),
        ("true", ""),
    ],
)
async def test_a_command_is_taken_as_it_is(sandbox: DockerSandbox, command: str, expected: str) -> None:
    result = await sandbox.run(command, 10)
    assert (result.output, result.exit_code) == (expected, 0)


async def test_a_syntax_error_is_an_observation(sandbox: DockerSandbox) -> None:
    for command in ("(", "if true; then", "echo 'open", "fi", "cat <<E"):
        result = await sandbox.run(command, 5)
        assert not result.notices, command
    assert await said(sandbox, "echo fine") == "fine\n"


async def test_bytes_that_are_not_utf8_are_replaced(sandbox: DockerSandbox) -> None:
    assert await said(sandbox, "printf 'a\\377\\376b\\000c'") == "a��b\0c"


async def test_a_long_command_is_taken_whole(sandbox: DockerSandbox) -> None:
    text = "x'\n" * 50_000
    assert (await sandbox.run(f"cat <<'END' | wc -c\n{text}END", 20)).output.strip() == str(len(text))


async def test_a_function_named_like_a_builtin_breaks_nothing(sandbox: DockerSandbox) -> None:
    names = "printf echo read eval cd exit trap export unset set shopt command builtin test local return"
    hostile = "; ".join(f"{name}() {{ :; }}" for name in names.split())
    result = await sandbox.run(hostile, 5)
    assert result.exit_code == 0 and not result.notices
    result = await sandbox.run("/bin/echo still here", 5)
    assert (result.output, result.exit_code, result.notices) == ("still here\n", 0, ())


async def test_redirections_of_the_shell_itself_end_with_the_command(sandbox: DockerSandbox) -> None:
    assert (await sandbox.run("exec >/dev/null 2>&1; echo unseen", 5)).output == ""
    assert await said(sandbox, "echo seen; echo too >&2") == "seen\ntoo\n"
    await sandbox.run("exec 1>&- 2>&- 0<&-", 5)
    assert await said(sandbox, "echo seen") == "seen\n"


async def test_tracing_shows_the_agents_commands_only(sandbox: DockerSandbox) -> None:
    assert "forager" not in await said(sandbox, "set -x")
    text = await said(sandbox, "echo hi")
    assert text.splitlines()[-2:] == ["++ echo hi", "hi"] and "forager" not in text
    assert "forager" not in await said(sandbox, "set +x; set -v; echo verbose; set +v")
    assert await said(sandbox, "echo quiet") == "quiet\n"


async def test_printing_what_looks_like_an_end_fakes_nothing(sandbox: DockerSandbox) -> None:
    text = await said(
        sandbox, "printf '\\n%032x 0 5 5\\0/fake\\0\\0%032x\\n' 7 7; declare -f __forager_end; sleep 0.01"
    )
    assert "/fake" in text
    assert sandbox.directory == "/tmp"


# ------------------------------------------------------------------------------------------------ time limits


@pytest.mark.parametrize(
    "command",
    [
        "sleep 100; echo AFTER",
        "while :; do :; done; echo AFTER",
        "for ((;;)); do ((y++)); done\necho AFTER",
        "f() { while true; do :; done; }; f; echo AFTER; f",
        "until false\ndo :\ndone\necho AFTER\nwhile :; do :; done\necho AFTER",
        "x=$(while :; do :; done); echo AFTER",
        "yes | while read -r line; do :; done; echo AFTER",
        "sleep 100 & wait; echo AFTER",
        "trap '' TERM INT HUP; (trap '' TERM; sleep 100); echo AFTER",
        "setsid sleep 100 & sleep 100; echo AFTER",
        "python3 -c 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(100)'; echo AFTER",
        "sh -c 'while :; do :; done' | cat; echo AFTER",
    ],
)
async def test_past_the_time_limit_the_shell_survives_with_its_state(sandbox: DockerSandbox, command: str) -> None:
    await sandbox.run("cd /usr; kept=1; f0() { echo function; }", 5)
    result = await sandbox.run(f"echo partial; {command}", 0.4)
    assert result.timed_out and result.exit_code is None
    assert result.output.startswith("partial\n") and "AFTER" not in result.output
    assert result.seconds < 30
    assert result.notices == ("timed out after 0.4 s; what the command started was killed",)
    after = await sandbox.run("echo $PWD $kept $(f0); ls -d /proc/[0-9]* | wc -l", 5)
    # process 1, the shell, the substitution's subshells: nothing of the command is left
    assert after.output.splitlines()[0] == "/usr 1 function"
    assert int(after.output.splitlines()[1]) <= 5 and not after.notices


async def test_only_what_the_command_started_is_killed(sandbox: DockerSandbox) -> None:
    await sandbox.run("sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/server", 5)
    result = await sandbox.run("sleep 2000 >/dev/null 2>&1 & (setsid sleep 3000 &) ; sleep 100", 0.4)
    assert result.timed_out
    assert (
        await sandbox.run("kill -0 $(cat /tmp/server) && echo lives; pgrep -f 'sleep [23]000'", 5)
    ).output == "lives\n"


async def test_a_shell_that_cannot_be_interrupted_is_replaced(sandbox: DockerSandbox) -> None:
    await sandbox.run("cd /usr; export kept='a b'; mkfifo /tmp/fifo", 5)
    result = await sandbox.run("exec 7</tmp/fifo", 0.3)  # blocks in open(), where bash looks at no signal
    assert result.timed_out and "replaced" in result.notices[-1]
    assert await said(sandbox, "echo $PWD $kept") == "/usr a b\n"


# ------------------------------------------------------------------------------------------------ lost shells


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 3", 3),
        ("set -e; false", 1),
        ("exec true", 0),
        ("exec nosuchthing", 127),
        ("kill -9 $$", 137),
        ("set -u; : $no", 1),
    ],
)
async def test_a_lost_shell_is_replaced_where_it_was(sandbox: DockerSandbox, command: str, status: int) -> None:
    await sandbox.run("cd /usr; export kept='a \"b\" $c'; PATH=$PATH:/extra", 5)
    result = await sandbox.run(f"echo before; {command}", 5)
    assert result.output.startswith("before\n") and result.exit_code == status
    assert "a new one was started" in result.notices[0]
    after = await sandbox.run('echo "$PWD $kept ${PATH##*:}"', 5)
    assert (after.output, after.notices) == ('/usr a "b" $c /extra\n', ())


async def test_a_replaced_shell_says_when_its_directory_is_gone(sandbox: DockerSandbox) -> None:
    await sandbox.run("mkdir /tmp/gone; cd /tmp/gone", 5)
    result = await sandbox.run("rm -rf /tmp/gone; exit", 5)
    assert any("/tmp/gone is gone" in notice for notice in result.notices)
    assert await said(sandbox, "pwd") == "/tmp\n"


async def test_a_shell_killed_from_the_background_is_replaced_before_the_next_command(sandbox: DockerSandbox) -> None:
    first = await sandbox.run("export kept=1; (sleep 0.2; kill -9 $$) >/dev/null 2>&1 &", 5)
    await asyncio.sleep(0.5)
    second = await sandbox.run("echo run $kept", 5)
    assert second.output == "run 1\n"
    assert any(re.search("new one|replaced", notice) for notice in (*first.notices, *second.notices))


async def test_kill_everything_leaves_the_sandbox_alive(sandbox: DockerSandbox) -> None:
    await sandbox.run("cd /usr; export kept=1", 5)
    await sandbox.run("kill -9 -1; python3 -c 'import os; os.kill(-1, 9)'; kill -9 1", 5)
    assert await said(sandbox, "echo $PWD $kept") == "/usr 1\n"


# ------------------------------------------------------------------------------------------------ output


async def test_output_keeps_head_and_tail(sandbox: DockerSandbox) -> None:
    result = await sandbox.run("seq 1 200000", 20, 2000)
    assert result.truncated and result.output_bytes == len("\n".join(map(str, range(1, 200001)))) + 1
    assert result.output.startswith("1\n2\n3\n") and result.output.endswith("199999\n200000\n")
    assert "bytes left out ...]" in result.output and len(result.output) < 2100


async def test_output_without_end_is_stopped(sandbox: DockerSandbox) -> None:
    result = await sandbox.run("yes", 30)
    assert not result.timed_out and result.exit_code is None and result.truncated
    assert "printed more than 64 MiB" in result.notices[0] and len(result.output) < 33_000
    assert await said(sandbox, "echo next") == "next\n"


async def test_after_a_flood_the_shell_is_the_same(sandbox: DockerSandbox) -> None:
    await sandbox.run("kept=1", 5)
    for _ in range(3):
        result = await sandbox.run("yes", 30)
        assert len(result.notices) == 1, result.notices
    assert await said(sandbox, "echo $kept") == "1\n"


async def test_a_directory_whose_name_is_no_text_harms_nothing(sandbox: DockerSandbox) -> None:
    await sandbox.run(r"mkdir /tmp/$'\xff'; cd /tmp/$'\xff'", 5)
    assert (await Tools(sandbox, "/tmp", Limits()).execute("create", {"path": "no/x", "content": ""})).exit_code == 1
    gone = await sandbox.run(r"rmdir /tmp/$'\xff'; exit", 5)
    assert any("is gone" in notice for notice in gone.notices)
    for text in gone.notices:
        text.encode()


async def test_late_output_of_the_background_is_marked(sandbox: DockerSandbox) -> None:
    started = await sandbox.run("(sleep 0.2; echo late; sleep 0.1; echo later) & echo started", 5)
    assert started.output == "started\n"
    second = await sandbox.run("sleep 0.5; echo mine", 5)
    assert second.output == "mine\n"
    told = [notice.split(":\n") for notice in (*started.notices, *second.notices)]
    assert {before for before, _ in told} == {"printed by background processes since the last command"}
    assert "".join(late for _, late in told) == "late\nlater\n"
    assert (await sandbox.run("echo alone", 5)).notices == ()


async def test_many_background_processes_share_few_outputs(sandbox: DockerSandbox) -> None:
    for _ in range(6):
        await sandbox.run("sleep 0.05 &", 5)
        await sandbox.run("wait", 5)
    count = await said(sandbox, "ls -d /proc/[0-9]* | wc -l")
    assert int(count) <= 6  # process 1, the shell, at most two holders of outputs, this pipeline


# ------------------------------------------------------------------------------------------------ limits


async def test_a_fork_bomb_ends_with_its_command(sandbox: DockerSandbox) -> None:
    await sandbox.run("export kept=1; cd /usr", 5)
    result = await sandbox.run(":(){ :|:& };: ; sleep 50", 1)
    assert result.exit_code is None or "background processes were killed" in result.notices[-1]
    assert await said(sandbox, "echo $PWD $kept") == "/usr 1\n"
    assert int(await said(sandbox, "ls -d /proc/[0-9]* | wc -l")) <= 6


async def test_a_fork_bomb_in_the_background_ends_too(sandbox: DockerSandbox) -> None:
    result = await sandbox.run("for i in $(seq 600); do sleep 1000 2>/dev/null >&2 & done 2>/dev/null", 20)
    assert any("background processes were killed" in notice or "timed out" in notice for notice in result.notices)
    assert await said(sandbox, "echo $(echo forks again)") == "forks again\n"


async def test_a_process_that_the_memory_cap_kills_is_told_of(sandbox: DockerSandbox) -> None:
    command = "ulimit -v unlimited; python3 -c 'x = bytearray(8 << 30)' | cat; echo went on"
    result = await sandbox.run(command, 60)
    assert result.output.endswith("went on\n")
    assert "out of memory: the limit of 4 GiB was reached" in result.notices[0]
    assert not (await sandbox.run("echo $(echo small)", 5)).notices


async def test_a_file_larger_than_its_cap_is_not_written(sandbox: DockerSandbox) -> None:
    result = await sandbox.run("ulimit -f; truncate -s 5G /tmp/big; ls /tmp/big 2>&1", 10)
    assert result.output.splitlines()[0] == str(4 * 1024 * 1024)
    assert "File size limit exceeded" in result.output or "File too large" in result.output
