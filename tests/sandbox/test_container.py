"""The container: what it gives, what it keeps out, and that it goes when its owner goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from forager.errors import CapExceeded, SandboxError
from forager.patches import final_diff
from forager.sandbox import Caps
from forager.sandbox import labels as ownership
from forager.sandbox.docker import DockerSandbox, open_sandbox
from forager.sandbox.engine import Engine

pytestmark = pytest.mark.docker


def alive(engine: Engine, container: str) -> bool:
    return bool(engine.api.containers(all=True, filters={"id": container}))


async def gone(engine: Engine, container: str) -> None:
    """Waits until the container is gone."""
    async with asyncio.timeout(60):
        while alive(engine, container):  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0.02)


async def test_environment_is_fixed_and_the_hosts_stays_out(
    engine: Engine, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with await open_sandbox(engine, base_image, workdir="/") as sandbox:
        text = (await sandbox.run("env", 5)).output
    assert "sk-secret" not in text
    for line in ("TZ=UTC", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0", "COLUMNS=80"):
        assert line in text.splitlines()


async def test_no_network_no_capabilities_no_new_privileges(sandbox: DockerSandbox) -> None:
    status = (await sandbox.run("grep -E 'NoNewPrivs|CapEff' /proc/self/status; ls /sys/class/net", 5)).output
    assert "NoNewPrivs:\t1" in status
    effective = int(re.search(r"CapEff:\t(\w+)", status)[1], 16)  # type: ignore[index]
    for name, bit in {
        "SYS_ADMIN": 21,
        "SYS_PTRACE": 19,
        "NET_ADMIN": 12,
        "NET_RAW": 13,
        "MKNOD": 27,
        "SYS_MODULE": 16,
    }.items():
        assert not effective >> bit & 1, name
    assert status.split()[-1] == "lo"
    connect = "python3 -c \"import socket; socket.create_connection(('172.17.0.1', 80), 2)\""
    assert (await sandbox.run(connect, 10)).exit_code == 1
    assert (await sandbox.run("ls /var/run/docker.sock /run/docker.sock", 5)).exit_code != 0


async def test_network_can_be_opened(engine: Engine, base_image: str) -> None:
    async with await open_sandbox(engine, base_image, workdir="/", caps=Caps(network=True)) as sandbox:
        assert "eth0" in (await sandbox.run("ls /sys/class/net", 5)).output


async def test_labels_say_whose_it_is(engine: Engine, base_image: str) -> None:
    async with await open_sandbox(engine, base_image, workdir="/", run="r1", attempt="a#0") as sandbox:
        labels = engine.api.inspect_container(sandbox.container)["Config"]["Labels"]
        assert labels["forager.run"] == "r1" and labels["forager.attempt"] == "a#0"
        assert labels["forager.owner"].split("/")[1] == str(os.getpid())
        assert int(labels["forager.expires"]) > time.time()


async def test_closing_removes_it_even_twice(engine: Engine, base_image: str) -> None:
    sandbox = await open_sandbox(engine, base_image, workdir="/")
    await sandbox.run("sleep 100 & trap '' TERM HUP", 5)
    await sandbox.close()
    assert not alive(engine, sandbox.container)
    await sandbox.close()


async def test_cancelling_at_any_moment_leaves_nothing(engine: Engine, base_image: str) -> None:
    run = f"cancel-{os.getpid()}"
    for milliseconds in (0, 5, 20, 50, 80, 110, 140, 200):
        opening = asyncio.create_task(open_sandbox(engine, base_image, workdir="/", run=run))
        await asyncio.sleep(milliseconds / 1000)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await opening).close()
    left = engine.api.containers(all=True, filters={"label": f"forager.run={run}"})
    assert left == []


OWNER = """
import asyncio, sys
from forager.sandbox.docker import open_sandbox
from forager.sandbox.engine import Engine
async def main():
    with Engine.connect() as engine:
        sandbox = await open_sandbox(engine, sys.argv[1], workdir="/")
        await sandbox.run("trap '' HUP TERM; (trap '' HUP TERM; while :; do sleep 1; done) & setsid sleep 1000 &", 5)
        print(sandbox.container, flush=True)
        await sandbox.run("sleep 1000", 1000)
asyncio.run(main())
"""


async def test_when_the_owner_is_killed_the_container_is_gone_at_once(engine: Engine, base_image: str) -> None:
    owner = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-c", textwrap.dedent(OWNER), base_image], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner, owner.stdout:
        container = owner.stdout.readline().strip()
        assert alive(engine, container)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        await gone(engine, container)


async def test_a_container_killed_from_outside_ends_the_command_at_once(
    engine: Engine, sandbox: DockerSandbox
) -> None:
    running = asyncio.create_task(sandbox.run("sleep 1000", 1000))
    await asyncio.sleep(0.1)
    engine.api.kill(sandbox.container)
    async with asyncio.timeout(60):
        with pytest.raises(SandboxError, match=r"died|lost"):
            await running
    for call in (sandbox.run("true", 5), sandbox.read_file("/etc/passwd"), sandbox.control("true")):
        with pytest.raises(SandboxError):
            await call


async def test_the_reaper_takes_dead_owners_containers_and_no_others(
    engine: Engine, base_image: str, sandbox: DockerSandbox
) -> None:
    def orphan(owner: str, expires: int) -> str:
        labels = {"forager.owner": owner, "forager.expires": str(expires), "forager.run": "orphan"}
        made = engine.api.create_container(base_image, ["sleep", "100"], labels=labels)
        return str(made["Id"])

    host, pid, boot, began = ownership.owner().split("/")
    far = int(time.time()) + 10_000
    dead = [
        orphan(f"{host}/{pid}/{boot}/1", far),  # the process id was used again
        orphan(f"{host}/999999999/{boot}/5", far),
        orphan(f"{host}/{pid}/another-boot/{began}", far),
        orphan(f"elsewhere/{pid}/{boot}/{began}", 5),
    ]
    living = [orphan(f"elsewhere/{pid}/{boot}/{began}", far), orphan(ownership.owner(), 5)]
    try:
        removed = await ownership.clean(engine)
        assert not {container[:12] for container in living} & set(removed)
        for container in dead:  # a run of another test may have come first, and still be at it
            await gone(engine, container)
        assert all(alive(engine, container) for container in [*living, sandbox.container])
    finally:
        for container in living:
            await ownership.remove(engine, container)


async def test_the_image_needs_bash_and_nothing_else(engine: Engine, base_image: str) -> None:
    async with await open_sandbox(engine, base_image, workdir="/tmp") as sandbox:
        # all there is but bash, its libraries, and what the test itself uses
        await sandbox.run("for f in /usr/bin/*; do [[ $f == */bash || $f == */rm ]] || rm -f $f; done; hash -r", 20)
        image = engine.api.commit(sandbox.container, "forager/tests-bare", "1")["Id"]
    try:
        async with await open_sandbox(engine, image, workdir="/tmp") as sandbox:
            assert (await sandbox.run("echo hi; x=1", 5)).output == "hi\n"
            assert (await sandbox.run("while :; do :; done", 0.3)).timed_out
            assert (await sandbox.run("exit 4", 5)).exit_code == 4
            assert (await sandbox.run("echo back", 5)).output == "back\n"
    finally:
        engine.api.remove_image(image, force=True)


async def test_the_agent_cannot_reach_into_the_control_shell(sandbox: DockerSandbox) -> None:
    await sandbox.run("(sleep 100; true) & disown", 5)
    for command in ("true", "exit 3", "sleep 100 & disown"):  # a new shell has no more rights than the first
        await sandbox.run(command, 5)
        tries = "echo x >/proc/1/fd/0; echo x >/proc/1/fd/1; cat /proc/1/environ; ls -l /proc/1/fd/ /proc/1/cwd"
        found = await sandbox.run(f"({tries}) 2>&1 | grep -c 'Permission denied'", 5)
        assert int(found.output) >= 6, found
    assert (await sandbox.control("echo fine"))[1] == b"fine\n"


async def intruding(engine: Engine, sandbox: DockerSandbox, script: str) -> None:
    """Run a script as something in the container that can reach process 1."""
    made = engine.api.exec_create(sandbox.container, ["bash", "-c", script])
    await engine.call(engine.api.exec_start, made["Id"])


@pytest.mark.parametrize("noise", ["echo x", "head -c 5M /dev/zero"])
async def test_noise_in_the_control_shells_answers_is_the_agents_doing(
    engine: Engine, base_image: str, noise: str
) -> None:
    async with await open_sandbox(engine, base_image, workdir="/tmp") as sandbox:
        await intruding(engine, sandbox, f"(while sleep 0.01; do {noise}; done) >/proc/1/fd/1 2>/dev/null &")
        with pytest.raises(CapExceeded, match="wrote into the harness's own channel") as caught:
            for _ in range(100):
                await sandbox.run("ls | cat", 5)
        assert caught.value.what == "control"
        assert await final_diff(sandbox, "/tmp") is None


async def test_an_answer_that_was_given_up_does_not_spoil_the_next(sandbox: DockerSandbox) -> None:
    for _ in range(5):
        asked = asyncio.create_task(sandbox.control("echo first; read -rt 0.2 <> <(:); echo last"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        assert await sandbox.control("echo second") == (0, b"second\n")


async def test_without_the_image_or_its_folder_there_is_one_clear_line(engine: Engine, base_image: str) -> None:
    with pytest.raises(SandboxError, match="no-such-image"):
        await open_sandbox(engine, "no-such-image:x", workdir="/")
    with pytest.raises(SandboxError, match="/no/such/folder"):
        await open_sandbox(engine, base_image, workdir="/no/such/folder", run="no-folder")
    assert engine.api.containers(all=True, filters={"label": "forager.run=no-folder"}) == []


async def test_disk_use_past_its_cap_kills_the_command(
    engine: Engine, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forager.sandbox.docker.WATCH", 0.2)
    async with await open_sandbox(engine, base_image, workdir="/tmp", caps=Caps(disk=50 << 20)) as sandbox:
        result = await sandbox.run("head -c 90M /dev/zero >/tmp/big; sleep 60; echo AFTER", 60)
        assert "disk use is over its limit of 50 MiB" in result.notices[0] and "AFTER" not in result.output
        assert (await sandbox.run("rm /tmp/big; echo cleared", 5)).output == "cleared\n"
        assert (await sandbox.run("sleep 1; echo fine", 20)).output == "fine\n"
        await sandbox.run("head -c 90M /dev/zero >/tmp/big; sleep 60", 60)
        with pytest.raises(CapExceeded, match="50 MiB"):
            for _ in range(3):
                await sandbox.run("sleep 60", 60)


async def test_when_the_main_process_runs_out_of_memory_it_is_the_agents_doing(
    engine: Engine, base_image: str
) -> None:
    async with await open_sandbox(engine, base_image, workdir="/tmp", caps=Caps(memory=64 << 20)) as sandbox:
        with pytest.raises(CapExceeded, match="64 MiB") as caught:
            await intruding(engine, sandbox, r"printf 'x=x; while :; do x+=$x; done\0' >/proc/1/fd/0")
            await sandbox.run("sleep 20", 20)
            await sandbox.run("true", 5)
        assert caught.value.what == "memory"


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_000])
async def test_files_go_in_and_out_byte_for_byte(sandbox: DockerSandbox, size: int) -> None:
    data = bytes(i * 7 % 256 for i in range(size))
    await sandbox.write_file("/tmp/it's a file", data)
    assert await sandbox.read_file("/tmp/it's a file") == data


async def test_writing_keeps_the_mode_and_follows_links(sandbox: DockerSandbox) -> None:
    await sandbox.run("echo old >/tmp/script; chmod 750 /tmp/script; ln -s script /tmp/link", 5)
    await sandbox.write_file("/tmp/link", b"new\n")
    assert (await sandbox.run("stat -c %a script; cat script; readlink link", 5)).output == "750\nnew\nscript\n"


async def test_file_faults_say_what_is_wrong(sandbox: DockerSandbox) -> None:
    await sandbox.run("mkfifo /tmp/fifo; echo x >/tmp/there", 5)
    for path, wrong in (("/tmp", IsADirectoryError), ("/nope", FileNotFoundError), ("/tmp/fifo", OSError)):
        with pytest.raises(wrong):
            await sandbox.read_file(path)
    payload = b"echo this must not be run as a command\n" * 20_000
    for path, match in (
        ("/nope/x", "No such file"),
        ("/tmp/fifo", "not a regular file"),
        ("/proc/version", r"error|denied"),
    ):
        with pytest.raises(OSError, match=match):
            await sandbox.write_file(path, payload)
    with pytest.raises(FileExistsError):
        await sandbox.create_file("/tmp/there", payload)
    with pytest.raises(FileNotFoundError):
        await sandbox.create_file("/nope/x", payload)
    assert await sandbox.read_file("/tmp/there") == b"x\n"  # and the control shell still answers


async def test_control_scripts_run_apart_from_the_agent(sandbox: DockerSandbox) -> None:
    await sandbox.run("cd /usr; export mine=1; echo() { :; }", 5)
    assert await sandbox.control('echo "$PWD $mine"; echo err >&2; exit 5') == (5, b"/ \n")
    assert await sandbox.control("cd /tmp; x=1; printf 'a\\0b'") == (0, b"a\0b")
    assert sandbox.directory == "/usr"
