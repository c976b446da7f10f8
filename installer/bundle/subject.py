"""Whom the certificate of a keyless signature names: one identity, as one issuer knows it. It proves nothing yet."""

from __future__ import annotations

import warnings
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec

from installer.bundle.digest import Digest
from installer.bundle.keylessform import KeylessSignature
from installer.bundle.problems import shown
from installer.bundle.signature import KeySignature, SignatureFile
from installer.errors import SealiftError

_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


def claimed_subject(sign: KeylessSignature) -> tuple[str, str] | None:
    """Identity and issuer that the certificate names, proved by nothing; None where it names none."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return subject_of(load_certificate(sign.certificate))
    except SealiftError:
        return None


def claimed_signer(sign: SignatureFile) -> dict[str, str]:
    """The same claim, for ``--json``: a key, or identity and issuer, or nothing."""
    if isinstance(sign, KeySignature):
        return {"key": str(Digest(sign.key_hint.hex()))}
    subject = claimed_subject(sign)
    return {"identity": subject[0], "issuer": subject[1]} if subject else {}


def claim_of(sign: SignatureFile, *, short: bool = False) -> str:
    """Who a signature file says has made it, for people: the fingerprint of a key, or identity and issuer."""
    if isinstance(sign, KeySignature):
        key = Digest(sign.key_hint.hex())
        return key.short if short else str(key)
    subject = claimed_subject(sign)
    return shown(f"{subject[0]} (issuer {subject[1]})") if subject else "a certificate that names nobody"


def subject_of(certificate: x509.Certificate) -> tuple[str, str]:
    """The one identity (mail address or URI) and the one issuer in a certificate. Raises ``signature-certificate``."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuers = {
            _text(extension.value) if extension.oid == _ISSUER_V2 else _raw(extension.value).decode("utf-8")
            for extension in certificate.extensions
            if extension.oid in (_ISSUER, _ISSUER_V2)
        }
    except Exception as error:  # hostile bytes again
        raise _refusal("it names nobody, or cannot be read") from error
    identities = [one.value for one in names if isinstance(one, x509.RFC822Name | x509.UniformResourceIdentifier)]
    if len(identities) != 1 or len(list(names)) != 1:
        raise _refusal("it does not name one mail address or URI")
    if len(issuers) != 1:
        raise _refusal("it does not say by one issuer who that is")
    return identities[0], issuers.pop()


def load_certificate(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
    except Exception as error:  # whatever the library thinks of hostile bytes
        raise _refusal("it cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refusal("its key is not ECDSA P-256")
    return certificate


def _refusal(why: str) -> SealiftError:
    return SealiftError(
        "signature-certificate",
        f"not a certificate of somebody who can sign: {why}",
        hint="sign again as one person or one workflow, with an ECDSA P-256 key",
    )


def _raw(value: Any) -> bytes:
    return value.value if isinstance(value, x509.UnrecognizedExtension) else b""


def _text(value: Any) -> str:
    return asn1.decode_der(str, _raw(value))
