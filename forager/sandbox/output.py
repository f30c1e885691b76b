"""What a command printed, in bounded memory: the head and the tail are kept, the middle is counted and dropped."""

from __future__ import annotations

from collections import deque


class BoundedOutput:
    """Takes bytes as they stream in. Keeps at most about `limit` bytes, half from the head, half from the tail."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.limit // 2 - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        keep = self.limit - self.limit // 2
        if not data or not keep:
            return
        self._tail.append(data[-keep:] if len(data) > keep else data)
        self._tail_size += len(self._tail[-1])
        while self._tail_size - len(self._tail[0]) >= keep:
            self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        return self.total > self.limit

    def text(self) -> str:
        """UTF-8 with replacement; if something was dropped, a line between head and tail says how much."""
        tail = b"".join(self._tail)
        if not self.truncated:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        tail = tail[-(self.limit - self.limit // 2) :]
        left_out = self.total - len(self._head) - len(tail)
        # A cut inside a character is not the command's fault: drop its stray bytes instead of showing U+FFFD.
        head_text = self._head.decode("utf-8", "replace").removesuffix("�")
        tail_text = tail[_stray(tail) :].decode("utf-8", "replace")
        return f"{head_text}\n[... {left_out:,} bytes left out ...]\n{tail_text}"


def _stray(data: bytes) -> int:
    """How many continuation bytes of a cut UTF-8 character `data` begins with (at most 3)."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0xC0 == 0x80:
        count += 1
    return count
