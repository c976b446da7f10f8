"""What a root demands besides its thresholds: a customer's word, more people for one channel, identities."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bundler.trust.trust import RootPlan, make_root
from installer.bundle.trust import Identity, PublicKey, Requirement, Role, TrustPolicy
from installer.errors import SealiftError
from tests.unit.trust.keys import EXPIRES, PAYLOAD, key, refusal, signed

CI = Identity("https://ci.example/lan-chat/release.yaml@refs/heads/main", "https://id.example", "ci")


def held(*names: str) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(key(name).spki, name) for name in names)


def demand(name: str, *people: str, threshold: int = 1, channels: set[str] | None = None) -> Requirement:
    return Requirement(name, Role(held(*people), threshold), channels=frozenset(channels) if channels else None)


def trusting(plan: RootPlan, expires: datetime = EXPIRES) -> TrustPolicy:
    return TrustPolicy.from_root(make_root(plan, [key("root")], expires), "root.json")


def names(rule: TrustPolicy, *people: str, channel: str | None = None) -> set[str]:
    return {signer.name for signer in rule.judge("release", PAYLOAD, signed(*people), channel=channel)}


VENDORS = trusting(RootPlan(held("ann", "ben", "cleo"), requirements=[demand("customer", "hospital")]))
STABLE = trusting(RootPlan(held("ann", "build"), requirements=[demand("people", "ann", "ben", channels={"stable"})]))


@pytest.mark.parametrize("vendor", ["ann", "ben", "cleo"])
def test_any_one_of_three_vendors_and_the_customer_are_enough(vendor: str) -> None:
    assert names(VENDORS, vendor, "hospital") == {vendor, "hospital"}


def test_refuses_all_three_vendors_without_the_customer_and_says_which_rule_is_missing() -> None:
    error = refusal(VENDORS, signed("ann", "ben", "cleo"))
    assert (error.id, error.message) == (
        "requirement-not-met",
        "the requirement customer is not met: 0 of 1 needed signatures are valid",
    )
    assert error.hint.startswith("root.json (root version 1) wants 1 of: hospital (")
    assert "not yet signed by hospital" in error.hint and error.hint.endswith("ask one of them to sign")


def test_refuses_the_customer_without_a_vendor() -> None:
    error = refusal(VENDORS, signed("hospital"))
    assert (error.id, error.message) == ("threshold-not-met", "0 of 1 needed signatures are valid")
    assert all(name in error.hint for name in ("ann", "ben", "cleo"))


def test_refuses_a_stranger_in_the_place_of_the_customer() -> None:
    assert refusal(VENDORS, signed("ann", "stranger")).id == "requirement-not-met"


def test_requirement_of_two_is_not_met_by_one_who_signs_twice() -> None:
    rule = trusting(RootPlan(held("ann"), requirements=[demand("board", "x", "y", threshold=2)]))
    files = signed("ann", "x")
    files |= {"signatures/again.sigstore.json": files["signatures/x.sigstore.json"]}
    assert refusal(rule, files).id == "requirement-not-met"
    assert names(rule, "ann", "x", "y") == {"ann", "x", "y"}


def test_one_signature_may_meet_role_and_requirement() -> None:
    assert names(STABLE, "ann", channel="stable") == {"ann"}


def test_key_of_the_build_machine_may_sign_a_candidate_alone() -> None:
    assert names(STABLE, "build", channel="candidate") == {"build"}


def test_refuses_the_key_of_the_build_machine_alone_for_stable() -> None:
    with pytest.raises(SealiftError) as caught:
        STABLE.judge("release", PAYLOAD, signed("build"), channel="stable")
    assert caught.value.id == "requirement-not-met" and "the requirement people" in caught.value.message


def test_build_machine_and_one_of_the_people_sign_for_stable() -> None:
    assert names(STABLE, "build", "ben", channel="stable") == {"build", "ben"}


def test_every_requirement_must_be_met_not_only_the_first() -> None:
    rule = trusting(RootPlan(held("ann"), requirements=[demand("one", "x"), demand("two", "y")]))
    assert "the requirement two" in refusal(rule, signed("ann", "x")).message
    assert "the requirement one" in refusal(rule, signed("ann", "y")).message


def test_requirement_of_releases_is_none_of_the_installers() -> None:
    files = {"install.sigstore.json": key("ann").signature_file(b"program")}
    assert [signer.name for signer in VENDORS.judge("installer", b"program", files)] == ["ann"]


def test_refuses_a_key_that_passes_itself_off_as_an_identity() -> None:
    """An identity signs by certificates; nothing that a plain key signs counts for it."""
    rule = trusting(RootPlan((*held("ann"), CI), threshold=2, permit=held("ann")))
    assert refusal(rule, signed("ann", "ci")).id == "threshold-not-met"
    assert "ci (" in refusal(rule, signed("ann")).hint


def test_root_gives_an_identity_back_as_it_was_named() -> None:
    rule = trusting(RootPlan((*held("ann"), CI), permit=held("ann")))
    assert rule.roles["release"].identities == (CI,)
    assert rule.roles["permit"].signers == held("ann")


def test_refuses_to_make_a_root_whose_permits_an_identity_signs() -> None:
    with pytest.raises(SealiftError) as caught:
        trusting(RootPlan(held("ann"), permit=[CI]))  # type: ignore[list-item]
    assert caught.value.id == "root-identity"


NOW = datetime(2030, 1, 1, tzinfo=UTC)


def expiring(days: float, **more: str) -> TrustPolicy:
    return trusting(RootPlan(held("ann"), **more), NOW + timedelta(days=days))  # type: ignore[arg-type]


def test_says_180_days_ahead_that_a_root_expires() -> None:
    assert expiring(181).expiry_notice(NOW) is None
    notice = expiring(180).expiry_notice(NOW)
    assert notice is not None and "in 180 days" in notice and "root.json (root version 1)" in notice


def test_expired_root_warns_and_refuses_nothing_by_default() -> None:
    rule = expiring(-1)
    rule.refuse_expired(NOW)
    assert "has expired on 2029-12-31" in str(rule.expiry_notice(NOW))


def test_expired_root_refuses_where_it_says_so_itself_and_names_the_way_out() -> None:
    rule = expiring(-1, expired="refuse")
    with pytest.raises(SealiftError) as caught:
        rule.refuse_expired(NOW)
    assert caught.value.id == "root-expired"
    assert "sealift trust update" in caught.value.hint and "2029-12-31" in caught.value.message


def test_root_that_refuses_does_so_from_its_last_second_on() -> None:
    rule = expiring(0, expired="refuse")
    rule.refuse_expired(NOW - timedelta(seconds=1))
    with pytest.raises(SealiftError):
        rule.refuse_expired(NOW)


def test_root_that_refuses_when_expired_refuses_where_the_time_is_not_known() -> None:
    with pytest.raises(SealiftError) as caught:
        expiring(1000, expired="refuse").refuse_expired(None)
    assert caught.value.id == "root-expired"
