"""Whom a certificate names, before anything is proved: one identity as one issuer knows it, or nobody."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from installer.bundle.digest import Digest
from installer.bundle.keylessform import KeylessSignature
from installer.bundle.signature import parse_signature
from installer.bundle.subject import claim_of, claimed_signer, claimed_subject, load_certificate, subject_of
from installer.errors import SealiftError
from tests.keyless.authority import MINUTES, new_key
from tests.keyless.instance import IDENTITY, ISSUER, SIGNED, Instance, name
from tests.keyless.judging import PAYLOAD
from tests.vectors.forge import RELEASE


def certificate(instance: Instance, *names: x509.GeneralName, key: Any = None, **more: Any) -> bytes:
    """DER of a certificate that names these."""
    arguments: dict[str, Any] = {"issuer": ISSUER, "at": SIGNED - MINUTES / 2, "log": instance.certificates} | more
    return instance.authority.issue((key or new_key()).public_key(), names, **arguments).public_bytes(Encoding.DER)


def signed(instance: Instance, der: bytes | None = None) -> KeylessSignature:
    value = instance.sign(PAYLOAD).file()
    found = parse_signature(value, "x")
    assert isinstance(found, KeylessSignature)
    if der is None:
        return found
    return KeylessSignature(der, found.digest, found.signature, found.entry, found.timestamps, found.raw)


@pytest.mark.parametrize("identity", [IDENTITY, "https://git.vendor.example/x/.ci/build.yml@refs/tags/v1"])
def test_certificate_names_one_identity_and_one_issuer(instance: Instance, identity: str) -> None:
    found = load_certificate(certificate(instance, name(identity)))
    assert subject_of(found) == (identity, ISSUER)
    sign = signed(instance, found.public_bytes(Encoding.DER))
    assert claimed_subject(sign) == (identity, ISSUER)
    assert claimed_signer(sign) == {"identity": identity, "issuer": ISSUER}
    assert claim_of(sign) == claim_of(sign, short=True) == f"{identity} (issuer {ISSUER})"


def test_certificate_that_names_nobody_is_told_as_that(instance: Instance) -> None:
    for der in (b"junk", certificate(instance), certificate(instance, x509.DNSName("vendor.example"))):
        sign = signed(instance, der)
        assert (claimed_subject(sign), claimed_signer(sign)) == (None, {})
        assert claim_of(sign) == "a certificate that names nobody"


def test_key_is_told_by_its_fingerprint() -> None:
    sign, key = parse_signature(RELEASE.signature_file(PAYLOAD), "x"), Digest.of(RELEASE.spki)
    assert claimed_signer(sign) == {"key": str(key)}
    assert (claim_of(sign), claim_of(sign, short=True)) == (str(key), key.short)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_refuses_a_key_of_another_curve(instance: Instance, curve: ec.EllipticCurve) -> None:
    with pytest.raises(SealiftError) as caught:
        load_certificate(certificate(instance, name(IDENTITY), key=ec.generate_private_key(curve)))
    assert caught.value.id == "signature-certificate"
