"""A certificate authority as Fulcio is one: short certificates for identities, each promised to a certificate log."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tests.keyless import der

SHA256: Final = hashes.SHA256()
YEARS: Final = timedelta(days=3650)
MINUTES: Final = timedelta(minutes=10)
"""How long a certificate for an identity lives."""

_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_SIGNS_CERTIFICATES: Final = (False, False, False, False, False, True, True, False, False)
_SIGNS: Final = (True, False, False, False, False, False, False, False, False)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of a key, of its public half if it is private."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(SHA256))


@dataclass(frozen=True)
class CertificateLog:
    """Promises to log a certificate (RFC 6962, section 3.2); it keeps none."""

    key: ec.EllipticCurvePrivateKey

    def extension(self, tbs: bytes, issuer: x509.Certificate, at: datetime) -> x509.UnrecognizedExtension:
        """The extension that proves to have shown the log a certificate, which had all but this extension."""
        milliseconds = int(at.timestamp() * 1000)
        issuer_key = issuer.public_key()
        assert isinstance(issuer_key, ec.EllipticCurvePublicKey)
        entry = hashlib.sha256(spki(issuer_key)).digest() + len(tbs).to_bytes(3) + tbs
        signature = sign(self.key, struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + b"\0\0")
        promise = struct.pack("!B32sQHBBH", 0, self.log_id, milliseconds, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(promise) + 2, len(promise)) + promise
        return x509.UnrecognizedExtension(
            ExtensionOID.PRECERT_SIGNED_CERTIFICATE_TIMESTAMPS, der.tlv(der.OCTETS, listed)
        )

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(spki(self.key)).digest()


@dataclass(frozen=True)
class Authority:
    """A root that has certified an intermediate, which issues. ``chain``: the intermediate first."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def new(cls, name: str, start: datetime, *, lasts: timedelta = YEARS, usage: Any = None) -> Authority:
        """``lasts`` is how long the intermediate does; ``usage`` is what it issues certificates for."""
        root_key, key = new_key(), new_key()
        root = _ca(f"{name} root", root_key, f"{name} root", root_key, start, YEARS, None)
        issuing = _ca(name, key, f"{name} root", root_key, start, lasts, usage)
        return cls(key, (issuing, root))

    def issue(
        self,
        public: ec.EllipticCurvePublicKey,
        names: tuple[x509.GeneralName, ...],
        issuer: str | None,
        at: datetime,
        log: CertificateLog | None,
        *,
        issuer_v2: str | None = None,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        altered: bool = False,
    ) -> x509.Certificate:
        """A certificate for an identity. ``log``: None for one without promise; ``altered``: after the promise."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.chain[0].subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + MINUTES)
            .add_extension(x509.KeyUsage(*_SIGNS), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if issuer is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(_ISSUER, issuer.encode()), critical=False)
            text = der.tlv(0x0C, (issuer_v2 or issuer).encode())
            builder = builder.add_extension(x509.UnrecognizedExtension(_ISSUER_V2, text), critical=False)
        if log is not None:
            shown = builder.sign(self.key, SHA256)
            builder = builder.add_extension(
                log.extension(shown.tbs_certificate_bytes, self.chain[0], at), critical=False
            )
        if altered:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.9"), b"\x0c\0"), critical=False
            )
        return builder.sign(self.key, SHA256)


def _ca(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    start: datetime,
    lasts: timedelta,
    usage: x509.ObjectIdentifier | None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lasts)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1 if name == issuer else 0), critical=True)
        .add_extension(x509.KeyUsage(*_SIGNS_CERTIFICATES), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(issuer_key, SHA256)


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )
