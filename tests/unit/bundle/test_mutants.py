"""What no other test noticed when the verifier was changed by a word: see docs/mutation.md."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest
from securesystemslib.signer import Signature  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from installer.bundle.archive import ArchiveWriter, BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.digest import Digest
from installer.bundle.frames import (
    FRAME_DATA,
    MAX_CONTENT,
    FrameReader,
    FrameSpan,
    compress_frame,
    raw_frame,
    seek_table,
)
from installer.bundle.packing import MAX_PACKING_BYTES
from installer.bundle.release import MAX_RELEASE_BYTES, Descriptor, File
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES
from installer.bundle.strictjson import canonical, parse, parse_canonical
from installer.bundle.tarheader import MAX_SIZE, padding, parse_header, tar_header
from installer.bundle.trust import MAX_ROOT_BYTES, TrustPolicy
from installer.bundle.verify import VerifiedRelease, check_content, verify_release
from installer.errors import SealiftError
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
    block,
    file_of,
    frames_of,
    root_of,
    zstd_frame,
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


def refusal(run: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        run()
    return caught.value


def checked(data: bytes, *sinks: Sink, quick: bool = False) -> tuple[VerifiedRelease, tuple[str, ...], list[int]]:
    """The verified release, what was not checked, and every report of progress."""
    steps: list[int] = []
    policy = TrustPolicy.from_root(root_of(RELEASE), "root.json")
    with BundleReader.from_file(io.BytesIO(data), "x.bundle.tar.zst") as reader:
        verified = verify_release(reader, policy)
        if quick:
            left = check_content(reader, verified, sinks, progress=steps.append, quick=True)
        else:  # as everybody calls it who says nothing
            left = check_content(reader, verified, sinks, progress=steps.append)
    return verified, left, steps


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
    assert everybody.startswith("root.json wants 2 of: ")
    assert set(everybody.removeprefix("root.json wants 2 of: ").split(", ")) == set(short.values())
    assert set(missing.split(", ")) == {short["second"], short["installer"]}
    only = TrustPolicy.from_root(root_of(INSTALLER), "root.json")
    strangers = {f"signatures/{key.name}": key.signature_file(forge.statement) for key in (STRANGER, SECOND)}
    error = refusal(lambda: only.judge("release", forge.statement, strangers))
    seen = ", ".join(sorted(Digest.of(key.spki).short for key in (STRANGER, SECOND)))
    assert f"(signed by {seen})" in error.message
    assert "root.json wants 1 of" in error.hint


def test_refuses_in_words_and_names_no_nothing() -> None:
    for vector in HOSTILE:
        error = refused_vector(vector)
        assert error.message, vector.name
        assert not re.search(r"\bNone\b|XX", error.message + " " + error.hint), f"{vector.name}: {error.message}"


def refused_vector(vector: Vector) -> SealiftError:
    """What the verifier says of a hostile vector."""
    bundle, root = vector.make(), vector.root()
    return refusal(lambda: installed(io.BytesIO(bundle), TrustPolicy.from_root(root, "root.json")))


def test_names_the_place_where_another_member_stands() -> None:
    members = Forge().members()
    surplus = [*members, Member("docs/more.md", b"x")]
    error = refusal(lambda: checked(file_of(frames_of(surplus))))
    assert (error.id, "docs/more.md" in error.message) == ("member-unexpected", True)
    swapped = [*members[:3], members[4], members[3], *members[5:]]
    error = refusal(lambda: checked(file_of(frames_of(swapped))))
    assert error.message == f"the bundle holds {members[4].name} where {members[3].name} must be"


def test_takes_as_many_and_as_large_signatures_as_the_page_says() -> None:
    def edit(made: dict[str, bytes]) -> dict[str, bytes]:
        (own,) = made.values()
        full = own + b" " * (MAX_SIGNATURE_BYTES - len(own))
        return {f"signatures/k{number:02}.sigstore.json": full for number in range(MAX_SIGNATURES)}

    verified, _, _ = checked(Forge(edit_signatures=edit).bytes())
    assert len(verified.signatures) == MAX_SIGNATURES
    longer = {"signatures/k.sigstore.json": RELEASE.signature_file(b"") + b" " * MAX_SIGNATURE_BYTES}
    error = refusal(lambda: checked(Forge(edit_signatures=lambda _: longer).bytes()))
    assert (error.id, "signatures/k.sigstore.json" in error.message) == ("signature-too-large", True)
    one_more = {**edit(Forge().signatures), "signatures/z.sigstore.json": RELEASE.signature_file(b"")}
    assert refusal(lambda: checked(Forge(edit_signatures=lambda _: one_more).bytes())).id == "signatures-too-many"


def read_frames(*frames: bytes, expected: Collection[int] | None = None) -> list[bytes]:
    """The contents of these frames, read and passed over alike, with the seek table that fits them."""
    contents = []
    read, skipped = (FrameReader(io.BytesIO(b"".join(frames))) for _ in range(2))
    for frame in frames:
        contents.append(read.read(expected))
        skipped.skip(expected)
        assert read.spans[-1] == FrameSpan(len(frame), len(contents[-1]))
    assert (read.spans, read.position) == (skipped.spans, skipped.position) and read.position == len(b"".join(frames))
    data = b"".join(frames) + seek_table(read.spans)
    whole = FrameReader(io.BytesIO(data))
    for _ in frames:
        whole.skip()
    whole.finish()
    return contents


def blocks(count: int, *, content: int = 0) -> bytes:
    """A frame of ``count`` blocks, all empty but the last."""
    cut = [block(b"", last=False)] * (count - 1) + [block(bytes(content), last=True)]
    return zstd_frame(bytes(content), blocks=cut)


def test_takes_frames_up_to_each_limit() -> None:
    assert read_frames(raw_frame(bytes(MAX_CONTENT)), compress_frame(bytes(MAX_CONTENT))) == [bytes(MAX_CONTENT)] * 2
    assert read_frames(raw_frame(b""), compress_frame(b"x" * 700), raw_frame(b"y")) == [b"", b"x" * 700, b"y"]
    assert read_frames(blocks(8), blocks(9, content=1024), blocks(8, content=1023))[1] == bytes(1024)
    one = zstd_frame(b"z" * 2**17, blocks=[block(b"z", kind=1, length=2**17, last=True)])
    assert read_frames(one) == [b"z" * 2**17]
    # 2**23, the largest window: exponent 13, mantissa 0; and the size of the content in 4 bytes
    assert read_frames(zstd_frame(b"w", flags=0b1000_0000, extra=bytes([13 << 3]))) == [b"w"]
    assert read_frames(raw_frame(b"ab"), raw_frame(b"abc"), expected=(3, 2)) == [b"ab", b"abc"]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (raw_frame(bytes(MAX_CONTENT + 1)), "frame-too-large"),
        (blocks(9), "frame-blocks"),
        (blocks(9, content=1023), "frame-blocks"),
        (zstd_frame(bytes(2**17 + 1), blocks=[block(bytes(2**17 + 1), last=True)]), "frame-block"),
        (zstd_frame(b"w", flags=0b1000_0000, extra=bytes([13 << 3 | 1])), "frame-window"),
        (zstd_frame(b"ab", blocks=[block(b"abc", last=True)]), "frame-overflow"),
        (zstd_frame(b"abc", blocks=[block(b"ab", last=True)]), "frame-corrupt"),
    ],
)
def test_refuses_frames_beyond_each_limit(frame: bytes, error: str) -> None:
    assert refusal(lambda: FrameReader(io.BytesIO(frame)).read()).id == error
    if error != "frame-corrupt":  # what is passed over is not unpacked
        assert refusal(lambda: FrameReader(io.BytesIO(frame)).skip()).id == error


def test_says_which_frame_sizes_were_wanted() -> None:
    error = refusal(lambda: FrameReader(io.BytesIO(raw_frame(b"x"))).read((512, 1024)))
    assert (error.id, error.message) == ("frame-size", "a frame of 1 bytes where 512 or 1024 must stand")


def test_json_takes_what_is_just_within_each_limit() -> None:
    for text in (b"9007199254740991", b"-9007199254740991", b"0", b"[" * 31 + b"{}" + b"]" * 31):
        assert canonical(parse(text, "x")) == text + b"\n"
    assert parse_canonical('{"a":"ü","b":[null,true,false]}\n'.encode(), "x") == {"a": "ü", "b": [None, True, False]}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"9007199254740992", "json-number"),
        (b"-9007199254740992", "json-number"),
        (b"1.0", "json-number"),
        (b"1e1", "json-number"),
        (b"NaN", "json-number"),
        (b"-Infinity", "json-number"),
        (b"[" * 32 + b"{}" + b"]" * 32, "json-depth"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "json-depth"),
        (b'{"a":1,"a":1}', "json-duplicate-key"),
        (b'"\\ud800"', "json-surrogate"),
        (b"\xff", "json-not-utf8"),
        (b"{", "json-invalid"),
    ],
)
def test_json_refuses_what_is_beyond(text: bytes, error: str) -> None:
    caught = refusal(lambda: parse(text, "the document"))
    assert (caught.id, "the document" in caught.message) == (error, True)


def test_json_writes_nothing_inexact() -> None:
    for value in (1.5, [1.5], {"a": (1.5,)}, {1: "a"}, float("nan")):
        with pytest.raises(ValueError, match=r"float|string"):
            canonical(value)
    with pytest.raises(SealiftError, match="not in canonical form"):
        parse_canonical(b'{"b":1,"a":1}\n', "x")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 2**33 - 1, 2**33, MAX_SIZE])
def test_tar_header_is_read_as_it_was_written(size: int) -> None:
    for mode in (0o644, 0o755):
        assert parse_header(tar_header("a" * 100, size, mode)) == ("a" * 100, size, mode)
    assert (size + padding(size)) % 512 == 0 and 0 <= padding(size) < 512


def test_tar_header_cannot_be_written_for_what_needs_two() -> None:
    for name in ("a" * 101, "ü"):
        with pytest.raises((ValueError, UnicodeEncodeError)):
            tar_header(name, 1)
    assert refusal(lambda: parse_header(tar_header("a", MAX_SIZE + 1))).id == "size-overflow"


def written(member: Member, piece: int, *, spelled: bool) -> bytes:
    """A member by the writer, its bytes coming in pieces; with ``spelled``, nothing is left to the defaults."""
    out = io.BytesIO()
    writer = ArchiveWriter(out)
    chunks = [member.data[start : start + piece] for start in range(0, len(member.data), piece)]
    if spelled:
        writer.member(member.name, len(member.data), chunks, mode=member.mode, compressed=member.packed)
    else:
        writer.member(member.name, len(member.data), chunks)
    writer.close()
    assert writer.written == len(out.getvalue())
    return out.getvalue()


@pytest.mark.parametrize("size", [0, 1, 512, FRAME_DATA - 1, FRAME_DATA, FRAME_DATA + 1, 2 * FRAME_DATA])
def test_writer_cuts_members_into_the_frames_of_the_page(size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    plain = Member("docs/a", data)
    expected = file_of(frames_of([plain]))
    for piece in (FRAME_DATA // 2 + 3, FRAME_DATA, 3 * FRAME_DATA):
        assert written(plain, piece, spelled=False) == expected
    packed = Member("tools/a", data, mode=0o755, packed=True)
    assert written(packed, FRAME_DATA, spelled=True) == file_of(frames_of([packed]))


def test_writer_refuses_another_number_of_bytes() -> None:
    for size, chunks in ((3, [b"ab"]), (3, [b"ab", b"cd"]), (0, [b"a"]), (1, [])):
        with pytest.raises(ValueError, match=rf"a: {sum(map(len, chunks))} bytes came instead of {size}"):
            ArchiveWriter(io.BytesIO()).member("a", size, chunks)


def test_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, error_id in ((tmp_path / "none", "media-unreadable"), (tmp_path, "media-not-a-file")):
        error = refusal(lambda path=path: BundleReader(path))  # type: ignore[misc]
        assert (error.id, str(path) in error.message, bool(error.hint)) == (error_id, True, True)
    bundle = Forge().write(tmp_path)
    with BundleReader(bundle) as reader:
        assert (reader.path, reader.size) == (bundle, bundle.stat().st_size)
    with BundleReader.from_file(io.BytesIO(Forge().bytes()), "stick/x") as reader:
        assert reader.path == Path("stick/x")


def test_quick_passes_over_no_frame_of_another_size() -> None:
    members = Forge().members()
    longer = [replace(member, pad=bytes(1024)) if member.name == "CHANGELOG.md" else member for member in members]
    error = refusal(lambda: checked(file_of(frames_of(longer)), quick=True))
    assert error.id == "frame-size"


@pytest.mark.parametrize(
    ("part", "cap", "error_id"),
    [("packing", MAX_PACKING_BYTES, "packing-too-large"), ("raw", MAX_RELEASE_BYTES, "release-too-large")],
)
def test_head_is_cut_off_beyond_each_cap_and_not_before(part: str, cap: int, error_id: str) -> None:
    just, beyond = (replace(Forge(), **{part: b" " * size}).bytes() for size in (cap, cap + 1))
    assert refusal(lambda: checked(just)).id == "json-invalid"
    assert refusal(lambda: checked(beyond)).id == error_id
