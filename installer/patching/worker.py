"""The process that rebuilds one layer. It reads from one pipe, writes to another, and may do nothing else.

Standard input: a line of JSON (the order), the old layer as it is packed, the patch; both of these as stretches of
four bytes of length (little-endian) and so many bytes, ended by a stretch of none. Standard output: the new layer,
packed. One more descriptor is an empty file for the old layer, unpacked. Standard error: the id of what went wrong.
Nothing here decides whether the result is right: the parent holds its digest against the signed list.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from errno import ENOSPC
from typing import Any, Final, NoReturn

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


def main(spool: int) -> NoReturn:
    """Do what the order says, once, and end: 0, or 3 with an id on standard error. ``spool`` is for the old layer."""
    try:
        order = json.loads(_line())
        made = encoder(order["encoding"], order["unpacked"])
        confine(order["memory"], order["seconds"], order["base_unpacked"] + 1)
    except OSError:
        _fail(b"patch-unconfined")
    except (KeyError, ValueError, TypeError, zstd.ZstdError):
        _fail(b"patch-malformed")
    try:
        _unpack(spool, order["base_unpacked"])
        for plain in _segments(spool, order["base_unpacked"], order["unpacked"]):
            for start in range(0, len(plain), _PIECE):
                _write(1, made.feed(plain[start : start + _PIECE]))
        _write(1, made.end())
    except MemoryError:
        _fail(b"patch-too-large")
    except OSError as error:
        _fail(b"disk-full" if error.errno == ENOSPC else b"patch-malformed")
    except (Malformed, EOFError, zlib.error, zstd.ZstdError):
        _fail(b"patch-malformed")
    os._exit(0)


def _segments(spool: int, old: int, left: int) -> Iterator[bytes]:
    """The new layer, unpacked, segment by segment."""
    patch = _Stretches()
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    while left:
        segment = Segment.parse(patch.take(HEADER_BYTES), old, left)
        prefix = os.pread(spool, segment.length, segment.offset)
        frame = patch.take(segment.frame)
        unpacker = zstd.ZstdDecompressor(zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None, options)
        del prefix
        plain = unpacker.decompress(frame, segment.content + 1)
        if len(plain) != segment.content or not unpacker.eof or unpacker.unused_data:
            raise Malformed("a frame that gives more or less than it says")
        left -= len(plain)
        del frame, unpacker
        yield plain
    if patch.take(1):
        raise Malformed("more patch than layer")


def _unpack(spool: int, size: int) -> None:
    """Unpack the old layer to ``spool``; it must have just ``size`` bytes."""
    left = size
    packed = _Stretches()
    for piece in _unpacked(packed):
        left -= len(piece)
        if left < 0:
            break
        _write(spool, piece)
    if left:
        raise Malformed("the old layer has another size")


def _unpacked(packed: _Stretches) -> Iterator[bytes]:
    """What gzip or zstd, several times in a row too, hold; anything else as it is."""
    head = packed.peek(4)
    if head[:2] == _GZIP:
        yield from _inflated(packed)
    elif head == _ZSTD:
        yield from _decompressed(packed)
    else:
        while piece := packed.take(_PIECE):
            yield piece


def _inflated(packed: _Stretches) -> Iterator[bytes]:
    rest = packed.take(_PIECE)
    while rest:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not unpacker.eof:
            rest = rest or packed.take(_PIECE)
            if not rest:
                raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, _PIECE)
            rest = unpacker.unconsumed_tail
        rest = unpacker.unused_data or packed.take(_PIECE)


def _decompressed(packed: _Stretches) -> Iterator[bytes]:
    rest = packed.take(_PIECE)
    while rest:
        unpacker = zstd.ZstdDecompressor(None, {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG})
        while not unpacker.eof:
            if unpacker.needs_input:
                rest = rest or packed.take(_PIECE)
                if not rest:
                    raise Malformed("the old layer is cut short")
            yield unpacker.decompress(rest, _PIECE)
            rest = b""
        rest = unpacker.unused_data or packed.take(_PIECE)


class _Stretches:
    """Bytes that come in stretches, each after its length; a stretch of none ends them."""

    def __init__(self) -> None:
        self._held, self._ended = bytearray(), False

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end; they still come."""
        while len(self._held) < count and not self._ended:
            length = int.from_bytes(_exactly(4), "little")
            self._ended = not length
            if length > _PIECE:
                raise Malformed("a stretch beyond its bounds")
            self._held += _exactly(length)
        return bytes(self._held[:count])

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer at the end."""
        found = self.peek(count)
        del self._held[: len(found)]
        return found


def _line() -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        found += _exactly(1)
        if len(found) > _MAX_ORDER:
            raise ValueError("no order is as long")
    return bytes(found)


def _exactly(count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        piece = os.read(0, count - len(found))
        if not piece:
            raise EOFError
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
