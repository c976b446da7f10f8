"""Signature files: Sigstore bundle v0.3 with a plain public key, the form that cosign makes and accepts.

Parsed strictly: no duplicate keys, no unknown fields, exact base64. It only *hints* at
its key; the policy decides.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
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
    """Read a signature file called ``name``. Raises ``json-invalid`` or ``signature-malformed`` (3)."""
    if len(raw) > MAX_SIGNATURE_BYTES:
        raise SealiftError("too-large", f"{name} is larger than {MAX_SIGNATURE_BYTES} bytes")
    try:
        return _key_signature(parse(raw, name))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise SealiftError(
            "signature-malformed",
            f"{name} is not a Sigstore v0.3 bundle with a public key: {error}",
            hint="sign with: bundle sign, or cosign sign-blob --key --bundle",
        ) from error


def _key_signature(value: Any) -> KeySignature:
    top = _fields(value, {"mediaType", "verificationMaterial", "messageSignature"})
    if top["mediaType"] != MEDIA_TYPE:
        raise ValueError("another media type")
    material = _fields(top["verificationMaterial"], {"publicKey"}, optional={"tlogEntries"})
    if material.get("tlogEntries", []) != []:
        raise ValueError("log entries, which this version does not check")
    message = _fields(top["messageSignature"], {"messageDigest", "signature"})
    digest = _fields(message["messageDigest"], {"algorithm", "digest"})
    if digest["algorithm"] != "SHA2_256":
        raise ValueError("another digest algorithm")
    hint = _bytes(_fields(material["publicKey"], {"hint"})["hint"], 32)
    return KeySignature(hint, Digest(_bytes(digest["digest"], 32).hex()), _bytes(message["signature"]))


def _fields(value: Any, required: set[str], optional: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    if not isinstance(value, dict) or not required <= set(value) <= required | optional:
        raise ValueError(f"expected just the fields {', '.join(sorted(required))}")
    return value


def _bytes(text: Any, length: int | None = None) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 must be a string")
    data = base64.b64decode(text, validate=True)
    if _b64(data) != text or (length is not None and len(data) != length):
        raise ValueError("base64 of another length or spelling")
    return data


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
