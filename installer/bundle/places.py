"""Where the members of a bundle begin, as the seek table at its end has it: a hint, never believed.

Zstd's seekable format (``contrib/seekable_format``): a skippable frame with the sizes of all frames before it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import accumulate
from typing import Final

from installer.bundle.archive import BundleReader
from installer.bundle.frames import FRAME_DATA
from installer.bundle.release import Descriptor, File

_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = 9
_MOST: Final = 1 << 20
"""Frames: 8 TB of content. A table of 8 MiB is the most that is read for a hint."""


def member_places(reader: BundleReader, members: Mapping[str, File | Descriptor]) -> dict[str, int] | None:
    """Position of the header of each of ``members``, which follow each other where ``reader`` stands.

    None without a table that fits the file; where it has too few frames, the members that it leads to. Raises
    ``media-unreadable`` (4).
    """
    starts = _starts(reader)
    if starts is None:
        return None
    number = {start: number for number, start in enumerate(starts)}.get(reader.position, len(starts))
    places: dict[str, int] = {}
    for name, member in members.items():
        if number >= len(starts):
            break
        places[name] = starts[number]
        number += 1 + -(-member.size // FRAME_DATA)
    return places


def _starts(reader: BundleReader) -> list[int] | None:
    """Position of each frame but the first; None without a table that fits the file."""
    tail = reader.tail(_FOOTER)
    if tail[4:] != b"\0\xb1\xea\x92\x8f":
        return None
    count = int.from_bytes(tail[:4], "little")
    length = 8 + count * _ENTRY.size + _FOOTER
    if count > _MOST or length > reader.size:
        return None
    sizes = [compressed for compressed, _ in _ENTRY.iter_unpack(reader.tail(length)[8:-_FOOTER])]
    if sum(sizes) + length != reader.size:
        return None
    return list(accumulate(sizes))
