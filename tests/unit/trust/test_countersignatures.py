"""Signatures beside the bundle: they add, and whatever does not count stops nothing and is named."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.signing.countersign import countersign, read_subject
from bundler.verification import verify_media
from installer.bundle.archive import BundleReader
from installer.bundle.beside import read_countersignatures
from installer.bundle.signature import MAX_SIGNATURE_BYTES
from installer.bundle.verify import verify_statement
from installer.durable import make_folder
from installer.errors import SealiftError
from installer.media import open_media
from installer.state.releases import add_signatures, keep, load_kept
from tests.unit.trust.keys import key, policy
from tests.unit.trust.media import QUIET, Stick, changed, make_kit

BOTH = policy("release", "customer", threshold=2)
VENDOR = policy("release")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


@pytest.fixture
def stick(kit: Path, tmp_path: Path) -> Stick:
    return Stick.of(kit, tmp_path / "stick")


def test_countersignature_meets_a_threshold_that_the_builder_alone_does_not(stick: Stick) -> None:
    assert stick.refusal(BOTH).id == "threshold-not-met"
    stick.sign("customer")
    assert stick.signers(BOTH) == ["customer", "release"]
    assert stick.passed_over(BOTH) == {}


def test_bundle_beside_a_folder_of_signatures_is_judged_with_them(stick: Stick) -> None:
    stick.sign("customer")
    assert len(verify_media(stick.bundle, BOTH, QUIET).verified.signers) == 2


def test_signing_leaves_bundle_and_checksums_as_they_were(stick: Stick) -> None:
    before = {path.name: path.read_bytes() for path in stick.folder.iterdir() if path.is_file()}
    made = stick.sign("customer")
    assert made.files == [
        str(stick.folder / "signatures/customer.sigstore.json"),
        str(stick.folder / "install.customer.sigstore.json"),
    ]
    assert {name: (stick.folder / name).read_bytes() for name in before} == before


def test_signing_twice_by_one_key_does_nothing_the_second_time(stick: Stick) -> None:
    stick.sign("customer")
    before = sorted(stick.folder.rglob("*"))
    assert stick.sign("customer", "another-name").files == []
    assert stick.sign("release", "again").files == []
    assert sorted(stick.folder.rglob("*")) == before


def test_two_keys_of_one_name_both_get_their_file(stick: Stick) -> None:
    stick.sign("customer")
    made = stick.sign(key("second").called("customer"))
    assert made.release is not None and made.release.name.startswith("customer-")
    assert stick.signers(policy("release", "customer", "second", threshold=3)) == ["customer", "release", "second"]


def test_signing_never_overwrites_a_file_of_the_name_that_was_asked_for(stick: Stick) -> None:
    stick.sign("customer")
    with pytest.raises(SealiftError) as caught:
        stick.sign("second", "customer")
    assert caught.value.id == "output-exists"


@pytest.mark.parametrize("name", ["", "../x", "A", ".x", "x/y", "x" * 62])
def test_signing_refuses_names_that_no_signature_can_have(stick: Stick, name: str) -> None:
    with pytest.raises(SealiftError) as caught:
        stick.sign("customer", name)
    assert caught.value.id == "bad-option"


def test_signer_sees_what_it_is_what_it_brings_and_who_signed_before(stick: Stick) -> None:
    stick.sign("customer")
    shown = "\n".join(read_subject(stick.folder).lines())
    assert "board 2.1.0" in shown and "- Search." in shown and "- First." not in shown
    assert str(key("release").fingerprint) in shown and str(key("customer").fingerprint) in shown
    assert str(read_subject(stick.folder).digest) in shown


def test_signing_refuses_a_list_that_does_not_parse(stick: Stick, tmp_path: Path) -> None:
    from tests.vectors.forge import Forge

    bundle = tmp_path / "x.bundle.tar.zst"
    bundle.write_bytes(Forge(raw=b'{"type":"application/vnd.sealift.permit.v1+json"}\n').bytes())
    with pytest.raises(SealiftError) as caught:
        read_subject(bundle)
    assert caught.value.id == "release-type"
    assert not (tmp_path / "signatures").exists()


def test_signing_refuses_another_program_than_the_listed_one(stick: Stick) -> None:
    (stick.folder / "install").write_text("#!/bin/sh\nevil\n")
    with pytest.raises(SealiftError) as caught:
        stick.sign("customer")
    assert caught.value.id == "digest-mismatch"
    assert not (stick.folder / "signatures/customer.sigstore.json").exists()


def test_signing_never_shows_a_damaged_changelog(stick: Stick) -> None:
    good, changes = stick.bundle.read_bytes(), read_subject(stick.folder).changes
    with BundleReader(stick.bundle) as reader:
        begin = reader.position
    refused = 0
    for place in range(begin, begin + 220):
        stick.bundle.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        try:
            assert read_subject(stick.folder).changes == changes
        except SealiftError as error:
            assert error.exit_code in (3, 4)
            refused += 1
    assert refused > 150


def test_signing_refuses_a_33rd_signature(stick: Stick) -> None:
    for number in range(31):
        stick.put(f"s{number:02}.sigstore.json", key(f"s{number}").signature_file(stick.statement))
    with pytest.raises(SealiftError) as caught:
        stick.sign("customer")
    assert caught.value.id == "signatures-too-many"


def test_signing_follows_no_link_out_of_the_media(stick: Stick, tmp_path: Path) -> None:
    elsewhere = make_folder(tmp_path / "elsewhere")
    folder = stick.folder / "signatures"
    folder.rename(tmp_path / "aside")
    folder.symlink_to(elsewhere)
    with pytest.raises(SealiftError) as caught:
        stick.sign("customer")
    assert caught.value.id == "output-exists"
    assert list(elsewhere.iterdir()) == []


# --- what does not count stops nothing, and is named ---------------------------------------------------------------


def test_files_of_other_systems_are_passed_over_by_name(stick: Stick) -> None:
    stick.sign("customer")
    junk = ["._customer.sigstore.json", ".DS_Store", "README", "Customer.sigstore.json", "x.sigstore.json.bak"]
    for name in junk:
        stick.put(name, b"\x00\x05\x16\x07")
    assert stick.passed_over(BOTH) == {f"signatures/{name}": "member-unexpected" for name in junk}
    assert stick.signers(BOTH) == ["customer", "release"]


def proof(signer: str, payload: bytes) -> bytes:
    return key(signer).signature_file(payload)


MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "json-invalid"),
    "zeros": (lambda good: bytes(len(good)), "json-invalid"),
    "cut": (lambda good: good[:100], "json-invalid"),
    "not-utf8": (lambda good: b"\xff" + good, "json-not-utf8"),
    "list": (lambda good: b"[]", "signature-field"),
    "key-twice": (lambda good: good.replace(b'{"hint"', b'{"hint":"","hint"'), "json-duplicate-key"),
    "unknown": (lambda good: changed(good, "trusted", value=True), "signature-field"),
    "envelope": (lambda good: changed(good, "dsseEnvelope", value={}), "signature-envelope"),
    "keyless": (lambda good: changed(good, "verificationMaterial", "certificate", value={}), "signature-certificate"),
    "log": (lambda good: changed(good, "verificationMaterial", "tlogEntries", value=[{}]), "signature-log-entry"),
    "version": (lambda good: changed(good, "mediaType", value="v0.9"), "signature-type"),
    "large": (lambda good: good + b" " * MAX_SIGNATURE_BYTES, "signature-too-large"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_file_beside_does_not_count_nor_stop_what_others_have_signed(stick: Stick, case: str) -> None:
    change, expected = MALFORMED[case]
    stick.put("customer.sigstore.json", change(proof("customer", stick.statement)))
    assert stick.passed_over(VENDOR) == {"signatures/customer.sigstore.json": expected}
    error = stick.refusal(BOTH)
    assert (error.id, int(error.exit_code)) == ("threshold-not-met", 5)
    assert any(expected in line for line in error.details)


def test_signature_over_something_else_does_not_count(stick: Stick) -> None:
    stick.put("customer.sigstore.json", proof("customer", b"another release"))
    assert stick.passed_over(VENDOR) == {"signatures/customer.sigstore.json": "signature-of-another"}
    assert stick.refusal(BOTH).id == "threshold-not-met"


def test_signature_that_only_claims_the_customers_key_does_not_count(stick: Stick) -> None:
    good = proof("stranger", stick.statement)
    hint = json.loads(proof("customer", stick.statement))["verificationMaterial"]
    stick.put("customer.sigstore.json", changed(good, "verificationMaterial", value=hint))
    error = stick.refusal(BOTH)
    assert error.id == "threshold-not-met"
    assert any("signature-wrong" in line for line in error.details)


def test_signature_by_a_stranger_does_not_count_and_is_no_warning(stick: Stick) -> None:
    stick.put("customer.sigstore.json", proof("stranger", stick.statement))
    assert stick.refusal(BOTH).id == "threshold-not-met"
    (item,) = stick.verify(VENDOR).passed_over
    assert item.is_by_a_stranger


def test_copy_of_a_signature_inside_counts_once(stick: Stick) -> None:
    stick.put("copy.sigstore.json", (stick.folder / "signatures/release.sigstore.json").read_bytes())
    stick.put("again.sigstore.json", changed(proof("release", stick.statement), "mediaType", value=MEDIA_TYPE))
    assert stick.refusal(BOTH).id == "threshold-not-met"
    assert stick.signers(VENDOR) == ["release"]


MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def test_file_of_a_name_that_is_taken_inside_counts_too(stick: Stick) -> None:
    stick.put("release.sigstore.json", proof("customer", stick.statement))
    assert stick.signers(BOTH) == ["customer", "release"]


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "socket", "unreadable-name"])
def test_what_is_no_plain_file_is_neither_followed_nor_waited_for(
    stick: Stick, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = stick.folder / "signatures/customer.sigstore.json"
    good = tmp_path / "good.json"
    good.write_bytes(proof("customer", stick.statement))
    if kind == "link":
        place.symlink_to(good)
    elif kind == "dangling":
        place.symlink_to(tmp_path / "nothing")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        monkeypatch.chdir(place.parent)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name)
    else:
        good.rename(place.with_name(os.fsdecode(b"\xff\xfe.sigstore.json")))
    (item,) = stick.verify(VENDOR).passed_over
    assert item.error.id in ("member-link", "media-not-a-file", "member-unexpected")
    assert item.line().isascii()
    assert stick.refusal(BOTH).id == "threshold-not-met"


def test_linked_folder_of_signatures_is_not_followed(stick: Stick, tmp_path: Path) -> None:
    stick.sign("customer")
    (stick.folder / "signatures").rename(tmp_path / "aside")
    (stick.folder / "signatures").symlink_to(tmp_path / "aside")
    assert stick.refusal(BOTH).id == "threshold-not-met"
    assert stick.passed_over(VENDOR)["signatures"] == "member-link"


def test_strangers_cannot_take_the_places_of_trusted_signers(stick: Stick) -> None:
    for number in range(40):
        stick.put(f"a{number:02}.sigstore.json", proof(f"s{number}", stick.statement))
    stick.put("z.sigstore.json", proof("customer", stick.statement))
    found = stick.verify(BOTH)
    assert len(found.verified.signatures) == 32
    assert "signatures-too-many" in {item.error.id for item in found.passed_over}


def test_no_more_than_64_files_are_read(stick: Stick) -> None:
    for number in range(200):
        stick.put(f"a{number:03}.sigstore.json", b"x" * 60_000)
    found = read_countersignatures(stick.bundle)
    assert len(found.files) == 64
    assert stick.signers(VENDOR) == ["release"]


def test_says_that_not_all_of_a_stuffed_folder_was_looked_at(stick: Stick) -> None:
    assert not any("not all" in item.line() for item in read_countersignatures(stick.bundle).passed_over)
    for number in range(4096):
        stick.put(f"junk-{number}", b"")
    *_, last = read_countersignatures(stick.bundle).passed_over
    assert (last.name, last.error.id) == ("signatures", "signatures-too-many")
    assert "more than 4096 entries: not all are looked at" in last.line()


def test_media_without_a_folder_of_signatures_is_judged_by_those_inside(stick: Stick, tmp_path: Path) -> None:
    (stick.folder / "signatures").rename(tmp_path / "aside")
    assert stick.signers(VENDOR) == ["release"]
    assert stick.passed_over(VENDOR) == {}


# --- on the host ---------------------------------------------------------------------------------------------------


def test_host_counts_countersignatures_and_keeps_them_for_going_back(stick: Stick, tmp_path: Path) -> None:
    stick.sign("customer")
    stick.put("junk.sigstore.json", b"{}")
    media = open_media(stick.folder, BOTH)
    assert [item.error.id for item in media.passed_over] == ["signature-field"]
    kept = keep(tmp_path / "state", media.verified, media.files, {})
    again = load_kept(tmp_path / "state", kept.ref, BOTH)
    assert len(again.verified.signers) == 2
    assert "signatures/junk.sigstore.json" not in again.verified.signatures


def test_host_keeps_a_countersignature_that_only_tomorrows_root_trusts(stick: Stick, tmp_path: Path) -> None:
    stick.sign("customer")
    media = open_media(stick.folder, VENDOR)
    kept = keep(tmp_path / "state", media.verified, media.files, {})
    assert len(load_kept(tmp_path / "state", kept.ref, BOTH).verified.signers) == 2


def test_host_that_runs_a_release_takes_signatures_that_come_later(stick: Stick, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = open_media(stick.folder, VENDOR)
    kept = keep(state, first.verified, first.files, {})
    with pytest.raises(SealiftError) as caught:
        load_kept(state, kept.ref, BOTH)
    assert caught.value.id == "threshold-not-met"
    stick.sign("customer", "release-2")
    countersigned = open_media(stick.folder, BOTH)
    assert add_signatures(state, kept.ref, countersigned.verified) == ("signatures/release-2.sigstore.json",)
    assert len(load_kept(state, kept.ref, BOTH).verified.signers) == 2
    assert add_signatures(state, kept.ref, countersigned.verified) == ()


def test_host_keeps_32_signatures_at_most_and_a_later_one_of_a_name_that_is_taken(stick: Stick, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for number in range(31):
        stick.put(f"s{number:02}.sigstore.json", proof(f"s{number}", stick.statement))
    first = open_media(stick.folder, VENDOR)
    kept = keep(state, first.verified, first.files, {})
    stick.put("s00.sigstore.json", proof("customer", stick.statement))
    assert add_signatures(state, kept.ref, open_media(stick.folder, VENDOR).verified) == ()
    few = keep(state, verify_statement(stick.statement, signed_by_release(stick), VENDOR), {}, {"a": b""})
    (name,) = add_signatures(state, few.ref, verify_statement(stick.statement, renamed(stick), BOTH))
    assert name.startswith("signatures/later-")
    assert len(load_kept(state, few.ref, BOTH).verified.signers) == 2


def signed_by_release(stick: Stick) -> dict[str, bytes]:
    return {"signatures/a.sigstore.json": proof("release", stick.statement)}


def renamed(stick: Stick) -> dict[str, bytes]:
    """The customer's under the name that the vendor's had."""
    return {
        "signatures/a.sigstore.json": proof("customer", stick.statement),
        "signatures/b.sigstore.json": proof("release", stick.statement),
    }


def test_host_refuses_media_whose_countersignature_is_gone(stick: Stick) -> None:
    made = stick.sign("customer")
    assert made.release is not None
    open_media(stick.folder, BOTH)
    made.release.unlink()
    with pytest.raises(SealiftError) as caught:
        open_media(stick.folder, BOTH)
    assert caught.value.id == "threshold-not-met"


# --- the program ---------------------------------------------------------------------------------------------------


def test_program_is_checked_against_the_installer_role(stick: Stick) -> None:
    assert "signature of install" in stick.verify(VENDOR, demands_program=True).checked
    separate = policy("release", installer=("programs",))
    error = stick.refusal(separate, demands_program=True)
    assert (error.id, error.message.startswith("install: ")) == ("no-valid-signature", True)
    (stick.folder / "install.programs.sigstore.json").write_bytes(
        proof("programs", (stick.folder / "install").read_bytes())
    )
    assert "signature of install" in stick.verify(separate, demands_program=True).checked


def test_program_needs_as_many_signatures_as_its_role_wants(stick: Stick) -> None:
    countersign(read_subject(stick.folder), key("customer"))
    assert "signature of install" in stick.verify(BOTH, demands_program=True).checked
    (stick.folder / "install.customer.sigstore.json").unlink()
    assert stick.refusal(BOTH, demands_program=True).id == "threshold-not-met"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda good: None, "unsigned"),
        (lambda good: b"{}", "signature-field"),
        (lambda good: key("release").signature_file(b"another"), "signature-of-another"),
        (lambda good: key("stranger").signature_file(good), "no-valid-signature"),
    ],
    ids=["gone", "malformed", "another", "stranger"],
)
def test_program_without_a_valid_signature_is_refused(
    stick: Stick, change: Callable[[bytes], bytes | None], expected: str
) -> None:
    place = stick.folder / "install.sigstore.json"
    data = change((stick.folder / "install").read_bytes())
    place.unlink()
    if data is not None:
        place.write_bytes(data)
    assert stick.refusal(VENDOR, demands_program=True).id == expected


def test_one_key_that_has_not_signed_the_program_leaves_that_unchecked_and_says_so(stick: Stick) -> None:
    stick.put("customer.sigstore.json", proof("customer", stick.statement))
    assert stick.verify(policy("customer")).not_checked == ("signature of install",)
