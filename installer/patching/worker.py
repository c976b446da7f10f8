"""The process that rebuilds one layer. It reads from two pipes, writes to another, and may do nothing else.

Standard input: a line of JSON (the order), then the old layer as it is packed. Another descriptor: the patch. Standard
output: the new layer, packed. One more descriptor is an empty file for the old layer, unpacked. Standard error: the id
of what went wrong. A segment begins as soon as the stretch of the old layer is there that it leans on, so the new layer
is on its way while the old one still comes. Nothing here decides whether the result is right: the parent holds its
digest against the signed list.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterator
from errno import ENOSPC
from typing import Any, Final, NoReturn

from installer.heap import keep
from installer.patching.confine import confine
from installer.patching.encoders import encoder
from installer.patching.segments import HEADER_BYTES, Malformed, Segment
from installer.patching.zstdlib import zstd

MEMORY: Final = 512 * 1024 * 1024
"""Bytes of addresses that this process may have, its interpreter among them."""
_PIECE: Final = 1024 * 1024
_MAX_ORDER: Final = 64 * 1024
_MAX_WINDOW_LOG: Final = 27
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def main(spool: int, patch: int) -> NoReturn:
    """Do what the order says, once, and end: 0, or 3 with an id on standard error. ``spool`` is for the old layer."""
    try:
        order = json.loads(_line())
        made = encoder(order["encoding"], order["unpacked"])
        base = _Base(spool, order["base_unpacked"])
        keep(MEMORY)
        confine(order["memory"], order["seconds"], order["base_unpacked"] + 1)
    except OSError:
        _fail(b"patch-unconfined")
    except (KeyError, ValueError, TypeError, zstd.ZstdError):
        _fail(b"patch-malformed")
    try:
        for plain in _segments(base, patch, order["unpacked"]):
            _write(1, made.feed(plain))
        _write(1, made.end())
        base.read_to_end()
    except MemoryError:
        _fail(b"patch-too-large")
    except OSError as error:
        _fail(b"disk-full" if error.errno == ENOSPC else b"patch-malformed")
    except (Malformed, EOFError, zlib.error, zstd.ZstdError):
        _fail(b"patch-malformed")
    os._exit(0)


def _segments(base: _Base, patch: int, left: int) -> Iterator[bytes]:
    """The new layer, unpacked, in pieces."""
    while left:
        segment = Segment.parse(_up_to(patch, HEADER_BYTES), base.size, left)
        prefix = base.stretch(segment.offset, segment.length)
        yield from _content(prefix, _up_to(patch, segment.frame), segment.content)
        left -= segment.content
    if os.read(patch, 1):
        raise Malformed("more patch than layer")


def _content(prefix: memoryview, frame: bytes, left: int) -> Iterator[bytes]:
    """What the frame of a segment gives: ``left`` bytes, in pieces."""
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    unpacker = zstd.ZstdDecompressor(zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None, options)
    while not unpacker.eof:
        piece = unpacker.decompress(frame, min(_PIECE, left + 1))
        frame = b""
        left -= len(piece)
        if left < 0 or (not piece and unpacker.needs_input):
            break
        yield piece
    if left or not unpacker.eof or unpacker.unused_data:
        raise Malformed("a frame that gives more or less than it says")


class _Base:
    """The old layer, ``size`` bytes, unpacked to the file ``spool`` as far as anybody has asked for it."""

    def __init__(self, spool: int, size: int) -> None:
        self.size, self._there = size, 0
        self._spool = io.FileIO(spool, "r+")
        self._pieces = _unpacked()
        self._held = bytearray()

    def stretch(self, offset: int, length: int) -> memoryview:
        """A stretch of it, until the next one is asked for. Raises :class:`Malformed` where it has another size."""
        while self._there < offset + length and self._unpack():
            pass
        if self._there < offset + length:
            raise Malformed("the old layer has another size")
        if len(self._held) < length:
            self._held = bytearray(length)  # kept from segment to segment: fresh memory costs more than the copy
        found = memoryview(self._held)[:length]
        self._spool.seek(offset)
        done = 0
        while done < length:
            done += self._spool.readinto(found[done:])
        self._spool.seek(self._there)
        return found

    def read_to_end(self) -> None:
        """Nothing may follow it. Raises :class:`Malformed`."""
        while self._unpack():
            pass
        if self._there != self.size:
            raise Malformed("the old layer has another size")

    def _unpack(self) -> bool:
        """One more piece of it; whether there was one."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._there += len(piece)
        if self._there > self.size:
            raise Malformed("the old layer has another size")
        _write(self._spool.fileno(), piece)
        return True


def _unpacked() -> Iterator[bytes]:
    """What gzip or zstd, several times in a row too, hold; anything else as it is."""
    head = _up_to(0, 4)
    if head[:2] == _GZIP:
        yield from _inflated(head)
    elif head == _ZSTD:
        yield from _decompressed(head)
    else:
        piece = head
        while piece:
            yield piece
            piece = os.read(0, _PIECE)


def _inflated(rest: bytes) -> Iterator[bytes]:
    while rest:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not unpacker.eof:
            rest = rest or os.read(0, _PIECE)
            if not rest:
                raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, _PIECE)
            rest = unpacker.unconsumed_tail
        rest = unpacker.unused_data or os.read(0, _PIECE)


def _decompressed(rest: bytes) -> Iterator[bytes]:
    while rest:
        unpacker = zstd.ZstdDecompressor(None, {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
        while not unpacker.eof:
            if unpacker.needs_input:
                rest = rest or os.read(0, _PIECE)
                if not rest:
                    raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, _PIECE)
            rest = b""
        rest = unpacker.unused_data or os.read(0, _PIECE)


def _line() -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        byte = os.read(0, 1)
        found += byte
        if not byte or len(found) > _MAX_ORDER:
            raise ValueError("no order is as long")
    return bytes(found)


def _up_to(descriptor: int, count: int) -> bytes:
    """The next ``count`` bytes; fewer where it ends."""
    found = bytearray()
    while len(found) < count and (piece := os.read(descriptor, min(count - len(found), _PIECE))):
        found += piece
    return bytes(found)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _fail(error_id: bytes) -> NoReturn:
    os.write(2, error_id)
    os._exit(3)


def order_of(encoding: dict[str, Any], base_unpacked: int, unpacked: int) -> bytes:
    """The first line of standard input. Processor time: a minute, and a second for each MiB that is unpacked."""
    value = {
        "encoding": encoding,
        "base_unpacked": base_unpacked,
        "unpacked": unpacked,
        "memory": MEMORY,
        "seconds": 60 + (base_unpacked + unpacked) // _PIECE,
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
