"""The trusted root of an instance: what is read of it, and what is refused."""

from __future__ import annotations

import copy
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from installer.bundle.sigstoreroot import Period, SigstoreRoot
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
    "a log whose key is no base64": lambda v: v["tlogs"][0]["publicKey"].update(rawBytes="A-AA"),
    "a log whose other id is no base64": lambda v: v["tlogs"][0].update(checkpointKeyId={"keyId": "AA=A"}),
    "a log whose other id is none": lambda v: v["tlogs"][0].update(checkpointKeyId={}),
    "timestamps that are null": lambda v: v.update(timestampAuthorities=None),
    "no certificate logs at all": lambda v: v.pop("ctlogs"),
    "an end without a zone": lambda v: v["certificateAuthorities"][0]["validFor"].update(end="2027-01-01T00:00:00"),
    "an authority that is a text": lambda v: v.update(certificateAuthorities=["x"]),
}


@pytest.mark.parametrize("case", CASES)
def test_refuses(instance: Instance, case: str) -> None:
    value = copy.deepcopy(instance.trusted_root())
    CASES[case](value)
    with pytest.raises(SealiftError) as caught:
        SigstoreRoot.read(value, "root.json")
    assert caught.value.id == "root-keyless"
    assert caught.value.message.startswith("root.json is not a trusted root") and len(caught.value.message) < 300


def test_knows_since_when_and_until_when_somebody_is_trusted(instance: Instance) -> None:
    root = SigstoreRoot.read(instance.trusted_root(end=SIGNED), "root.json")
    for one in (*root.authorities, *root.timestamp_authorities):
        assert one.holds(START) and one.holds(SIGNED)
        assert not one.holds(START - timedelta(seconds=1)) and not one.holds(SIGNED + timedelta(seconds=1))
    endless = SigstoreRoot.read(instance.trusted_root(), "root.json")
    assert endless.logs[0].period.holds(SIGNED + timedelta(days=99999))
    assert not endless.authorities[0].holds(SIGNED + timedelta(days=99999))  # its certificates end


def test_log_has_both_its_names_and_may_lack_a_period(instance: Instance) -> None:
    value = copy.deepcopy(instance.trusted_root())
    (log,) = value["tlogs"]
    log["checkpointKeyId"] = {"keyId": b64encode(b"another").decode()}
    del log["publicKey"]["validFor"]
    (found,) = SigstoreRoot.read(value, "root.json").logs
    assert found.ids == {b64decode(log["logId"]["keyId"]), b"another"}
    assert found.period == Period() and found.value == log
    del value["timestampAuthorities"]
    assert SigstoreRoot.read(value, "root.json").timestamp_authorities == ()


def test_times_of_other_zones_are_the_same_times(instance: Instance) -> None:
    value = copy.deepcopy(instance.trusted_root())
    value["tlogs"][0]["publicKey"]["validFor"] = {"start": "2026-06-01T14:00:00+02:00"}
    (found,) = SigstoreRoot.read(value, "root.json").logs
    assert (found.period.start, found.period.end) == (SIGNED, None)


def test_sigstore_is_told_that_everybody_counts_at_any_time(instance: Instance) -> None:
    """Periods are judged here, at the time of signing; all else is handed on as it stands."""
    value = copy.deepcopy(instance.trusted_root(end=SIGNED))
    told = json.loads(SigstoreRoot.read(value, "root.json").as_json())
    always = {"start": "1970-01-01T00:00:00Z"}
    for one in (*value["certificateAuthorities"], *value["timestampAuthorities"]):
        one["validFor"] = always
    for one in (*value["tlogs"], *value["ctlogs"]):
        one["publicKey"]["validFor"] = always
    assert told == value


def test_period_holds_at_both_its_ends_and_not_beyond() -> None:
    second = timedelta(seconds=1)
    for period in (Period(START, SIGNED), Period(START), Period(None, SIGNED), Period()):
        assert period.holds(START) and period.holds(SIGNED)
        assert period.holds(START - second) == (period.start is None)
        assert period.holds(SIGNED + second) == (period.end is None)
