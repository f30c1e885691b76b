"""A real OpenAI-compatible HTTP server on loopback, scripted, for tests and benchmarks.

In a test it runs in a thread with an event loop of its own (`with OpenAIServer(script) as server`); from a shell,
`python -m tests.support.openai_server --port 0 --script script.json` prints its base URL and serves until killed.
It speaks HTTP/1.1 with keep-alive over plain asyncio: 64 slow replies at once cost it nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.openai_script import Answer, Request, Script


class OpenAIServer:
    """Serves `answer(request)`; a context manager. Thread-safe to read; `answer` may be replaced at any time."""

    def __init__(
        self, answer: Callable[[Request], Answer] | None = None, port: int = 0, remember: int = 1000
    ) -> None:
        self.answer = answer or Script()
        self.count = 0
        """Chat completions requests so far."""
        self.statuses: Counter[int] = Counter()
        """HTTP statuses answered; 0 for a dropped connection."""
        self.requests: deque[Request] = deque(maxlen=remember)
        """The latest `remember` requests, oldest first."""
        self.most_open = 0
        """The most requests under way at once."""
        self._changed = threading.Condition()
        self._open = 0
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="openai-server", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.connections: set[_Connection] = set()
        """The client connections that are open."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Block until a condition over `count` or `connections` holds; `timeout` in seconds, then `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError("the model server never saw what the test waits for")

    def _run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serve until told to stop or cancelled."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=512)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            server.close()
            for connection in list(self.connections):
                connection.abort()

    def _answer_to(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> Answer:
        if path.rstrip("/") == "/v1/models" and method == "GET":
            return Answer(json.dumps({"object": "list", "data": [{"id": "any", "object": "model"}]}).encode())
        if path != "/v1/chat/completions" or method != "POST":
            return Answer(b'{"detail":"Not Found"}', status=404)
        request = Request(self.count, json.loads(raw), headers, time.monotonic())
        self.requests.append(request)
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        return self.answer(request)


class _Connection(asyncio.Protocol):
    """One client connection: reads whole requests, writes whole replies, one after the other."""

    def __init__(self, server: OpenAIServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._wanted = 0
        """Bytes the buffer must hold before it is worth a look."""
        self._later: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        with self._server._changed:
            self._server.connections.discard(self)
            self._server._changed.notify_all()
        if self._later is not None:
            self._later.cancel()
            self._server._open -= 1

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        first, *lines = self._buffer[:head_end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._wanted = head_end + 4 + int(headers.get("content-length", 0))
        if len(self._buffer) < self._wanted:
            return
        raw = bytes(self._buffer[head_end + 4 : self._wanted])
        del self._buffer[: self._wanted]
        self._wanted = 0
        method, target, _ = first.split(" ", 2)
        answer = self._server._answer_to(method, target.partition("?")[0], headers, raw)
        self._server._open += 1
        self._server.most_open = max(self._server.most_open, self._server._open)
        if answer.delay > 0:
            self._later = asyncio.get_running_loop().call_later(answer.delay, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self._later = None
        self._server._open -= 1
        self._server.statuses[0 if answer.drop else answer.status] += 1
        if answer.drop == "before":
            self._transport.abort()
            return
        head = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}", *(f"{k}: {v}" for k, v in head.items())]
        whole = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body
        if answer.drop == "body":
            self._transport.write(whole[: -max(1, len(answer.body) // 2)])
            self._transport.close()
            return
        self._transport.write(whole)


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 means any free port")
    parser.add_argument("--script", type=Path, help="JSON file: the fields of tests.support.openai_script.Script")
    arguments = parser.parse_args()
    script = Script.read(arguments.script) if arguments.script else Script()
    with OpenAIServer(script, arguments.port) as server:
        print(server.base_url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server._thread.join()


if __name__ == "__main__":
    main()
