"""Signature files: Sigstore bundle v0.3, with a plain public key or with a certificate for an identity (keyless).

Parsed strictly: no duplicate keys, no unknown fields, exact base64. A file only *claims* a signer; the policy decides.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

from installer.bundle.digest import Digest
from installer.bundle.keylessform import KeylessSignature, read_keyless
from installer.bundle.sigstorefields import Fields, to_base64
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


SignatureFile = KeySignature | KeylessSignature


def key_fingerprint(spki_der: bytes) -> Digest:
    """How a public key is called everywhere: the digest of its SubjectPublicKeyInfo."""
    return Digest.of(spki_der)


def sigstore_bundle(signature_der: bytes, payload_digest: Digest, spki_der: bytes) -> bytes:
    """The bytes of a signature file by a key."""
    return canonical(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": to_base64(hashlib.sha256(spki_der).digest())}},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": to_base64(bytes.fromhex(payload_digest.hex))},
                "signature": to_base64(signature_der),
            },
        }
    )


def parse_signature(raw: bytes, name: str) -> SignatureFile:
    """Read a signature file called ``name``. Raises the ``json-…`` and ``signature-…`` errors (3)."""
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise SealiftError("signature-too-large", f"{name} is larger than {MAX_SIGNATURE_BYTES} bytes")
    value, fields = parse(raw, name), Fields(name)
    if isinstance(value, dict) and "dsseEnvelope" in value:
        raise fields.refusal("signature-envelope", "an envelope around an attestation, not a signature over this")
    top = fields.object(value, {"mediaType", "verificationMaterial", "messageSignature"})
    if top["mediaType"] != MEDIA_TYPE:
        raise fields.refusal("signature-type", "another media type")
    digest, signature = _message(top["messageSignature"], fields)
    material = top["verificationMaterial"]
    if isinstance(material, dict) and {"certificate", "x509CertificateChain"} & set(material):
        return read_keyless(material, digest, signature, raw, fields)
    material = fields.object(material, {"publicKey"}, {"tlogEntries"})
    if material.get("tlogEntries", []) != []:
        raise fields.refusal("signature-log-entry", "log entries beside a key, which nothing here checks")
    hint = fields.object(material["publicKey"], {"hint"})["hint"]
    return KeySignature(fields.bytes(hint, 32), digest, signature)


def _message(value: Any, fields: Fields) -> tuple[Digest, bytes]:
    message = fields.object(value, {"messageDigest", "signature"})
    digest = fields.object(message["messageDigest"], {"algorithm", "digest"})
    if digest["algorithm"] != "SHA2_256":
        raise fields.refusal("signature-algorithm", "another digest algorithm")
    return Digest(fields.bytes(digest["digest"], 32).hex()), fields.bytes(message["signature"])
