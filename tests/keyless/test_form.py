"""The form of keyless signature files: closed, strict, and read before any library sees a byte of it."""

from __future__ import annotations

import copy
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.keylessform import KeylessSignature, LogEntry
from installer.bundle.signature import MEDIA_TYPE, KeySignature, parse_signature
from installer.errors import SealiftError
from tests.keyless.instance import Instance
from tests.keyless.judging import PAYLOAD

Value = dict[str, Any]


@pytest.fixture(scope="module")
def good() -> Value:
    return Instance().sign(PAYLOAD, timestamp=True).value()


def parsed(value: object) -> KeySignature | KeylessSignature:
    return parse_signature(json.dumps(value).encode(), "signatures/x.sigstore.json")


def material(change: Callable[[Value], object]) -> Callable[[Value], object]:
    return lambda value: change(value["verificationMaterial"])


def entry(change: Callable[[Value], object]) -> Callable[[Value], object]:
    return material(lambda value: change(value["tlogEntries"][0]))


def proof(**fields: object) -> Callable[[Value], object]:
    return entry(lambda value: value["inclusionProof"].update(fields))


def stamps(count: int) -> Callable[[Value], object]:
    made = [{"signedTimestamp": b64encode(bytes([number])).decode()} for number in range(count)]
    return material(lambda value: value["timestampVerificationData"].update(rfc3161Timestamps=made))


CASES: dict[str, tuple[Callable[[Value], object], str]] = {
    "an envelope": (lambda v: v.update(dsseEnvelope={}), "signature-envelope"),
    "an older type": (lambda v: v.update(mediaType=MEDIA_TYPE.replace("0.3", "0.1")), "signature-type"),
    "the other spelling of the type": (
        lambda v: v.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.3"),
        "signature-type",
    ),
    "a field at the top": (lambda v: v.update(more=1), "signature-field"),
    "a field in the material": (material(lambda v: v.update(more=1)), "signature-field"),
    "a key besides": (material(lambda v: v.update(publicKey={"hint": "x"})), "signature-certificate"),
    "a chain besides": (material(lambda v: v.update(x509CertificateChain={})), "signature-certificate"),
    "a chain instead": (
        material(lambda v: v.update(x509CertificateChain={"certificates": [v.pop("certificate")]})),
        "signature-certificate",
    ),
    "a certificate that is no object": (material(lambda v: v.update(certificate="MIIB")), "signature-field"),
    "a certificate of other base64": (
        material(lambda v: v.update(certificate={"rawBytes": "MI=="})),
        "signature-base64",
    ),
    "no digest": (lambda v: v["messageSignature"].pop("messageDigest"), "signature-field"),
    "another digest": (
        lambda v: v["messageSignature"]["messageDigest"].update(algorithm="SHA2_384"),
        "signature-algorithm",
    ),
    "no log entry": (material(lambda v: v.update(tlogEntries=[])), "signature-log-entry"),
    "no log entries at all": (material(lambda v: v.pop("tlogEntries")), "signature-certificate"),
    "two log entries": (material(lambda v: v["tlogEntries"].append(v["tlogEntries"][0])), "signature-log-entry"),
    "a field in the entry": (entry(lambda v: v.update(more=1)), "signature-field"),
    "no proof": (entry(lambda v: v.pop("inclusionProof")), "signature-field"),
    "no checkpoint": (entry(lambda v: v["inclusionProof"].pop("checkpoint")), "signature-field"),
    "a checkpoint that is no text": (proof(checkpoint={"envelope": 7}), "signature-log-entry"),
    "an entry about an attestation": (
        entry(lambda v: v.update(kindVersion={"kind": "dsse", "version": "0.0.1"})),
        "signature-log-entry",
    ),
    "an entry of an unknown version": (
        entry(lambda v: v["kindVersion"].update(version="0.0.3")),
        "signature-log-entry",
    ),
    "an entry of an unknown version without a promise": (
        entry(lambda v: (v["kindVersion"].update(version="0.0.3"), v.pop("inclusionPromise"))),
        "signature-log-entry",
    ),
    "an empty certificate": (material(lambda v: v.update(certificate={"rawBytes": ""})), "signature-base64"),
    "a kind that is a list": (entry(lambda v: v["kindVersion"].update(kind=[])), "signature-log-entry"),
    "an index as a number": (entry(lambda v: v.update(logIndex=2)), "signature-log-entry"),
    "an index with a zero before it": (entry(lambda v: v.update(logIndex="02")), "signature-log-entry"),
    "an index below zero": (entry(lambda v: v.update(logIndex="-1")), "signature-log-entry"),
    "an index of 20 digits": (entry(lambda v: v.update(logIndex="9" * 20)), "signature-log-entry"),
    "an index beyond the log": (proof(logIndex="3", treeSize="3"), "signature-log-entry"),
    "a long proof": (proof(hashes=["A" * 43 + "="] * 64), "signature-log-entry"),
    "a short hash": (proof(hashes=["AAAA"]), "signature-base64"),
    "a time without a promise": (entry(lambda v: v.pop("integratedTime")), "signature-log-entry"),
    "a time far away": (entry(lambda v: v.update(integratedTime=str(2**40))), "signature-log-entry"),
    "a promise by a log that gives none": (
        entry(lambda v: v["kindVersion"].update(version="0.0.2")),
        "signature-log-entry",
    ),
    "timestamps that are null": (material(lambda v: v.update(timestampVerificationData=None)), "signature-field"),
    "timestamps that are no list": (
        material(lambda v: v["timestampVerificationData"].update(rfc3161Timestamps={})),
        "signature-timestamp",
    ),
    "a field beside timestamps": (
        material(lambda v: v["timestampVerificationData"].update(more=[])),
        "signature-field",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refuses(good: Value, case: str) -> None:
    value = copy.deepcopy(good)
    change, error_id = CASES[case]
    change(value)
    with pytest.raises(SealiftError) as caught:
        parsed(value)
    assert caught.value.id == error_id


def test_reads_what_signers_write(good: Value) -> None:
    found = parsed(good)
    assert isinstance(found, KeylessSignature)
    assert (found.entry.version, len(found.timestamps)) == (1, 1)
    nothing: list[Value] = [{}, {"rfc3161Timestamps": []}]
    for empty in nothing:
        value = copy.deepcopy(good)
        value["verificationMaterial"]["timestampVerificationData"] = empty
        found = parsed(value)
        assert isinstance(found, KeylessSignature) and found.timestamps == ()


def test_says_what_stands_in_the_file(good: Value) -> None:
    raw = json.dumps(good).encode()
    found = parse_signature(raw, "x")
    assert isinstance(found, KeylessSignature)
    material, message = good["verificationMaterial"], good["messageSignature"]
    (entry,), (stamp,) = material["tlogEntries"], material["timestampVerificationData"]["rfc3161Timestamps"]
    assert found.certificate == b64decode(material["certificate"]["rawBytes"])
    assert bytes.fromhex(found.digest.hex) == b64decode(message["messageDigest"]["digest"])
    assert found.signature == b64decode(message["signature"])
    assert found.entry == LogEntry(b64decode(entry["logId"]["keyId"]), 1, int(entry["integratedTime"]))
    assert (found.timestamps, found.raw) == ((b64decode(stamp["signedTimestamp"]),), raw)


def test_time_without_a_promise_is_none(good: Value) -> None:
    value = copy.deepcopy(good)
    value["verificationMaterial"]["tlogEntries"][0].pop("inclusionPromise")
    found = parsed(value)
    assert isinstance(found, KeylessSignature) and found.entry.time is None


def objects(value: Value) -> dict[tuple[Any, ...], Value]:
    """Every object in a value, by where it stands."""
    return {path: found for path in paths(value) if isinstance(found := at(value, path), dict)}


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_no_object_takes_a_field_more(good: Value) -> None:
    for path in objects(good):
        value = copy.deepcopy(good)
        at(value, path)["more"] = 1
        with pytest.raises(SealiftError) as caught:
            parsed(value)
        assert caught.value.id == "signature-field", path


OPTIONAL = {"timestampVerificationData", "rfc3161Timestamps", "inclusionPromise", "hashes"}


def test_no_object_lacks_a_field_but_those_that_may_be_left_out(good: Value) -> None:
    full = copy.deepcopy(good)
    full["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = []
    for path, found in objects(full).items():
        for name in found:
            value = copy.deepcopy(full)
            del at(value, path)[name]
            refused = None
            try:
                parsed(value)
            except SealiftError as error:
                refused = error
            assert (refused is None) == (name in OPTIONAL), (path, name)
            assert refused is None or not re.search(r"\bNone\b|XX", refused.message)


@pytest.mark.parametrize(
    ("change", "error_id"),
    [
        (proof(logIndex="2", treeSize="3"), None),
        (proof(logIndex="0", treeSize="1"), None),
        (proof(hashes=["A" * 43 + "="] * 63), None),
        (proof(hashes="x"), "signature-log-entry"),
        (proof(logIndex="x"), "signature-log-entry"),
        (proof(treeSize=3), "signature-log-entry"),
        (proof(rootHash="AAAA"), "signature-base64"),
        (entry(lambda v: v.update(canonicalizedBody="")), "signature-base64"),
        (entry(lambda v: v.update(logIndex="9" * 16)), None),
        (entry(lambda v: v.update(logIndex="9" * 17)), "signature-log-entry"),
        (entry(lambda v: v.update(integratedTime="1")), None),
        (entry(lambda v: v.update(integratedTime="0")), "signature-log-entry"),
        (entry(lambda v: v.update(integratedTime="x")), "signature-log-entry"),
        (entry(lambda v: v.update(integratedTime=str(2**36 - 1))), None),
        (entry(lambda v: v.update(integratedTime=str(2**36))), "signature-log-entry"),
        (entry(lambda v: v["inclusionPromise"].update(signedEntryTimestamp="A")), "signature-base64"),
        (entry(lambda v: v["logId"].update(keyId="")), "signature-base64"),
        (material(lambda v: v.update(tlogEntries={})), "signature-log-entry"),
        (stamps(4), None),
        (stamps(5), "signature-timestamp"),
    ],
)
def test_takes_what_is_just_within_each_limit(
    good: Value, change: Callable[[Value], object], error_id: str | None
) -> None:
    value = copy.deepcopy(good)
    change(value)
    found = None
    try:
        parsed(value)
    except SealiftError as error:
        found = error.id
        assert not re.search(r"\bNone\b|XX", f"{error.message} {error.hint}")
    assert found == error_id


def test_refuses_a_key_twice(good: Value) -> None:
    raw = json.dumps(good).replace('"integratedTime":', '"integratedTime": "1", "integratedTime":')
    with pytest.raises(SealiftError) as caught:
        parse_signature(raw.encode(), "x")
    assert caught.value.id == "json-duplicate-key"


def paths(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in inner for path in paths(item, (*here, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


PLACES = paths(Instance().sign(PAYLOAD, timestamp=True).value())[1:]


@given(st.data())
def test_whatever_stands_in_a_place_is_read_or_refused_by_id(good: Value, data: st.DataObject) -> None:
    value = copy.deepcopy(good)
    path = data.draw(st.sampled_from(PLACES))
    place: Any = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = data.draw(JSON)
    try:
        parsed(value)
    except SealiftError as error:
        assert error.id.startswith(("signature-", "json-"))
