"""Makes patches: the new layer in segments, each compressed against the stretch of the old one that it most looks like.

A tar of an upgraded system has nearly all of its files where they were, give or take what was added before them: where
blocks of a segment stood in the old layer tells where to look, so 64 MiB of it at most do for 32 MiB of the new one.

A process of its own does this (:func:`main`), with a bound of its own: see :mod:`bundler.delta.patches`.
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from installer.patching.segments import CONTENT, PREFIX, Segment
from installer.patching.zstdlib import zstd

_BLOCK: Final = 512
_SAMPLE: Final = 63
"""One of so many blocks, plus one, is remembered: 18,000 of a layer of 600 MB."""
_MARGIN: Final = 4 * 1024 * 1024
"""Bytes before and after."""
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
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(1, rest) :]
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
    for start in range(0, new.size, CONTENT):
        content = new.read(CONTENT, start)
        prefix_at, length = _stretch(old, new, places, start, len(content))
        lean = zstd.ZstdDict(old.read(length, prefix_at), is_raw=True).as_prefix if length else None
        frame = zstd.compress(content, options=options, zstd_dict=lean)
        yield Segment(prefix_at, length, len(content), len(frame)).to_bytes()
        yield frame


def _stretch(old: Layer, new: Layer, places: dict[int, int], start: int, length: int) -> tuple[int, int]:
    """Where in ``old`` the stretch begins that the segment of ``new`` at ``start`` leans on, and how long it is.

    All of a small layer; else what holds nearly all blocks that are in both, and some bytes before and after: whoever
    applies the patch moves every byte of the stretch.
    """
    if old.size <= PREFIX:
        return 0, old.size
    begins = sorted(places[mark] - (at - start) for mark, at in _marks(new, start, length) if mark in places)
    begins = begins or [start * old.size // max(new.size, 1)]
    few = len(begins) // 50
    first, last = begins[few] - _MARGIN, begins[-1 - few] + length + _MARGIN
    if last - first > PREFIX:
        first = begins[len(begins) // 2] - (PREFIX - length) // 2
        last = first + PREFIX
    count = min(last - first, old.size)
    return max(0, min(first, old.size - count)), count


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
