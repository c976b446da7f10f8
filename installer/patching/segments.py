"""A patch: the new unpacked layer in segments, each a zstd frame that leans on a stretch of the old unpacked layer.

So whoever applies it needs the memory of one segment, however large the layers are, and of the old layer no more than
the patch reaches back. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

PREFIX: Final = 64 * 1024 * 1024
"""Bytes of the old layer that one segment may lean on."""
CONTENT: Final = 32 * 1024 * 1024
"""Bytes of the new layer that one segment may hold."""
HELD: Final = 96 * 1024 * 1024
"""Bytes that a patch may reach back and still have the old layer kept in memory."""
FRAME: Final = CONTENT + 256 * 1024
_HEADER: Final = struct.Struct("<QIII")
HEADER_BYTES: Final = _HEADER.size


class Malformed(Exception):
    """A patch that breaks the format, or does not fit what it is applied to."""


class Segment(NamedTuple):
    """``length`` bytes at ``offset`` of the old layer are the prefix of a frame of ``frame`` bytes, which gives
    ``content`` bytes."""

    offset: int
    length: int
    content: int
    frame: int

    def to_bytes(self) -> bytes:
        """Its header, little-endian."""
        return _HEADER.pack(*self)

    @classmethod
    def parse(cls, raw: bytes, old: int, left: int) -> Self:
        """A header read within its bounds: ``old`` bytes there are to lean on, ``left`` still to come.

        Raises :class:`Malformed`.
        """
        if len(raw) != HEADER_BYTES:
            raise Malformed("the patch ends within a header")
        found = cls(*_HEADER.unpack(raw))
        if found.length > PREFIX or found.content > CONTENT or found.frame > FRAME:
            raise Malformed("a segment beyond its bounds")
        if found.offset + found.length > old:
            raise Malformed("a segment that leans on more than there is")
        if not 0 < found.content <= left:
            raise Malformed("a segment of nothing, or of more than is to come")
        return found


def reach_of(segments: Iterable[Segment]) -> int:
    """The most bytes that a stretch begins before the furthest place that it, or one before it, ends at."""
    furthest = reach = 0
    for segment in segments:
        furthest = max(furthest, segment.offset + segment.length)
        reach = max(reach, furthest - segment.offset)
    return reach
