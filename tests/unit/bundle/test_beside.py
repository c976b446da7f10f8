"""Signature files beside a bundle, without a bundle: which are read, which count, in which order, and what is said."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from installer.bundle import beside
from installer.bundle.archive import BundleReader
from installer.bundle.beside import (
    PROGRAM_SIGNATURE,
    Beside,
    PassedOver,
    read_countersignatures,
    read_signature_files,
    verify_with_countersignatures,
    weigh,
)
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from tests.unit.trust.keys import PAYLOAD, key, policy, signed
from tests.vectors.forge import RELEASE, SECOND, STRANGER, Forge, root_of
from tests.vectors.judge import NOW

BOTH = policy("release", "customer", threshold=2)


def by(name: str, payload: bytes = PAYLOAD) -> bytes:
    return key(name).signature_file(payload)


def told(found: Beside) -> list[tuple[str, str]]:
    return [(item.name, item.error.id) for item in found.passed_over]


def test_trusted_signers_come_before_strangers_and_all_else_is_passed_over() -> None:
    before = PassedOver("signatures/before", SealiftError("member-link", "a link"))
    files = {
        "signatures/a": by("release"),
        "signatures/b": by("stranger"),
        "signatures/c": by("customer"),
        "signatures/d": b"{}",
        "signatures/e": by("customer", b"another"),
    }
    found = weigh(Beside(files, (before,)), PAYLOAD, signed("release"), BOTH)
    assert list(found.files.items()) == [(name, files[name]) for name in ("signatures/c", "signatures/b")]
    assert told(found) == [
        ("signatures/before", "member-link"),
        ("signatures/b", "no-valid-signature"),
        ("signatures/d", "signature-field"),
        ("signatures/e", "signature-of-another"),
    ]
    assert [item.is_by_a_stranger for item in found.passed_over] == [False, True, False, False]


def test_one_that_is_enough_by_itself_counts_and_is_not_passed_over() -> None:
    found = weigh(Beside(signed("release")), PAYLOAD, {}, policy("release"))
    assert (found.files, found.passed_over) == (signed("release"), ())


def test_role_decides_who_counts() -> None:
    rule = policy("release", installer=("programs",))
    found = weigh(Beside({"a": by("programs"), "b": by("release")}), PAYLOAD, {}, rule, "installer")
    assert (list(found.files), told(found)) == (["a", "b"], [("b", "no-valid-signature")])
    assert told(weigh(Beside({"a": by("programs")}), PAYLOAD, {}, rule)) == [("a", "no-valid-signature")]


def test_revoked_signer_counts_as_a_stranger() -> None:
    gone = PassedOver("x", SealiftError("key-revoked", "gone"))
    assert gone.is_by_a_stranger and not replace(gone, error=SealiftError("signature-wrong", "x")).is_by_a_stranger


def test_name_that_is_taken_inside_gives_way_to_another_that_follows_from_the_bytes() -> None:
    inside, data = signed("release"), by("customer")
    (name,) = inside
    found = weigh(Beside({name: data}), PAYLOAD, inside, BOTH)
    other = f"signatures/beside-{hashlib.sha256(data).hexdigest()[:32]}.sigstore.json"
    assert (found.files, found.passed_over) == ({other: data}, ())


def test_no_more_than_32_with_those_inside() -> None:
    inside = {f"signatures/{number}": b"%d" % number for number in range(MAX_SIGNATURES - 1)}
    found = weigh(Beside({"a": by("stranger"), "b": by("customer"), "c": by("release")}), PAYLOAD, inside, BOTH)
    assert list(found.files) == ["b"]
    assert told(found) == [("a", "no-valid-signature"), ("c", "signatures-too-many"), ("a", "signatures-too-many")]
    assert found.passed_over[-1].error.message == "there are 32 without it"


def test_refusal_of_the_release_says_what_beside_it_did_not_count(tmp_path: Path) -> None:
    rule = TrustPolicy.from_root(root_of(RELEASE, SECOND, threshold=2), "root.json")
    forge = Forge()
    folder = tmp_path / "signatures"
    folder.mkdir()
    (folder / "x.sigstore.json").write_bytes(b"{}")
    (folder / "y.sigstore.json").write_bytes(STRANGER.signature_file(forge.statement))
    with BundleReader.from_file(io.BytesIO(forge.bytes()), "x") as reader, pytest.raises(SealiftError) as caught:
        verify_with_countersignatures(reader, rule, tmp_path / "x.bundle.tar.zst")
    assert caught.value.id == "threshold-not-met"
    assert [line.partition(":")[0] for line in caught.value.details] == [
        "signatures/x.sigstore.json does not count (signature-field)",
        "signatures/y.sigstore.json does not count (no-valid-signature)",
    ]
    (folder / "z.sigstore.json").write_bytes(SECOND.signature_file(forge.statement))
    with BundleReader.from_file(io.BytesIO(forge.bytes()), "x") as reader:
        verified, passed = verify_with_countersignatures(reader, rule, tmp_path / "x.bundle.tar.zst")
    assert sorted(signer.name for signer in verified.signers) == ["release", "second"]
    assert sorted(verified.signatures) == [
        "signatures/release.sigstore.json",
        "signatures/y.sigstore.json",
        "signatures/z.sigstore.json",
    ]
    assert [item.name for item in passed] == ["signatures/x.sigstore.json", "signatures/y.sigstore.json"]


def test_clock_is_asked_as_for_any_release(tmp_path: Path) -> None:
    rule, asked = TrustPolicy.from_root(root_of(RELEASE), "root.json"), list[TrustPolicy]()

    def now(policy: TrustPolicy) -> datetime:
        asked.append(policy)
        return NOW

    with BundleReader.from_file(io.BytesIO(Forge().bytes()), "x") as reader:
        verify_with_countersignatures(reader, rule, tmp_path / "x.bundle.tar.zst", now=now)
    assert asked == [rule]


def test_malformed_bundle_is_refused_without_a_word_about_signatures(tmp_path: Path) -> None:
    (tmp_path / "signatures").mkdir()
    (tmp_path / "signatures/x.sigstore.json").write_bytes(b"{}")
    forge = Forge(packing=b"{}")
    rule = TrustPolicy.from_root(root_of(RELEASE), "root.json")
    with BundleReader.from_file(io.BytesIO(forge.bytes()), "x") as reader, pytest.raises(SealiftError) as caught:
        verify_with_countersignatures(reader, rule, tmp_path / "x")
    assert (int(caught.value.exit_code), caught.value.details) == (3, ())


def test_reads_files_of_just_the_greatest_size_and_names_what_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    (folder / "a.sigstore.json").write_bytes(b"a" * MAX_SIGNATURE_BYTES)
    (folder / "b.sigstore.json").write_bytes(b"b" * (MAX_SIGNATURE_BYTES + 1))
    (folder / "c.sigstore.json").symlink_to("a.sigstore.json")
    (folder / "d.sigstore.json").mkdir()
    os.mkfifo(folder / "e.sigstore.json")
    (folder / "f").touch()
    found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    assert found.files == {"signatures/a.sigstore.json": b"a" * MAX_SIGNATURE_BYTES}
    assert told(found) == [
        ("signatures/b.sigstore.json", "signature-too-large"),
        ("signatures/c.sigstore.json", "member-link"),
        ("signatures/d.sigstore.json", "media-not-a-file"),
        ("signatures/e.sigstore.json", "media-not-a-file"),
        ("signatures/f", "member-unexpected"),
    ]
    assert not any("None" in item.line() or "XX" in item.line() for item in found.passed_over)


def test_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("install.sigstore.json")
    found = read_signature_files(tmp_path, PROGRAM_SIGNATURE, "")
    assert told(found) == [("install.sigstore.json", "media-not-a-file")]


def test_other_names_are_passed_over_by_name_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "install.sigstore.json").write_bytes(b"x")
    (tmp_path / "README").touch()
    assert told(read_signature_files(tmp_path, PROGRAM_SIGNATURE, "")) == [("README", "member-unexpected")]
    quiet = read_signature_files(tmp_path, PROGRAM_SIGNATURE, "", strays=False)
    assert (quiet.files, quiet.passed_over) == ({"install.sigstore.json": b"x"}, ())


def test_folder_that_is_none_is_passed_over(tmp_path: Path) -> None:
    assert read_countersignatures(tmp_path / "x") == Beside({})
    (tmp_path / "signatures").symlink_to(tmp_path)
    assert told(read_countersignatures(tmp_path / "x")) == [("signatures", "member-link")]
    (tmp_path / "signatures").unlink()
    (tmp_path / "signatures").touch()
    assert told(read_countersignatures(tmp_path / "x")) == [("signatures", "member-link")]


def test_64_files_are_read_and_32_that_are_none_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    for number in range(66):
        (folder / f"s{number:02}.sigstore.json").write_bytes(b"%d" % number)
    found = read_countersignatures(tmp_path / "x")
    assert list(found.files) == [f"signatures/s{number:02}.sigstore.json" for number in range(64)]
    assert told(found) == [("signatures/s64.sigstore.json", "signatures-too-many")]
    assert found.passed_over[0].error.message.startswith("64 are enough")
    for number in range(32):
        (folder / f"J{number:02}").touch()
    found = read_countersignatures(tmp_path / "x")
    assert len(found.passed_over) == 33 and told(found)[-1] == ("signatures", "signatures-too-many")
    assert found.passed_over[-1].error.message == "1 more of what is no signature"
    for entry in folder.glob("s*"):
        entry.unlink()
    assert told(read_countersignatures(tmp_path / "x")) == [
        (f"signatures/J{number:02}", "member-unexpected") for number in range(32)
    ]


def test_name_of_any_bytes_is_shown_in_one_short_ascii_line() -> None:
    line = PassedOver("ä\n" + "x" * 200, SealiftError("member-unexpected", "why")).line()
    assert line == "\\xe4\\n" + "x" * 94 + " does not count (member-unexpected): why"


@pytest.mark.parametrize("count", [3, 4])
def test_no_more_entries_are_looked_at_than_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(beside, "_MAX_ENTRIES", 3)
    folder = tmp_path / "signatures"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.sigstore.json").write_bytes(b"{}")
    found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    assert len(found.files) == 3
    assert told(found) == ([("signatures", "signatures-too-many")] if count > 3 else [])


def test_what_is_no_folder_is_passed_over_by_name(tmp_path: Path) -> None:
    (tmp_path / "signatures").write_bytes(b"")
    found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    assert (found.files, told(found)) == ({}, [("signatures", "member-link")])


def test_no_more_of_a_file_is_read_than_a_signature_may_have(tmp_path: Path) -> None:
    folder = tmp_path / "signatures"
    folder.mkdir()
    with (folder / "x.sigstore.json").open("wb") as file:
        file.truncate(200_000_000)
    tracemalloc.start()
    found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told(found) == [("signatures/x.sigstore.json", "signature-too-large")] and peak < 1_000_000


def test_never_waits_for_a_pipe_in_place_of_the_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "signatures")

    def waited(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(10)
    try:
        found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert (found.files, told(found)) == ({}, [("signatures", "member-link")])


def test_folder_that_breaks_while_it_is_read_is_passed_over_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signatures").mkdir()

    def scandir(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "scandir", scandir)
    found = read_countersignatures(tmp_path / "x.bundle.tar.zst")
    assert [one.line() for one in found.passed_over] == [
        "signatures does not count (media-unreadable): cannot be read: Input/output error"
    ]


def test_what_is_passed_over_is_told_although_not_all_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_MAX_ENTRIES", 3)
    folder = tmp_path / "signatures"
    folder.mkdir()
    for number in range(4):
        (folder / f"J{number}").touch()
    found = told(read_countersignatures(tmp_path / "x.bundle.tar.zst"))
    assert [error for _, error in found] == [*["member-unexpected"] * 3, "signatures-too-many"]


def test_folder_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "signatures").mkdir()
    seen: list[int] = []

    def entries() -> Iterator[SimpleNamespace]:
        for number in range(100_000):
            seen.append(number)
            yield SimpleNamespace(name=f"J{number}")

    monkeypatch.setattr(beside, "_MAX_ENTRIES", 3)
    monkeypatch.setattr(os, "scandir", lambda _: nullcontext(entries()))
    assert told(read_countersignatures(tmp_path / "x.bundle.tar.zst"))[-1][1] == "signatures-too-many"
    assert len(seen) == 4
