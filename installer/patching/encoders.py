"""How a layer is packed again, to the bytes that it had: compressors that give the same bytes wherever they run.

zlib and zstd promise that for one version, one level and one way of calling; the version stands in the order.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final, Protocol

from installer.patching.zstdlib import zstd

AT_ONCE: Final = 96 * 1024 * 1024
"""Bytes of a layer that can be packed in one call, which needs all of it in memory."""


class Encoder(Protocol):
    """Packs what is fed, in pieces."""

    def feed(self, chunk: bytes) -> bytes:
        """Take more; what is packed by now."""

    def end(self) -> bytes:
        """The rest."""


class _Plain:
    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""


class _Gzip:
    def __init__(self, header: bytes, level: int) -> None:
        self._before, self._crc, self._size = header, 0, 0
        self._packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)

    def feed(self, chunk: bytes) -> bytes:
        self._crc, self._size = zlib.crc32(chunk, self._crc), self._size + len(chunk)
        before, self._before = self._before, b""
        return before + self._packer.compress(chunk)

    def end(self) -> bytes:
        return self._before + self._packer.flush() + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


class _Zstd:
    def __init__(self, size: int | None, options: dict[int, int]) -> None:
        self._packer = zstd.ZstdCompressor(options=options)
        if size is not None:
            self._packer.set_pledged_input_size(size)

    def feed(self, chunk: bytes) -> bytes:
        return self._packer.compress(chunk)

    def end(self) -> bytes:
        return self._packer.flush()


class _AtOnce:
    def __init__(self, options: dict[int, int]) -> None:
        self._options, self._parts = options, list[bytes]()

    def feed(self, chunk: bytes) -> bytes:
        self._parts.append(chunk)
        return b""

    def end(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return zstd.compress(whole, options=self._options)


def encoder(order: Mapping[str, Any], size: int) -> Encoder:
    """What packs ``size`` bytes as ``order`` says (FORMAT.md, Patches). Raises ``KeyError``, ``ValueError``."""
    if order["kind"] == "none":
        return _Plain()
    if order["kind"] == "gzip":
        return _Gzip(bytes.fromhex(order["header"]), order["level"])
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: order["level"],
        zstd.CompressionParameter.checksum_flag: int(order["checksum"]),
        zstd.CompressionParameter.content_size_flag: int(order["sized"]),
    }
    if order["at_once"]:
        if size > AT_ONCE:
            raise ValueError("too large for one call")
        return _AtOnce(options)
    return _Zstd(size if order["sized"] else None, options)


def version_of(kind: str) -> str | None:
    """The version of the compressor that packs ``kind`` here; None where it needs none."""
    return {"gzip": zlib.ZLIB_RUNTIME_VERSION, "zstd": zstd.zstd_version}.get(kind)
