"""The files of an image, read one after the other on this side: nothing of the image runs."""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import IO, Any

from forager.errors import SandboxError
from forager.sandbox import labels
from forager.sandbox.engine import Engine

PIECE = 64 * 1024**2
"""Bytes of a file that are held at a time, and of an archive's content that are looked at."""

_BLOCK = 16 * 1024
_UNPACKERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": partial(zlib.decompressobj, 31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}
"""What unpacks a compressed file, by how it begins."""


@contextlib.contextmanager
def unstarted(engine: Engine, image: str, run: str) -> Iterator[str]:
    """The id of a container of an image that is never started, to read its files from. `run` is what its labels say.

    Raises what the SDK does; call it inside of `Engine.call`.
    """
    api: Any = engine.api
    made = api.create_container(image, ["true"], entrypoint=[], labels=labels.labels(run, "", 3600.0))
    try:
        yield made["Id"]
    finally:
        api.remove_container(made["Id"], force=True, v=True)


def files(chunks: Iterable[bytes]) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The regular files of a tar stream, one after the other, each to be read before the next.

    Raises `SandboxError` where the stream breaks off.
    """
    try:
        with tarfile.open(fileobj=_Stream(chunks), mode="r|") as tar:
            for member in tar:
                if member.isfile() and (file := tar.extractfile(member)) is not None:
                    yield member, file
    except tarfile.TarError as error:
        raise SandboxError(f"the files of an image cannot be read: {error}") from error


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, need = [], size
        while need:
            if not self._left:
                self._left = next(self._chunks, b"")
                if not self._left:
                    break
            part = self._left[:need] if need > 0 else self._left
            self._left = self._left[len(part) :]
            parts.append(part)
            need -= len(part) if need > 0 else 0
        return b"".join(parts)


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What a compressed file or archive holds, as far as that is cheap; nothing for other files and broken ones."""
    if data[:4] == b"PK\x03\x04" or (data[:2] == b"#!" and zipfile.is_zipfile(io.BytesIO(data))):
        yield from _unzipped(data)
        return
    for magic, unpacker in _UNPACKERS.items():
        if data.startswith(magic) and (content := _decompressed(data, unpacker)):
            yield "", content


def _decompressed(data: bytes, unpacker: Callable[[], Any]) -> bytes:
    blocks: list[bytes] = []
    view, at, left = memoryview(data), 0, PIECE
    # a made-up archive brings about errors of all kinds in what reads it; what comes before them can be read
    with contextlib.suppress(Exception):
        while at < len(view) and left > 0:  # one stream after the other
            stream = unpacker()
            while at < len(view) and left > 0 and not stream.eof:
                blocks.append(stream.decompress(view[at : at + _BLOCK], left))
                left -= len(blocks[-1])
                at = min(at + _BLOCK, len(view))
            at -= len(stream.unused_data)
    return b"".join(blocks)


def _unzipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    left = PIECE
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            content = b""
            with contextlib.suppress(Exception):
                if left > 0 and not entry.is_dir() and not entry.flag_bits & 1:
                    with archive.open(entry) as file:
                        content = file.read(left)
            left -= len(content)
            if content:
                yield entry.filename, content
