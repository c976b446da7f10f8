"""Identities through the rotation of roots: one joins, one goes, and the instance that vouches for them changes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bundler.cli import main
from installer.bundle.roots import walk
from installer.bundle.trust import TrustPolicy
from tests.keyless.instance import IDENTITY, ISSUER, SIGNED, Instance
from tests.keyless.judging import PAYLOAD
from tests.unit.trust.keys import key, refusal, signed
from tests.unit.trust.media import write_key

COLLEAGUE = "colleague@vendor.example"


@pytest.fixture
def desk(tmp_path: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With ``1.root.json``, by which one key may sign, and the instance's trusted root."""
    monkeypatch.chdir(tmp_path)
    write_key(tmp_path, "root")
    (tmp_path / "release.pub").write_bytes(key("release").public_pem)
    (tmp_path / "trusted_root.json").write_text(json.dumps(instance.trusted_root()))
    do("init", "--root-key", "root.key", "--release-key", "release.pub", "--out", "1.root.json")
    return tmp_path


def do(*words: str) -> None:
    assert main(["--quiet", "trust", *words]) == 0


def rotate(number: int, *words: str) -> TrustPolicy:
    """The root after the one of that number."""
    do("rotate", f"{number}.root.json", "--root-key", "root.key", *words, "--out", f"{number + 1}.root.json")
    return TrustPolicy.from_root(Path(f"{number + 1}.root.json").read_bytes(), "root.json")


def by(instance: Instance, **more: Any) -> dict[str, bytes]:
    return {"signatures/x.sigstore.json": instance.sign(PAYLOAD, **more).file()}


def names(policy: TrustPolicy, files: dict[str, bytes]) -> list[str]:
    return [signer.name for signer in policy.judge("release", PAYLOAD, files)]


def test_identity_joins_beside_the_keys_and_can_be_revoked(desk: Path, instance: Instance) -> None:
    who = ["--release-identity", f"{IDENTITY}@@{ISSUER}", "--release-identity", f"{COLLEAGUE}@@{ISSUER}"]
    joined = rotate(1, *who, "--sigstore-trusted-root", "trusted_root.json")
    assert names(joined, signed("release")) == ["release"]
    assert names(joined, by(instance)) == ["release-pipeline-vendor.example"]
    assert names(joined, by(instance, identity=COLLEAGUE)) == ["colleague-vendor.example"]
    gone = rotate(2, "--revoke", "colleague-vendor.example")
    assert names(gone, by(instance)) == ["release-pipeline-vendor.example"]
    assert refusal(gone, by(instance, identity=COLLEAGUE)).id == "keyless-wrong-identity"
    (walked,) = walk(joined, {3: Path("3.root.json").read_bytes()})  # a host that knew the colleague
    assert refusal(walked, by(instance, identity=COLLEAGUE)).id == "key-revoked"


def test_old_signatures_count_on_when_the_instance_changes_its_keys(desk: Path, instance: Instance) -> None:
    """The next trusted root holds both: the old services with an end, the new ones since then."""
    ended = SIGNED + timedelta(days=1)
    fresh = Instance(ended)
    both = instance.trusted_root(end=ended)
    for kind in ("tlogs", "certificateAuthorities", "ctlogs", "timestampAuthorities"):
        both[kind] += fresh.trusted_root()[kind]
    (desk / "both.json").write_text(json.dumps(both))
    rotate(1, "--release-identity", f"{IDENTITY}@@{ISSUER}", "--sigstore-trusted-root", "trusted_root.json")
    policy = rotate(2, "--sigstore-trusted-root", "both.json")
    later = ended + timedelta(days=1)
    assert names(policy, by(instance, timestamp=True)) == names(policy, by(fresh, at=later, timestamp=True))
    for files in (by(instance, at=later), by(fresh, at=SIGNED)):
        assert refusal(policy, files).id == "keyless-authority-expired"
