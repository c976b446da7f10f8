"""The old layer in the process that patches: unpacked as far as anybody has asked for it, and kept as long as it may be
asked for again: in memory, or in a file where a patch goes back further than that.
"""

from __future__ import annotations

import io
import mmap
import os
import zlib
from collections.abc import Iterator
from typing import Final, Protocol, Self

from installer.patching.segments import Malformed
from installer.patching.zstdlib import zstd

PIECE: Final = 1024 * 1024
_AHEAD: Final = 16 * 1024 * 1024
"""Bytes of the old layer that may be unpacked before a segment asks for them."""
MAX_WINDOW_LOG: Final = 27
_OTHER_SIZE: Final = "the old layer has another size"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Keep(Protocol):
    """Where pieces of the old layer stay. ``there`` bytes of it have come."""

    there: int

    def add(self, piece: bytes) -> None:
        """The next piece of it."""

    def want(self, offset: int, end: int) -> None:
        """A stretch will be asked for, now or when more is there. Raises :class:`Malformed` where it is gone."""

    def read(self, offset: int, end: int) -> bytes:
        """A stretch that was wanted and is there."""


class Base:
    """The old layer, ``size`` bytes unpacked, of which ``pieces`` are still to come."""

    def __init__(self, keep: Keep, size: int, pieces: Iterator[bytes]) -> None:
        self.size, self._keep, self._pieces, self._end = size, keep, pieces, 0

    @classmethod
    def of(cls, size: int, reach: int, packed: io.FileIO, spool: io.FileIO | None) -> Self:
        """Of what ``packed`` gives. A plain layer in a file is read where it lies; anything else is kept in the file
        ``spool`` or, without one, in memory as far as a patch reaches back."""
        there = packed.seek(0, os.SEEK_END) if packed.seekable() else None
        if there is not None:
            packed.seek(0)
        source = packed.fileno()
        head = up_to(source, 4)
        if there is not None and not _is_packed(head):
            return cls(InFile(packed, there), size, iter(()))
        return cls(InMemory(reach, size) if spool is None else InFile(spool), size, _unpacked(source, head))

    def stretch(self, offset: int, length: int) -> bytes:
        """A stretch of it, as soon as it is there. Raises :class:`Malformed` where it is gone, or the size another."""
        self._end = offset + length
        self._keep.want(offset, self._end)
        while self._keep.there < self._end and self._unpack():
            pass
        if self._keep.there < self._end:
            raise Malformed(_OTHER_SIZE)
        return self._keep.read(offset, self._end)

    def unpack_ahead(self) -> None:
        """Unpack one more piece, unless it is far from what was last asked for: called for each piece that is written,
        so that neither what comes nor what goes out waits for the other."""
        if self._keep.there < self._end + _AHEAD:
            self._unpack()

    def read_to_end(self) -> None:
        """Nothing may follow it. Raises :class:`Malformed`."""
        there = self._keep.there
        for piece in self._pieces:
            there += len(piece)
            if there > self.size:
                break
        if there != self.size:
            raise Malformed(_OTHER_SIZE)

    def _unpack(self) -> bool:
        """One more piece of it; whether there was one."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        if self._keep.there + len(piece) > self.size:
            raise Malformed(_OTHER_SIZE)
        self._keep.add(piece)
        return True


class InMemory:
    """A ring of what lies up to ``reach`` bytes before the furthest place that was wanted, and what was read ahead."""

    def __init__(self, reach: int, size: int) -> None:
        """``size`` is that of the layer: more is not kept. Raises ``OSError`` where there is no such memory."""
        self.there = 0
        self._reach, self._furthest = reach, 0
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # takes memory as it is filled
        self._ring = memoryview(mmap.mmap(-1, max(1, min(reach + _AHEAD + PIECE, size)), private))

    def add(self, piece: bytes) -> None:
        """As :class:`Keep` says."""
        at = self.there % len(self._ring)
        first = min(len(piece), len(self._ring) - at)
        self._ring[at : at + first] = piece[:first]
        self._ring[: len(piece) - first] = piece[first:]
        self.there += len(piece)

    def want(self, offset: int, end: int) -> None:
        """As :class:`Keep` says."""
        self._furthest = max(self._furthest, end)
        if offset < self._furthest - self._reach:
            raise Malformed("a segment that leans further back than the patch may reach")

    def read(self, offset: int, end: int) -> bytes:
        """As :class:`Keep` says."""
        at = offset % len(self._ring)
        first = self._ring[at : at + end - offset]
        return b"".join((first, self._ring[: end - offset - len(first)]))


class InFile:
    """All of it is in a file, ``there`` bytes of it from the beginning."""

    def __init__(self, file: io.FileIO, there: int = 0) -> None:
        self.there, self._file = there, file

    def add(self, piece: bytes) -> None:
        """As :class:`Keep` says. Raises ``OSError`` where the disk is full."""
        self._file.seek(self.there)
        write(self._file.fileno(), piece)
        self.there += len(piece)

    def want(self, offset: int, end: int) -> None:
        """All of it stays."""

    def read(self, offset: int, end: int) -> bytes:
        """As :class:`Keep` says. Raises :class:`Malformed` where it was cut short meanwhile."""
        self._file.seek(offset)
        found = self._file.read(end - offset)
        if len(found) < end - offset:
            raise Malformed(_OTHER_SIZE)
        return found


def _is_packed(head: bytes) -> bool:
    return head[:2] == _GZIP or head == _ZSTD


def _unpacked(source: int, head: bytes) -> Iterator[bytes]:
    """What gzip or zstd, several times in a row too, hold; anything else as it is."""
    if head[:2] == _GZIP:
        yield from _inflated(source, head)
    elif head == _ZSTD:
        yield from _decompressed(source, head)
    else:
        piece = head
        while piece:
            yield piece
            piece = os.read(source, PIECE)


def _inflated(source: int, rest: bytes) -> Iterator[bytes]:
    while rest:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not unpacker.eof:
            rest = rest or os.read(source, PIECE)
            if not rest:
                raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, PIECE)
            rest = unpacker.unconsumed_tail
        rest = unpacker.unused_data or os.read(source, PIECE)


def _decompressed(source: int, rest: bytes) -> Iterator[bytes]:
    while rest:
        unpacker = zstd.ZstdDecompressor(None, {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
        while not unpacker.eof:
            if unpacker.needs_input:
                rest = rest or os.read(source, PIECE)
                if not rest:
                    raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, PIECE)
            rest = b""
        rest = unpacker.unused_data or os.read(source, PIECE)


def up_to(descriptor: int, count: int) -> bytes:
    """The next ``count`` bytes; fewer where it ends."""
    found = bytearray()
    while len(found) < count and (piece := os.read(descriptor, min(count - len(found), PIECE))):
        found += piece
    return bytes(found)


def write(descriptor: int, data: bytes) -> None:
    """All of ``data``."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
