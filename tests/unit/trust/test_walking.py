"""From one root to the next: who may follow whom, what a host in a drawer does, and what never gets through."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.trust.trust import RootPlan, make_root
from installer.bundle.roots import current, walk
from installer.bundle.trust import TrustPolicy
from installer.errors import ExitCode, SealiftError
from tests.unit.trust.keys import EXPIRES, PAYLOAD, key, signed
from tests.unit.trust.roots import held, names, refused, root, trusted

PAST = datetime(2026, 1, 1, tzinfo=UTC)
BOARD = ("ann", "ben", "cleo")


FIRST = trusted(root())
TWO_OF_THREE = trusted(root(holders=BOARD, root_threshold=2))


# --- the way that is open ------------------------------------------------------------------------------------------


def test_host_takes_the_next_root_that_its_own_root_keys_have_signed() -> None:
    (second,) = walk(FIRST, {2: root(2, "other")})
    assert (second.root_version, second.place) == (2, "trust/2.root.json (root version 2)")
    assert names(second, "other") == {"other"}


def test_host_in_a_drawer_for_five_rotations_walks_to_the_newest_by_itself() -> None:
    """Each rotation has another root key and another release key; the host knows the first ones only."""
    here = trusted(root(1, "r1", holders=("h1",)))
    chain = {n: root(n, f"r{n}", holders=(f"h{n}",), signers=(f"h{n - 1}", f"h{n}")) for n in range(2, 7)}
    walked = walk(here, chain)
    assert [policy.root_version for policy in walked] == [2, 3, 4, 5, 6]
    assert names(walked[-1], "r6") == {"r6"}
    assert set(walked[-1].revoked) >= {key("r1").fingerprint, key("r5").fingerprint, key("h1").fingerprint}


def test_older_roots_and_its_own_are_passed_over_unread() -> None:
    here = trusted(root(3))
    assert walk(here, {1: b"no JSON", 2: b"", 3: root(3, "stranger", holders=("stranger",))}) == ()


def test_roots_in_between_may_have_expired() -> None:
    carried = {2: root(2, expires=PAST, expired="refuse"), 3: root(3)}
    current(FIRST, carried).refuse_expired(datetime(2026, 11, 21, tzinfo=UTC))


def test_policy_of_one_key_walks_nowhere() -> None:
    alone = TrustPolicy.from_key(key("release").public_pem, "release.pub")
    assert walk(alone, {2: b"no JSON"}) == ()


# --- one key is lost, one is stolen --------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", BOARD)
def test_two_of_three_root_keys_replace_the_third_that_was_lost(lost: str) -> None:
    rest = tuple(name for name in BOARD if name != lost)
    second = current(TWO_OF_THREE, {2: root(2, holders=(*rest, "dora"), root_threshold=2, signers=rest)})
    assert second.root_role is not None and {one.name for one in second.root_role.keys} == {*rest, "dora"}


def test_one_root_key_alone_replaces_nobody() -> None:
    taken = root(2, holders=("ann", "mallory"), root_threshold=1, signers=("ann",))
    assert refused(TWO_OF_THREE, {2: taken}).id == "root-chain"


def test_stolen_release_key_is_revoked_by_leaving_it_out_and_the_refusal_says_so() -> None:
    second = current(trusted(root(1, "ann", "ben")), {2: root(2, "ann")})
    assert names(second, "ann", "ben") == {"ann"}
    with pytest.raises(SealiftError) as caught:
        second.judge("release", PAYLOAD, signed("ben"))
    assert caught.value.id == "key-revoked"
    assert "ben (" in caught.value.message and "root version 2 revoked" in caught.value.message
    assert "(root version 2) wants 1 of: ann" in caught.value.hint


def test_stranger_who_names_a_revoked_key_is_a_stranger() -> None:
    from installer.bundle.digest import Digest
    from installer.bundle.signature import sigstore_bundle

    second = current(trusted(root(1, "ann", "ben")), {2: root(2, "ann")})
    forged = sigstore_bundle(key("mallory").sign(PAYLOAD), Digest.of(PAYLOAD), key("ben").spki)
    with pytest.raises(SealiftError) as caught:
        second.judge("release", PAYLOAD, {"signatures/ben.sigstore.json": forged})
    assert caught.value.id == "no-valid-signature"


def test_key_that_comes_back_is_revoked_no_longer() -> None:
    third = current(trusted(root(1, "ann", "ben")), {2: root(2, "ann"), 3: root(3, "ann", "ben")})
    assert names(third, "ben") == {"ben"} and key("ben").fingerprint not in third.revoked


def test_stolen_root_key_is_left_out_by_the_other_two_and_signs_nothing_from_then_on() -> None:
    second = current(TWO_OF_THREE, {2: root(2, holders=("ann", "ben", "dora"), root_threshold=2)})
    assert second.root_version == 2
    third = root(3, holders=("ann", "cleo"), root_threshold=2)
    assert refused(second, {3: third}).id == "root-chain"


# --- the way that is closed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("carried", "error"), [({3}, "root-skipped"), ({2, 4}, "root-skipped"), ({9}, "root-skipped")])
def test_refuses_roots_with_one_skipped_and_names_the_missing_one(carried: set[int], error: str) -> None:
    found = refused(FIRST, {version: root(version) for version in carried})
    missing = 2 if 2 not in carried else 3
    assert (found.id, found.exit_code) == (error, ExitCode.UNTRUSTED)
    assert f"not version {missing}" in found.message


def test_refuses_a_root_that_its_predecessor_did_not_sign() -> None:
    assert refused(FIRST, {2: root(2, holders=("mallory",))}).id == "root-chain"


@pytest.mark.parametrize("who", ["release", "installer", "permit"])
def test_refuses_a_root_that_a_key_of_another_role_has_signed(who: str) -> None:
    here = trusted(root(1, "release", installer=held("installer"), permit=held("permit")))
    assert refused(here, {2: root(2, holders=(who,))}).id == "root-chain"


def test_refuses_a_root_that_one_of_two_needed_has_signed_twice() -> None:
    value = json.loads(root(2, holders=BOARD, root_threshold=1, signers=("ann",)))
    value["signatures"].append(dict(value["signatures"][0]))
    assert refused(TWO_OF_THREE, {2: json.dumps(value).encode()}).id == "root-malformed"
    value["signatures"][1]["keyid"] = key("ben").fingerprint.hex  # ann's signature under ben's name
    assert refused(TWO_OF_THREE, {2: json.dumps(value).encode()}).id == "root-chain"


def test_refuses_a_root_that_only_its_predecessor_has_signed() -> None:
    assert refused(FIRST, {2: root(2, holders=("new",), signers=("root",))}).id == "root-not-self-signed"


def test_refuses_a_root_from_another_product() -> None:
    for other in ("bank", "*"):
        error = refused(FIRST, {2: root(2, product=other)})
        assert error.id == "root-product" and "not shop" in error.message


def test_refuses_a_lower_epoch_and_takes_a_higher_one() -> None:
    here = trusted(root(1, epoch=3))
    assert refused(here, {2: root(2, epoch=2)}).id == "root-epoch"
    assert current(here, {2: root(2, epoch=4)}).epoch == 4


def test_refuses_another_version_than_the_name_says() -> None:
    assert refused(FIRST, {2: root(3)}).id == "root-version"
    assert refused(FIRST, {2: root(1)}).id == "root-version"


def test_refuses_all_that_follows_a_broken_root() -> None:
    carried = {2: root(2, holders=("mallory",)), 3: root(3), 4: root(4)}
    assert refused(FIRST, carried).id == "root-chain"


def test_refuses_a_stranger_among_the_signatures_of_a_root() -> None:
    carried = {2: root(2, signers=("root", "stranger"))}
    assert refused(FIRST, carried).id == "root-signature"


def test_refuses_unsorted_signatures_of_a_root() -> None:
    value = json.loads(root(2, holders=BOARD, root_threshold=2))
    value["signatures"].reverse()
    assert refused(TWO_OF_THREE, {2: json.dumps(value).encode()}).id == "root-signature"


def test_refuses_a_permit_a_plan_or_a_release_in_the_place_of_a_root() -> None:
    for kind in ("permit", "plan", "release"):
        raw = json.dumps({"type": f"application/vnd.sealift.{kind}.v1+json", "product": "shop"}).encode()
        assert refused(FIRST, {2: raw}).id == "root-malformed"


def test_a_root_stands_for_no_release() -> None:
    """What root keys sign is no release, and the other way round: other bytes, other keys."""
    raw = root(2)
    with pytest.raises(SealiftError) as caught:
        FIRST.judge("release", raw, {"signatures/root.sigstore.json": key("root").signature_file(raw)})
    assert caught.value.id == "no-valid-signature"


def test_every_refusal_of_a_walk_says_where_and_what_to_do() -> None:
    cases = [{3: root(3)}, {2: root(2, holders=("m",))}, {2: root(2, product="x")}, {2: root(3)}]
    for carried in cases:
        error = refused(FIRST, carried)
        assert "2" in error.message and "sealift trust show" in error.hint
        assert not any(word in error.hint for word in ("skip", "disable", "force", "ignore"))


# --- every byte ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_no_root_on_the_media_survives_a_flipped_byte(mask: int) -> None:
    raw = root(2, "other", holders=("root", "second"), root_threshold=2, signers=("root", "second"), epoch=2)
    accepted = []
    for place in range(len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= mask
        try:
            walk(FIRST, {2: bytes(flipped)})
        except SealiftError as error:
            assert error.exit_code in (ExitCode.MALFORMED, ExitCode.UNTRUSTED), error.id
        else:
            accepted.append(place)
    assert accepted == []


def test_no_root_on_the_media_survives_truncation() -> None:
    raw = root(2)
    for length in range(len(raw)):
        with pytest.raises(SealiftError):
            walk(FIRST, {2: raw[:length]})


SPARE = root(2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_on_the_media_only_signed_roots_are_reached(data: st.DataObject) -> None:
    """Any mixture of good, foreign, cut and altered roots under any names ends in a refusal or at a signed root."""
    pool = st.sampled_from([root(2), root(3), root(2, holders=("mallory",)), root(2, product="x"), b"", SPARE[:900]])
    carried = data.draw(st.dictionaries(st.integers(1, 4), pool, max_size=4))
    try:
        walked = walk(FIRST, carried)
    except SealiftError as error:
        assert error.exit_code in (ExitCode.MALFORMED, ExitCode.UNTRUSTED)
        return
    assert [policy.root_version for policy in walked] == list(range(2, 2 + len(walked)))
    assert all(policy.raw in (root(2), root(3)) for policy in walked)
    assert {version for version in carried if version > 1} == {policy.root_version for policy in walked}


def test_making_the_same_root_twice_gives_the_same_bytes() -> None:
    plan = RootPlan(held("release"), product="shop")
    assert make_root(plan, [key("ann"), key("ben")], EXPIRES) == make_root(plan, [key("ann"), key("ben")], EXPIRES)
