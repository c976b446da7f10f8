"""Signature files: Sigstore bundle v0.3 with a plain public key, the form that cosign makes and accepts.

Parsed strictly: no duplicate keys, no unknown fields, exact base64. It only *hints* at
its key; the policy decides.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Final

from installer.bundle.digest import Digest
from installer.bundle.strictjson import canonical, parse
from installer.errors import SealiftError

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE_NAME: Final = re.compile(r"signatures/[a-z0-9][a-z0-9._-]{0,60}\.sigstore\.json")
MAX_SIGNATURE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 32


@dataclass(frozen=True)
class KeySignature:
    """An ECDSA signature (DER) over ``digest``'s payload; ``key_hint`` is the SHA-256 of the signer's SPKI DER."""

    key_hint: bytes
    digest: Digest
    signature: bytes


def key_fingerprint(spki_der: bytes) -> Digest:
    """How a public key is called everywhere: the digest of its SubjectPublicKeyInfo."""
    return Digest.of(spki_der)


def sigstore_bundle(signature_der: bytes, payload_digest: Digest, spki_der: bytes) -> bytes:
    """The bytes of a signature file."""
    return canonical(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _b64(hashlib.sha256(spki_der).digest())}},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": _b64(bytes.fromhex(payload_digest.hex))},
                "signature": _b64(signature_der),
            },
        }
    )


def parse_signature(raw: bytes, name: str) -> KeySignature:
    """Read a signature file called ``name``. Raises the ``json-…`` and ``signature-…`` errors (3)."""
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise SealiftError("signature-too-large", f"{name} is larger than {MAX_SIGNATURE_BYTES} bytes")
    return _Reader(name).read(parse(raw, name))


@dataclass(frozen=True)
class _Reader:
    """Reads the parsed value of the signature file ``name``."""

    name: str

    def read(self, value: Any) -> KeySignature:
        self._refuse_other_forms(value)
        top = self._fields(value, {"mediaType", "verificationMaterial", "messageSignature"})
        if top["mediaType"] != MEDIA_TYPE:
            raise self._refusal("signature-type", "another media type")
        material = self._fields(top["verificationMaterial"], {"publicKey"}, optional={"tlogEntries"})
        if material.get("tlogEntries", []) != []:
            raise self._refusal("signature-log-entry", "log entries, which this version does not check")
        message = self._fields(top["messageSignature"], {"messageDigest", "signature"})
        digest = self._fields(message["messageDigest"], {"algorithm", "digest"})
        if digest["algorithm"] != "SHA2_256":
            raise self._refusal("signature-algorithm", "another digest algorithm")
        hint = self._bytes(self._fields(material["publicKey"], {"hint"})["hint"], 32)
        named = Digest(self._bytes(digest["digest"], 32).hex())
        return KeySignature(hint, named, self._bytes(message["signature"]))

    def _refuse_other_forms(self, value: Any) -> None:
        """What other calls of the same tools make gets its own answer; a closed schema refuses the rest."""
        if isinstance(value, dict) and "dsseEnvelope" in value:
            raise self._refusal("signature-envelope", "an envelope around an attestation, not a signature over this")
        material = value.get("verificationMaterial") if isinstance(value, dict) else None
        if isinstance(material, dict) and {"certificate", "x509CertificateChain"} & set(material):
            raise self._refusal("signature-certificate", "made without a key, by a certificate")

    def _fields(self, value: Any, required: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
        if not isinstance(value, dict) or not required <= set(value) <= required | optional:
            raise self._refusal("signature-field", f"expected just the fields {', '.join(sorted(required))}")
        return value

    def _bytes(self, text: Any, length: int | None = None) -> bytes:
        try:
            data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        except ValueError:
            data = b""
        if not data or _b64(data) != text or (length is not None and len(data) != length):
            raise self._refusal("signature-base64", "base64 of another length or spelling")
        return data

    def _refusal(self, error_id: str, why: str) -> SealiftError:
        return SealiftError(
            error_id,
            f"{self.name} is not a Sigstore v0.3 bundle with a public key: {why}",
            hint="sign with: bundle sign, or cosign sign-blob --key --bundle",
        )


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
