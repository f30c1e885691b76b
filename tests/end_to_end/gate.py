"""A gate in front of the real Docker engine: shows one test its part of a shared engine, fails on request, shuts.

It passes bytes through as they are. What it changes is the head of a request, which the SDK sends in one piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Rule = Callable[[bytes], bytes | None]
"""Takes what a client sends, and gives what is sent on; None lets the client hear that the disk is full."""

FULL = json.dumps({"message": "write /var/lib/docker/tmp/layer: no space left on device"}).encode()
_REFUSAL = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(FULL), FULL)
)


class Gate:
    """Listens at `address`, a value for DOCKER_HOST; a context manager."""

    def __init__(self, path: Path, rule: Rule = lambda data: data) -> None:
        self.address = f"unix://{path}"
        self.rule = rule
        self._path = path
        self._engine = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
        self._loop = asyncio.new_event_loop()
        self._pairs: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def shut(self) -> None:
        """The engine is gone, for whoever comes through here: connections break, new ones are refused."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()

    def reopen(self) -> None:
        self._path.unlink(missing_ok=True)
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def _open(self) -> None:
        """Not a server of asyncio's: who is let in while that closes is neither served nor closed, and waits."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(self._path))
        self._listener.listen(100)
        self._loop.add_reader(self._listener, self._let_in, self._listener)

    def _let_in(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            pair = self._loop.create_task(self._serve(listener.accept()[0]))
            self._pairs.add(pair)
            pair.add_done_callback(self._pairs.discard)

    async def _shut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        pairs = list(self._pairs)
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        client, to_client = await asyncio.open_unix_connection(sock=connection)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._join(client, to_client)
        finally:
            to_client.close()

    async def _join(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._engine.scheme == "unix":
            engine, to_engine = await asyncio.open_unix_connection(self._engine.path)
        else:
            engine, to_engine = await asyncio.open_connection(self._engine.hostname, self._engine.port)
        ways = {
            asyncio.create_task(self._carry(client, to_engine, to_client)),
            asyncio.create_task(self._carry(engine, to_client, None)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            to_engine.close()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, back: asyncio.StreamWriter | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if back is not None:
                    changed = self.rule(data)
                    if changed is None:
                        back.write(_REFUSAL)
                        await back.drain()
                        return
                    data = changed
                sink.write(data)
                await sink.drain()
