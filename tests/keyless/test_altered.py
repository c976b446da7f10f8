"""One bit of every byte that is encoded in a keyless signature file, turned."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest

from installer.errors import SealiftError
from tests.keyless.der import oid
from tests.keyless.instance import SIGNED, Instance
from tests.keyless.judging import PAYLOAD, PIPELINE, judged, root_of
from tests.keyless.translog import b64


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """``data`` with one bit of one byte turned, for every byte."""
    for index in range(len(data)):
        yield index, data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def places(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Where in a signature file something is encoded, but for the timestamp."""
    entry = value["verificationMaterial"]["tlogEntries"][0]
    return {
        "rawBytes": value["verificationMaterial"]["certificate"],
        "signature": value["messageSignature"],
        "digest": value["messageSignature"]["messageDigest"],
        "signedEntryTimestamp": entry["inclusionPromise"],
        "rootHash": entry["inclusionProof"],
        "keyId": entry["logId"],
        "canonicalizedBody": entry,
    }


def test_refuses_any_altered_byte_of_what_is_encoded(instance: Instance) -> None:
    root, value = root_of(instance), instance.sign(PAYLOAD).value()
    for field, place in places(value).items():
        good = place[field]
        data = base64.b64decode(good)
        for index, bad in flipped(data):
            if field == "canonicalizedBody" and index % 16:
                continue  # its hash is what is signed: one byte is as good as the next
            place[field] = b64(bad)
            with pytest.raises(SealiftError):
                judged(value, root)
        place[field] = good
    assert judged(value, root) == PIPELINE


def test_refuses_any_altered_byte_of_a_timestamp_that_says_anything(instance: Instance) -> None:
    """What nobody signs in it says nothing: two version numbers, and the name of the algorithm of its signature."""
    root, made = root_of(instance), instance.sign(PAYLOAD)
    good = instance.timestamps.stamp(made.signature, SIGNED)
    algorithm = good.rindex(oid("1.2.840.10045.4.3.2"))
    silent = {
        *range(algorithm, algorithm + 10),
        *(found.end() - 1 for found in re.finditer(b"\x02\x01[\x01\x03]", good)),
    }
    for index, bad in flipped(good):
        made.timestamps = [bad]
        try:
            judged(made, root)
        except SealiftError:
            continue
        assert index in silent
