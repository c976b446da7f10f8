"""A Sigstore instance of our own: certificates, both logs, timestamps; and makers of what each must not be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.keyless.authority import MINUTES, Authority, CertificateLog, new_key, sign, spki
from tests.keyless.timestamps import TimestampAuthority
from tests.keyless.translog import Entry, TransparencyLog, b64

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
SIGNED: Final = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
"""When signatures are made, where nothing else is said."""

IDENTITY: Final = "release-pipeline@vendor.example"
ISSUER: Final = "https://login.vendor.example"


@dataclass
class Instance:
    """All services of one instance. ``start``: since when its authorities exist."""

    start: datetime = START
    version: int = 1
    authority: Authority = field(init=False)
    certificates: CertificateLog = field(init=False)
    log: TransparencyLog = field(init=False)
    timestamps: TimestampAuthority = field(init=False)

    def __post_init__(self) -> None:
        self.authority = Authority.new("Instance", self.start)
        self.certificates = CertificateLog(new_key())
        self.log = TransparencyLog(version=self.version)
        self.timestamps = TimestampAuthority.new("Instance timestamps", self.start)

    def trusted_root(self, *, timestamps: bool = True, end: datetime | None = None) -> dict[str, Any]:
        """What a verifier must know of it. ``end``: until when all of it is trusted."""
        period = {"start": _text(self.start)} | ({"end": _text(end)} if end else {})
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_log(f"http://{self.log.origin}", self.log.key, period)],
            "certificateAuthorities": [_authority(self.authority.chain, period)],
            "ctlogs": [_log("http://ct.example", self.certificates.key, period)],
            "timestampAuthorities": [_authority(self.timestamps.chain, period)] if timestamps else [],
        }

    def certify(
        self,
        public: ec.EllipticCurvePublicKey,
        identity: str = IDENTITY,
        issuer: str | None = ISSUER,
        at: datetime = SIGNED,
        **more: Any,
    ) -> x509.Certificate:
        """A certificate for that identity; ``more`` as :meth:`Authority.issue` has it."""
        return self.authority.issue(public, (name(identity),), issuer, at, self.certificates, **more)

    def sign(
        self,
        payload: bytes,
        *,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        at: datetime = SIGNED,
        timestamp: bool = False,
        promise: bool = True,
    ) -> Signed:
        """What a signer makes, for a test to spoil before it becomes a file."""
        key = new_key()
        certificate = self.certify(key.public_key(), identity, issuer, at - MINUTES / 2)
        signature, digest = sign(key, payload), hashlib.sha256(payload).digest()
        entry = self.log.add(digest, signature, certificate, at if promise else None)
        stamps = [self.timestamps.stamp(signature, at)] if timestamp else []
        return Signed(key, certificate, digest, signature, entry, stamps)


@dataclass
class Signed:
    """The parts of a signature file."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    digest: bytes
    signature: bytes
    entry: Entry
    timestamps: list[bytes]

    def value(self) -> dict[str, Any]:
        """The parsed signature file."""
        material: dict[str, Any] = {
            "certificate": {"rawBytes": b64(self.certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [self.entry.as_bundle()],
        }
        if self.timestamps:
            stamps = [{"signedTimestamp": b64(stamp)} for stamp in self.timestamps]
            material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
        message = {
            "messageDigest": {"algorithm": "SHA2_256", "digest": b64(self.digest)},
            "signature": b64(self.signature),
        }
        return {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "messageSignature": message}

    def file(self) -> bytes:
        return json.dumps(self.value()).encode()


def name(identity: str) -> x509.GeneralName:
    """A mail address or a URI, as it stands in certificates."""
    return x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _log(url: str, key: ec.EllipticCurvePrivateKey, period: dict[str, str]) -> dict[str, Any]:
    der = spki(key)
    public = {"rawBytes": b64(der), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": period}
    log_id = {"keyId": b64(hashlib.sha256(der).digest())}
    return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": log_id}


def _authority(chain: Iterable[x509.Certificate], period: dict[str, str]) -> dict[str, Any]:
    certificates = [{"rawBytes": b64(certificate.public_bytes(Encoding.DER))} for certificate in chain]
    return {
        "subject": {"organization": "test", "commonName": "Instance"},
        "uri": "http://authority.example",
        "certChain": {"certificates": certificates},
        "validFor": period,
    }


def later(minutes: float) -> datetime:
    """That long after :data:`SIGNED`."""
    return SIGNED + timedelta(minutes=minutes)
