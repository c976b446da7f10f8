"""An encrypted bundle as the file that it holds: read and sought in like any other, 64 KiB decrypted at a time.

Decrypting proves nothing about who made the bundle: everybody can encrypt to a recipient. What comes out is hostile
until the signature over its ``release.json`` holds, as what lies on a stick in the clear.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from installer.bundle.age import ANY_VERSION, COPY, NONCE, AgeHeader, MediaKey, payload_key
from installer.errors import SealiftError

CHUNK: Final = 64 * 1024
TAG: Final = 16
SEALED: Final = CHUNK + TAG

Unlock = Callable[[], Sequence[MediaKey]]
"""Brings the media keys that there are. Asked only where media are encrypted."""


def is_encrypted(start: bytes) -> bool:
    """Whether a file that begins so is one of age, of any version. Its name says nothing."""
    return start.startswith(ANY_VERSION)


def decrypted(file: BinaryIO, name: str, unlock: Unlock | None = None) -> tuple[BinaryIO, bool]:
    """What ``file`` holds where it is encrypted, else ``file`` itself; and whether it is. ``name`` is for messages.

    Raises ``media-encrypted``, ``media-key-wrong`` (7), ``age-header``, ``age-passphrase`` (3), ``age-altered``,
    ``age-chunk``, ``truncated`` (4), what ``unlock`` raises, and ``OSError``; ``file`` is closed then.
    """
    try:
        start = file.read(len(ANY_VERSION))
        file.seek(0)
        if not is_encrypted(start):
            return file, False
        return io.BufferedReader(DecryptedFile(file, name, unlock), CHUNK), True
    except BaseException:
        file.close()
        raise


class DecryptedFile(io.RawIOBase):
    """The payload of an age file. One chunk is held in memory; ``file`` is closed with it.

    The end is told to nobody before the last chunk was seen to be the last. So is a place counted from the end, when
    it is read there, not when it is sought: else looking at the head would want the last disc first.
    Raises ``age-chunk`` and ``truncated`` (4), with the bytes of the encrypted file.
    """

    def __init__(self, file: BinaryIO, name: str, unlock: Unlock | None) -> None:
        """Find the key and the size. Raises what :func:`decrypted` raises."""
        super().__init__()
        self._file, self._name = file, name
        header = AgeHeader.read(file)
        file_key = header.file_key(_keys(name, unlock))
        if file_key is None:
            raise SealiftError(
                "media-key-wrong",
                f"{name} is encrypted to others: no media key that is here opens it",
                hint="sealift media-key show says what the vendor must encrypt to; elsewhere: another --identity FILE",
            )
        nonce = file.read(NONCE)
        self._start = header.size + NONCE
        payload = file.seek(0, os.SEEK_END) - self._start
        self._count = max(-(-payload // SEALED), 1)
        last = payload - (self._count - 1) * SEALED
        if last < TAG:
            raise _truncated(name, self._start + max(payload, 0))
        if last == TAG and self._count > 1:
            raise self._damaged(self._count - 1)
        self._size = (self._count - 1) * CHUNK + last - TAG
        self._cipher: ChaCha20Poly1305 = payload_key(file_key, nonce)
        self._position = 0
        self._from_end = False
        self._held = (-1, b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position in what is decrypted."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in what is decrypted. Reads nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._from_end = whence == os.SEEK_END
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from one chunk; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._from_end or self._position >= self._size:
            self._chunk(self._count - 1)
            self._from_end = False
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, CHUNK)
        piece = memoryview(self._chunk(number))[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the encrypted file."""
        if not self.closed:
            self._file.close()
        super().close()

    def _chunk(self, number: int) -> bytes:
        """What the chunk ``number`` (from 0) holds; the one before is forgotten."""
        if self._held[0] != number:
            self._file.seek(self._start + number * SEALED)
            sealed = self._file.read(SEALED)
            self._held = (number, self._open(number, sealed, last=number == self._count - 1))
        return self._held[1]

    def _open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(number, last=last), sealed, None)
        except InvalidTag:
            if last and self._opens(number, sealed):
                raise _truncated(self._name, self._start + number * SEALED + len(sealed)) from None
            raise self._damaged(number) from None

    def _opens(self, number: int, sealed: bytes) -> bool:
        """Whether it is a whole chunk that others must follow."""
        try:
            self._cipher.decrypt(_nonce(number, last=False), sealed, None)
        except InvalidTag:
            return False
        return True

    def _damaged(self, number: int) -> SealiftError:
        start = self._start + number * SEALED
        end = f"to {start + SEALED - 1}" if number < self._count - 1 else "to the end"
        return SealiftError(
            "age-chunk", f"{self._name} is damaged: bytes {start} {end}", hint=f"{COPY}, and compare SHA256SUMS"
        )


def _keys(name: str, unlock: Unlock | None) -> Sequence[MediaKey]:
    keys = unlock() if unlock is not None else ()
    if not keys:
        raise SealiftError(
            "media-encrypted",
            f"{name} is encrypted, and there is no media key here",
            hint="on a host: sealift media-key new, and have the vendor encrypt to what it prints; "
            "elsewhere: --identity FILE",
        )
    return keys


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _truncated(name: str, size: int) -> SealiftError:
    return SealiftError("truncated", f"{name} ends too early, after {size} bytes", hint=f"{COPY}: it is incomplete")
