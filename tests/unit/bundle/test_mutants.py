"""What no other test noticed when the verifier was changed by a word: see docs/mutation.md."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import Signature  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from installer.bundle import rootfile
from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.digest import Digest
from installer.bundle.frames import FrameReader
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.rootfile import version_of
from installer.bundle.signature import parse_signature
from installer.bundle.signers import Identity, PublicKey, Signer, read_public_key
from installer.bundle.trust import MAX_ROOT_BYTES, TrustPolicy
from installer.bundle.verify import read_content, verify_release, verify_statement
from installer.errors import SealiftError
from tests.unit.bundle.asking import checked, refusal
from tests.vectors.catalogue import HOSTILE
from tests.vectors.forge import (
    EXPIRES,
    INSTALLER,
    RELEASE,
    ROOT,
    SECOND,
    STRANGER,
    Forge,
    Member,
    demands,
    file_of,
    frames_of,
    root_of,
)
from tests.vectors.judge import installed
from tests.vectors.vector import Vector

HEX = hashlib.sha256(b"x").hexdigest()


class Choosy(Sink):
    """Wants one kind of member, and keeps nothing."""

    def __init__(self, wanted: Callable[[File | Descriptor], bool]) -> None:
        self._wanted = wanted

    def open(self, member: File | Descriptor) -> Writer | None:
        return Forgetful() if self._wanted(member) else None

    def close(self) -> None:
        """Nothing is pending."""


class Forgetful(Writer):
    def write(self, chunk: bytes) -> None:
        """Forgotten."""

    def finish(self) -> None:
        """Forgotten."""

    def abort(self) -> None:
        """Forgotten."""


def damaged(name: str) -> bytes:
    """A bundle that is well made in all but the bytes of one member."""
    members = [
        replace(member, data=bytes(len(member.data) - 1) + b"!") if member.name == name else member
        for member in Forge().members()
    ]
    return file_of(frames_of(members))


CONTENT = [name for name, data in Forge().content.items() if data]


def test_reads_the_one_spelling_of_a_digest() -> None:
    digest = Digest.parse(f"sha256:{HEX}")
    assert (digest.hex, digest.short, str(digest)) == (HEX, HEX[:8], f"sha256:{HEX}")
    assert digest == Digest.of(b"x")


@pytest.mark.parametrize(
    "text",
    ["", HEX, f"sha256:{HEX[1:]}", f"sha256:{HEX}0", f"sha256:{HEX}\n", f"SHA256:{HEX}", f"sha256:{HEX.upper()}",
     f"sha512:{HEX}", f" sha256:{HEX}"],
)  # fmt: skip
def test_refuses_another_spelling_of_a_digest(text: str) -> None:
    assert refusal(lambda: Digest.parse(text)).id == "digest-malformed"


@pytest.mark.parametrize("name", CONTENT)
def test_checks_every_member_although_nobody_wants_it(name: str) -> None:
    error = refusal(lambda: checked(damaged(name)))
    assert (error.id, name in error.message) == ("digest-mismatch", True)
    error = refusal(lambda: checked(damaged(name), Choosy(lambda member: False)))
    assert error.id == "digest-mismatch"


@pytest.mark.parametrize("name", CONTENT)
def test_quick_checks_what_is_wanted_and_names_the_rest(name: str) -> None:
    digest = str(Digest.of(Forge().content[name]))
    wants = Choosy(lambda member: member.digest == digest)
    assert refusal(lambda: checked(damaged(name), wants, quick=True)).id == "digest-mismatch"
    _, left, _ = checked(Forge().bytes(), wants, quick=True)
    assert left == tuple(other for other in Forge().content if other != name)
    _, left, _ = checked(damaged(name), Choosy(lambda member: member.digest != digest), quick=True)
    assert left == (name,)


def test_reports_progress_as_bytes_that_were_passed() -> None:
    data = Forge().bytes()
    _, left, steps = checked(data)
    assert (left, min(steps) >= 0) == ((), True)
    table = 8 + 8 * len(Forge().frames()) + 9
    assert sum(steps) == len(data) - table - len(Forge().frames()[-1].data)


def test_verified_release_carries_what_was_judged() -> None:
    forge = Forge(keys=(RELEASE, STRANGER))
    verified, _, _ = checked(forge.bytes())
    assert verified.raw == forge.statement
    assert verified.digest == Digest.of(forge.statement)
    assert verified.signatures == forge.signatures
    assert verified.policy_origin == "root.json"
    assert [(signer.key, signer.name) for signer in verified.signers] == [(Digest.of(RELEASE.spki), "release")]


def test_one_key_speaks_for_releases_and_the_installer() -> None:
    policy = TrustPolicy.from_key(RELEASE.pem, "release.pub")
    assert (policy.origin, policy.product, sorted(policy.roles)) == ("release.pub", None, ["installer", "release"])
    signature = {"install.sigstore.json": RELEASE.signature_file(b"program")}
    assert [signer.name for signer in policy.judge("installer", b"program", signature)] == ["release.pub"]
    error = refusal(lambda: TrustPolicy.from_key(b"no key", "release.pub"))
    assert (error.id, "release.pub" in error.message) == ("key-unreadable", True)


def test_reads_public_keys_of_one_kind_alone() -> None:
    assert read_public_key(RELEASE.pem, "x") == RELEASE.spki
    others = (
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        Ed25519PrivateKey.generate(),
    )
    for other in others:
        pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        error = refusal(lambda pem=pem: read_public_key(pem, "the.pub"))  # type: ignore[misc]
        assert (error.id, error.message) == ("key-unreadable", "the.pub is not an ECDSA P-256 key")
    assert refusal(lambda: read_public_key(b"x", "the.pub")).message == "the.pub is not a PEM public key"


def test_signer_is_told_as_a_key_or_as_somebody() -> None:
    somebody = Identity("a@vendor.example", "https://login.vendor.example", "Ann")
    key, ann, nameless = (
        Signer.of(one)
        for one in (PublicKey(RELEASE.spki, "release"), somebody, replace(somebody, name=somebody.identity))
    )
    assert (key.key, ann.key) == (Digest.of(RELEASE.spki), somebody.fingerprint)
    assert key.as_json() == {"key": str(key.key), "name": "release"}
    assert ann.as_json() == {"identity": somebody.identity, "issuer": somebody.issuer, "name": "Ann"}
    assert key.line() == f"release {key.key}"
    assert ann.line() == "Ann a@vendor.example (issuer https://login.vendor.example)"
    assert nameless.line() == "a@vendor.example (issuer https://login.vendor.example)"
    spelled = (
        b'{"keytype":"sigstore-oidc","keyval":{"identity":"a@vendor.example",'
        b'"issuer":"https://login.vendor.example"},"scheme":"Fulcio"}'
    )
    assert somebody.fingerprint == Digest.of(spelled)


def test_takes_a_root_of_just_the_greatest_size() -> None:
    root = root_of(RELEASE)
    full = root + b" " * (MAX_ROOT_BYTES - len(root))
    assert TrustPolicy.from_root(full, "root.json").product == "p"
    assert refusal(lambda: TrustPolicy.from_root(full + b" ", "root.json")).id == "root-too-large"


def remade(root: bytes, change: Callable[[Root], None]) -> bytes:
    """Another version of a root, signed again."""
    metadata: Metadata[Root] = Metadata.from_bytes(root)
    change(metadata.signed)
    (keyid,) = metadata.signed.roles["root"].keyids
    metadata.signatures = {keyid: Signature(keyid, ROOT.sign(metadata.signed_bytes).hex())}
    return metadata.to_bytes()


def test_policy_says_what_the_root_says() -> None:
    def change(root: Root) -> None:
        root.version, root.expires = 7, EXPIRES

    policy = TrustPolicy.from_root(remade(root_of(RELEASE, SECOND, threshold=2), change), "root.json")
    assert (policy.origin, policy.product, policy.root_version, policy.expires) == ("root.json", "p", 7, EXPIRES)
    assert sorted(policy.roles) == ["installer", "permit", "release"]
    assert [key.spki for key in policy.roles["installer"].keys] == [INSTALLER.spki]
    assert {key.spki for key in policy.roles["release"].keys} == {RELEASE.spki, SECOND.spki}
    assert policy.roles["release"].threshold == 2
    assert TrustPolicy.from_root(root_of(RELEASE, product="*"), "root.json").product is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("", None),
        ("a\x1b[2Jb", None),
        (7, None),
        (None, None),
        ("Jörg", "Jörg"),
    ],
)
def test_shows_a_key_by_its_name_or_else_by_its_fingerprint(name: object, shown: str | None) -> None:
    keyid = Digest.of(RELEASE.spki).hex

    def change(root: Root) -> None:
        del root.keys[keyid].unrecognized_fields["x-sealift-name"]
        if name is not None:
            root.keys[keyid].unrecognized_fields["x-sealift-name"] = name

    policy = TrustPolicy.from_root(remade(root_of(RELEASE), change), "root.json")
    assert [key.name for key in policy.roles["release"].keys] == [keyid[:8] if shown is None else shown]


def test_says_who_has_signed_and_who_has_not() -> None:
    forge = Forge()
    short = {key.name: f"{key.name} ({Digest.of(key.spki).short})" for key in (RELEASE, SECOND, INSTALLER)}
    policy = TrustPolicy.from_root(root_of(RELEASE, SECOND, INSTALLER, threshold=2), "root.json")
    error = refusal(lambda: policy.judge("release", forge.statement, forge.signatures))
    everybody, missing = error.hint.removesuffix(": ask one of them to sign").split("; not yet signed by ")
    assert everybody.startswith("root.json (root version 1) wants 2 of: ")
    assert set(everybody.removeprefix("root.json (root version 1) wants 2 of: ").split(", ")) == set(short.values())
    assert set(missing.split(", ")) == {short["second"], short["installer"]}
    only = TrustPolicy.from_root(root_of(INSTALLER), "root.json")
    strangers = {f"signatures/{key.name}": key.signature_file(forge.statement) for key in (STRANGER, SECOND)}
    error = refusal(lambda: only.judge("release", forge.statement, strangers))
    seen = ", ".join(sorted(Digest.of(key.spki).short for key in (STRANGER, SECOND)))
    assert f"(signed by {seen})" in error.message
    assert "root.json (root version 1) wants 1 of" in error.hint


def test_refuses_in_words_and_names_no_nothing() -> None:
    for vector in HOSTILE:
        error = refused_vector(vector)
        assert error.message, vector.name
        assert not re.search(r"\bNone\b|XX", error.message + " " + error.hint), f"{vector.name}: {error.message}"


def refused_vector(vector: Vector) -> SealiftError:
    """What the verifier says of a hostile vector."""
    bundle, root = vector.bundle, vector.trusted
    return refusal(lambda: installed(io.BytesIO(bundle), TrustPolicy.from_root(root, "root.json")))


def test_names_the_place_where_another_member_stands() -> None:
    members = Forge().members()
    surplus = [*members, Member("docs/more.md", b"x")]
    error = refusal(lambda: checked(file_of(frames_of(surplus))))
    assert (error.id, "docs/more.md" in error.message) == ("member-unexpected", True)
    swapped = [*members[:3], members[4], members[3], *members[5:]]
    error = refusal(lambda: checked(file_of(frames_of(swapped))))
    assert error.message == f"the bundle holds {members[4].name} where {members[3].name} must be"


@pytest.mark.parametrize("form", ["certificate", "x509CertificateChain"])
def test_says_that_a_signature_by_certificate_is_another_form(form: str) -> None:
    value = json.loads(RELEASE.signature_file(b"payload"))
    value["verificationMaterial"] = {form: {}}
    plain: dict[str, object] = {"something": {}}
    other = refusal(lambda: parse_signature(json.dumps(value | {"verificationMaterial": plain}).encode(), "x"))
    assert refusal(lambda: parse_signature(json.dumps(value).encode(), "x")).id != other.id == "signature-field"


@pytest.mark.parametrize(("late", "error_id"), [(-1, None), (0, "root-expired"), (1, "root-expired")])
def test_asks_what_time_it_is_under_the_root_that_was_reached(late: int, error_id: str | None) -> None:
    policy = TrustPolicy.from_root(root_of(RELEASE, expired="refuse"), "root.json")
    asked: list[TrustPolicy] = []

    def now(root: TrustPolicy) -> datetime:
        asked.append(root)
        return EXPIRES + timedelta(seconds=late)

    with BundleReader.from_file(io.BytesIO(Forge().bytes()), "x.bundle.tar.zst") as reader:
        if error_id is None:
            assert verify_release(reader, policy, now=now).policy == policy
        else:
            assert refusal(lambda: verify_release(reader, policy, now=now)).id == error_id
    assert asked == [policy]


@pytest.mark.parametrize(("channel", "error_id"), [("stable", "requirement-not-met"), ("candidate", None)])
def test_asks_what_the_channel_of_the_release_demands(channel: str, error_id: str | None) -> None:
    rule = demands("customer", SECOND, channels=frozenset({channel}))
    policy, forge = TrustPolicy.from_root(root_of(RELEASE, requirements=[rule]), "root.json"), Forge()
    if error_id is None:
        assert verify_statement(forge.statement, forge.signatures, policy).policy == policy
    else:
        assert refusal(lambda: verify_statement(forge.statement, forge.signatures, policy)).id == error_id


@pytest.mark.parametrize(
    ("raw", "error_id"),
    [
        (b"{}", "root-malformed"),
        (b'{"signed":{}}', "root-malformed"),
        (b'{"signed":[]}', "root-malformed"),
        (b'{"signed":{"version":"1"}}', "root-malformed"),
        (b'{"signed":{"version":true}}', "root-malformed"),
        (b"not json", "json-invalid"),
        (b'{"signed":{"version":1}}' + b" " * MAX_ROOT_BYTES, "root-too-large"),
    ],
)
def test_refuses_the_version_of_what_is_no_root(raw: bytes, error_id: str) -> None:
    error = refusal(lambda: version_of(raw, "the file x.json"))
    assert (error.id, error.exit_code) == (error_id, 3) and "the file x.json" in error.message


def test_reads_the_version_that_a_root_claims() -> None:
    assert version_of(b'{"signed":{"version":7}}', "x") == 7
    begin, end = b'{"signed":{"version":7,"x":"', b'"}}'
    assert version_of(begin + b"x" * (MAX_ROOT_BYTES - len(begin) - len(end)) + end, "x") == 7


def test_no_frame_is_read_whose_size_was_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each header, the list and the packing: so that no other frame is unpacked into memory."""
    asked: list[object] = []
    real = FrameReader.read

    def read(frames: FrameReader, expected: Collection[int] | None = None) -> bytes:
        asked.append(expected)
        return real(frames, expected)

    monkeypatch.setattr(FrameReader, "read", read)
    checked(Forge().bytes())
    assert asked and all(asked)


@pytest.mark.parametrize(
    "place", [("messageSignature", "messageDigest", "digest"), ("verificationMaterial", "publicKey", "hint")]
)
@pytest.mark.parametrize("length", [31, 33])
def test_refuses_a_digest_or_a_hint_of_another_length(place: tuple[str, str, str], length: int) -> None:
    value = json.loads(RELEASE.signature_file(b"{}"))
    first, second, third = place
    value[first][second][third] = base64.b64encode(bytes(length)).decode()
    error = refusal(lambda: parse_signature(json.dumps(value).encode(), "signatures/x.sigstore.json"))
    assert error.id == "signature-base64"


def test_everybody_who_may_sign_are_the_keys_of_all_roles_and_of_the_root() -> None:
    names = {signer.name for signer in TrustPolicy.from_root(root_of(RELEASE), "root.json").everybody().values()}
    assert names >= {"release", "installer", "root"}
    assert len(RELEASE.policy.everybody()) == 1


def test_policy_has_the_epoch_of_its_root() -> None:
    assert TrustPolicy.from_root(root_of(RELEASE, epoch=3), "root.json").epoch == 3


@pytest.mark.parametrize("keyval", [{}, [], None])
def test_refuses_a_key_of_a_root_without_its_bytes(keyval: object) -> None:
    error = refusal(lambda: rootfile._public_key("ecdsa-sha2-nistp256", keyval, "x", "0" * 64, "root.json"))
    assert (error.id, error.exit_code) == ("root-malformed", 3)


@pytest.mark.parametrize("name", CONTENT)
def test_reading_content_checks_all_of_it_unless_asked_otherwise(name: str) -> None:
    with BundleReader.from_file(io.BytesIO(damaged(name)), "x.bundle.tar.zst") as reader:
        release = Release.parse(reader.head.release)
        assert refusal(lambda: read_content(reader, release)).id == "digest-mismatch"
