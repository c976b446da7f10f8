"""The process that rebuilds one layer. It reads from two pipes, writes to another, and may do nothing else.

Standard input: the old layer as it is packed, a pipe or a file. Another descriptor: a line of JSON (the order), then
the patch. Standard output: the new layer, packed. Standard error: the id of what went wrong. One more descriptor may be
an empty file for the old layer, unpacked, which a patch needs that reaches far back. A segment begins as soon as the
stretch of the old layer is there that it leans on, so the new layer is on its way while the old one still comes.
Nothing here decides whether the result is right: the parent holds its digest against the signed list.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterator
from errno import ENOMEM, ENOSPC
from typing import Any, Final, NoReturn

from installer.heap import keep
from installer.patching.base import MAX_WINDOW_LOG, PIECE, Base, up_to, write
from installer.patching.confine import confine
from installer.patching.encoders import encoder
from installer.patching.segments import HEADER_BYTES, Malformed, Segment
from installer.patching.zstdlib import zstd

MEMORY: Final = 512 * 1024 * 1024
"""Bytes of addresses that this process may have, its interpreter among them."""
_NO_ROOM: Final = {ENOSPC: b"disk-full", ENOMEM: b"patch-too-large"}
_MAX_ORDER: Final = 64 * 1024


def main(patch: int, spool: int | None = None) -> NoReturn:
    """Do what the order says, once, and end: 0, or 3 with an id on standard error.

    ``spool`` is there where the patch reaches back further than :data:`~installer.patching.segments.HELD`.
    """
    try:
        order = json.loads(_line(patch))
        packed = io.FileIO(0)
        spooled = None if spool is None else io.FileIO(spool, "r+")
        made = encoder(order["encoding"], order["unpacked"])
        keep(MEMORY)
        confine(order["memory"], order["seconds"], 0 if spool is None else order["base_unpacked"] + 1)
    except OSError:
        _fail(b"patch-unconfined")
    except (KeyError, ValueError, TypeError, zstd.ZstdError):
        _fail(b"patch-malformed")
    try:
        base = Base.of(order["base_unpacked"], order["reach"], packed, spooled)
        for plain in _segments(base, patch, order["unpacked"]):
            write(1, made.feed(plain))
            base.unpack_ahead()
        base.read_to_end()
        write(1, made.end())
    except MemoryError:
        _fail(b"patch-too-large")
    except OSError as error:
        _fail(_NO_ROOM.get(error.errno or 0, b"patch-malformed"))
    except (Malformed, EOFError, zlib.error, zstd.ZstdError):
        _fail(b"patch-malformed")
    os._exit(0)


def _segments(base: Base, patch: int, left: int) -> Iterator[bytes]:
    """The new layer, unpacked, in pieces."""
    while left:
        segment = Segment.parse(up_to(patch, HEADER_BYTES), base.size, left)
        unpacker = _leaning_on(base.stretch(segment.offset, segment.length))
        yield from _content(unpacker, up_to(patch, segment.frame), segment.content)
        del unpacker  # with the stretch in it, before the next one comes
        left -= segment.content
    if os.read(patch, 1):
        raise Malformed("more patch than layer")


def _leaning_on(prefix: bytes) -> zstd.ZstdDecompressor:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    return zstd.ZstdDecompressor(zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None, options)


def _content(unpacker: zstd.ZstdDecompressor, frame: bytes, left: int) -> Iterator[bytes]:
    """What the frame of a segment gives: ``left`` bytes, in pieces."""
    while not unpacker.eof:
        piece = unpacker.decompress(frame, min(PIECE, left + 1))
        frame = b""
        left -= len(piece)
        if left < 0 or (not piece and unpacker.needs_input):
            break
        yield piece
    if left or not unpacker.eof or unpacker.unused_data:
        raise Malformed("a frame that gives more or less than it says")


def _line(descriptor: int) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        found += byte
        if not byte or len(found) > _MAX_ORDER:
            raise ValueError("no order is as long")
    return bytes(found)


def _fail(error_id: bytes) -> NoReturn:
    os.write(2, error_id)
    os._exit(3)


def order_of(encoding: dict[str, Any], base_unpacked: int, unpacked: int, reach: int) -> bytes:
    """The line before the patch. Processor time: a minute, and a second for each MiB that is unpacked."""
    value = {
        "encoding": encoding,
        "base_unpacked": base_unpacked,
        "unpacked": unpacked,
        "reach": reach,
        "memory": MEMORY,
        "seconds": 60 + (base_unpacked + unpacked) // PIECE,
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
