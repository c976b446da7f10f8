"""Who signs: keys in files (ECDSA P-256 with SHA-256, deterministic by RFC 6979), and room for other signers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from bundler.durable import write_new
from bundler.signing.keyfile import Passphrase, read_private_key
from installer.bundle.digest import Digest
from installer.bundle.signature import key_fingerprint, sigstore_bundle
from installer.bundle.trust import Identity, PublicKey, Role, TrustPolicy
from installer.errors import SealiftError

__all__ = ["KeyFile", "KeySigner", "Passphrase", "Signer", "generate", "load_key", "load_keys", "passphrase_from"]


class Signer(Protocol):
    """Signs bytes by whatever it has: a key in a file or a token, or an identity that others vouch for."""

    @property
    def name(self) -> str:
        """What its signature files are called: the stem of a file name."""

    @property
    def trusted_as(self) -> PublicKey | Identity:
        """Whom a root of trust must name, so that its signatures count."""

    @property
    def trusted_root(self) -> Mapping[str, Any] | None:
        """The trusted root of the Sigstore instance that vouches for an identity; None for a key."""

    def signature_file(self, payload: bytes) -> bytes:
        """The bytes of a Sigstore bundle over ``payload``."""

    def describe(self) -> str:
        """Who signs, for people."""


class KeySigner(Protocol):
    """A signer with one lasting P-256 key, wherever that lives; so it can stand in a root, and sign one."""

    @property
    def name(self) -> str:
        """What its signature files are called: the stem of a file name."""

    @property
    def spki(self) -> bytes:
        """The public key as SubjectPublicKeyInfo DER."""

    def sign(self, payload: bytes) -> bytes:
        """A DER signature (ECDSA, SHA-256) over ``payload``."""

    def signature_file(self, payload: bytes) -> bytes:
        """The bytes of a Sigstore bundle over ``payload``."""


@dataclass(frozen=True)
class KeyFile:
    """A signer whose private key was read from a PEM file."""

    name: str
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def spki(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def trusted_as(self) -> PublicKey:
        return PublicKey(self.spki, self.name)

    @property
    def trusted_root(self) -> None:
        return None

    @property
    def fingerprint(self) -> Digest:
        return key_fingerprint(self.spki)

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def signature_file(self, payload: bytes) -> bytes:
        return sigstore_bundle(self.sign(payload), Digest.of(payload), self.spki)

    def describe(self) -> str:
        return f"{self.name} {self.fingerprint}"

    def called(self, name: str) -> KeyFile:
        """The same key, whose signature files have another name."""
        return KeyFile(name, self._key)


def trusting(signers: Sequence[Signer], origin: str) -> TrustPolicy:
    """The policy by which every one of ``signers`` must sign, and whose program does not matter."""
    trusted = [signer.trusted_as for signer in signers]
    rule = Role(
        tuple(one for one in trusted if isinstance(one, PublicKey)),
        len(trusted),
        tuple(one for one in trusted if isinstance(one, Identity)),
    )
    keyless = next((signer.trusted_root for signer in signers if signer.trusted_root is not None), None)
    return TrustPolicy(origin, None, {"release": rule}, keyless=keyless)


def load_key(path: Path, passphrase: Passphrase) -> KeyFile:
    """Read a private key. Raises what :func:`bundler.signing.keyfile.read_private_key` raises, all 2."""
    return KeyFile(file_stem(path.stem), read_private_key(path, passphrase))


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
            key = key.called(f"{key.name}-{key.fingerprint.short}")
        keys[key.name] = key
    if not keys:
        raise SealiftError(
            "no-signing-key",
            "no key to sign with, and an unsigned release is no release",
            hint="--key FILE, SEALIFT_KEY, or `sign: {keys: [FILE]}` in the manifest; bundle keygen makes one",
        )
    return tuple(sorted(keys.values(), key=lambda key: key.name))


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
    made = KeyFile(file_stem(private.stem), key)
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


def file_stem(name: str) -> str:
    """A name that signature files can have, from that of a key file or a person."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:40].rstrip("._-") or "key"
