"""Who can sign: public keys, and identities that an OIDC provider vouches for. Each has one fingerprint."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from installer.bundle.digest import Digest
from installer.bundle.signature import key_fingerprint
from installer.bundle.strictjson import canonical
from installer.errors import SealiftError

IDENTITY_KEYTYPE = "sigstore-oidc"
IDENTITY_SCHEME = "Fulcio"


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key as SubjectPublicKeyInfo DER. ``name`` is for people."""

    spki: bytes
    name: str

    @property
    def fingerprint(self) -> Digest:
        return key_fingerprint(self.spki)

    def accepts(self, signature: bytes, payload: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's over ``payload`` (ECDSA, SHA-256)."""
        key = load_der_public_key(self.spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - read_public_key refused all others
        try:
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Identity:
    """Whom ``issuer`` (address of an OIDC provider) calls ``identity``; both match exactly. ``name`` is for people."""

    identity: str
    issuer: str
    name: str

    @property
    def fingerprint(self) -> Digest:
        """The keyid that TUF gives to such a key: SHA-256 of its canonical JSON, which ends without a newline."""
        value = {
            "keytype": IDENTITY_KEYTYPE,
            "keyval": {"identity": self.identity, "issuer": self.issuer},
            "scheme": IDENTITY_SCHEME,
        }
        return Digest.of(canonical(value).removesuffix(b"\n"))


@dataclass(frozen=True)
class Signer:
    """A trusted key or identity that has signed; ``key`` is its fingerprint."""

    key: Digest
    name: str
    identity: Identity | None = None

    @classmethod
    def of(cls, signer: PublicKey | Identity) -> Signer:
        return cls(signer.fingerprint, signer.name, signer if isinstance(signer, Identity) else None)

    def as_json(self) -> dict[str, str]:
        """The object of ``--json``: a key, or identity and issuer."""
        if self.identity is not None:
            return {"identity": self.identity.identity, "issuer": self.identity.issuer, "name": self.name}
        return {"key": str(self.key), "name": self.name}

    def line(self) -> str:
        """For people."""
        if self.identity is not None:
            name = "" if self.name == self.identity.identity else f"{self.name} "
            return f"{name}{self.identity.identity} (issuer {self.identity.issuer})"
        return f"{self.name} {self.key}"


def read_public_key(pem: bytes, name: str) -> bytes:
    """SPKI DER of a PEM P-256 public key. Raises ``key-unreadable`` (2)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SealiftError(
            "key-unreadable", f"{name} is not a PEM public key", hint="bundle keygen makes one"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealiftError("key-unreadable", f"{name} is not an ECDSA P-256 key", hint="bundle keygen makes one")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
