"""How to start a tool that travelled with a release: it may need a newer libc than the host has, or any at all.

The site program brings a loader and a libc of its own. A carried tool is started by these where it names a loader;
one that is static needs nothing. The host's own tools are never started this way.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Final

_PT_INTERP: Final = 3
_ELF64_LITTLE: Final = b"\x7fELF\x02\x01"


def argv_of(tool: Path) -> tuple[str, ...]:
    """The first words of a command that runs ``tool``, a file on a disk of the host. Never raises."""
    home = Path(sys.prefix) / "glibc"
    loader = home / "ld-linux-x86-64.so.2"
    if not loader.is_file() or not names_a_loader(tool):
        return (str(tool),)
    return (str(loader), "--inhibit-cache", "--library-path", str(home), str(tool))


def names_a_loader(tool: Path) -> bool:
    """Whether a file is a 64-bit ELF program with dynamic linking. No script, no static program, nothing unreadable."""
    try:
        with tool.open("rb") as file:
            head = file.read(64)
            if len(head) < 64 or not head.startswith(_ELF64_LITTLE):
                return False
            (offset,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            file.seek(offset)
            table = file.read(min(size * count, 1 << 16))
    except (OSError, OverflowError, ValueError):
        return False
    kinds = (struct.unpack_from("<I", table, start)[0] for start in range(0, len(table) - 3, max(size, 1)))
    return _PT_INTERP in kinds
