"""What a keyless signature must prove, and how each proof that fails is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.errors import ERRORS
from tests.keyless.authority import MINUTES, Authority, CertificateLog, new_key, sign
from tests.keyless.instance import IDENTITY, ISSUER, SIGNED, START, Instance, Signed, later, name
from tests.keyless.judging import PAYLOAD, PIPELINE, judged, period, refused, root_of
from tests.keyless.timestamps import TimestampAuthority

COLLEAGUE = Identity("colleague@vendor.example", "https://other.example", "colleague")


# --- what counts ---------------------------------------------------------------------------------------------------


def test_time_of_the_log_is_enough(instance: Instance) -> None:
    assert judged(instance.sign(PAYLOAD), root_of(instance)) == PIPELINE
    assert judged(instance.sign(PAYLOAD), root_of(instance, timestamps=False)) == PIPELINE


def test_timestamp_is_enough_where_the_log_gives_no_time(instance: Instance, second_version: Instance) -> None:
    for one in (instance, second_version):
        assert judged(one.sign(PAYLOAD, timestamp=True, promise=False), root_of(one)) == PIPELINE


def test_names_a_workflow_by_its_uri(instance: Instance) -> None:
    uri = "https://git.vendor.example/release/.ci/build.yml@refs/tags/v2.1.0"
    workflow = Identity(uri, ISSUER, "workflow")
    assert judged(instance.sign(PAYLOAD, identity=uri), root_of(instance), PIPELINE, workflow) == workflow


def test_signature_counts_years_after_its_certificate_and_its_authority_have_expired(instance: Instance) -> None:
    """Ten years later: the authority's period ended a day after it signed."""
    ended = instance.trusted_root(end=SIGNED + timedelta(days=1))
    assert judged(instance.sign(PAYLOAD), SigstoreRoot.read(ended, "root.json")) == PIPELINE


# --- who -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "issuer", "error_id"),
    [
        ("mallory@vendor.example", ISSUER, "keyless-wrong-identity"),
        (IDENTITY.upper(), ISSUER, "keyless-wrong-identity"),
        (IDENTITY + "x", ISSUER, "keyless-wrong-identity"),
        ("." + IDENTITY, ISSUER, "keyless-wrong-identity"),
        (IDENTITY, "https://login.mallory.example", "keyless-wrong-issuer"),
        (IDENTITY, ISSUER + "/", "keyless-wrong-issuer"),
        (IDENTITY, COLLEAGUE.issuer, "keyless-wrong-issuer"),
        (COLLEAGUE.identity, ISSUER, "keyless-wrong-issuer"),
    ],
)
def test_refuses_another_identity_or_issuer(instance: Instance, identity: str, issuer: str, error_id: str) -> None:
    """Both exactly, and both of one signer: the identity of one with the issuer of another is nobody."""
    made = instance.sign(PAYLOAD, identity=identity, issuer=issuer)
    assert refused(made, root_of(instance), PIPELINE, COLLEAGUE) == error_id


def with_certificate(instance: Instance, made: Signed, certificate: x509.Certificate) -> Signed:
    """The same signature under another certificate for its key, logged like that."""
    entry = instance.log.add(made.digest, made.signature, certificate, SIGNED)
    return dataclasses.replace(made, certificate=certificate, entry=entry)


def certified(instance: Instance, **more: Any) -> Signed:
    """A signature whose certificate is made otherwise: ``more`` as :meth:`Authority.issue` has it."""
    made = instance.sign(PAYLOAD)
    arguments: dict[str, Any] = {
        "names": (name(IDENTITY),),
        "issuer": ISSUER,
        "at": SIGNED - MINUTES / 2,
        "log": instance.certificates,
    } | more
    authority = arguments.pop("authority", instance.authority)
    return with_certificate(instance, made, authority.issue(made.key.public_key(), **arguments))


@pytest.mark.parametrize(
    ("more", "error_id"),
    [
        ({"names": (name(IDENTITY), name("mallory@vendor.example"))}, "signature-certificate"),
        ({"names": (x509.DNSName("vendor.example"),)}, "signature-certificate"),
        ({"names": (name(IDENTITY), x509.DNSName("vendor.example"))}, "signature-certificate"),
        ({"names": ()}, "signature-certificate"),
        ({"issuer": None}, "signature-certificate"),
        ({"issuer": "https://login.mallory.example", "issuer_v2": ISSUER}, "signature-certificate"),
        ({"usage": ExtendedKeyUsageOID.CLIENT_AUTH}, "keyless-refused"),
    ],
)
def test_refuses_a_certificate_that_does_not_say_who(instance: Instance, more: Any, error_id: str) -> None:
    """Two names, none, no issuer, two issuers; or one that is for something else than signing."""
    assert refused(certified(instance, **more), root_of(instance)) == error_id


@pytest.mark.parametrize("other", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_refuses_a_certificate_for_another_kind_of_key(instance: Instance, other: Any) -> None:
    made = instance.sign(PAYLOAD)
    made = with_certificate(instance, made, instance.certify(other.public_key()))
    assert refused(made, root_of(instance)) == "signature-certificate"


def test_refuses_where_no_instance_is_provisioned(instance: Instance) -> None:
    assert refused(instance.sign(PAYLOAD), None) == "keyless-not-provisioned"


# --- by whom certified ---------------------------------------------------------------------------------------------


def test_refuses_a_certificate_of_another_authority(instance: Instance, stranger: Instance) -> None:
    assert refused(certified(instance, authority=stranger.authority), root_of(instance)) == (
        "keyless-certificate-untrusted"
    )


def test_refuses_everything_of_another_instance(instance: Instance, stranger: Instance) -> None:
    assert refused(stranger.sign(PAYLOAD), root_of(instance)) == "keyless-certificate-untrusted"


def test_refuses_a_chain_that_was_not_valid_when_it_signed(instance: Instance) -> None:
    """The certificate of the authority itself had expired."""
    old = Instance()
    old.authority = Authority.new("Instance", START, lasts=timedelta(days=30))
    assert refused(old.sign(PAYLOAD), root_of(old)) == "keyless-authority-expired"


@pytest.mark.parametrize(
    ("kind", "error_id"),
    [
        ("certificateAuthorities", "keyless-authority-expired"),
        ("tlogs", "keyless-log-unknown"),
        ("ctlogs", "keyless-sct-wrong"),
        ("timestampAuthorities", "keyless-timestamp-untrusted"),
    ],
)
@pytest.mark.parametrize("days", [-10, 10])
def test_refuses_what_was_signed_before_or_after_somebody_was_trusted(
    instance: Instance, kind: str, error_id: str, days: int
) -> None:
    """A stolen key of the instance signs nothing dated after its withdrawal, or before it existed."""
    start, end = sorted((SIGNED + timedelta(days=days), SIGNED + timedelta(days=days // 2)))
    root = SigstoreRoot.read(period(instance.trusted_root(), kind, start, end), "root.json")
    assert refused(instance.sign(PAYLOAD, timestamp=True), root) == error_id
    if kind != "timestampAuthorities":
        assert refused(instance.sign(PAYLOAD), root) == error_id


@pytest.mark.parametrize("altered", [True, False])
def test_refuses_a_certificate_that_its_log_has_not_seen(instance: Instance, altered: bool) -> None:
    more = {"altered": True} if altered else {"log": None}
    error_id = "keyless-sct-wrong" if altered else "keyless-sct-missing"
    assert refused(certified(instance, **more), root_of(instance)) == error_id


def test_refuses_a_promise_of_another_certificate_log(instance: Instance) -> None:
    assert refused(certified(instance, log=CertificateLog(new_key())), root_of(instance)) == "keyless-sct-wrong"


def test_refuses_a_promise_forged_in_the_name_of_the_certificate_log(instance: Instance) -> None:
    class Forged(CertificateLog):
        @property
        def log_id(self) -> bytes:
            return instance.certificates.log_id

    assert refused(certified(instance, log=Forged(new_key())), root_of(instance)) == "keyless-sct-wrong"


# --- when ----------------------------------------------------------------------------------------------------------


def test_refuses_a_signature_without_proof_of_time(instance: Instance, second_version: Instance) -> None:
    for one in (instance, second_version):
        assert refused(one.sign(PAYLOAD, promise=False), root_of(one)) == "keyless-no-time"


@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24 * 365])
def test_refuses_a_certificate_that_had_expired_or_not_begun_when_logged(instance: Instance, minutes: float) -> None:
    """It is valid for ten minutes round the time of signing."""
    made = instance.sign(PAYLOAD)
    made.entry = instance.log.add(made.digest, made.signature, made.certificate, later(minutes))
    assert refused(made, root_of(instance)) == "keyless-expired"
    made.timestamps = [instance.timestamps.stamp(made.signature, SIGNED)]
    assert refused(made, root_of(instance)) == "keyless-expired"


@pytest.mark.parametrize("minutes", [-6, 6, 60 * 24 * 365])
def test_refuses_a_timestamp_outside_of_the_certificates_time(instance: Instance, minutes: float) -> None:
    made = instance.sign(PAYLOAD)
    made.timestamps = [instance.timestamps.stamp(made.signature, later(minutes))]
    assert refused(made, root_of(instance)) == "keyless-timestamp-outside"


def test_refuses_a_timestamp_of_another_authority_though_the_log_gives_a_time(
    instance: Instance, stranger: Instance
) -> None:
    """sigstore alone passes over it."""
    made = instance.sign(PAYLOAD)
    made.timestamps = [stranger.timestamps.stamp(made.signature, SIGNED)]
    assert refused(made, root_of(instance)) == "keyless-timestamp-untrusted"
    assert refused(made, root_of(instance, timestamps=False)) == "keyless-timestamp-untrusted"


def test_refuses_a_timestamp_by_another_certificate_of_the_same_authority(instance: Instance) -> None:
    above = Authority.new("Shared CA", instance.start)
    ours, theirs = (TimestampAuthority.under(above, name, instance.start) for name in ("ours", "theirs"))
    one = Instance()
    one.timestamps = ours
    made = one.sign(PAYLOAD, timestamp=True)
    assert judged(made, root_of(one)) == PIPELINE
    made.timestamps = [theirs.stamp(made.signature, SIGNED)]
    assert refused(made, root_of(one)) == "keyless-timestamp-untrusted"


def test_first_and_last_second_of_a_certificate_count(instance: Instance) -> None:
    made = instance.sign(PAYLOAD)
    for moment in (made.certificate.not_valid_before_utc, made.certificate.not_valid_after_utc):
        made.timestamps = [instance.timestamps.stamp(made.signature, moment)]
        assert judged(made, root_of(instance)) == PIPELINE


def test_refuses_a_timestamp_of_another_signature(instance: Instance) -> None:
    made = instance.sign(PAYLOAD)
    made.timestamps = [instance.timestamps.stamp(sign(made.key, PAYLOAD), SIGNED)]
    assert refused(made, root_of(instance)) == "keyless-timestamp-of-another"


def test_refuses_a_timestamp_that_was_altered_or_not_granted(instance: Instance) -> None:
    made = instance.sign(PAYLOAD)
    good = instance.timestamps.stamp(made.signature, SIGNED)
    made.timestamps = [good.replace(b"20260601120000Z", b"20260601120001Z")]
    assert refused(made, root_of(instance)) == "keyless-timestamp-untrusted"
    made.timestamps = [instance.timestamps.stamp(made.signature, SIGNED, status=2)]
    assert refused(made, root_of(instance)) in ("keyless-timestamp-untrusted", "signature-timestamp")


@pytest.mark.parametrize("junk", [b"junk", b"\x30\x03\x02\x01\x00", b"\x30\x80"])
def test_refuses_junk_in_place_of_a_timestamp(instance: Instance, junk: bytes) -> None:
    made = instance.sign(PAYLOAD)
    made.timestamps = [junk]
    assert refused(made, root_of(instance)) == "signature-timestamp"


def test_refuses_timestamps_that_stand_twice_or_are_too_many(instance: Instance) -> None:
    made = instance.sign(PAYLOAD, timestamp=True)
    made.timestamps *= 2
    assert refused(made, root_of(instance)) == "signature-timestamp"
    made.timestamps = [instance.timestamps.stamp(made.signature, SIGNED) for _ in range(5)]
    assert refused(made, root_of(instance)) == "signature-timestamp"


# --- what the log says ---------------------------------------------------------------------------------------------


def test_refuses_an_entry_of_another_artifact(instance: Instance) -> None:
    made, other = instance.sign(PAYLOAD), instance.sign(b"another")
    made.entry = other.entry
    assert refused(made, root_of(instance)) == "keyless-log-entry-of-another"
    made.entry = instance.log.add(other.digest, made.signature, made.certificate, SIGNED)
    assert refused(made, root_of(instance)) == "keyless-log-entry-of-another"


def test_refuses_an_entry_of_another_artifact_in_a_log_of_version_2(second_version: Instance) -> None:
    made, other = (second_version.sign(payload, timestamp=True) for payload in (PAYLOAD, b"another"))
    made.entry = other.entry
    assert refused(made, root_of(second_version)) == "keyless-log-entry-of-another"


def test_refuses_an_entry_of_another_log(instance: Instance, stranger: Instance) -> None:
    made = instance.sign(PAYLOAD)
    made.entry = stranger.log.add(made.digest, made.signature, made.certificate, SIGNED)
    assert refused(made, root_of(instance)) == "keyless-log-unknown"
    made.entry = dataclasses.replace(made.entry, log_id=instance.log.log_id)
    assert refused(made, root_of(instance)) == "keyless-log-entry-wrong"


@pytest.mark.parametrize("field", ["time", "promise", "root", "path", "checkpoint", "index", "body"])
def test_refuses_an_entry_that_was_altered(instance: Instance, field: str) -> None:
    made = instance.sign(PAYLOAD)
    entry, other = made.entry, instance.sign(PAYLOAD).entry
    value: Any = {
        "time": (entry.time or 0) + 1,
        "index": entry.index - 1,
        "path": entry.path[1:],
        "body": entry.body + b" ",
    }.get(field) or getattr(other, field)
    made.entry = dataclasses.replace(entry, **{field: value})
    assert refused(made, root_of(instance)) == "keyless-log-entry-wrong"


def test_refuses_an_entry_whose_body_is_no_entry(instance: Instance) -> None:
    """Logged for real, but about nothing that sigstore can read: its libraries' own errors end as ours."""
    made = instance.sign(PAYLOAD)
    for body in (
        b'{"apiVersion":"0.0.1","kind":"hashedrekord"}',
        b'{"apiVersion":"0.0.1","kind":"hashedrekord","spec":7}',
    ):
        made.entry = instance.log.log(body, SIGNED)
        assert refused(made, root_of(instance)) == "keyless-refused"


# --- what was signed -----------------------------------------------------------------------------------------------


def test_refuses_a_signature_of_other_bytes(instance: Instance) -> None:
    assert refused(instance.sign(b"another"), root_of(instance)) == "signature-of-another"


def test_refuses_a_digest_that_is_not_of_what_was_signed(instance: Instance) -> None:
    """It names the release, and all else is of another: log, timestamp and signature agree with each other."""
    made = instance.sign(b"another", timestamp=True)
    made.digest = hashlib.sha256(PAYLOAD).digest()
    assert refused(made, root_of(instance)) == "signature-wrong"


def test_refuses_a_signature_by_another_key_than_the_certificates(instance: Instance) -> None:
    made = instance.sign(PAYLOAD)
    made.signature = sign(new_key(), PAYLOAD)
    made.entry = instance.log.add(made.digest, made.signature, made.certificate, SIGNED)
    assert refused(made, root_of(instance)) == "signature-wrong"


def test_every_way_to_refuse_a_keyless_signature_is_shown_here() -> None:
    shown = set(re.findall(r'"(keyless-[a-z-]+)"', Path(__file__).read_text()))
    assert shown == {name for name in ERRORS if name.startswith("keyless-")}
