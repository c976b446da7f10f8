"""Frames: how the file is cut and compressed."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

import gzip
import lzma
import struct
from dataclasses import replace

import zstandard

from installer.bundle.frames import MAX_CONTENT
from tests.vectors.forge import Forge, Frame, block, compressed, file_of, zstd_frame
from tests.vectors.vector import Make, Vector, frame, frames, whole

TEXT = "CHANGELOG.md [0]"  # a data frame of 512 bytes
ZEROS = bytes(512)


def unpacked(one: Frame) -> bytes:
    return zstandard.ZstdDecompressor().decompress(one.data)


def plain_tar() -> bytes:
    """The tar inside the bundle."""
    return b"".join(unpacked(one) for one in Forge().frames())


def instead(data: bytes, content: int = 512) -> Make:
    """Another frame for the data of a small member."""
    return frame(TEXT, lambda _: data, content)


def same(flags: int, extra: bytes = b"", size: bytes | None = None, tail: bytes = b"") -> Make:
    """The same data in a frame with another header."""
    data = next(unpacked(one) for one in Forge().frames() if one.label == TEXT)
    return instead(zstd_frame(data, flags=flags, extra=extra, size=size) + tail)


def before(data: bytes) -> Make:
    """A frame that does not belong there, in front of a member's data."""

    def change(all_: list[Frame]) -> list[Frame]:
        at = [one.label for one in all_].index(TEXT)
        return [*all_[:at], Frame(data, 0, "more"), *all_[at:]]

    return frames(change)


def skippable(kind: int) -> bytes:
    return struct.pack("<II", 0x184D2A50 + kind, 16) + b"0123456789abcdef"


def zeros(count: int) -> list[bytes]:
    """Blocks that unpack to ``count`` zeros, four bytes for each 128 KiB."""
    full, rest = divmod(count, 2**17)
    return [block(b"\0", kind=1, length=2**17)] * full + [block(b"\0", kind=1, length=rest, last=True)]


def bomb(declared: int, real: int) -> Make:
    """A frame that declares one size and unpacks to another."""
    return instead(
        zstd_frame(b"", flags=0b1110_0000, size=struct.pack("<Q", declared), blocks=zeros(real)),
        min(declared, 2**32 - 1),
    )


def split(all_: list[Frame]) -> list[Frame]:
    """The data of one member in two frames."""
    at = [one.label for one in all_].index("tools/compose [0]")
    data = unpacked(all_[at])
    halves = [Frame(compressed(half, 3), 512, "half") for half in (data[:512], data[512:])]
    return [*all_[:at], *halves, *all_[at + 1 :]]


def merged(all_: list[Frame]) -> list[Frame]:
    """Header and data of one member in one frame."""
    at = [one.label for one in all_].index("header of tools/compose")
    both = b"".join(unpacked(one) for one in all_[at : at + 2])
    return [*all_[:at], Frame(compressed(both, 3), len(both), "both"), *all_[at + 2 :]]


def twice(all_: list[Frame], label: str) -> list[Frame]:
    return [frame_ for one in all_ for frame_ in ([one, one] if one.label == label else [one])]


def lying(declared: int, real: int) -> Make:
    """A frame of one compressed block of zeros, which declares another size than it has."""
    body = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(real))[6:]  # after magic, flags, window
    return by_blocks([body], declared)


def by_blocks(blocks: list[bytes], declared: int = 512) -> Make:
    """A frame by hand for the data of a small member."""
    return instead(zstd_frame(b"", size=struct.pack("<I", declared), blocks=blocks))


def again(level: int) -> Make:
    """Every frame compressed at another level."""
    return frames(lambda all_: [replace(one, data=compressed(unpacked(one), level)) for one in all_])


def stored(all_: list[Frame]) -> list[Frame]:
    return [replace(one, data=zstd_frame(unpacked(one))) for one in all_]


def wide_size(all_: list[Frame]) -> list[Frame]:
    """Sizes spelled in eight bytes where two would do."""
    return [replace(f, data=zstd_frame(unpacked(f), flags=0xE0, size=struct.pack("<Q", f.content))) for f in all_]


def windowed(descriptor: int) -> Make:
    """A frame that is not a single segment, and asks for a window."""
    return same(0b1000_0000, extra=bytes([descriptor]))


# fmt: off
VECTORS = [
    Vector("good", "the base that all others are made from", None, whole(lambda b: b)),
    Vector("good-level-19", "every frame compressed harder: same content, other bytes", None, again(19)),
    Vector("good-level-1", "every frame compressed faster", None, again(1)),
    Vector("good-stored", "every frame stored in raw blocks", None, frames(stored)),
    Vector("good-wide-size", "every frame spells its size in eight bytes", None, frames(wide_size)),
    Vector("good-window", "a frame with a window of 8 MiB, the most there may be", None, windowed(13 << 3)),
    Vector("file-empty", "a file of no bytes", "not-a-bundle", whole(lambda _: b"")),
    Vector("file-one-byte", "a file of one byte", "not-a-bundle", whole(lambda b: b[:1])),
    Vector("file-text", "a text", "not-a-bundle", whole(lambda _: b"this is no bundle\n" * 9)),
    Vector("file-zip", "a zip archive's first bytes", "not-a-bundle", whole(lambda _: b"PK\x03\x04" + bytes(600))),
    Vector("file-tar", "the tar, not compressed", "not-a-bundle", plain_tar),
    Vector("file-gzip", "the tar in gzip", "not-a-bundle", lambda: gzip.compress(plain_tar(), mtime=0)),
    Vector("file-xz", "the tar in xz", "not-a-bundle", lambda: lzma.compress(plain_tar())),
    Vector("file-zeros", "zeros, as a broken stick gives", "not-a-bundle", whole(lambda b: bytes(len(b)))),
    Vector("file-ff", "ones, as an erased stick gives", "not-a-bundle", whole(lambda b: b"\xff" * len(b))),
    Vector("zstd-legacy", "a frame of zstd 0.7", "frame-magic", before(b"\x27\xb5\x2f\xfd" + bytes(16))),
    Vector("zstd-garbage", "no frame where one must begin", "frame-magic", before(b"\xde\xad\xbe\xef" * 4)),
    Vector("zstd-magicless", "a frame without its first four bytes", "frame-magic", frame(TEXT, lambda b: b[4:])),
    Vector("zstd-lz4", "an lz4 frame between the others", "frame-magic", before(b"\x04\x22\x4d\x18" + bytes(16))),
    Vector("skippable-first", "unpackers would pass over the beginning", "frame-skippable", whole(lambda b: skippable(0) + b)),
    Vector("skippable-between", "hidden data between two frames", "frame-skippable", before(skippable(0))),
    Vector("skippable-last-kind", "the same with the last of the 16 magic numbers", "frame-skippable", before(skippable(15))),
    Vector("skippable-index-early", "a seek table in the middle", "frame-skippable", before(skippable(14))),
    Vector("flag-reserved", "the reserved bit is set", "frame-reserved", same(0b1010_1000)),
    Vector("flag-unused", "the unused bit is set", "frame-reserved", same(0b1011_0000)),
    Vector("flag-checksum", "a frame with a checksum", "frame-checksum", same(0b1010_0100, tail=bytes(4))),
    Vector("dictionary-1", "a dictionary, named in one byte", "frame-dictionary", same(0b1010_0001, extra=b"\1")),
    Vector("dictionary-2", "a dictionary, named in two bytes", "frame-dictionary", same(0b1010_0010, extra=b"\1\0")),
    Vector("dictionary-4", "a dictionary, named in four bytes", "frame-dictionary", same(0b1010_0011, extra=b"\1\0\0\0")),
    Vector("dictionary-zero", "dictionary 0, which means none", "frame-dictionary", same(0b1010_0001, extra=b"\0")),
    Vector("size-undeclared", "a frame that does not say how large it is", "frame-size-unknown", same(0, b"\x00", b"")),
    Vector("bomb-4-gib", "131 kB that unpack to 4 GiB of zeros, and say so", "frame-too-large", bomb(2**32, 2**32)),
    Vector("bomb-2-64", "a frame that declares 2^64-1 bytes", "frame-too-large", bomb(2**64 - 1, 512)),
    Vector("bomb-one-over", "one byte more than a frame may hold", "frame-too-large", bomb(MAX_CONTENT + 1, MAX_CONTENT + 1)),
    Vector("bomb-hidden", "512 declared, 4 GiB inside", "frame-overflow", bomb(512, 2**32)),
    Vector("bomb-hidden-one", "512 declared, 513 inside", "frame-overflow", bomb(512, 513)),
    Vector("frame-short", "512 declared, 511 inside", "frame-corrupt", bomb(512, 511)),
    Vector("frame-short-raw", "512 declared, 511 inside, stored raw", "frame-corrupt", by_blocks([block(bytes(511), last=True)])),
    Vector("frame-hollow", "512 declared, nothing inside", "frame-corrupt", bomb(512, 0)),
    Vector("bomb-mebibytes", "a member of 20 bytes in a frame of 8 MiB", "frame-size", bomb(2**23, 2**23)),
    Vector("packed-lies-down", "a compressed block of 512 declared as 511", "frame-size", lying(511, 512)),
    Vector("packed-lies-up", "a compressed block of 512 in a frame of 1024", "frame-size", lying(1024, 512)),
    Vector("packed-garbage", "a compressed block of nonsense", "frame-corrupt", by_blocks([block(b"\xa5" * 40, kind=2, last=True)])),
    Vector("packed-empty", "a compressed block of no bytes", "frame-corrupt", by_blocks([block(b"", kind=2, last=True)])),
    Vector("packed-overflow", "a compressed block that gives more than is declared", "frame-corrupt", lying(512, 9000)),
    Vector("packed-short", "a compressed block that gives less than is declared", "frame-corrupt", lying(512, 300)),
    Vector("window-over", "the next window above 8 MiB", "frame-window", windowed(13 << 3 | 1)),
    Vector("window-128-mib", "a window of 128 MiB", "frame-window", windowed(17 << 3)),
    Vector("window-2-gib", "a window of 2 GiB", "frame-window", windowed(21 << 3)),
    Vector("window-3-tib", "the largest window that can be spelled", "frame-window", windowed(0xFF)),
    Vector("block-reserved", "a block of the reserved type", "frame-block", by_blocks([block(ZEROS, kind=3, last=True)])),
    Vector("block-long", "a raw block of more than 128 KiB", "frame-block", by_blocks([block(bytes(2**17 + 1), last=True)])),
    Vector("block-long-repeat", "one byte repeated 2 MiB times in one block", "frame-block", by_blocks([block(b"\0", kind=1, length=2**21 - 1, last=True)])),
    Vector("block-long-packed", "a compressed block of more than 128 KiB", "frame-block", by_blocks([block(bytes(2**17 + 1), kind=2, last=True)])),
    Vector("blocks-million", "a million empty blocks in one frame", "frame-blocks", by_blocks([block(b"")] * 10**6 + [block(ZEROS, last=True)])),
    Vector("blocks-repeats", "a frame of many blocks of one byte", "frame-blocks", by_blocks([block(b"\0", kind=1, length=1)] * 512 + [block(b"", last=True)])),
    Vector("one-frame", "what `tar --zstd` makes: everything in one frame", "frame-size", lambda: file_of([Frame(compressed(plain_tar(), 3), len(plain_tar()), "all")])),
    Vector("member-split", "the data of a member in two frames", "frame-size", frames(split)),
    Vector("member-merged", "header and data in one frame", "frame-size", frames(merged)),
    Vector("frame-empty", "a frame of nothing in front of a member's data", "frame-size", before(zstd_frame(b""))),
    Vector("frame-repeated", "a data frame twice, where a header must stand", "tar-number", frames(lambda f: twice(f, TEXT))),
    Vector("frame-repeated-as-end", "a data frame twice that is as large as the end of the archive", "archive-end", frames(lambda f: twice(f, "tools/compose [0]"))),
    Vector("frame-repeated-large", "a data frame twice that is as large as nothing else", "frame-size", frames(lambda f: twice(f, "release.json [0]"))),
    Vector("frame-dropped", "a data frame is missing", "frame-size", frames(lambda f: [one for one in f if one.label != "tools/compose [0]"])),
]
# fmt: on
