"""The head of an age v1 file (c2sp.org/age) and the X25519 keys that open it. Reading only; pyrage writes such files.

Why own code: no Python library opens an age file at a place of one's choice. pyrage 1.4 decrypts from front to back
into a writer, and names neither the file key nor where the payload begins; `age` 0.5 and `age-rt` say of themselves
that they are not for use. An upgrade reads the head, then the small files, then only what the registry lacks, so each
would cost a whole pass, and the plain bundle a place on the disk (2026-11-28). All cryptography is of `cryptography`,
bech32 is its reference implementation; what stands here is the grammar and which key goes where.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO, Final

from bech32 import bech32_decode, bech32_encode, convertbits
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from installer.errors import SealiftError

COPY: Final = "copy the media again from their source"
ANY_VERSION: Final = b"age-encryption.org/"
MAX_HEADER: Final = 64 * 1024
MAX_STANZAS: Final = 256
MAX_KEYS: Final = 16
MAX_KEY_FILE: Final = 64 * 1024
NONCE: Final = 16
_ARGUMENTS: Final = rb"[!-~]+(?: [!-~]+)*"
_BODY: Final = rb"(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{0,63}\n"
_STANZA: Final = re.compile(rb"-> (%s)\n(%s)" % (_ARGUMENTS, _BODY))
_HEADER: Final = re.compile(rb"age-encryption\.org/v1\n((?:-> %s\n%s)+)--- ([A-Za-z0-9+/]{43})\n" % (_ARGUMENTS, _BODY))
_WRAP: Final = b"age-encryption.org/v1/X25519"


@dataclass(frozen=True)
class Stanza:
    """What one recipient finds the file key by. ``arguments`` begin with its kind."""

    arguments: tuple[str, ...]
    body: bytes


@dataclass(frozen=True)
class AgeHeader:
    """The head of an encrypted file, as it is spelled; ``size`` bytes, of which the MAC covers ``covered``."""

    stanzas: tuple[Stanza, ...]
    covered: bytes
    mac: bytes
    size: int

    @classmethod
    def read(cls, file: BinaryIO) -> AgeHeader:
        """Read it, and nothing that follows.

        Raises ``age-header``, ``age-passphrase`` (3), ``truncated`` (4), ``OSError``.
        """
        raw, line = b"", b""
        while not line.startswith(b"---"):
            line = file.readline(MAX_HEADER + 1 - len(raw))
            raw += line
            if len(raw) > MAX_HEADER:
                raise _malformed(f"it is larger than {MAX_HEADER} bytes")
            if not line.endswith(b"\n"):
                raise SealiftError("truncated", "the encrypted media end within their header", hint=COPY)
        return cls.parse(raw)

    @classmethod
    def parse(cls, raw: bytes) -> AgeHeader:
        """Judge the spelling of a whole header. Raises ``age-header``, ``age-passphrase`` (3)."""
        found = _HEADER.fullmatch(raw)
        if found is None:
            known = raw.startswith(ANY_VERSION + b"v1\n")
            raise _malformed("it is not spelled as age spells it" if known else "it is of another version than v1")
        stanzas = tuple(
            Stanza(tuple(arguments.decode("ascii").split(" ")), _base64(body.replace(b"\n", b"")))
            for arguments, body in _STANZA.findall(found[1])
        )
        if len(stanzas) > MAX_STANZAS:
            raise _malformed(f"it names more than {MAX_STANZAS} recipients")
        if any(stanza.arguments[0] == "scrypt" for stanza in stanzas):
            raise SealiftError(
                "age-passphrase",
                "the media are encrypted with a passphrase, and nobody is here to type it",
                hint="ask for media that are encrypted to the host's media key: sealift media-key show",
            )
        return cls(stanzas, raw[: found.start(2) - 1], _base64(found[2]), len(raw))

    def file_key(self, keys: Iterable[MediaKey]) -> bytes | None:
        """The key of the file, found by one of ``keys``; None where it is for others.

        Raises ``age-header`` (3) for a stanza that breaks the rules of its kind, ``age-altered`` (4) where the MAC
        does not hold.
        """
        shares = [_share(stanza) for stanza in self.stanzas if stanza.arguments[0] == "X25519"]
        for key in keys:
            for share, body in shares:
                found = key.unwrap(share, body)
                if found is not None:
                    self._check_mac(found)
                    return found
        return None

    def _check_mac(self, file_key: bytes) -> None:
        wanted = hmac.digest(_derived(file_key, b"", b"header"), self.covered, "sha256")
        if not hmac.compare_digest(wanted, self.mac):
            raise SealiftError(
                "age-altered",
                f"the header of the encrypted media is damaged: bytes 0 to {self.size - 1}",
                hint=COPY,
            )


def payload_key(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    """What opens the chunks behind the header and the ``nonce`` that follows it."""
    return ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))


@dataclass(frozen=True)
class MediaKey:
    """An age identity of the kind X25519: opens what was encrypted to its recipient. Never printed by mistake."""

    _secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> MediaKey:
        """A new one."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> MediaKey | None:
        """Read ``AGE-SECRET-KEY-1…``; None for anything else."""
        secret = bech32_bytes(text, "age-secret-key-")
        return None if secret is None or not text.isupper() else cls(secret)

    @cached_property
    def _private(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._secret)

    @cached_property
    def _public(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    @property
    def recipient(self) -> str:
        """What others encrypt to: ``age1…``."""
        return bech32_text("age", self._public)

    def spelled(self) -> str:
        """The secret, as age-keygen writes it."""
        return bech32_text("age-secret-key-", self._secret).upper()

    def unwrap(self, share: bytes, body: bytes) -> bytes | None:
        """The file key in a stanza, or None where it is for another. Raises ``age-header`` (3): a low-order share."""
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError:
            raise _malformed("a recipient's share is a point of low order") from None
        try:
            return ChaCha20Poly1305(_derived(shared, share + self._public, _WRAP)).decrypt(bytes(12), body, None)
        except InvalidTag:
            return None


def parse_keys(text: str, origin: str) -> tuple[MediaKey, ...]:
    """The keys in a file as age-keygen writes it: one a line, comments, blank lines.

    Raises ``media-key-damaged`` (4); no line of the file stands in the message.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    keys = []
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        key = MediaKey.parse(line)
        if key is None:
            raise damaged_keys(origin, f"line {number} is no age identity of the kind AGE-SECRET-KEY-1…")
        keys.append(key)
    if not 1 <= len(keys) <= MAX_KEYS:
        raise damaged_keys(origin, f"it holds {len(keys) or 'no'} keys, and 1 to {MAX_KEYS} are read")
    return tuple(dict.fromkeys(keys))


def damaged_keys(origin: str, why: str) -> SealiftError:
    """What is wrong with a file of media keys."""
    return SealiftError(
        "media-key-damaged",
        f"{origin} is no file of media keys: {why}",
        hint="it holds what age-keygen or sealift media-key new wrote; take it from a backup",
    )


def bech32_bytes(text: str, prefix: str) -> bytes | None:
    """The 32 bytes behind ``prefix`` in a Bech32 string of one case; None for any other."""
    found, words = bech32_decode(text)
    data = convertbits(words, 5, 8, False) if found == prefix and words is not None else None
    return bytes(data) if data is not None and len(data) == 32 else None


def bech32_text(prefix: str, data: bytes) -> str:
    """Lower-case Bech32 of ``data``."""
    words = convertbits(data, 8, 5)
    assert words is not None  # noqa: S101 - bytes always fit
    return bech32_encode(prefix, words)


def _share(stanza: Stanza) -> tuple[bytes, bytes]:
    if len(stanza.arguments) != 2 or len(stanza.body) != 32:
        raise _malformed("a recipient of the kind X25519 has another form")
    share = _base64(stanza.arguments[1].encode())
    if len(share) != 32:
        raise _malformed("a recipient's share has another length than 32")
    return share, stanza.body


def _base64(text: bytes) -> bytes:
    """The bytes of base64 without padding, in its one spelling. Raises ``age-header`` (3)."""
    try:
        data = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise _malformed("it holds base64 that is none") from None
    if b64encode(data).rstrip(b"=") != text:
        raise _malformed("it holds base64 in another spelling")
    return data


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _malformed(why: str) -> SealiftError:
    return SealiftError(
        "age-header",
        f"the header of the encrypted media breaks the format: {why}",
        hint=f"{COPY}; age -d says the same of them",
    )
