"""A damaged copy of a bundle, one file or parts, as one stretch of bytes with holes. Nothing in it is believed."""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.bundle.parts import PartsNote, part_name, split_name
from installer.errors import SealiftError

Range = tuple[int, int]
"""First byte, and the byte after the last."""
_BUNDLE: Final = re.compile(r"[^.].*\.bundle\.tar\.zst(\.[0-9]{3})?")
_BLOCK: Final = 1024 * 1024
_SECTOR: Final = 2048
"""What a drive gives or does not give, of DVDs; of discs, 512 or 4096."""
_GONE: Final = frozenset({errno.EIO, errno.ENODATA, errno.ENXIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOENT})
"""How a system says that bytes cannot be read, or that the medium is gone."""
_PROBES: Final = 8
_MOST_FAILURES: Final = 4096
"""Reads that fail, each of which may take a drive seconds; after so many the rest of the file counts as lost."""


def find_copy(path: Path) -> tuple[Path, str]:
    """Folder and name of the bundle that ``path`` means: a file, any of its parts, or the folder that they lie in.

    Raises ``not-a-bundle`` (3).
    """
    if not path.is_dir():
        split = split_name(path.name)
        return path.parent, split[0] if split else path.name
    names = (entry.name for entry in path.iterdir() if _BUNDLE.fullmatch(entry.name))
    found = sorted({split[0] if (split := split_name(name)) else name for name in names})
    if len(found) != 1:
        told = f": {', '.join(found)}" if found else ""
        raise SealiftError(
            "not-a-bundle",
            f"{path} holds {len(found) or 'no'} bundles{told}",
            hint="name the bundle itself, or one of its parts",
        )
    return path, found[0]


@dataclass(frozen=True)
class Extent:
    """Bytes ``start`` to ``end`` of the bundle are the beginning of the file ``path``."""

    start: int
    end: int
    path: Path


class Copy:
    """One copy. Use as a context manager. Bytes that are not there read as zeros, and :meth:`missing` tells of them."""

    def __init__(self, path: Path, part_size: int | None = None, *, not_in: Path | None = None) -> None:
        """Look for all there is; ``part_size`` is one of :attr:`part_sizes`, else the likeliest.

        Parts are not looked for in ``not_in``. Raises ``not-a-bundle`` (3), ``input-missing`` (2).
        """
        self.folder, self.name = find_copy(path)
        self.note = PartsNote.beside(self.folder / part_name(self.name, 1))
        self.parts = _parts(self.folder, self.name, not_in)
        self.part_sizes = _part_sizes(self.parts, self.note)
        self.part_size = part_size or next(iter(self.part_sizes), None)
        self._extents = list(self._lay_out(path))
        self.size = self._extents[-1].end
        """The byte after the last one that is there."""
        self._unreadable: list[Range] = []
        self._failures = 0
        self._open: tuple[Path, int] | None = None
        self._cached: tuple[int, bytes] = (0, b"")

    def _lay_out(self, path: Path) -> Iterator[Extent]:
        if self.part_size is None:
            file = self.folder / self.name
            if not _is_plain(file):
                raise SealiftError("input-missing", f"no bundle at {path}", hint="name a copy of the bundle")
            yield Extent(0, _size(file), file)
        for number, part in sorted(self.parts.items()):
            start = (number - 1) * (self.part_size or 0)
            yield Extent(start, start + min(_size(part), self.part_size or 0), part)

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, start: int, count: int) -> bytes:
        """Bytes from ``start`` on: ``count`` of them, fewer at the end of the copy."""
        count = min(count, self.size - start)
        if count <= 0:
            return b""
        if count >= _BLOCK:
            return self._read(start, count)
        begin, block = self._cached
        if not begin <= start <= start + count <= begin + len(block):
            begin, block = self._cached = start, self._read(start, min(_BLOCK, self.size - start))
        return block[start - begin : start - begin + count]

    def missing(self, start: int, end: int) -> list[Range]:
        """What of these bytes is not there, as far as reading has shown."""
        found, place = list(self._unreadable), 0
        for extent in self._extents:
            found.append((place, extent.start))
            place = extent.end
        found.append((place, end))
        cut = ((max(first, start), min(last, end)) for first, last in found)
        return sorted((first, last) for first, last in cut if first < last)

    def place_by(self, other: Copy) -> None:
        """Where too few parts are there to tell how long they are: find one of them in what ``other`` holds."""
        told = self.note is not None and self.note.part_size in {_size(path) for path in self.parts.values()}
        if told or len(self.parts) > 2:
            return
        for number, path in self.parts.items():
            start = _whereabouts(path, other) if number > 1 else None
            if start is not None and start % (number - 1) == 0:
                self.part_size = start // (number - 1)
                self._extents = list(self._lay_out(path))
                self.size, self._cached = self._extents[-1].end, (0, b"")
                return

    def unreadable(self) -> Iterator[tuple[Path, Range]]:
        """Stretches of files that the drive does not give, as far as reading has shown."""
        for extent in self._extents:
            cut = ((max(first, extent.start), min(last, extent.end)) for first, last in self._unreadable)
            for first, last in _joined(sorted(one for one in cut if one[0] < one[1])):
                yield extent.path, (first - extent.start, last - extent.start)

    @property
    def is_oversized(self) -> bool:
        """Whether a part is longer than it may be: what it has too much is passed over."""
        return any(_size(extent.path) != extent.end - extent.start for extent in self._extents)

    def part_at(self, offset: int) -> str | None:
        """The name of the part that holds this byte of the bundle; None where the copy is one file."""
        return None if self.part_size is None else part_name(self.name, offset // self.part_size + 1)

    def _read(self, start: int, count: int) -> bytes:
        whole = next((one for one in self._extents if one.start <= start and start + count <= one.end), None)
        if whole is not None:  # the usual case, without a second copy in memory
            return self._from_file(whole, start, start + count)
        data = bytearray(count)
        for extent in self._extents:
            first, last = max(start, extent.start), min(start + count, extent.end)
            if first < last:
                data[first - start : last - start] = self._from_file(extent, first, last)
        return bytes(data)

    def _from_file(self, extent: Extent, first: int, last: int) -> bytes:
        """Bytes of one file; what cannot be read is zeros, and noted."""
        if self._failures < _MOST_FAILURES:
            try:
                data = os.pread(self._descriptor(extent.path), last - first, first - extent.start)
                if len(data) == last - first:
                    return data
                whole = first + len(data)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._failures += 1
                data, whole = b"", first
            if last - first > _SECTOR:
                step = _SECTOR if last - first <= 64 * _SECTOR else 64 * _SECTOR
                return b"".join(self._from_file(extent, a, b) for a, b in _cut(first, last, extent.start, step))
            insort(self._unreadable, (whole, last))
            return data + bytes(last - whole)
        insort(self._unreadable, (first, last))
        return bytes(last - first)

    def _descriptor(self, path: Path) -> int:
        if self._open is None or self._open[0] != path:
            self._close()
            self._open = path, os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
        self._open = None


def _cut(first: int, last: int, origin: int, step: int) -> Iterator[Range]:
    """The range in pieces that end at multiples of ``step`` from ``origin``."""
    while first < last:
        end = min(last, first + step - (first - origin) % step)
        yield first, end
        first = end


def _joined(ranges: list[Range]) -> Iterator[Range]:
    """The same bytes in as few ranges as can be; ``ranges`` are sorted."""
    begin = end = 0
    for first, last in ranges:
        if first > end or end == 0:
            if begin < end:
                yield begin, end
            begin = first
        end = max(end, last)
    if begin < end:
        yield begin, end


def _parts(folder: Path, name: str, not_in: Path | None) -> dict[int, Path]:
    """Every part that is there, by number: in the folder, or in one beside it (several discs)."""
    found: dict[int, Path] = {}
    if (folder / name).is_file():
        return found
    absolute = folder.absolute()
    beside = (entry for entry in sorted(absolute.parent.glob("*/")) if not (not_in and entry.samefile(not_in)))
    for place in (absolute, *beside):
        if place != absolute and (not found or (place / part_name(name, 1)).exists()):
            continue  # nothing to add to, or a copy of its own
        for path in place.glob(f"{glob.escape(name)}.[0-9][0-9][0-9]"):
            _, number = split_name(path.name) or ("", 0)
            if number and number not in found and _is_plain(path):
                found[number] = path
    return found


def _part_sizes(parts: dict[int, Path], note: PartsNote | None) -> list[int]:
    """How long all parts but the last may be, the likeliest first; none where there are no parts."""
    if not parts:
        return []
    last = len(note.parts) if note is not None else max(parts)
    sizes = Counter(_size(path) for number, path in parts.items() if number != last or len(parts) == 1)
    common = [size for size, count in sizes.most_common(1) if count > 1]
    told = [note.part_size] if note is not None and note.part_size >= max(sizes, default=0) else []
    return list(dict.fromkeys(size for size in (*common, *told, max(sizes, default=0)) if size > 0)) or [1]


def _whereabouts(part: Path, other: Copy) -> int | None:
    """Where the bytes of ``part`` begin in ``other``, told by the first of its sectors that stands there."""
    try:
        with part.open("rb") as file:
            head = file.read(_PROBES * 512)
    except OSError:
        return None
    for place in range(0, len(head), 512):
        probe = head[place : place + 64]
        if len(probe) == 64 and probe.count(0) < 16 and (found := _find(other, probe)) is not None:
            return found - place if found > place else None
    return None


def _find(copy: Copy, probe: bytes) -> int | None:
    """Where ``probe`` stands in a copy."""
    for start in range(0, copy.size, _BLOCK):
        place = copy.read(start, _BLOCK + len(probe)).find(probe)
        if place >= 0:
            return start + place
    return None


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _size(path: Path) -> int:
    return path.stat().st_size
