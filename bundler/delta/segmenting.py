"""Makes patches: the new layer in segments, each compressed against the stretch of the old one that it most looks like.

A tar of an upgraded system has nearly all of its files where they were, give or take what was added before them: where
blocks of a segment stood in the old layer tells where to look, so 48 MiB of it at most do for 32 MiB of the new one.
The first segments are small: whoever applies the patch has something to send as soon as the old layer begins to come.

A process of its own does this (:func:`main`), with a bound of its own: see :mod:`bundler.delta.patches`.
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, NoReturn

from installer.patching.base import write
from installer.patching.segments import CONTENT, PREFIX, Segment
from installer.patching.zstdlib import zstd

_BLOCK: Final = 512
_SAMPLE: Final = 63
"""One of so many blocks, plus one, is remembered: 18,000 of a layer of 600 MB."""
_MARGIN: Final = 2 * 1024 * 1024
"""Bytes before and after."""
_FEW: Final = 4
"""Blocks that may be alike by chance: a checksum of 32 bits finds one among those of a layer now and then."""
_STRETCH: Final = 48 * 1024 * 1024
"""Bytes of a large layer that a segment leans on: whoever applies the patch keeps them in memory, and moves them twice.
64 MiB gave a patch of the same size (17.3 MB for a Debian of 563 MB with 68 packages upgraded); smaller segments on
shorter stretches gave 19 to 22 MB."""
_FIRST: Final = (4 * 1024 * 1024, 12 * 1024 * 1024, 24 * 1024 * 1024)
"""Bytes of the first segments of a large layer."""
_SLOW, _QUICK, _SMALL = 9, 3, 64 * 1024 * 1024

TOO_LARGE: Final = 3
"""How it ends where it may not have the memory that it needs."""


@dataclass(frozen=True)
class Layer:
    """An unpacked layer behind a descriptor."""

    descriptor: int
    size: int

    def read(self, count: int, offset: int) -> bytes:
        """So many bytes from there."""
        return os.pread(self.descriptor, count, offset)


def main(old: tuple[int, int], new: tuple[int, int], memory: int) -> NoReturn:
    """Write the patch to standard output, with ``memory`` bytes of addresses at most; layers by descriptor and size."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        for piece in patch(Layer(*old), Layer(*new)):
            write(1, piece)
    except MemoryError:
        os._exit(TOO_LARGE)
    os._exit(0)


def patch(old: Layer, new: Layer) -> Iterator[bytes]:
    """The patch from ``old`` to ``new``, in pieces."""
    places = dict(_marks(old, 0, old.size, unique=True))
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: _SLOW if new.size <= _SMALL else _QUICK,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.checksum_flag: 0,
    }
    start = 0
    for count in chain(_FIRST if old.size > PREFIX else (), repeat(CONTENT)):
        if start >= new.size:
            return
        content = new.read(count, start)
        prefix_at, length = _stretch(old, new, places, start, len(content))
        lean = zstd.ZstdDict(old.read(length, prefix_at), is_raw=True).as_prefix if length else None
        frame = zstd.compress(content, options=options, zstd_dict=lean)
        yield Segment(prefix_at, length, len(content), len(frame)).to_bytes()
        yield frame
        start += len(content)


def _stretch(old: Layer, new: Layer, places: dict[int, int], start: int, length: int) -> tuple[int, int]:
    """Where in ``old`` the stretch begins that the segment of ``new`` at ``start`` leans on, and how long it is.

    All of a small layer; else what lies where most of the blocks that are in both say that the segment was, and some
    bytes before and after: whoever applies the patch moves every byte of it. Without such blocks, what lies there now.
    """
    if old.size <= PREFIX:
        return 0, old.size
    begins = sorted(places[mark] - (at - start) for mark, at in _marks(new, start, length) if mark in places)
    first, last = _densest(begins, max(0, _STRETCH - 2 * _MARGIN - length))
    if last - first < _FEW:
        begins, first, last = [start * old.size // new.size], 0, 1
    begin, end = max(0, begins[first] - _MARGIN), min(begins[last - 1] + length + _MARGIN, old.size)
    return begin, end - begin


def _densest(numbers: Sequence[int], room: int) -> tuple[int, int]:
    """The slice of ``numbers``, which are sorted, with most of them that are no more than ``room`` apart."""
    best, first = (0, 0), 0
    for last, number in enumerate(numbers, 1):
        while number - numbers[first] > room:
            first += 1
        best = max(best, (first, last), key=lambda one: one[1] - one[0])
    return best


def _marks(layer: Layer, start: int, length: int, *, unique: bool = False) -> list[tuple[int, int]]:
    """Checksums of some of its blocks, always the same ones, and where they stand; ``unique`` ones only."""
    found: list[tuple[int, int]] = []
    for begin in range(start, start + length, CONTENT):
        piece = layer.read(min(CONTENT, start + length - begin), begin)
        for at in range(0, len(piece) - _BLOCK + 1, _BLOCK):
            mark = zlib.crc32(piece[at : at + _BLOCK])
            if not mark & _SAMPLE:
                found.append((mark, begin + at))
    if not unique:
        return found
    counts: dict[int, int] = {}
    for mark, _ in found:
        counts[mark] = counts.get(mark, 0) + 1
    return [(mark, at) for mark, at in found if counts[mark] == 1]
