"""Media with sectors that the drive cannot read: reading one is answered as the kernel does, by an input/output error.

No part of the product is replaced: whatever opens or reads a file of theirs meets their sectors.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Sectors = Mapping[Path, set[int]]
"""The numbers of bad sectors, by file."""


@dataclass
class Drive:
    """``short``: a read that comes to a bad sector gives what lies before it first; else it fails at once."""

    bad: Sectors
    sector: int = 2048
    short: bool = False
    failed: set[tuple[str, int]] = field(default_factory=set)
    """File and sector of every read that failed."""

    def readable(self, path: str, offset: int, count: int) -> int:
        """How many of these bytes come. Raises ``OSError`` for none."""
        sectors = self.bad.get(Path(path), set())
        for number in range(offset // self.sector, -(-(offset + count) // self.sector)):
            if number in sectors:
                good = max(number * self.sector - offset, 0)
                if good and self.short:
                    return good
                self.failed.add((path, number))
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return count


class _Raw(io.FileIO):
    drive: Drive

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        return super().readinto(view[: self.drive.readable(str(self.name), self.tell(), len(view))]) or 0

    def read(self, size: int | None = -1, /) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        return super().read(self.drive.readable(str(self.name), self.tell(), wanted)) or b""

    def readall(self) -> bytes:
        return self.read()


@contextmanager
def reading(drive: Drive) -> Iterator[Drive]:
    """While the block runs, files are read through ``drive``."""
    real_open, real_pread = io.open, os.pread

    def opened(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode != "rb" or isinstance(file, int) or Path(file) not in drive.bad:
            return real_open(file, mode, *more, **options)
        raw = _Raw(os.fspath(file))
        raw.drive = drive
        return io.BufferedReader(raw)

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        return real_pread(descriptor, drive.readable(path, offset, count), offset)

    io.open = builtins.open = opened
    os.pread = pread
    try:
        yield drive
    finally:
        io.open = builtins.open = real_open
        os.pread = real_pread
