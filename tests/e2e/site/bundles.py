"""Where what lies in a bundle: found with stock parts, so that damage can be done at chosen places."""

from __future__ import annotations

import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path

import zstandard


@dataclass(frozen=True)
class Region:
    """Bytes of the file, from ``start`` to before ``end``. ``content`` is the size of the member that they hold."""

    name: str
    start: int
    end: int
    content: int = 0

    @property
    def size(self) -> int:
        return self.end - self.start


def regions(bundle: Path) -> list[Region]:
    """Headers (``header of NAME``), members by name, ``end`` and ``seek table``, in order."""
    content = bundle.read_bytes()
    frames, table = _frames(content)
    found: list[Region] = []
    queue, left = iter(frames), 0
    for start, end, size in queue:
        if left > 0:  # another stretch of the member
            last = found.pop()
            found.append(Region(last.name, last.start, end, last.content))
            left -= size
            continue
        header = zstandard.ZstdDecompressor().decompress(content[start:end])
        if header[:512] == bytes(512):
            found.append(Region("end", start, end))
            continue
        info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        found.append(Region(f"header of {info.name}", start, end))
        if info.size:
            start, end, size = next(queue)
            found.append(Region(info.name, start, end, info.size))
            left = info.size - size
    found.append(Region("seek table", table, len(content)))
    return found


def region(bundle: Path, name: str) -> Region:
    """The one called ``name``, or whose name begins so."""
    return next(item for item in regions(bundle) if item.name.startswith(name))


def _frames(content: bytes) -> tuple[list[tuple[int, int, int]], int]:
    """Start, end and content size of each frame as the table at the end says, and where that begins."""
    count, _, magic = struct.unpack("<IBI", content[-9:])
    assert magic == 0x8F92EAB1
    table = len(content) - 9 - 8 * count - 8
    frames, start = [], 0
    for stored, size in struct.iter_unpack("<II", content[table + 8 : -9]):
        frames.append((start, start + stored, size))
        start += stored
    return frames, table
