"""The only holder of private keys: ECDSA P-256 with SHA-256, deterministic (RFC 6979)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from bundler.durable import write_new
from installer.bundle.digest import Digest
from installer.bundle.signature import key_fingerprint, sigstore_bundle
from installer.errors import SealiftError

Passphrase = Callable[[Path], str]
"""Asked for the passphrase of an encrypted key file, only when needed."""


class Signer(Protocol):
    """Signs bytes. ``name`` is a file name's stem."""

    @property
    def name(self) -> str:
        """What its signature files are called."""

    @property
    def spki(self) -> bytes:
        """The public key as SubjectPublicKeyInfo DER."""

    def sign(self, payload: bytes) -> bytes:
        """A DER signature (ECDSA, SHA-256) over ``payload``."""


@dataclass(frozen=True)
class KeyFile:
    """A signer whose private key was read from a PEM file."""

    name: str
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def spki(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> Digest:
        return key_fingerprint(self.spki)

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def load_key(path: Path, passphrase: Passphrase) -> KeyFile:
    """Read a PEM private key (PKCS#8, encrypted or not, or SEC 1).

    Raises ``key-unreadable`` or ``passphrase-wrong`` (2), and what ``passphrase`` raises.
    """
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise SealiftError(
            "key-unreadable", f"cannot read the key {path}: {error.strerror}", hint="bundle keygen makes one"
        ) from error
    try:
        key = _parse(pem, None)
    except TypeError:  # it is encrypted
        key = _decrypt(pem, path, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unreadable(path) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _unreadable(path)
    return KeyFile(_stem(path), key)


def load_keys(paths: Iterable[Path], passphrase: Passphrase) -> tuple[KeyFile, ...]:
    """Read several keys, each once and each with a name of its own.

    Raises ``no-signing-key`` (2) where there is none, ``key-unreadable`` where one is named twice.
    """
    keys: dict[str, KeyFile] = {}
    for path in paths:
        key = load_key(path, passphrase)
        if any(key.spki == other.spki for other in keys.values()):
            raise SealiftError("key-unreadable", f"{path} is a key that was named already", hint="name each key once")
        if key.name in keys:
            key = KeyFile(f"{key.name[:40]}-{key.fingerprint.short}", key._key)
        keys[key.name] = key
    if not keys:
        raise SealiftError(
            "no-signing-key",
            "no key to sign with, and an unsigned release is no release",
            hint="--key FILE, SEALIFT_KEY, or `sign: {keys: [FILE]}` in the manifest; bundle keygen makes one",
        )
    return tuple(sorted(keys.values(), key=lambda key: key.name))


def signature_file(signer: Signer, payload: bytes) -> bytes:
    """The bytes of a Sigstore v0.3 file by ``signer`` over ``payload``."""
    return sigstore_bundle(signer.sign(payload), Digest.of(payload), signer.spki)


def generate(folder: Path, name: str, passphrase: str) -> tuple[KeyFile, Path, Path]:
    """Make a key: ``NAME.key`` (encrypted PKCS#8, mode 0600) and ``NAME.pub`` in ``folder``; gives key and paths.

    Raises ``output-exists`` (2) where either stands already, ``passphrase-needed`` for an empty passphrase.
    """
    if not passphrase:
        raise SealiftError("passphrase-needed", "an empty passphrase protects nothing", hint="set SEALIFT_PASSPHRASE")
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    for path in (private, public):
        if path.exists():
            raise SealiftError(
                "output-exists", f"{path} exists: a key is never overwritten", hint="choose another --name"
            )
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode("utf-8")))
    made = KeyFile(_stem(private), key)
    write_new(private, pem, mode=0o600)
    write_new(public, made.public_pem, mode=0o644)
    return made, private, public


def passphrase_from(file: Path | None, ask: Callable[[str, str], str]) -> Passphrase:
    """Where passphrases come from: ``file``, else ``SEALIFT_PASSPHRASE``, else ``ask(question, option)``.

    The result raises ``passphrase-needed`` (2) where none of them gives one.
    """

    def answer(path: Path) -> str:
        if file is not None:
            try:
                return file.read_text(encoding="utf-8").removesuffix("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise SealiftError(
                    "passphrase-needed", f"cannot read the passphrase file {file}", hint="one line of text"
                ) from error
        if "SEALIFT_PASSPHRASE" in os.environ:
            return os.environ["SEALIFT_PASSPHRASE"]
        try:
            return ask(f"passphrase of {path}", "SEALIFT_PASSPHRASE or --passphrase-file FILE")
        except SealiftError as error:
            raise SealiftError("passphrase-needed", f"the key {path} needs its passphrase", hint=error.hint) from error

    return answer


def _decrypt(pem: bytes, path: Path, passphrase: Passphrase) -> object:
    word = passphrase(path)
    try:
        return _parse(pem, word.encode("utf-8"))
    except ValueError as error:
        raise SealiftError(
            "passphrase-wrong", f"the passphrase does not open {path}", hint="check SEALIFT_PASSPHRASE"
        ) from error


def _parse(pem: bytes, password: bytes | None) -> object:
    return load_pem_private_key(pem, password)


def _unreadable(path: Path) -> SealiftError:
    return SealiftError(
        "key-unreadable", f"{path} is not a PEM private key of ECDSA P-256", hint="bundle keygen makes one"
    )


def _stem(path: Path) -> str:
    """A name that signature files can have, from the file's own."""
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("._-")[:40] or "key"
