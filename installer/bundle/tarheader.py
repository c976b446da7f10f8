"""GNU tar headers with one spelling: a regular file, uid and gid 0, no time, no names of people."""

from __future__ import annotations

import re
import tarfile
from typing import Final, NamedTuple

from installer.bundle.paths import MAX_PATH, path_fault
from installer.errors import SealiftError

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
MAX_SIZE: Final = 2**50
MODES: Final = (0o644, 0o755)
_OCTAL: Final = re.compile(rb"[0-7]+\0")
_NO_FILE: Final = {
    **dict.fromkeys((b"1", b"2"), ("member-link", "a link")),
    **dict.fromkeys((b"3", b"4", b"6"), ("member-device", "a device or a pipe")),
    b"5": ("member-directory", "a folder"),
    b"S": ("member-sparse", "a sparse file"),
    **dict.fromkeys((b"x", b"g", b"X"), ("pax-header", "a PAX header")),
    **dict.fromkeys((b"L", b"K"), ("gnu-longname", "a long name in a member of its own")),
}


class Header(NamedTuple):
    """What the header of a member says: its name, its size in bytes, its mode."""

    name: str
    size: int
    mode: int


def tar_header(name: str, size: int, mode: int = 0o644) -> bytes:
    """The 512 bytes that introduce a member. ``name`` is ASCII, at most 100 bytes; sizes from 8 GiB on are base-256."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    header = info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")
    if len(header) != BLOCK or len(name) > MAX_PATH:
        raise ValueError(f"a member name that needs more than one header: {name!r}")
    return header


def parse_header(block: bytes) -> Header:
    """Read a header in its one spelling. Any other is refused (3) by the first rule of FORMAT.md it breaks."""
    if _number(block[148:155], "checksum") != _checksum(block):
        raise _refusal("tar-checksum", "a tar header that does not match its checksum")
    if block[257:265] != b"ustar  \0":
        raise _refusal("tar-magic", "a tar header that is not GNU tar's")
    _refuse_kinds(block[156:157])
    name = _name(block[:100])
    size = _size(block[124:136])
    mode = _number(block[100:108], "mode")
    if mode not in MODES:
        raise _refusal("member-mode", f"{name!r} has mode {mode:o}: only 644 and 755 are known")
    if _number(block[108:116], "uid") or _number(block[116:124], "gid") or any(block[265:329]):
        raise _refusal("member-owner", f"{name!r} names an owner")
    if _number(block[136:148], "time"):
        raise _refusal("member-time", f"{name!r} carries a time")
    if tar_header(name, size, mode) != block:
        raise _refusal("tar-spelling", f"the tar header of {name!r} is not in the one spelling of the format")
    return Header(name, size, mode)


def padding(size: int) -> int:
    """Zero bytes that follow a member's data."""
    return -size % BLOCK


def _checksum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * ord(" ")


def _refuse_kinds(kind: bytes) -> None:
    if kind in _NO_FILE:
        error_id, what = _NO_FILE[kind]
        raise _refusal(error_id, f"{what} where only plain files may stand")
    if kind != b"0":
        raise _refusal("member-type", f"a member of type {kind!r} where only plain files may stand")


def _name(field: bytes) -> str:
    """The name up to its first zero. Raises ``path-absolute``, ``path-climbing``, ``path-spelling``."""
    name = field.partition(b"\0")[0].decode("latin-1")
    fault = path_fault(name)
    if fault is not None:
        raise _refusal(fault, f"a member called {name!r}")
    return name


def _size(field: bytes) -> int:
    """Octal, or base-256 from 8 GiB on. Raises ``size-negative``, ``size-overflow``, ``tar-number``."""
    if field[0] & 0x80:
        size = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if field[0] & 0x40:
            raise _refusal("size-negative", "a member with a negative size")
    else:
        size = _number(field, "size")
    if size > MAX_SIZE:
        raise _refusal("size-overflow", f"a member of more than {MAX_SIZE} bytes")
    return size


def _number(field: bytes, what: str) -> int:
    if not _OCTAL.fullmatch(field):
        raise _refusal("tar-number", f"the {what} of a tar header is not octal digits and a zero byte")
    return int(field[:-1], 8)


def _refusal(error_id: str, message: str) -> SealiftError:
    return SealiftError(error_id, message, hint="the media was not made by sealift: get another copy")
