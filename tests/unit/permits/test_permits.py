"""Permits: what lets a release in that the marks forbid, once, here; and all that does not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.strictjson import canonical
from installer.errors import SealiftError
from installer.trust.clock import spelled
from installer.trust.permit import PERMIT_TYPE, Permit, VerifiedPermit, read_permit, verify_permit
from tests.unit.permits.scenes import NOW, PRODUCT, Host, permit, refusal, release, root, signed, used_to
from tests.unit.trust.keys import key

OLD, NEW, NEWEST = release("1.0.0"), release("1.2.0"), release("1.3.0")
RAW = permit(NEW, OLD).to_bytes()


def altered(**changes: Any) -> bytes:
    """The permit with other values, as canonical JSON."""
    value = json.loads(RAW) | changes
    return canonical({name: item for name, item in value.items() if item is not ...})


# What it allows


def test_permit_lets_an_older_release_in_and_its_line_goes_on() -> None:
    host = used_to(NEW)
    host.install(OLD, permit(NEW, OLD))
    host.install(release("1.0.1"))
    assert host.refuses(OLD).id == "downgrade"


def test_permit_lets_another_content_of_the_same_version_in() -> None:
    other = release("1.2.0", note="mended")
    host = used_to(NEW)
    host.install(other, permit(NEW, other))
    assert host.refuses(NEW).id == "same-version-other-digest"


def test_permit_starts_at_what_serves_also_after_a_rollback() -> None:
    host = used_to(release("1.1.0"), NEW)
    host.roll_back(release("1.1.0"))
    assert host.refuses(OLD, permit(NEW, OLD)).id == "permit-other-from"
    assert host.admit(OLD, permit(release("1.1.0"), OLD)) is not None


def test_permit_lets_a_host_that_lost_its_state_begin_again() -> None:
    host = Host(lost="3 kept releases")
    assert host.refuses(NEW).id == "state-lost"
    host.install(NEW, permit(None, NEW))
    assert host.refuses(OLD).id == "downgrade"


def test_permit_for_a_lost_state_is_none_for_a_host_that_has_one() -> None:
    assert used_to(NEW).refuses(OLD, permit(None, OLD)).id == "permit-other-from"


def test_lost_state_takes_no_permit_that_starts_at_a_release() -> None:
    assert Host(lost="3 kept releases").refuses(OLD, permit(NEW, OLD)).id == "permit-other-from"


def test_permit_that_is_not_needed_is_not_used() -> None:
    host = used_to(OLD)
    assert host.admit(NEW, permit(OLD, NEW)) is None
    host.install(NEW, permit(OLD, NEW))
    assert host.state.permits == {}


def test_permit_lifts_the_marks_and_no_other_rule() -> None:
    for wrong, error in (
        (release("1.0.0", platform="linux/arm64"), "wrong-platform"),
        (release("1.0.0", channel="beta"), "wrong-channel"),
        (release("1.0.0", requires={"upgrade_from": ">=2", "installer": None}), "upgrade-path"),
        (release("1.0.0", requires={"upgrade_from": None, "installer": ">=9"}), "installer-too-old"),
    ):
        assert used_to(NEW).refuses(wrong, permit(NEW, wrong)).id == error


# What it does not


def test_refuses_a_permit_that_was_used() -> None:
    host, leave = used_to(NEW), permit(NEW, OLD)
    host.install(OLD, leave)
    host.install(NEW)  # the mark is where it was, and the permit would fit again
    assert host.refuses(OLD, leave).id == "permit-used"
    assert host.admit(OLD, permit(NEW, OLD, id="f" * 32)) is not None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"product": "another"}, "permit-other-product"),
        ({"site": "sha256:" + "5" * 64}, "permit-other-site"),
        ({"to": str(NEWEST.digest)}, "permit-other-to"),
        ({"coming_from": str(NEWEST.digest)}, "permit-other-from"),
        ({"issued": "2026-10-01T00:00:00Z", "expires": "2026-11-21T12:00:00Z"}, "permit-expired"),
    ],
)
def test_refuses_a_permit_for_something_else(changes: dict[str, str], error: str) -> None:
    assert used_to(NEW).refuses(OLD, permit(NEW, OLD, **changes)).id == error


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ((), "unsigned"),
        (("release",), "permit-role"),  # who may sign releases may not permit
        (("stranger",), "no-valid-signature"),
        (("revoked",), "no-valid-signature"),
    ],
)
def test_refuses_a_permit_that_nobody_signed_who_may(names: tuple[str, ...], error: str) -> None:
    assert refusal(RAW, signed(RAW, *names), root(("officer", "second"))).id == error


def test_permit_of_a_revoked_officer_counts_only_before_the_revocation() -> None:
    before, after = root(("officer", "revoked")), root(("officer",))
    assert verify_permit(RAW, signed(RAW, "revoked"), before).signers
    assert refusal(RAW, signed(RAW, "revoked"), after).id == "no-valid-signature"


def test_refusal_of_the_wrong_role_names_key_role_and_where_the_rule_stands() -> None:
    error = refusal(RAW, signed(RAW, "release"))
    assert "release" in error.message and "root.json" in error.hint and "officer" in error.hint


def test_permit_needs_the_threshold_of_its_own_role() -> None:
    from bundler.trust.trust import NamedKey, RootPlan, make_root
    from installer.bundle.trust import TrustPolicy

    names = ("officer", "second")
    plan = RootPlan([NamedKey(key("release").spki, "release"), NamedKey(key("other").spki, "other")], threshold=2)
    policy = TrustPolicy.from_root(make_root(plan, [key("root")], datetime(2036, 1, 1, tzinfo=UTC)), "root.json")
    assert refusal(RAW, signed(RAW, "release"), policy).id == "threshold-not-met"  # permits follow the releases here
    assert len(verify_permit(RAW, signed(RAW, "release", "other"), policy).signers) == 2
    assert refusal(RAW, signed(RAW, *names), policy).id == "no-valid-signature"


def test_scratched_signature_beside_a_good_one_stops_nothing() -> None:
    files = signed(RAW, "officer") | {"x.permit.json.b.sigstore.json": b"{"}
    assert [signer.name for signer in verify_permit(RAW, files, root()).signers] == ["officer"]


def test_refuses_a_signature_over_another_permit() -> None:
    other = permit(NEW, NEWEST).to_bytes()
    assert refusal(RAW, signed(other, "officer")).id == "signature-of-another"


def test_refuses_a_release_in_place_of_a_permit_even_signed_by_who_may_sign_both() -> None:
    raw = OLD.to_bytes()
    assert refusal(raw, signed(raw, "officer")).id == "permit-type"


def test_refuses_a_permit_in_place_of_a_release() -> None:
    from installer.bundle.verify import verify_statement

    with pytest.raises(SealiftError) as caught:
        verify_statement(RAW, signed(RAW, "release"), root())
    assert caught.value.id == "release-type"


def test_refuses_a_dsse_envelope_over_the_permit() -> None:
    envelope = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "AA=="}},
        "dsseEnvelope": {"payload": "", "payloadType": PERMIT_TYPE, "signatures": []},
    }
    assert refusal(RAW, {"x.permit.json.a.sigstore.json": canonical(envelope)}).id == "signature-envelope"


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (RAW.replace(b'","', b'", "', 1), "json-not-canonical"),
        (RAW.replace(b'"id"', b'"id":"x","id"', 1), "json-duplicate-key"),
        (RAW[:-1], "json-not-canonical"),
        (b"\xff", "json-not-utf8"),
        (b"[]\n", "permit-type"),
        (altered(type="application/vnd.sealift.release.v1+json"), "permit-type"),
        (altered(type=...), "permit-type"),
        (altered(more=True), "permit-invalid"),
        (altered(id=...), "permit-invalid"),
        (altered(id="0" * 31), "permit-invalid"),
        (altered(to="sha256:../../etc"), "permit-invalid"),
        (altered(to=json.loads(RAW)["from"]), "permit-invalid"),
        (altered(product="../other"), "permit-invalid"),
        (altered(site=None), "permit-invalid"),
        (altered(expires="2027-02-30T00:00:00Z"), "permit-invalid"),
        (altered(expires=json.loads(RAW)["issued"]), "permit-invalid"),
        (altered(expires="2099-01-01T00:00:00Z"), "permit-invalid"),
        (
            canonical({**{k: v for k, v in json.loads(RAW).items() if k != "from"}, "coming_from": None}),
            "permit-invalid",
        ),
    ],
)
def test_refuses_a_signed_permit_that_breaks_its_format(raw: bytes, error: str) -> None:
    assert refusal(raw, signed(raw, "officer")).id == error


def test_refuses_every_flipped_byte_of_a_permit_and_of_its_signature() -> None:
    name, good = next(iter(signed(RAW, "officer").items()))
    policy = root()
    assert verify_permit(RAW, {name: good}, policy)
    accepted = 0
    for whole, put in ((RAW, lambda data: (data, good)), (good, lambda data: (RAW, data))):
        for place in range(len(whole)):
            for bit in range(8):
                copy = bytearray(whole)
                copy[place] ^= 1 << bit
                accepted += _accepted(put, bytes(copy), name, policy)
    assert accepted == 0


def _accepted(put: Callable[[bytes], tuple[bytes, bytes]], data: bytes, name: str, policy: Any) -> bool:
    raw, signature = put(data)
    try:
        verify_permit(raw, {name: signature}, policy)
    except SealiftError:
        return False
    return True


def test_only_the_verifier_makes_a_verified_permit() -> None:
    with pytest.raises(TypeError):
        VerifiedPermit(permit(NEW, OLD), (), ())


def test_permit_reads_back_as_it_was_written() -> None:
    one = permit(NEW, OLD)
    assert Permit.parse(one.to_bytes()) == one and json.loads(one.to_bytes())["product"] == PRODUCT
    assert Permit.parse(permit(None, OLD).to_bytes()).coming_from is None


def test_permit_of_the_host_with_a_clock_of_1970_expires_by_the_floor() -> None:
    host = used_to(NEW, clock=datetime(1970, 1, 1, tzinfo=UTC), floor=NOW)
    assert host.admit(OLD, permit(NEW, OLD)) is not None
    late = permit(NEW, OLD, issued=spelled(NOW - timedelta(days=9)), expires=spelled(NOW - timedelta(days=1)))
    error = host.refuses(OLD, late)
    assert error.id == "permit-expired" and "release" in error.message


@pytest.mark.parametrize("year", [2038, 2100])
def test_permit_on_a_host_whose_clock_is_decades_ahead_has_expired(year: int) -> None:
    host = used_to(NEW, clock=datetime(year, 1, 20, tzinfo=UTC), floor=NOW)
    error = host.refuses(OLD, permit(NEW, OLD))
    assert error.id == "permit-expired" and "clock" in error.hint


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, "input-missing"),
        (os.mkfifo, "media-not-a-file"),
        (lambda path: path.mkdir(), "media-not-a-file"),
        (lambda path: path.write_bytes(b" " * 20_000), "permit-too-large"),
        (lambda path: path.write_bytes(b" " * 70_000), "signature-too-large"),
        (lambda path: path.symlink_to("/nowhere"), "input-missing"),
    ],
)
def test_refuses_a_file_that_is_none_and_waits_for_nobody(
    tmp_path: Path, make: Callable[[Path], object], error: str
) -> None:
    make(tmp_path / "x.permit.json")
    with pytest.raises(SealiftError) as caught:
        read_permit(tmp_path / "x.permit.json", root())
    assert caught.value.id == error and caught.value.hint


def test_reads_a_permit_that_was_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "x.permit.json").write_bytes(RAW)
    for name, data in signed(RAW, "officer").items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link").symlink_to("x.permit.json")
    assert read_permit(tmp_path / "link", root()).permit == Permit.parse(RAW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(RAW))), JSON | st.binary(max_size=40))
def test_whatever_a_signed_permit_holds_it_is_refused_or_reads_back_as_it_was(field: str, value: Any) -> None:
    raw = value if isinstance(value, bytes) else canonical(json.loads(RAW) | {field: value})
    try:
        assert Permit.parse(raw).to_bytes() == raw
    except SealiftError as error:
        assert int(error.exit_code) == 3 and error.hint
