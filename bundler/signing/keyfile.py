"""Private keys as files: PEM (PKCS#8, encrypted or not, and SEC 1) and cosign's own encrypted form."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from installer.bundle.strictjson import parse
from installer.errors import SealiftError

Passphrase = Callable[[Path], str]
"""Asked for the passphrase of an encrypted key file, only when needed."""

MAX_KEY_BYTES: Final = 64 * 1024
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_COSIGN: Final = frozenset({"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"})
_SCRYPT: Final = tuple({"N": 2**power, "r": 8, "p": 1} for power in (15, 16, 17))
"""What cosign uses and has used: nobody's file can ask for gigabytes of memory."""


def read_private_key(path: Path, passphrase: Passphrase) -> ec.EllipticCurvePrivateKey:
    """The ECDSA P-256 key in a file.

    Raises, all 2: ``key-unreadable`` (no such file, or no private key), ``key-damaged``, ``key-kind`` (another
    algorithm or curve), ``passphrase-wrong``, and what ``passphrase`` raises.
    """
    label, pem = _private_block(_read(path), path)
    if label in _COSIGN:
        key = _CosignFile.parse(_body(pem, path), path).open(passphrase(path), path)
    else:
        key = _pkcs8(pem, path, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealiftError(
            "key-kind", f"{path} holds another kind of key than ECDSA P-256", hint="bundle keygen makes one"
        )
    return key


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_BYTES + 1)
        if len(data) > MAX_KEY_BYTES:
            raise _no_key(path)
        return data.decode("ascii")
    except OSError as error:
        raise SealiftError(
            "key-unreadable", f"cannot read the key {path}: {error.strerror}", hint="bundle keygen makes one"
        ) from error
    except UnicodeDecodeError as error:
        raise _no_key(path) from error


def _private_block(text: str, path: Path) -> tuple[str, str]:
    """Label and text of the first PEM block that is a private key; openssl may write parameters before it."""
    for found in _PEM.finditer(text):
        if found[1].endswith("PRIVATE KEY"):
            return found[1], found[0]
    if "PRIVATE KEY-----" in text:
        raise _damaged(path, "its PEM block does not end")
    raise _no_key(path)


def _body(pem: str, path: Path) -> bytes:
    try:
        return base64.b64decode("".join(pem.split("-----")[2].split()), validate=True)
    except ValueError as error:
        raise _damaged(path, "not base64") from error


def _pkcs8(pem: str, path: Path, passphrase: Passphrase) -> object:
    data = pem.encode("ascii")
    try:
        return load_pem_private_key(data, None)
    except TypeError:  # it is encrypted
        word = passphrase(path).encode("utf-8")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _damaged(path, "its content does not parse") from error
    try:
        return load_pem_private_key(data, word)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _wrong_word(path) from error


@dataclass(frozen=True)
class _CosignFile:
    """What stands in a key file of cosign: JSON around scrypt and NaCl's secretbox."""

    cost: dict[str, int]
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, raw: bytes, path: Path) -> _CosignFile:
        """Raises ``key-damaged`` (2)."""
        try:
            value: Any = parse(raw, path.name)
            kdf, cipher, cost = value["kdf"], value["cipher"], value["kdf"]["params"]
            if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or cost not in _SCRYPT:
                raise _damaged(path, "another encryption than cosign's")
            salt, nonce, ciphertext = (
                base64.b64decode(text, validate=True) for text in (kdf["salt"], cipher["nonce"], value["ciphertext"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, "its content does not parse") from error
        except SealiftError as error:
            raise _damaged(path, error.message) from error
        if not 16 <= len(salt) <= 64 or len(nonce) != 24 or len(ciphertext) <= 16:
            raise _damaged(path, "salt, nonce or content has another length")
        return cls(cost, salt, nonce, ciphertext)

    def open(self, word: str, path: Path) -> object:
        """The key inside. Raises ``passphrase-wrong``, ``key-damaged`` (2)."""
        # Only who uses such keys needs the library.
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        cost = self.cost
        memory = 2 * 128 * cost["N"] * cost["r"]
        secret = hashlib.scrypt(
            word.encode("utf-8"), salt=self.salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=memory, dklen=32
        )
        try:
            plain = SecretBox(secret).decrypt(self.ciphertext, self.nonce)
        except CryptoError as error:
            raise _wrong_word(path) from error
        try:
            return load_der_private_key(plain, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise _damaged(path, "what it encrypts is no key") from error


def _no_key(path: Path) -> SealiftError:
    return SealiftError("key-unreadable", f"{path} is not a private key in PEM", hint="bundle keygen makes one")


def _damaged(path: Path, why: str) -> SealiftError:
    return SealiftError(
        "key-damaged", f"the key {path} is damaged: {why}", hint="take its backup; without one, a new key is needed"
    )


def _wrong_word(path: Path) -> SealiftError:
    return SealiftError(
        "passphrase-wrong",
        f"the passphrase does not open {path}",
        hint="check SEALIFT_PASSPHRASE; if the passphrase is right, the file is damaged: take its backup",
    )
