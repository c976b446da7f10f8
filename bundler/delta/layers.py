"""Layers as deltas see them: unpacked into nameless files, and whether one of ours can pack them again just so."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final

import zstandard

from installer.bundle.packing import MAX_UNPACKED, Encoding, Gzip, Plain, Zstd
from installer.patching.encoders import AT_ONCE, encoder, version_of

CHUNK: Final = 1024 * 1024
_TASTE: Final = 2 * CHUNK
"""Bytes of a layer that tell most levels of a compressor apart."""
_SLOW: Final = 10
"""The first level of zstd that is slow."""
_MAX_HEADER: Final = 512
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Unpacked:
    """A layer in two nameless files below ``folder``: as it is packed, and unpacked. A context manager."""

    def __init__(self, chunks: Iterable[bytes], folder: Path) -> None:
        """Raises ``ValueError`` for what cannot be unpacked, or is larger than a patch may be about."""
        self.packed: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this
        self.plain: IO[bytes] = self.packed
        try:
            for chunk in chunks:
                self.packed.write(chunk)
            self.packed.seek(0)
            head = self.packed.read(4)
            self.packed.seek(0)
            if head[:2] == _GZIP or head == _ZSTD:
                self.plain = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
                for chunk in _unpacking(self.packed, gzipped=head[:2] == _GZIP):
                    self.plain.write(chunk)
                    if self.plain.tell() > MAX_UNPACKED:
                        raise ValueError("too large to be patched")
                self.plain.flush()
            self.packed.flush()
            self.size = os.fstat(self.plain.fileno()).st_size
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Unpacked:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self.plain.close()
        self.packed.close()

    def read(self, count: int, offset: int) -> bytes:
        """So many unpacked bytes from there."""
        return os.pread(self.plain.fileno(), count, offset)

    def encoding(self) -> Encoding | None:
        """How it can be packed again, as far as its beginning shows; None where nothing of ours packs like that."""
        head = os.pread(self.packed.fileno(), 2 * _TASTE, 0)
        for order in _orders(head, self.size):
            whole = self.size <= _TASTE or (isinstance(order, Zstd) and order.at_once)
            taste = self.read(self.size if whole else _TASTE, 0)
            packer = encoder(order.model_dump(), self.size)
            made = packer.feed(taste)
            if whole:
                made += packer.end()
            if isinstance(order, Plain) or (made and made[: len(head)] == head[: len(made)]):
                return order
        return None


def _unpacking(file: IO[bytes], *, gzipped: bool) -> Iterator[bytes]:
    try:
        if gzipped:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
            return
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False) as reader:
            while chunk := reader.read(CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"cannot be unpacked: {error}") from error


def _orders(head: bytes, size: int) -> Iterator[Encoding]:
    """Ways to pack a layer that begins like ``head``, likely ones first."""
    if head[:2] == _GZIP:
        header = _gzip_header(head)
        for level in (6, 9, 1, 5, 2, 3, 4, 7, 8) if header else ():
            yield Gzip(header=header.hex(), level=level, library=version_of("gzip") or "")
    elif head[:4] == _ZSTD:
        sized, checksum = bool(head[4] >> 6 or head[4] & 0x20), bool(head[4] & 4)
        for level in (3, 1, 19, 9, 6, 2, 4, 5, 7, 8, *range(10, 19)):
            # In one call, all of it must be packed to see it: high levels are not tried on much.
            small = sized and size <= (AT_ONCE if level < _SLOW else _TASTE * 4)
            for at_once in (False, True) if small else (False,):
                yield Zstd(
                    at_once=at_once, checksum=checksum, level=level, library=version_of("zstd") or "", sized=sized
                )
    else:
        yield Plain()


def _gzip_header(head: bytes) -> bytes:
    """All before the compressed data (RFC 1952); empty where it is longer than we carry."""
    flags, end = head[3], 10
    if flags & 4:
        end += 2 + int.from_bytes(head[end : end + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            end = head.find(b"\0", end) + 1 or len(head)
    end += 2 if flags & 2 else 0
    return head[:end] if end <= min(_MAX_HEADER, len(head)) else b""
