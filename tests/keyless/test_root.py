"""The trusted root of an instance: what is read of it, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from installer.bundle.sigstoreroot import SigstoreRoot
from installer.errors import SealiftError
from tests.keyless.instance import SIGNED, START, Instance

Value = dict[str, Any]
CASES: dict[str, Callable[[Value], object]] = {
    "another type": lambda v: v.update(mediaType="application/vnd.dev.sigstore.trustedroot.v0.2+json"),
    "no type": lambda v: v.pop("mediaType"),
    "no authority": lambda v: v.update(certificateAuthorities=[]),
    "no log": lambda v: v.update(tlogs=[]),
    "no certificate log": lambda v: v.update(ctlogs=[]),
    "logs that are null": lambda v: v.update(tlogs=None),
    "an authority without certificates": lambda v: v["certificateAuthorities"][0].update(
        certChain={"certificates": []}
    ),
    "a certificate that is none": lambda v: v["certificateAuthorities"][0]["certChain"]["certificates"][0].update(
        rawBytes="AAAA"
    ),
    "an authority without a period": lambda v: v["certificateAuthorities"][0].pop("validFor"),
    "a time without a zone": lambda v: v["tlogs"][0]["publicKey"].update(validFor={"start": "2026-01-01T00:00:00"}),
    "a time that is none": lambda v: v["tlogs"][0]["publicKey"].update(validFor={"start": "soon"}),
    "a log without a key": lambda v: v["tlogs"][0]["publicKey"].pop("rawBytes"),
    "a log without an id": lambda v: v["ctlogs"][0].pop("logId"),
}


@pytest.mark.parametrize("case", CASES)
def test_refuses(instance: Instance, case: str) -> None:
    value = copy.deepcopy(instance.trusted_root())
    CASES[case](value)
    with pytest.raises(SealiftError) as caught:
        SigstoreRoot.read(value, "root.json")
    assert caught.value.id == "root-keyless"


def test_knows_since_when_and_until_when_somebody_is_trusted(instance: Instance) -> None:
    root = SigstoreRoot.read(instance.trusted_root(end=SIGNED), "root.json")
    for one in (*root.authorities, *root.timestamp_authorities):
        assert one.holds(START) and one.holds(SIGNED)
        assert not one.holds(START - timedelta(seconds=1)) and not one.holds(SIGNED + timedelta(seconds=1))
    endless = SigstoreRoot.read(instance.trusted_root(), "root.json")
    assert endless.logs[0].period.holds(SIGNED + timedelta(days=99999))
    assert not endless.authorities[0].holds(SIGNED + timedelta(days=99999))  # its certificates end
