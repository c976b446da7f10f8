"""How many must sign, and who counts: 2 of 3, one key under many names, a customer who must agree."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.signature import sigstore_bundle
from installer.bundle.trust import Role, TrustPolicy
from installer.errors import SealiftError
from tests.unit.trust.keys import EXPIRES, PAYLOAD, key, policy, refusal, root, signed

TEAM = ("ann", "ben", "cleo")
TWO_OF_THREE = policy(*TEAM, threshold=2)


def names(rule: TrustPolicy, files: dict[str, bytes], role: str = "release") -> set[str]:
    return {signer.name for signer in rule.judge(role, PAYLOAD, files)}


@pytest.mark.parametrize("pair", list(combinations(TEAM, 2)))
def test_any_two_of_three_are_enough(pair: tuple[str, str]) -> None:
    assert names(TWO_OF_THREE, signed(*pair)) == set(pair)


def test_all_three_are_named_where_two_would_do() -> None:
    assert names(TWO_OF_THREE, signed(*TEAM)) == set(TEAM)


@pytest.mark.parametrize("alone", TEAM)
def test_refuses_one_of_three_and_says_who_is_missing(alone: str) -> None:
    error = refusal(TWO_OF_THREE, signed(alone))
    assert (error.id, error.message) == ("threshold-not-met", "1 of 2 needed signatures are valid")
    missing = error.hint.split("not yet signed by ")[1]
    for name in TEAM:
        shown = f"{name} ({key(name).fingerprint.short})"
        assert shown in error.hint
        assert (shown in missing) == (name != alone)
    assert "root.json" in error.hint


def test_refuses_one_key_under_two_file_names() -> None:
    once = signed("ann")["signatures/ann.sigstore.json"]
    files = {f"signatures/{name}.sigstore.json": once for name in TEAM}
    assert refusal(TWO_OF_THREE, files).id == "threshold-not-met"


def test_refuses_one_key_that_has_signed_twice_differently() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from installer.bundle.digest import Digest

    ann = key("ann")
    other = ann._key.sign(PAYLOAD, ec.ECDSA(hashes.SHA256()))  # another random number, another signature
    files = signed("ann") | {"signatures/b.sigstore.json": sigstore_bundle(other, Digest.of(PAYLOAD), ann.spki)}
    assert refusal(TWO_OF_THREE, files).id == "threshold-not-met"


def test_refuses_a_signature_relabelled_as_a_colleagues() -> None:
    from installer.bundle.digest import Digest

    forged = sigstore_bundle(key("ann").sign(PAYLOAD), Digest.of(PAYLOAD), key("ben").spki)
    assert refusal(TWO_OF_THREE, signed("ann") | {"signatures/ben.sigstore.json": forged}).id == "threshold-not-met"


def test_refuses_one_of_ours_and_many_strangers() -> None:
    files = signed("ann", *(f"stranger{number}" for number in range(20)))
    assert refusal(TWO_OF_THREE, files).id == "threshold-not-met"


def test_refuses_one_of_ours_and_a_colleagues_over_another_release() -> None:
    files = signed("ann") | signed("ben", payload=b"another")
    assert refusal(TWO_OF_THREE, files).id == "threshold-not-met"


def test_refuses_two_strangers() -> None:
    assert refusal(TWO_OF_THREE, signed("x", "y")).id == "no-valid-signature"


def test_refuses_the_root_key_as_a_signer_of_releases() -> None:
    assert refusal(TWO_OF_THREE, signed("ann", "root")).id == "threshold-not-met"
    assert refusal(TWO_OF_THREE, signed("root")).id == "no-valid-signature"


def test_refuses_a_key_of_the_installer_role_as_a_signer_of_releases_and_the_reverse() -> None:
    rule = policy("ann", installer=("ben",))
    assert refusal(rule, signed("ben")).id == "no-valid-signature"
    assert refusal(rule, signed("ann"), role="installer").id == "no-valid-signature"
    assert names(rule, signed("ben"), "installer") == {"ben"}


def test_refuses_no_signature_at_all() -> None:
    error = refusal(TWO_OF_THREE, {})
    assert error.id == "unsigned" and all(name in error.hint for name in TEAM)


def test_strangers_beside_enough_of_ours_do_no_harm() -> None:
    assert names(TWO_OF_THREE, signed("ann", "ben", "x", "y")) == {"ann", "ben"}


def test_order_and_names_of_files_do_not_matter() -> None:
    files = signed("cleo", "ann")
    renamed = {f"signatures/{number}.sigstore.json": data for number, data in enumerate(reversed(files.values()))}
    assert names(TWO_OF_THREE, renamed) == {"ann", "cleo"}


def test_threshold_one_of_many_is_met_by_any() -> None:
    rule = policy(*TEAM)
    assert [names(rule, signed(name)) for name in TEAM] == [{name} for name in TEAM]


# --- the customer must agree ---------------------------------------------------------------------------------------


def test_customer_who_must_countersign_is_missed_by_name() -> None:
    rule = policy("vendor", "customer", threshold=2)
    error = refusal(rule, signed("vendor"))
    assert error.id == "threshold-not-met"
    assert error.hint.split("not yet signed by ")[1].startswith("customer (")
    assert names(rule, signed("vendor", "customer")) == {"vendor", "customer"}


def test_refuses_a_customer_alone_where_the_vendor_must_sign_too() -> None:
    error = refusal(policy("vendor", "customer", threshold=2), signed("customer"))
    assert error.hint.split("not yet signed by ")[1].startswith("vendor (")


def test_customer_who_need_not_sign_may() -> None:
    rule = policy("vendor")
    assert names(rule, signed("vendor", "customer")) == {"vendor"}


# --- roots that would let one person count twice, or nobody --------------------------------------------------------


def edited(**changes: Any) -> bytes:
    """A root of ann and ben, two of two, with other values in its release role."""
    value = json.loads(root("ann", "ben", threshold=2))
    value["signed"]["roles"]["targets"].update(changes)
    return json.dumps(value).encode()


@pytest.mark.parametrize("threshold", [0, -1, 3, 2**40, True, "2", 1.5, None])
def test_refuses_a_root_whose_threshold_is_none_or_cannot_be_met(threshold: Any) -> None:
    with pytest.raises(SealiftError) as caught:
        TrustPolicy.from_root(edited(threshold=threshold), "root.json")
    assert caught.value.id in ("root-threshold", "json-number")


def test_refuses_a_root_in_which_one_key_stands_twice() -> None:
    ann = key("ann").fingerprint.hex
    with pytest.raises(SealiftError) as caught:
        TrustPolicy.from_root(edited(keyids=[ann, ann]), "root.json")
    assert caught.value.id == "root-key-twice"


def test_refuses_a_root_in_which_one_key_has_two_names() -> None:
    value = json.loads(root("ann", "ben", threshold=2))
    keys = value["signed"]["keys"]
    keys[key("ben").fingerprint.hex] = keys[key("ann").fingerprint.hex]
    with pytest.raises(SealiftError) as caught:
        TrustPolicy.from_root(json.dumps(value).encode(), "root.json")
    assert caught.value.id == "root-key-twice"


def test_making_a_root_refuses_one_person_as_two() -> None:
    ann = key("ann")
    plan = RootPlan([NamedKey(ann.spki, "ann"), NamedKey(ann.spki, "ann at home")], threshold=2)
    with pytest.raises(SealiftError) as caught:
        make_root(plan, [key("root")], EXPIRES)
    assert caught.value.id == "root-invalid"


def test_one_key_listed_twice_in_a_policy_counts_once_all_the_same() -> None:
    (ann,) = policy("ann").roles["release"].keys
    rule = TrustPolicy("by hand", None, {"release": Role((ann, ann), 2)})
    assert refusal(rule, signed("ann")).id == "threshold-not-met"


def test_no_refusal_proposes_to_do_without_verification() -> None:
    cases: tuple[dict[str, bytes], ...] = (
        {},
        signed("ann"),
        signed("x"),
        signed("ann", payload=b"another"),
        {"signatures/a.sigstore.json": b"{}"},
    )
    for files in cases:
        error = refusal(TWO_OF_THREE, files)
        shown = f"{error.message} {error.hint}".lower()
        assert error.hint and not any(word in shown for word in ("skip", "disable", "insecure", "--force", "ignore"))
