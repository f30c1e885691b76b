"""The floor: the same work by bare calls of the Docker SDK, in blocking code. What is above it is ours to lose."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from typing import Any, Self

import docker
from docker.types import LogConfig, Ulimit

from forager.sandbox import Caps
from forager.sandbox.docker import CAPABILITIES, ENVIRONMENT

SHELL = ["bash", "--noprofile", "--norc"]


class BareShell:
    """A bash kept open over the SDK's socket. No time limit, no bound on output, nothing survives a lost shell."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached  # the SDK closes the connection with it
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._buffer = bytearray()

    def run(self, command: str) -> bytes:
        """Run a command; its output, with the exit status in the last line."""
        end = secrets.token_hex(16).encode()
        self._socket.sendall(f"{command}\nprintf '\\n%s %d\\n' {end.decode()} $?\n".encode())
        output: list[bytes] = []
        tail = b""
        while not (end in tail and tail.endswith(b"\n")):
            output.append(self._frame())
            tail = (tail + output[-1])[-64:]
        return b"".join(output)

    def close(self) -> None:
        self._attached._response.close()

    def _frame(self) -> bytes:
        buffer = self._buffer
        while len(buffer) < 8 or len(buffer) < 8 + int.from_bytes(buffer[4:8], "big"):
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the container is gone")
            buffer += data
        size = 8 + int.from_bytes(buffer[4:8], "big")
        frame = bytes(buffer[8:size])
        del buffer[:size]
        return frame


class BareContainer:
    """A container like a sandbox's with a control bash attached and an agent's bash in it; a context manager."""

    def __init__(self, api: docker.APIClient, image: str, workdir: str, labels: Mapping[str, str]) -> None:
        self._api = api
        caps = Caps()
        host = api.create_host_config(
            auto_remove=True,
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=CAPABILITIES,
            security_opt=["no-new-privileges"],
            mem_limit=caps.memory,
            memswap_limit=caps.memory,
            cpu_period=100_000,
            cpu_quota=int(caps.cpus * 100_000),
            pids_limit=caps.processes,
            ulimits=[
                Ulimit(name="fsize", soft=caps.file_size, hard=caps.file_size),
                Ulimit(name="core", soft=0, hard=0),
            ],
            log_config=LogConfig(type="none"),
            shm_size=256 * 1024**2,
        )
        self.id: str = api.create_container(
            image,
            entrypoint=SHELL,
            stdin_open=True,
            environment=ENVIRONMENT,
            labels=dict(labels),
            working_dir="/",
            host_config=host,
        )["Id"]
        attached = api.attach_socket(self.id, params={"stdin": 1, "stdout": 1, "stream": 1})
        api.start(self.id)
        self.control = BareShell(attached)
        self.control.run("true")
        made = api.exec_create(self.id, SHELL, stdin=True, workdir=workdir)
        self.shell = BareShell(api.exec_start(made["Id"], socket=True))
        self.shell.run("true")

    def remove(self) -> None:
        self._api.remove_container(self.id, v=True, force=True)
        self.shell.close()
        self.control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
