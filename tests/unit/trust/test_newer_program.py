"""Which program may take over: a newer one, in a release that was verified, that the installer role has signed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bundler.build import Request, build
from bundler.program.signed import sign_program, signatures_of
from installer.bundle.digest import Digest
from installer.bundle.trust import TrustPolicy
from installer.errors import ExitCode, SealiftError
from installer.media import open_media
from installer.program import handover
from installer.program.handover import judge_program, offered, read_offer, take_over
from installer.program.hostprogram import Program
from installer.state.journal import Journal
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import key, policy
from tests.unit.trust.media import QUIET, write_key

OWN = Program("1.2.3", Digest.of(b"the host's"))


def program(version: str = "1.10.0", rest: bytes = b"payload") -> bytes:
    """The beginning of a program, and something behind it."""
    return b"#!/bin/sh\n# sealift %s for linux/amd64: the program for a site.\n%s" % (version.encode(), rest)


def signed(*names: str, payload: bytes | None = None) -> dict[str, bytes]:
    files = [key(name).signature_file(program() if payload is None else payload) for name in names]
    return {f"install{f'.{number}' if number else ''}.sigstore.json": data for number, data in enumerate(files)}


def judged(rule: TrustPolicy, files: dict[str, bytes], channel: str = "stable") -> list[str]:
    offer = offered(program())
    assert offer is not None
    return [signer.name for signer in judge_program(offer, files, rule, channel)]


def refused(rule: TrustPolicy, files: dict[str, bytes]) -> str:
    with pytest.raises(SealiftError) as caught:
        judged(rule, files)
    assert caught.value.exit_code is ExitCode.UNTRUSTED
    assert caught.value.hint
    return caught.value.id


APART = policy("anna", installer=("ida", "ivo"))


def test_takes_a_program_that_the_installer_role_has_signed() -> None:
    assert judged(APART, signed("ida")) == ["ida"]
    assert judged(APART, signed("anna", "ivo")) == ["ivo"]


def test_a_release_key_alone_lets_no_program_in() -> None:
    assert refused(APART, signed("anna")) == "no-valid-signature"


def test_a_program_that_nobody_signed_does_not_come_in() -> None:
    assert refused(APART, {}) == "unsigned"


def test_a_signature_over_another_program_does_not_count() -> None:
    assert refused(APART, signed("ida", payload=program(rest=b"other"))) == "signature-of-another"


def test_a_signature_over_the_release_does_not_count_for_its_program() -> None:
    assert refused(APART, signed("ida", payload=b'{"type":"release"}')) == "signature-of-another"


def test_a_stranger_who_claims_a_trusted_key_lets_nothing_in() -> None:
    files = signed("stranger")
    value = json.loads(files["install.sigstore.json"])
    trusted = json.loads(signed("ida")["install.sigstore.json"])
    value["verificationMaterial"] = trusted["verificationMaterial"]
    assert refused(APART, {"install.sigstore.json": json.dumps(value).encode()}) == "signature-wrong"


def test_where_two_must_sign_programs_one_key_twice_is_one() -> None:
    rule = policy("anna", "bert", threshold=2)  # the installer role follows the releases
    assert refused(rule, signed("anna", "anna")) == "threshold-not-met"
    assert refused(rule, signed("anna")) == "threshold-not-met"
    assert sorted(judged(rule, signed("anna", "bert"))) == ["anna", "bert"]


def test_junk_beside_sound_signatures_neither_helps_nor_harms() -> None:
    junk = {"install.a.sigstore.json": b"{", "install.b.sigstore.json": b"", "install.c.sigstore.json": b"\xff" * 99}
    assert judged(APART, {**signed("ida"), **junk}) == ["ida"]
    with pytest.raises(SealiftError):
        judged(APART, junk)


@pytest.mark.parametrize("position", range(0, len(program()), 7))
def test_no_byte_of_the_program_can_be_altered(position: int) -> None:
    altered = bytearray(program())
    altered[position] ^= 1
    with pytest.raises(SealiftError) as caught:
        judge_program(handover.Offer("1.10.0", Digest.of(bytes(altered)), bytes(altered)), signed("ida"), APART)
    assert caught.value.id == "signature-of-another"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF",
        b"#!/bin/sh\nexit 0\n",
        b"#!/bin/sh\n# sealift  for linux/amd64: ",
        program("1.2"),
        program("v1.2.3"),
        program("1.2.3\n"),
        program("1" * 70),
        b"\n" + program(),
    ],
)
def test_what_does_not_begin_like_a_program_of_ours_is_none(data: bytes) -> None:
    assert offered(data) is None


# The whole way, from a media folder: only the exchange on the disk is left out.


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed by anna, its program, 1.10.0, by ida before."""
    root = tmp_path_factory.mktemp("vendor")
    manifest = make_product(root)
    file = root / "sealift-1.10.0"
    file.write_bytes(program())
    sign_program(file, [key("ida")])
    return build(
        Request(
            "v2.1.0", root, keys=(write_key(root, "anna"),), installer=file, output=root / "out", manifest=manifest
        ),
        lambda _: "",
        QUIET,
    ).kit


class Hosts:
    """A host that runs 1.2.3, and what was made of its program."""

    def __init__(self, kit: Path, folder: Path) -> None:
        self.stick = Path(shutil.copytree(kit, folder / "stick"))
        self.journal = Journal(folder)
        self.adopted: list[tuple[bytes, str]] = []

    def adopt(self, data: bytes, version: str) -> Program:
        self.adopted.append((data, version))
        return Program(version, Digest.of(data))

    def take_over(self, rule: TrustPolicy = APART, *, needed: bool = False) -> Program | None:
        return take_over(open_media(self.stick, rule), rule, self.journal, Talk(quiet=True), needed=needed)

    def refusal(self, rule: TrustPolicy = APART) -> SealiftError:
        with pytest.raises(SealiftError) as caught:
            self.take_over(rule, needed=True)
        assert self.adopted == [] and self.journal.programs() == []
        return caught.value


@pytest.fixture
def host(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    one = Hosts(kit, tmp_path)
    monkeypatch.setattr(handover, "adopt", one.adopt)
    running(monkeypatch, OWN)
    return one


def running(monkeypatch: pytest.MonkeyPatch, own: Program | None, host: Program | None = None) -> None:
    monkeypatch.setattr(handover, "own_program", lambda: own)
    monkeypatch.setattr(handover, "host_program", lambda: host or own)


def test_a_newer_program_takes_over_and_it_is_written_down_who_signed_it(host: Hosts) -> None:
    found = host.take_over()
    assert found is not None and found.version == "1.10.0"
    assert host.adopted == [(program(), "1.10.0")]
    (noted,) = host.journal.programs()
    assert (noted.detail["from"], noted.detail["to"]) == ("1.2.3", "1.10.0")
    assert [signer["name"] for signer in noted.detail["signers"]] == ["ida"]
    assert host.journal.runs() == [] and host.journal.unfinished() is None


@pytest.mark.parametrize("version", ["1.10.0", "1.10.1", "2.0.0"])
def test_an_equal_or_older_program_never_takes_over(host: Hosts, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, Program(version, Digest.of(b"x")))
    assert host.take_over() is None
    assert host.take_over(needed=True) is None
    assert host.adopted == [] and host.journal.entries() == []


@pytest.mark.parametrize("own", [None, Program("0.1.0", Digest.of(b"unpacked elsewhere"))])
def test_only_the_hosts_own_program_lets_another_take_over(
    host: Hosts, own: Program | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(monkeypatch, own, OWN)
    assert host.take_over() is None
    assert host.adopted == []


def test_an_unsigned_program_is_passed_over_where_the_release_can_do_without(host: Hosts) -> None:
    (host.stick / "install.sigstore.json").unlink()
    assert host.take_over() is None
    assert host.adopted == [] and host.journal.entries() == []


def test_an_unsigned_program_is_refused_where_the_release_needs_it(host: Hosts) -> None:
    (host.stick / "install.sigstore.json").unlink()  # what is left is by anna's release key
    error = host.refusal()
    assert (error.exit_code, error.id) == (ExitCode.UNTRUSTED, "program-untrusted")
    assert "1.10.0" in error.message and "no-valid-signature" in error.message and "ida" in error.hint


def test_what_lies_beside_the_bundle_as_install_has_no_say(host: Hosts) -> None:
    (host.stick / "install").write_bytes(program("9.9.9", b"evil"))
    assert host.take_over() is not None
    assert host.adopted == [(program(), "1.10.0")]


def test_a_newer_program_that_does_not_run_here_is_passed_over_or_refused(
    host: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(data: bytes, version: str) -> Program:
        raise SealiftError("disk-full", "no room", hint="free 100 MB there")

    monkeypatch.setattr(handover, "adopt", fails)
    assert host.take_over() is None
    error = host.refusal()
    assert error.id == "program-untrusted" and "no room" in error.message
    assert host.journal.programs() == []


def test_reads_the_program_out_of_the_bundle(host: Hosts) -> None:
    offer = read_offer(open_media(host.stick, APART))
    assert offer is not None
    assert (offer.version, offer.data, offer.digest) == ("1.10.0", program(), Digest.of(program()))


# What the builder does with a program that was signed before.


def test_a_program_keeps_the_signatures_that_it_came_with(kit: Path) -> None:
    assert (kit / "install.sigstore.json").read_bytes() == key("ida").signature_file(program())
    assert (kit / "install.anna.sigstore.json").read_bytes() == key("anna").signature_file(program())
    page = (kit / "README.txt").read_text()
    assert "-verify installer.pub" in page and page.count("-verify release.pub") == 1


def test_the_builder_refuses_a_signature_over_another_program(tmp_path: Path) -> None:
    file = tmp_path / "install"
    file.write_bytes(program())
    sign_program(file, [key("ida"), key("ivo")])
    assert sorted(signatures_of(file)) == ["install.ivo.sigstore.json", "install.sigstore.json"]
    file.write_bytes(program(rest=b"built again"))
    with pytest.raises(SealiftError) as caught:
        signatures_of(file)
    assert caught.value.id == "signature-of-another"
