"""A timestamp authority (RFC 3161): says when it has seen a digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.keyless import der
from tests.keyless.authority import SHA256, YEARS, Authority, new_key, sign

_SHA256 = der.tlv(der.SEQUENCE, der.oid("2.16.840.1.101.3.4.2.1"))
_ECDSA_SHA256 = der.tlv(der.SEQUENCE, der.oid("1.2.840.10045.4.3.2"))
_SIGNED_DATA, _TST_INFO = der.oid("1.2.840.113549.1.7.2"), der.oid("1.2.840.113549.1.9.16.1.4")
_CONTENT_TYPE, _MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.3"), der.oid("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE_V2 = der.oid("1.2.840.113549.1.9.16.2.47")
_POLICY = der.oid("1.3.6.1.4.1.57264.2")


@dataclass(frozen=True)
class TimestampAuthority:
    """``chain``: the certificate that signs, then those above it."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @classmethod
    def new(cls, name: str, start: datetime) -> TimestampAuthority:
        return cls.under(Authority.new(f"{name} CA", start), name, start)

    @classmethod
    def under(cls, above: Authority, name: str, start: datetime) -> TimestampAuthority:
        """One of those that ``above`` has certified."""
        key = new_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(above.chain[0].subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + YEARS)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()), critical=False)
            .sign(above.key, SHA256)
        )
        return cls(key, (certificate, *above.chain))

    def stamp(self, data: bytes, at: datetime, nonce: int | None = None, *, status: int = 0) -> bytes:
        """A response that says that ``data`` existed at that time."""
        return self.stamp_digest(hashlib.sha256(data).digest(), at, nonce, status=status)

    def stamp_digest(self, digest: bytes, at: datetime, nonce: int | None = None, *, status: int = 0) -> bytes:
        info = der.tlv(
            der.SEQUENCE,
            der.integer(1),
            _POLICY,
            der.tlv(der.SEQUENCE, _SHA256, der.tlv(der.OCTETS, digest)),
            der.integer(x509.random_serial_number()),
            der.tlv(der.TIME, at.strftime("%Y%m%d%H%M%SZ").encode()),
            b"" if nonce is None else der.integer(nonce),
        )
        content = der.tlv(der.SEQUENCE, _SIGNED_DATA, der.tlv(0xA0, self._signed(info)))
        return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, der.integer(status)), content)

    def _signed(self, info: bytes) -> bytes:
        """CMS SignedData (RFC 5652) around ``info``."""
        certificate = self.chain[0].public_bytes(Encoding.DER)
        said = sorted(
            [
                _attribute(_CONTENT_TYPE, _TST_INFO),
                _attribute(_MESSAGE_DIGEST, der.tlv(der.OCTETS, hashlib.sha256(info).digest())),
                _attribute(_SIGNING_CERTIFICATE_V2, _ess(certificate)),
            ]
        )
        issuer = self.chain[0].issuer.public_bytes()
        signer = der.tlv(
            der.SEQUENCE,
            der.integer(1),
            der.tlv(der.SEQUENCE, issuer, der.integer(self.chain[0].serial_number)),
            _SHA256,
            der.tlv(0xA0, *said),
            _ECDSA_SHA256,
            der.tlv(der.OCTETS, sign(self.key, der.tlv(der.SET, *said))),
        )
        return der.tlv(
            der.SEQUENCE,
            der.integer(3),
            der.tlv(der.SET, _SHA256),
            der.tlv(der.SEQUENCE, _TST_INFO, der.tlv(0xA0, der.tlv(der.OCTETS, info))),
            der.tlv(0xA0, certificate),
            der.tlv(der.SET, signer),
        )


def _attribute(kind: bytes, value: bytes) -> bytes:
    return der.tlv(der.SEQUENCE, kind, der.tlv(der.SET, value))


def _ess(certificate: bytes) -> bytes:
    """Which certificate signs (RFC 5816)."""
    digest = der.tlv(der.OCTETS, hashlib.sha256(certificate).digest())
    return der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, der.tlv(der.SEQUENCE, digest)))
