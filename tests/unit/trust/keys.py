"""Keys and roots for scenarios, and cosign's form of key files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.secret import SecretBox

from bundler.signing.sign import KeyFile
from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError

EXPIRES = datetime(2036, 1, 1, tzinfo=UTC)
PAYLOAD = b'{"type":"a release"}\n'


def key(name: str) -> KeyFile:
    """The key that belongs to ``name``: the same each time."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()) >> 8
    return KeyFile(name, ec.derive_private_key(number, ec.SECP256R1()))


def root(*names: str, threshold: int = 1, product: str = "*", installer: tuple[str, ...] = ()) -> bytes:
    """A root by which ``threshold`` of the keys of these names must sign releases."""
    held, programs = ([NamedKey(key(name).spki, name) for name in group] for group in (names, installer))
    return make_root(RootPlan(held, threshold, installer=programs, product=product), [key("root")], EXPIRES)


def policy(*names: str, threshold: int = 1, **more: Any) -> TrustPolicy:
    """The policy of such a root."""
    return TrustPolicy.from_root(root(*names, threshold=threshold, **more), "root.json")


def signed(*names: str, payload: bytes = PAYLOAD) -> dict[str, bytes]:
    """Signature files by these keys."""
    return {f"signatures/{name}.sigstore.json": key(name).signature_file(payload) for name in names}


def refusal(
    rule: TrustPolicy, files: dict[str, bytes], payload: bytes = PAYLOAD, role: str = "release"
) -> SealiftError:
    """How ``rule`` refuses these signatures."""
    with pytest.raises(SealiftError) as caught:
        rule.judge(role, payload, files)
    return caught.value


def der(private: Any) -> bytes:
    """PKCS#8 DER of a private key."""
    data: bytes = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return data


def cosign_value(plain: bytes, word: str, cost: int = 2**15) -> dict[str, Any]:
    """What stands in a key file of cosign, encrypted with ``word``."""
    salt, nonce = os.urandom(32), os.urandom(24)
    secret = hashlib.scrypt(word.encode(), salt=salt, n=cost, r=8, p=1, maxmem=2**28, dklen=32)
    box = SecretBox(secret).encrypt(plain, nonce).ciphertext
    b64 = {name: base64.b64encode(data).decode() for name, data in (("s", salt), ("n", nonce), ("c", box))}
    return {
        "kdf": {"name": "scrypt", "params": {"N": cost, "r": 8, "p": 1}, "salt": b64["s"]},
        "cipher": {"name": "nacl/secretbox", "nonce": b64["n"]},
        "ciphertext": b64["c"],
    }


def pem(label: str, body: bytes) -> str:
    """A PEM block."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(body).decode()}-----END {label}-----\n"


def cosign_file(path: Path, value: dict[str, Any], label: str = "ENCRYPTED SIGSTORE PRIVATE KEY") -> Path:
    """Write a key file of cosign."""
    path.write_text(pem(label, json.dumps(value).encode()))
    return path
