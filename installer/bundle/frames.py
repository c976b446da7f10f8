"""Zstandard frames of the bundle (RFC 8878): independent, small, of declared size, read one at a time.

Rules kept here: every frame declares its content size, at most :data:`MAX_CONTENT`; no dictionary, no checksum; a
window of at most :data:`MAX_WINDOW`; a bounded number of blocks; the one skippable frame is the seek table and stands
last. A frame's end is found by walking its block headers, so nothing is decompressed before its size is known, and a
frame can be passed over without reading it, or unpacked in another thread than the one that reads.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import zstandard

from installer.errors import SealiftError

FRAME_DATA: Final = 8 * 1024 * 1024  # independent 8 MiB frames cost +0.46 % against one frame, and can be read alone
MAX_CONTENT: Final = FRAME_DATA + 512
MAX_WINDOW: Final = FRAME_DATA
LEVEL: Final = 3
Buffer = bytes | bytearray | memoryview
_MAGIC: Final = 0xFD2FB528
_SEEK_TABLE_MAGIC: Final = 0x184D2A5E  # skippable frame, as in zstd's contrib/seekable_format
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_SEEKABLE_MAGIC: Final = 0x8F92EAB1
_BLOCK_MAX: Final = 128 * 1024
_SMALL_BLOCK: Final = 1024  # no encoder makes smaller ones in numbers; a frame of millions of them costs seconds
_SPARE_BLOCKS: Final = 8
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_DAMAGED: Final = "copy the bundle again from its source and compare SHA256SUMS"


@dataclass(frozen=True)
class FrameSpan:
    """Bytes a frame takes in the file and bytes it decompresses to."""

    compressed: int
    content: int


def compress_frame(data: Buffer) -> bytes:
    """One frame of ``data`` (at most :data:`MAX_CONTENT` bytes), compressed; same bytes in, same bytes out."""
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=False, threads=0).compress(
        data
    )


def raw_frame(data: bytes) -> bytes:
    """One frame that stores ``data`` as it is, for what is compressed already."""
    return b"".join(raw_parts([data]))


def raw_parts(pieces: Iterable[Buffer]) -> list[Buffer]:
    """The bytes of a frame that stores ``pieces``, one after the other, as they are; not copied where they fit.

    Own code: python-zstandard offers no raw mode, and level 3 on gzip data costs 2.4 CPU s/GB to gain under 1 %.
    """
    blocks = list(_cut(pieces, _BLOCK_MAX)) or [b""]
    size = sum(map(len, blocks))
    parts: list[Buffer] = [struct.pack("<IBI", _MAGIC, 0b1010_0000, size)]  # 4-byte content size, single segment
    for number, block in enumerate(blocks, 1):
        parts += [(len(block) << 3 | _RAW << 1 | (number == len(blocks))).to_bytes(3, "little"), block]
    return parts


def _cut(pieces: Iterable[Buffer], size: int) -> Iterator[Buffer]:
    """The same bytes in pieces of ``size``, the last one shorter."""
    rest: Buffer = b""
    for piece in pieces:
        view = memoryview(piece)
        if rest:
            missing = size - len(rest)
            rest = b"".join((rest, view[:missing]))
            view = view[missing:]
            if len(rest) < size:
                continue
            yield rest
        whole = len(view) - len(view) % size
        for start in range(0, whole, size):
            yield view[start : start + size]
        rest = view[whole:]
    if rest:
        yield rest


def seek_table(spans: Iterable[FrameSpan]) -> bytes:
    """The trailing skippable frame that says where each frame begins: a hint for seekers, never believed."""
    entries = b"".join(struct.pack("<II", span.compressed, span.content) for span in spans)
    footer = struct.pack("<IBI", len(entries) // 8, 0, _SEEKABLE_MAGIC)
    return struct.pack("<II", _SEEK_TABLE_MAGIC, len(entries) + len(footer)) + entries + footer


@dataclass(frozen=True)
class Frame:
    """A frame as it stands in the file: its header, then header and bytes of each block; ``content`` as declared."""

    parts: list[bytes]
    content: int
    plain: bool
    """Whether all blocks are stored raw."""

    def unpack(self) -> list[bytes]:
        """The content, in pieces; in any thread. Raises ``frame-corrupt`` (4)."""
        pieces = self.parts[2::2] if self.plain else [self._decompress()]
        if sum(map(len, pieces)) != self.content:
            raise SealiftError("frame-corrupt", "a frame holds another size than it declares", hint=_DAMAGED)
        return pieces

    def _decompress(self) -> bytes:
        # One for each frame: it must not be used by two threads at a time, and costs microseconds.
        decompressor = zstandard.ZstdDecompressor(max_window_size=2 * MAX_WINDOW)
        try:
            return decompressor.decompress(b"".join(self.parts), max_output_size=self.content, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise SealiftError(
                "frame-corrupt", "a frame cannot be decompressed: the media is damaged", hint=_DAMAGED
            ) from error


class FrameReader:
    """Reads the frames of a file from its beginning, each byte once.

    Raises the ``frame-…`` errors (3) for what breaks the rules, ``truncated`` or ``frame-corrupt`` (4) for damage.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.spans: list[FrameSpan] = []
        self.position = 0

    def read(self, expected: Collection[int] | None = None) -> bytes:
        """The content of the next frame. With ``expected``, its declared size must be one of those."""
        return b"".join(self.take(expected).unpack())

    def take(self, expected: Collection[int] | None = None) -> Frame:
        """The next frame, still packed: :meth:`Frame.unpack` may raise ``frame-corrupt``, all else is checked."""
        return self._walk(expected, keep=True)

    def skip(self, expected: Collection[int] | None = None) -> None:
        """Pass over the next frame, reading only its headers."""
        self._walk(expected, keep=False)

    def finish(self) -> None:
        """The rest must be a seek table that tells the truth, and the end of the file.

        Raises ``archive-second``, ``index-malformed``, ``index-lies``, ``trailing-data`` (3), ``truncated`` (4).
        """
        table = seek_table(self.spans)
        rest = self._file.read(len(table) + 1)
        if rest == table:
            return
        if len(rest) < len(table) and table.startswith(rest):
            raise _truncated()
        if rest[:4] == _MAGIC.to_bytes(4, "little"):
            raise _refusal("archive-second", "more content follows the end of the archive")
        if rest[: len(table)] == table:
            raise _refusal("trailing-data", "something follows the end of the bundle")
        # The first eight bytes and the last nine are fixed by the number of frames; between them stand the sizes.
        if rest[:8] != table[:8] or rest[len(table) - 9 : len(table)] != table[-9:]:
            raise _refusal("index-malformed", "the index at the end is not the seek table of these frames")
        raise _refusal("index-lies", "the index at the end disagrees with the frames before it")

    def _walk(self, expected: Collection[int] | None, *, keep: bool) -> Frame:
        """Read a frame; with ``keep`` false only its headers."""
        header, content = self._header()
        if expected is not None and content not in expected:
            wanted = " or ".join(map(str, expected))
            raise _refusal("frame-size", f"a frame of {content} bytes where {wanted} must stand")
        frame, plain = [header], True
        size, told, blocks, last = len(header), 0, 0, False
        while not last:
            head = self._exactly(3)
            word = int.from_bytes(head, "little")
            last, kind, length = bool(word & 1), word >> 1 & 3, word >> 3
            stored = 1 if kind == _RLE else length
            size, blocks = size + 3 + stored, blocks + 1
            told += 0 if kind == _COMPRESSED else length
            _check_block(kind, length, told, blocks, content)
            plain = plain and kind == _RAW
            if keep:
                frame += [head, self._exactly(stored)]
            else:
                self._file.seek(stored, 1)
                self.position += stored
        self.spans.append(FrameSpan(size, content))
        return Frame(frame, content, plain)

    def _header(self) -> tuple[bytes, int]:
        """The frame's header and the content size that it declares."""
        magic = self._exactly(4)
        _check_magic(int.from_bytes(magic, "little"))
        descriptor = self._exactly(1)
        flags = descriptor[0]
        single, size_bytes = flags >> 5 & 1, {0: flags >> 5 & 1, 1: 2, 2: 4, 3: 8}[flags >> 6]
        _check_flags(flags, size_bytes)
        window = b"" if single else self._exactly(1)
        field = self._exactly(size_bytes)
        content = int.from_bytes(field, "little") + (256 if size_bytes == 2 else 0)
        if content > MAX_CONTENT:
            raise _refusal("frame-too-large", f"a frame declares {content} bytes, more than {MAX_CONTENT}")
        if window and _window(window[0]) > MAX_WINDOW:
            raise _refusal("frame-window", f"a frame wants a window of {_window(window[0])} bytes")
        return magic + descriptor + window + field, content

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        self.position += len(data)
        if len(data) != count:
            raise _truncated()
        return data


def _check_magic(magic: int) -> None:
    if magic in _SKIPPABLE:
        raise _refusal("frame-skippable", "a frame that unpackers pass over stands between the others")
    if magic != _MAGIC:
        raise _refusal("frame-magic", "a zstd frame must begin here and does not")


def _check_flags(flags: int, size_bytes: int) -> None:
    if flags & 0b0001_1000:
        raise _refusal("frame-reserved", "a frame sets bits that the format reserves")
    if flags & 0b0000_0100:
        raise _refusal("frame-checksum", "a frame with a checksum of its own, which this format has not")
    if flags & 0b0000_0011:
        raise _refusal("frame-dictionary", "a frame that wants a dictionary")
    if not size_bytes:
        raise _refusal("frame-size-unknown", "a frame that does not declare its size")


def _check_block(kind: int, length: int, told: int, blocks: int, content: int) -> None:
    """``told`` bytes come from raw and repeated blocks so far."""
    if kind > _COMPRESSED or length > _BLOCK_MAX:
        raise _refusal("frame-block", "a frame has a block that breaks the format")
    if told > content:
        raise _refusal("frame-overflow", "a frame holds more than it declares")
    if blocks > content // _SMALL_BLOCK + _SPARE_BLOCKS:
        raise _refusal("frame-blocks", "a frame is cut into too many blocks")


def _window(descriptor: int) -> int:
    """Bytes of the window that a window descriptor asks for (RFC 8878, 3.1.1.1.2)."""
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _refusal(error_id: str, message: str) -> SealiftError:
    return SealiftError(error_id, message, hint="the media was not made by sealift, or is damaged: get another copy")


def _truncated() -> SealiftError:
    return SealiftError("truncated", "the bundle ends too early", hint=_DAMAGED)
