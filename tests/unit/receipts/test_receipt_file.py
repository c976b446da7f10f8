"""The file that a courier carries back: one spelling, signed by the key that it names, and small."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.receipt import (
    MAX_RECEIPT_BYTES,
    Receipt,
    SignedReceipt,
    pack_digests,
    read_receipt,
    unpack_digests,
)
from installer.bundle.strictjson import canonical
from installer.errors import ERRORS, ExitCode, SealiftError
from tests.unit.receipts.forge import digest, name, seal_raw, sealed, value
from tests.unit.trust.keys import key

REFUSALS = (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED)
HALL, OTHER = ("hall", key("hall").fingerprint), ("mill", key("mill").fingerprint)
PAGE = Path(__file__).resolve().parents[3] / "docs/receipts.md"


def refusal(data: bytes, known: Any = None) -> str:
    with pytest.raises(SealiftError) as caught:
        read_receipt(data, known)
    assert caught.value.exit_code in REFUSALS and caught.value.hint
    return caught.value.id


def test_reads_what_a_site_signed_and_says_whether_anybody_knows_it() -> None:
    found = read_receipt(sealed())
    assert (found.known, found.fingerprint, found.receipt.to_bytes()) == (None, HALL[1], found.raw)
    assert read_receipt(sealed(), [OTHER, HALL]).known == "hall"


def test_no_byte_of_it_can_be_altered() -> None:
    data = sealed(held=(digest("a blob"),))
    taken = []
    for place in range(len(data)):
        for bit in (1, 0x20, 0x80):
            altered = bytearray(data)
            altered[place] ^= bit
            try:
                read_receipt(bytes(altered))
            except SealiftError as error:
                assert error.exit_code in REFUSALS and error.message.isprintable()
            else:
                taken.append((place, bit))
    assert taken == []


def test_nothing_of_it_can_be_cut_off_and_nothing_added() -> None:
    data = sealed()
    for altered in (*(data[:length] for length in range(len(data))), data + b"\n", data + b" ", b"\n" + data, data * 2):
        refusal(altered)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "json-invalid"),
        (b" " * (MAX_RECEIPT_BYTES + 1), "receipt-too-large"),
        (canonical(value()), "receipt-unsigned"),
        (canonical({"type": "application/vnd.sealift.permit.v1+json"}), "receipt-type"),
        (seal_raw(canonical({"type": "application/vnd.sealift.release.v1+json"})), "receipt-type"),
        (seal_raw(canonical([])), "receipt-type"),
        (seal_raw(canonical(value()), "mill"), "receipt-damaged"),
        (sealed().replace(b'"site":"hall"', b'"site":"hell"'), "receipt-damaged"),
        (canonical(value()) + b"{}\n", "receipt-invalid"),
        (canonical(value()) * 3, "receipt-invalid"),
        (b"\x28\xb5\x2f\xfd" + bytes(200), "json-not-utf8"),
        (seal_raw(json.dumps(value()).encode() + b"\n"), "json-not-canonical"),
    ],
)
def test_refuses_what_is_no_receipt(data: bytes, error: str) -> None:
    assert refusal(data) == error


def test_refuses_a_receipt_of_a_site_that_was_not_named_before_it_is_parsed() -> None:
    assert refusal(sealed(), [OTHER]) == "receipt-unknown-site"
    assert refusal(sealed(), []) == "receipt-unknown-site"
    assert refusal(seal_raw(b"not even JSON\n"), [OTHER]) == "receipt-unknown-site"


@pytest.mark.parametrize(
    "changes",
    [
        {"site": "The Hall"},
        {"secrets": {}},
        {"key": "AAAA"},
        {"key": value()["key"].replace("M", "N", 1)},
        {"time": "yesterday"},
        {"platform": "windows/amd64"},
        {"target": "sledge"},
        {"program": {"version": "0.1.0\n", "digest": None}},
        {"products": [value()["products"][0]] * 2},
        {"products": [value()["products"][0] | {"kept": [name("1.0.0")] * 2}]},
        {"edge": {"haproxy": {"digest": digest("x"), "version": "\x1b[2J"}, "registry": None}},
        {"held": {"registry": "AAAA", "archives": "", "files": "", "brought": ""}},
        {"held": {"registry": pack_digests([digest(1)]) + " ", "archives": "", "files": "", "brought": ""}},
        {"held": {"registry": "", "archives": "", "files": ""}},
    ],
)
def test_refuses_any_other_field_or_value(changes: dict[str, Any]) -> None:
    assert refusal(seal_raw(canonical(value() | changes))) == "receipt-invalid"


def test_refuses_digests_that_are_not_sorted_or_stand_twice() -> None:
    from base64 import b64decode, b64encode

    one, two = (b64decode(pack_digests([digest(number)])) for number in (1, 2))
    for raw in (max(one, two) + min(one, two), one + one):
        held = {"registry": b64encode(raw).decode(), "archives": "", "files": "", "brought": ""}
        assert refusal(seal_raw(canonical(value(held=()) | {"held": held}))) == "receipt-invalid"


def test_only_its_reader_makes_a_signed_one() -> None:
    found = read_receipt(sealed())
    with pytest.raises(TypeError):
        SignedReceipt(found.receipt, found.raw, "hall")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    refusal(data)
    refusal(seal_raw(data + b"\n"))


@given(
    st.sets(st.integers(0, 10_000), max_size=40), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
)
def test_what_is_written_is_read_back_byte_for_byte(numbers: set[int], site: str) -> None:
    held = frozenset(digest(number) for number in numbers)
    raw = canonical(value(held=tuple(held)) | {"site": site})
    found = read_receipt(seal_raw(raw)).receipt
    assert found.to_bytes() == raw and unpack_digests(found.held.registry) == held
    assert found.site == site


def test_ten_thousand_blobs_take_less_than_half_a_megabyte() -> None:
    data = sealed(held=tuple(digest(number) for number in range(10_000)))
    assert len(unpack_digests(read_receipt(data).receipt.held.registry)) == 10_000
    assert 400_000 < len(data) < 430_000
    empty = len(sealed())
    assert empty < 1_700  # the rest of a small site: a QR code holds more


def test_openssl_verifies_it_by_the_lines_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "hall.receipt").write_bytes(sealed())
    (lines,) = re.findall(r"^```sh openssl\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert shutil.which("openssl")
    done = subprocess.run(["sh", "-euc", lines], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Verified OK" in done.stdout and key("hall").fingerprint.hex in done.stdout
    (tmp_path / "hall.receipt").write_bytes(sealed().replace(b'"site":"hall"', b'"site":"hell"'))
    assert subprocess.run(["sh", "-euc", lines], cwd=tmp_path, capture_output=True, check=False).returncode != 0


def test_the_page_names_every_field_and_every_refusal() -> None:
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", text, re.MULTILINE))
    mine = {one: code for one, code in ERRORS.items() if one.startswith("receipt-")}
    assert {one: int(code) for one, code in rows.items() if one in mine} == {one: int(c) for one, c in mine.items()}
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)) >= set(Receipt.model_fields)
