"""The files of an image, read one after the other on this side: nothing of the image runs."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

from forager.errors import SandboxError

PIECE = 64 * 1024**2
"""Bytes of a file that are held at a time, and of an archive's content that are looked at."""


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
    left = PIECE
    try:
        if data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for entry in archive.infolist():
                    if left > 0 and not entry.is_dir() and not entry.flag_bits & 1:
                        with archive.open(entry) as file:
                            content = file.read(left)
                        left -= len(content)
                        yield entry.filename, content
            return
        packed: Any = None
        if data[:2] == b"\x1f\x8b":
            packed = gzip.GzipFile(fileobj=io.BytesIO(data))
        elif data[:3] == b"BZh":
            packed = bz2.BZ2File(io.BytesIO(data))
        elif data[:6] == b"\xfd7zXZ\0":
            packed = lzma.LZMAFile(io.BytesIO(data))  # noqa: SIM115
        if packed is not None:
            yield "", packed.read(left)
    except Exception:  # a made-up archive brings about errors of all kinds in the modules that read it
        return
