"""Identities in a root of trust: counted with keys, each once; what does not count is named, and stops nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundler.trust.trust import Named, RootPlan, make_root
from installer.bundle.beside import Beside, weigh
from installer.bundle.signers import Identity, PublicKey
from installer.bundle.trust import Requirement, Role, TrustPolicy
from installer.errors import SealiftError
from tests.keyless.instance import IDENTITY, ISSUER, Instance
from tests.keyless.judging import PAYLOAD, PIPELINE
from tests.unit.trust.keys import EXPIRES, key, refusal, signed

ROOT = Path(__file__).resolve().parents[2]
COLLEAGUE = Identity("colleague@vendor.example", ISSUER, "colleague")
VENDOR = PublicKey(key("release").spki, "release")


def policy(instance: Instance | None, *signers: Named, threshold: int = 1, **more: Any) -> TrustPolicy:
    keyless = instance.trusted_root() if instance else None
    permit = [] if any(isinstance(one, PublicKey) for one in signers) else [VENDOR]
    plan = RootPlan(signers, threshold, permit=permit or [VENDOR], keyless=keyless, **more)
    return TrustPolicy.from_root(make_root(plan, [key("root")], EXPIRES), "root.json")


def by(instance: Instance, *identities: str) -> dict[str, bytes]:
    """Keyless signature files."""
    files = (instance.sign(PAYLOAD, identity=one).file() for one in identities)
    return {f"signatures/keyless-{number}.sigstore.json": file for number, file in enumerate(files)}


def test_identity_alone_may_sign(instance: Instance) -> None:
    found = policy(instance, PIPELINE).judge("release", PAYLOAD, by(instance, IDENTITY))
    assert [one.as_json() for one in found] == [{"identity": IDENTITY, "issuer": ISSUER, "name": "pipeline"}]


def test_threshold_counts_keys_and_identities_together(instance: Instance) -> None:
    rule = policy(instance, PIPELINE, VENDOR, COLLEAGUE, threshold=2)
    files = by(instance, IDENTITY) | signed("release")
    assert {one.name for one in rule.judge("release", PAYLOAD, files)} == {"pipeline", "release"}
    assert refusal(rule, by(instance, IDENTITY)).id == "threshold-not-met"
    assert "colleague" in refusal(rule, signed("release")).hint


def test_one_identity_that_signs_many_times_is_one(instance: Instance) -> None:
    """Each signature has a key and a certificate of its own."""
    rule = policy(instance, PIPELINE, COLLEAGUE, threshold=2)
    assert refusal(rule, by(instance, IDENTITY, IDENTITY, IDENTITY)).id == "threshold-not-met"
    assert len(rule.judge("release", PAYLOAD, by(instance, IDENTITY, COLLEAGUE.identity))) == 2


def test_requirement_can_be_an_identity(instance: Instance) -> None:
    rule = policy(instance, VENDOR, requirements=[Requirement("pipeline", Role((), 1, (PIPELINE,)))])
    error = refusal(rule, signed("release"))
    assert error.id == "requirement-not-met" and "pipeline" in error.hint
    assert len(rule.judge("release", PAYLOAD, signed("release") | by(instance, IDENTITY))) == 2


def test_says_why_the_certificates_of_others_do_not_count(instance: Instance, stranger: Instance) -> None:
    rule = policy(instance, PIPELINE, VENDOR, threshold=2)
    bad = by(instance, "mallory@vendor.example")
    error = refusal(rule, signed("release") | bad)
    assert error.id == "threshold-not-met"
    why = f"signed by mallory@vendor.example (issuer {ISSUER}), whom the root of trust does not name"
    assert error.details == (f"signatures/keyless-0.sigstore.json does not count (keyless-wrong-identity): {why}",)
    both = bad | {"signatures/other.sigstore.json": stranger.sign(PAYLOAD).file()}
    error = refusal(rule, both)
    assert error.id == "keyless-certificate-untrusted" and len(error.details) == 2
    assert "root.json (root version 1) wants 2 of: pipeline" in error.hint or "release" in error.hint


def test_refuses_an_identity_where_the_root_names_no_instance(instance: Instance) -> None:
    error = refusal(policy(None, PIPELINE, VENDOR), by(instance, IDENTITY))
    assert error.id == "keyless-not-provisioned" and "--sigstore-trusted-root" in error.hint


def test_keyless_signature_is_a_strangers_where_only_keys_are_trusted(instance: Instance) -> None:
    rule = TrustPolicy.from_key(key("release").public_pem, "release")
    error = refusal(rule, by(instance, IDENTITY))
    assert error.id == "no-valid-signature" and f"{IDENTITY} (issuer {ISSUER})" in error.message
    assert len(rule.judge("release", PAYLOAD, by(instance, IDENTITY) | signed("release"))) == 1


def test_one_bad_certificate_does_not_stop_who_has_signed(instance: Instance, stranger: Instance) -> None:
    rule = policy(instance, PIPELINE)
    files = by(instance, IDENTITY) | {"signatures/bad.sigstore.json": stranger.sign(PAYLOAD).file()}
    assert [one.name for one in rule.judge("release", PAYLOAD, files)] == ["pipeline"]


def test_countersignature_by_an_identity_is_kept_and_a_forged_one_passed_over(
    instance: Instance, stranger: Instance
) -> None:
    rule = policy(instance, VENDOR, requirements=[Requirement("pipeline", Role((), 1, (PIPELINE,)))])
    files = by(instance, IDENTITY, "other@vendor.example") | {
        "signatures/forged.sigstore.json": stranger.sign(PAYLOAD).file()
    }
    found = weigh(Beside(files), PAYLOAD, signed("release"), rule)
    assert list(found.files) == ["signatures/keyless-0.sigstore.json", "signatures/keyless-1.sigstore.json"]
    assert {one.name: (one.error.id, one.is_by_a_stranger) for one in found.passed_over} == {
        "signatures/keyless-1.sigstore.json": ("keyless-wrong-identity", True),
        "signatures/forged.sigstore.json": ("keyless-certificate-untrusted", False),
    }


def test_refuses_a_root_whose_instance_is_none(instance: Instance) -> None:
    value = instance.trusted_root()
    value["ctlogs"] = []
    with pytest.raises(SealiftError) as caught:
        make_root(RootPlan([VENDOR], keyless=value), [key("root")], EXPIRES)
    assert caught.value.id == "root-keyless"


IMPORTS = """
import sys
from pathlib import Path
{code}
print(sorted({{"sigstore", "sigstore_models", "rfc3161_client", "jwt"}} & set(sys.modules)))
"""
CODES = {
    "site": "from installer.cli import main\nassert main(['--help']) == 0",
    "build": "from bundler.cli import main\nassert main(['build', '--help']) == 0",
    "key": "from installer.bundle.trust import TrustPolicy\n"
    "TrustPolicy.from_root(Path(sys.argv[1]).read_bytes(), 'x').judge('release', Path(sys.argv[2]).read_bytes(), "
    "{name: Path(name).read_bytes() for name in sys.argv[3:]})",
}


@pytest.mark.parametrize("name", CODES)
def test_sigstore_is_imported_only_where_an_identity_is_judged(name: str, instance: Instance, tmp_path: Path) -> None:
    """Not for --help; not for what a key has signed, though the root carries an instance and others signed keyless."""
    keyless = instance.trusted_root()
    plan = RootPlan([VENDOR], keyless=keyless)
    (tmp_path / "root.json").write_bytes(make_root(plan, [key("root")], EXPIRES))
    (tmp_path / "payload").write_bytes(PAYLOAD)
    paths = []
    for number, file in enumerate([*signed("release").values(), *by(instance, IDENTITY).values()]):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_bytes(file)
    code = IMPORTS.format(code=CODES[name])
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "root.json", tmp_path / "payload", *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
