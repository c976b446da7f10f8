"""Age files made by hand, whole and broken in one way each; written from the specification, not from the reader."""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from installer.bundle.age import MediaKey

CHUNK = 65536
VERSION = b"age-encryption.org/v1\n"
LOW_ORDER = bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def raw64(data: bytes) -> bytes:
    return b64encode(data).rstrip(b"=")


def public(key: MediaKey) -> bytes:
    return X25519PrivateKey.from_private_bytes(key._secret).public_key().public_bytes_raw()


@dataclass
class AgeFile:
    """One file for ``key``; its pieces can be replaced before :meth:`bytes` puts them together."""

    key: MediaKey = field(default_factory=MediaKey.generate)
    file_key: bytes = field(default_factory=lambda: os.urandom(16))
    nonce: bytes = field(default_factory=lambda: os.urandom(16))
    version: bytes = VERSION
    stanzas: list[bytes] = field(default_factory=list)
    mac: bytes | None = None
    """The whole last line; None for the right one."""

    def __post_init__(self) -> None:
        self.stanzas = self.stanzas or [self.stanza()]

    def wrapped(self, file_key: bytes | None = None, to: bytes | None = None) -> tuple[bytes, bytes]:
        """Share and body of a stanza."""
        recipient = to or public(self.key)
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient))
        wrap = hkdf(shared, share + recipient, b"age-encryption.org/v1/X25519")
        return share, ChaCha20Poly1305(wrap).encrypt(bytes(12), file_key or self.file_key, None)

    def stanza(self, file_key: bytes | None = None, to: bytes | None = None) -> bytes:
        share, body = self.wrapped(file_key, to)
        return b"-> X25519 " + raw64(share) + b"\n" + raw64(body) + b"\n"

    def header(self) -> bytes:
        covered = self.version + b"".join(self.stanzas) + b"---"
        mac = hmac.digest(hkdf(self.file_key, b"", b"header"), covered, "sha256")
        return covered + (self.mac if self.mac is not None else b" " + raw64(mac) + b"\n")

    def chunk(self, number: int, content: bytes, *, last: bool) -> bytes:
        cipher = ChaCha20Poly1305(hkdf(self.file_key, self.nonce, b"payload"))
        return cipher.encrypt(number.to_bytes(11, "big") + bytes([last]), content, None)

    def chunks(self, content: bytes) -> list[bytes]:
        pieces = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)] or [b""]
        return [self.chunk(number, piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]

    def sealed(self, content: bytes) -> bytes:
        return self.bytes(self.chunks(content))

    def bytes(self, chunks: Sequence[bytes] = ()) -> bytes:
        return self.header() + self.nonce + b"".join(chunks)


def broken_headers(key: MediaKey) -> dict[str, bytes]:
    """Files that must be refused for their header, each for one reason, with a payload that is right."""
    good = AgeFile(key)
    share, body = good.wrapped()
    line, text = b"-> X25519 " + raw64(share) + b"\n", raw64(body)
    right = good.header()[-44:]

    def of(*stanzas: bytes, **more: bytes) -> bytes:
        file = AgeFile(key, good.file_key, good.nonce, stanzas=list(stanzas) or [line + text + b"\n"], **more)
        return file.bytes(file.chunks(b"content"))

    spare = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = (text[:-1] + bytes([text[-1] + 1])) if text[-1] < ord("z") else text
    return {
        "carriage returns": of().replace(b"\n", b"\r\n", 3),
        "another version": of(version=b"age-encryption.org/v2\n"),
        "no stanza": VERSION + b"---" + b" " + raw64(bytes(32)) + b"\n" + bytes(64),
        "mac: wrong": of(mac=b" " + raw64(bytes(32)) + b"\n"),
        "mac: blank too many": of(mac=b" " + right[:0] + raw64(bytes(32)) + b" \n"),
        "mac: no blank": of(mac=raw64(bytes(32)) + b"\n"),
        "mac: missing": of(mac=b"\n"),
        "mac: short": of(mac=b" " + raw64(bytes(31)) + b"\n"),
        "mac: another spelling": of(mac=b" " + raw64(bytes(32))[:-1] + b"B\n"),
        "stanza: no argument": of(b"-> \n" + text + b"\n", line + text + b"\n"),
        "stanza: empty argument": of(b"-> a  b\n" + text + b"\n", line + text + b"\n"),
        "stanza: another start": of(b"-< grease\n\n", line + text + b"\n"),
        "stanza: no body": of(b"-> grease\n", line + text + b"\n"),
        "stanza: no short last line": of(b"-> grease\n" + b"A" * 64 + b"\n", line + text + b"\n"),
        "stanza: short line in the middle": of(b"-> grease\n" + b"AAAA\nAAAA\n", line + text + b"\n"),
        "stanza: long line": of(b"-> grease\n" + b"A" * 68 + b"\n", line + text + b"\n"),
        "stanza: padded base64": of(b"-> grease\nAA==\n", line + text + b"\n"),
        "stanza: other alphabet": of(b"-> grease\n" + spare + b"\n\n", line + text + b"\n"),
        "stanza: another spelling": of(line + twin + b"\n"),
        "stanza: control character": of(b"-> gre\x7fase\n\n", line + text + b"\n"),
        "x25519: third argument": of(line[:-1] + b" more\n" + text + b"\n"),
        "x25519: no share": of(b"-> X25519\n" + text + b"\n"),
        "x25519: long share": of(b"-> X25519 " + raw64(share + b"\0") + b"\n" + text + b"\n"),
        "x25519: short share": of(b"-> X25519 " + raw64(share[:31]) + b"\n" + text + b"\n"),
        "x25519: share in another spelling": of(b"-> X25519 " + raw64(share)[:-1] + b"/\n" + text + b"\n"),
        "x25519: point of low order": of(b"-> X25519 " + raw64(LOW_ORDER) + b"\n" + text + b"\n"),
        "x25519: long file key": of(good.stanza(os.urandom(17))),
        "x25519: short file key": of(good.stanza(os.urandom(15))),
        "a passphrase": of(b"-> scrypt " + raw64(bytes(16)) + b" 10\n" + raw64(bytes(32)) + b"\n"),
        "a passphrase beside a key": of(
            line + text + b"\n", b"-> scrypt " + raw64(bytes(16)) + b" 10\n" + raw64(bytes(32)) + b"\n"
        ),
    }


def broken_payloads(key: MediaKey) -> dict[str, bytes]:
    """Files whose header is right, and whose payload must be refused somewhere."""
    file = AgeFile(key)
    full = bytes(range(256)) * 256
    one = file.chunk(0, b"content", last=True)
    first, second, third = file.chunks(full + full[::-1] + b"end")
    other = AgeFile(key)
    stranger = other.chunks(full + full[::-1] + b"end")
    return {
        "no nonce": file.header(),
        "short nonce": file.header() + file.nonce[:15],
        "no chunk": file.bytes(),
        "short tag": file.bytes([one[:15]]),
        "tag cut off": file.bytes([one[:-1]]),
        "bit turned": file.bytes([bytes([one[0] ^ 1]) + one[1:]]),
        "only chunk not the last": file.bytes([file.chunk(0, b"content", last=False)]),
        "full chunk not the last": file.bytes([first]),
        "empty last chunk": file.bytes([first, file.chunk(1, b"", last=True)]),
        "last chunk missing": file.bytes([first, second]),
        "first chunk missing": file.bytes([second, third]),
        "chunks swapped": file.bytes([second, first, third]),
        "chunk twice": file.bytes([first, first, second, third]),
        "last chunk twice": file.bytes([first, second, third, third]),
        "short chunk in the middle": file.bytes([file.chunk(0, b"short", last=False), third]),
        "two last chunks": file.bytes([file.chunk(0, full, last=True), file.chunk(1, b"x", last=True)]),
        "something behind it": file.bytes([first, second, third]) + b"!",
        "a chunk behind it": file.bytes([first, second, third]) + bytes(65552),
        "chunk of another file": file.bytes([first, stranger[1], third]),
        "payload of another file": file.header() + other.bytes(stranger)[len(other.header()) :],
        "nonce of another file": file.header() + other.nonce + first + second + third,
    }


def sound(key: MediaKey) -> dict[str, tuple[bytes, bytes]]:
    """Files that must be read, with their content."""
    file = AgeFile(key)
    full = os.urandom(CHUNK)
    grease = b"-> X-grease )>K~ ~\n" + b"A" * 64 + b"\n\n"
    others = AgeFile(MediaKey.generate())
    several = AgeFile(key, stanzas=[])
    several.stanzas = [several.stanza(to=public(others.key)), grease, several.stanza(), grease]
    content = {"nothing": b"", "one byte": b"x", "a chunk": full, "one more": full + b"x", "two": full + full[::-1]}
    made = {name: (file.bytes(file.chunks(data)), data) for name, data in content.items()}
    made["several recipients and grease"] = (several.bytes(several.chunks(b"content")), b"content")
    cut = AgeFile(key, stanzas=[])
    cut.stanzas = [b"-> X25519\tx y\n\n".replace(b"\t", b"-"), b"-> !\n" + b"A" * 64 + b"\nAAAX\n", cut.stanza()]
    made["stanzas of other kinds"] = (cut.bytes(cut.chunks(b"content")), b"content")
    return made
