"""GNU tar headers with one spelling: a regular file, uid and gid 0, no time, no names of people."""

from __future__ import annotations

import tarfile
from typing import Final

from installer.bundle.release import MAX_PATH
from installer.errors import SealiftError

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)


def tar_header(name: str, size: int, mode: int = 0o644) -> bytes:
    """The 512 bytes that introduce a member. ``name`` is ASCII, at most 100 bytes; sizes from 8 GiB on are base-256."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    header = info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")
    if len(header) != BLOCK or len(name) > MAX_PATH:
        raise ValueError(f"a member name that needs more than one header: {name!r}")
    return header


def parse_header(block: bytes) -> tuple[str, int, int]:
    """Name, size and mode of a header in its one spelling. Raises ``tar-invalid`` (3) for any other."""
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        if 0 <= info.size < 2**50 and tar_header(info.name, info.size, info.mode) == block:
            return info.name, info.size, info.mode
    except (tarfile.TarError, ValueError, OverflowError):
        pass
    raise SealiftError(
        "tar-invalid",
        "a tar header that is not a plain file in the spelling of the format",
        hint="the media was not made by sealift",
    )


def padding(size: int) -> int:
    """Zero bytes that follow a member's data."""
    return -size % BLOCK
