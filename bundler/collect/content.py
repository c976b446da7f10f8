"""Bytes that will stand in the bundle: where they come from, known size first, read when they are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from installer.bundle.digest import Digest
from installer.errors import SealiftError

CHUNK: Final = 1024 * 1024
_PACKED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh", b"PK\x03\x04", b"\x89PNG", b"\xff\xd8\xff")


class Content(Protocol):
    """Bytes of known size that can be read from their beginning, any number of times."""

    @property
    def size(self) -> int:
        """Their number."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces of at most 1 MiB. Raises ``input-missing`` where they are gone."""


@dataclass(frozen=True)
class Bytes:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]


@dataclass(frozen=True)
class FileContent:
    """Content that is a file. Its size is that of the moment it was looked at: one that grows or shrinks is refused."""

    path: Path
    size: int

    @classmethod
    def of(cls, path: Path, what: str) -> FileContent:
        """The file at ``path``; ``what`` says in the message whose it is. Raises ``input-missing`` (2)."""
        try:
            if path.is_file():
                return cls(path, path.stat().st_size)
            reason = "it is no file" if path.exists() else "it does not exist"
        except OSError as error:
            reason = str(error.strerror).lower()
        raise SealiftError(
            "input-missing", f"{what}: cannot read {path}: {reason}", hint="build it first, or mend the manifest"
        )

    def chunks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except OSError as error:
            raise SealiftError(
                "input-missing", f"cannot read {self.path}: {error.strerror}", hint="was it removed meanwhile"
            ) from error


@dataclass(frozen=True)
class Slice:
    """A stretch of an open file, read by position: several may be read at a time."""

    file: BinaryIO
    start: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        position, end = self.start, self.start + self.size
        while position < end:
            chunk = os.pread(self.file.fileno(), min(CHUNK, end - position), position)
            if not chunk:
                return
            position += len(chunk)
            yield chunk


def read_whole(content: Content, limit: int, what: str) -> bytes:
    """All of it. Raises ``too-large`` (3) beyond ``limit`` bytes."""
    if content.size > limit:
        raise SealiftError("too-large", f"{what} has {content.size} bytes, more than {limit}")
    return b"".join(content.chunks())


def digest_of(content: Content) -> Digest:
    """The digest of all bytes."""
    hasher = hashlib.sha256()
    for chunk in content.chunks():
        hasher.update(chunk)
    return Digest(hasher.hexdigest())


def looks_packed(content: Content) -> bool:
    """Whether the bytes begin like something compressed, so that compressing them again gains nothing.

    A gzip stream that begins with a stored block is not: so are charts made, of which the bundle's own compression
    makes more.
    """
    begin = next(content.chunks(), b"")[:11]
    stored = begin.startswith(b"\x1f\x8b\x08\0") and len(begin) == 11 and not begin[10] & 0b110
    return begin.startswith(_PACKED) and not stored
