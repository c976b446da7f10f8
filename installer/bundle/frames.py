"""Zstandard frames of the bundle (RFC 8878): independent, small, of declared size, read one at a time.

Rules kept here: every frame declares its content size, at most :data:`MAX_CONTENT`; no dictionary; no window beyond
that size; the one skippable frame is the seek table and stands last. A frame's end is found by walking its block
headers, so nothing is decompressed before its size is known, and a frame can be passed over without reading it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

import zstandard

from installer.errors import SealiftError

FRAME_DATA: Final = 8 * 1024 * 1024  # independent 8 MiB frames cost +0.46 % against one frame, and can be read alone
MAX_CONTENT: Final = FRAME_DATA + 512
LEVEL: Final = 3
_MAGIC: Final = 0xFD2FB528
_SEEK_TABLE_MAGIC: Final = 0x184D2A5E  # skippable frame, as in zstd's contrib/seekable_format
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_BLOCK_MAX: Final = 128 * 1024
_MAX_FRAMES: Final = 0x08000000
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_DAMAGED: Final = "copy the bundle again from its source and compare SHA256SUMS"


@dataclass(frozen=True)
class FrameSpan:
    """Bytes a frame takes in the file and bytes it decompresses to."""

    compressed: int
    content: int


def compress_frame(data: bytes) -> bytes:
    """One frame of ``data`` (at most :data:`MAX_CONTENT` bytes), compressed; same bytes in, same bytes out."""
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=False, threads=0).compress(
        data
    )


def raw_frame(data: bytes) -> bytes:
    """One frame that stores ``data`` as it is, for what is compressed already.

    Own code: python-zstandard offers no raw mode, and level 3 on gzip data costs 2.4 CPU s/GB to gain under 1 %.
    """
    parts = [struct.pack("<IBI", _MAGIC, 0b1010_0000, len(data))]  # 4-byte content size, single segment
    for start in range(0, len(data), _BLOCK_MAX):
        block = data[start : start + _BLOCK_MAX]
        last = start + _BLOCK_MAX >= len(data)
        parts += [(len(block) << 3 | _RAW << 1 | last).to_bytes(3, "little"), block]
    if not data:
        parts.append(b"\x01\x00\x00")
    return b"".join(parts)


def seek_table(spans: Iterable[FrameSpan]) -> bytes:
    """The trailing skippable frame that says where each frame begins: a hint for seekers, never believed."""
    entries = b"".join(struct.pack("<II", span.compressed, span.content) for span in spans)
    footer = struct.pack("<IBI", len(entries) // 8, 0, _SEEKABLE_MAGIC)
    return struct.pack("<II", _SEEK_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer


class FrameReader:
    """Reads the frames of a file from its beginning, each byte once.

    Raises ``frame-invalid`` (3) for what breaks the rules, ``truncated`` or ``frame-corrupt`` (4) for damage.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=2**24)
        self.spans: list[FrameSpan] = []
        self.position = 0

    def read(self, expected: int | None = None) -> bytes:
        """The content of the next frame. With ``expected``, its declared size must be just that."""
        frame, content, plain = self._walk(expected, keep=True)
        data = b"".join(plain) if plain is not None else self._decompress(b"".join(frame), content)
        if len(data) != content:
            raise SealiftError("frame-corrupt", "a frame holds another size than it declares", hint=_DAMAGED)
        return data

    def skip(self, expected: int | None = None) -> None:
        """Pass over the next frame, reading only its headers."""
        self._walk(expected, keep=False)

    def finish(self) -> None:
        """The rest must be a seek table that tells the truth, and the end of the file.

        Raises ``trailing-data`` or ``frame-invalid`` (3).
        """
        table = seek_table(self.spans)
        rest = self._file.read(len(table) + 1)
        if rest == table:
            return
        if len(rest) < len(table) and table.startswith(rest):
            raise _truncated()
        if rest[: len(table)] == table:
            raise SealiftError(
                "trailing-data", "something follows the end of the bundle", hint="the media was tampered with"
            )
        raise SealiftError("frame-invalid", "the index at the end disagrees with the bundle", hint=_DAMAGED)

    def _walk(self, expected: int | None, *, keep: bool) -> tuple[list[bytes], int, list[bytes] | None]:
        """The frame's bytes, its content size, and its blocks alone where all of them are stored raw."""
        header, content = self._header()
        if expected is not None and content != expected:
            raise SealiftError(
                "member-size",
                f"a frame of {content} bytes where {expected} must stand",
                hint="the media was not made by sealift",
            )
        frame, plain = [header], True
        size, last = len(header), False
        while not last:
            head = self._exactly(3)
            word = int.from_bytes(head, "little")
            last, kind, length = bool(word & 1), word >> 1 & 3, word >> 3
            stored = 1 if kind == _RLE else length
            size += 3 + stored
            if kind > _COMPRESSED or length > _BLOCK_MAX or size > content + content // 64 + 1024:
                raise SealiftError("frame-invalid", "a frame has a block that breaks the format", hint=_DAMAGED)
            plain = plain and kind == _RAW
            if keep:
                frame += [head, self._exactly(stored)]
            else:
                self._file.seek(stored, 1)
                self.position += stored
        self.spans.append(FrameSpan(size, content))
        return frame, content, frame[2::2] if plain else None

    def _header(self) -> tuple[bytes, int]:
        start = self._exactly(5)
        magic, descriptor = struct.unpack("<IB", start)
        if magic != _MAGIC:
            raise SealiftError("frame-invalid", "a zstd frame must begin here and does not", hint=_DAMAGED)
        single, checksum, dictionary = descriptor >> 5 & 1, descriptor >> 2 & 1, descriptor & 3
        size_bytes = {0: single, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
        if descriptor & 0b0001_1000 or checksum or dictionary or not size_bytes:
            raise SealiftError("frame-invalid", "a frame without a declared size, or with features not allowed here")
        window = b"" if single else self._exactly(1)
        field = self._exactly(size_bytes)
        content = int.from_bytes(field, "little") + (256 if size_bytes == 2 else 0)
        if content > MAX_CONTENT:
            raise SealiftError("too-large", f"a frame declares {content} bytes, more than {MAX_CONTENT}")
        return start + window + field, content

    def _decompress(self, frame: bytes, content: int) -> bytes:
        try:
            return self._decompressor.decompress(frame, max_output_size=content, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise SealiftError(
                "frame-corrupt", "a frame cannot be decompressed: the media is damaged", hint=_DAMAGED
            ) from error

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        self.position += len(data)
        if len(data) != count:
            raise _truncated()
        return data


def _truncated() -> SealiftError:
    return SealiftError("truncated", "the bundle ends too early", hint=_DAMAGED)
