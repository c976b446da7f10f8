"""Every limit from both sides: what is just within it is taken, what is just beyond is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from installer.bundle.archive import ArchiveWriter, BundleReader
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
from installer.bundle.release import MAX_RELEASE_BYTES, Release
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, parse_signature
from installer.bundle.strictjson import canonical, parse, parse_canonical
from installer.bundle.tarheader import MAX_SIZE, padding, parse_header, tar_header
from installer.errors import SealiftError
from tests.unit.bundle.asking import checked, refusal
from tests.vectors.forge import (
    RELEASE,
    Forge,
    Member,
    block,
    file_of,
    frames_of,
    zstd_frame,
)


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
    assert read_frames(zstd_frame(b"w", flags=0b1000_0000, extra=bytes([12 << 3 | 7]))) == [b"w"]
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


def test_takes_small_frames_of_the_library_and_knows_its_own_table() -> None:
    assert read_frames(*(compress_frame(b"x" * size) for size in (0, 1, 100, 255, 256))) == [
        b"x" * size for size in (0, 1, 100, 255, 256)
    ]
    entries = struct.pack("<IIII", 11, 2, 12, 3)
    footer = struct.pack("<I", 2) + b"\0" + bytes.fromhex("b1ea928f")
    table = bytes.fromhex("5e2a4d18") + struct.pack("<I", len(entries + footer)) + entries + footer
    assert seek_table([FrameSpan(11, 2), FrameSpan(12, 3)]) == table


def test_counts_what_blocks_hold_across_one_that_is_compressed() -> None:
    inner = compress_frame(b"x" * 1000)
    packed = inner[len(inner) - (int.from_bytes(inner[6 + 1 : 6 + 4], "little") >> 3) :]
    mixed = [block(bytes(600)), block(packed, kind=2), block(bytes(600), last=True)]
    frame = zstd_frame(bytes(1000), blocks=mixed)
    assert refusal(lambda: FrameReader(io.BytesIO(frame)).skip()).id == "frame-overflow"


def test_reads_no_more_of_what_follows_than_it_needs() -> None:
    frame = raw_frame(b"x")
    table = seek_table([FrameSpan(len(frame), 1)])
    file = io.BytesIO(frame + table + bytes(1_000_000))
    reader = FrameReader(file)
    reader.skip()
    assert refusal(reader.finish).id == "trailing-data"
    assert file.tell() <= len(frame) + len(table) + 2


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


def test_signature_file_is_refused_by_its_size_before_it_is_parsed() -> None:
    assert refusal(lambda: parse_signature(b"{" * (MAX_SIGNATURE_BYTES + 1), "x")).id == "signature-too-large"
    assert refusal(lambda: parse_signature(b"{" * MAX_SIGNATURE_BYTES, "x")).id == "json-invalid"


def test_release_finds_an_image_by_its_name() -> None:
    release = Release.parse(Forge().statement)
    for image in release.images:
        assert release.image(image.name) is image


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


@pytest.mark.parametrize(
    ("offset", "byte", "error"),
    [
        (100, ord("1"), "member-mode"),
        (108, ord("1"), "member-owner"),
        (116, ord("1"), "member-owner"),
        (136, ord("1"), "member-time"),
        (265, ord("1"), "member-owner"),
        (328, ord("1"), "member-owner"),
        (124, 0x81, "size-overflow"),
        (125, 0x01, "size-overflow"),
    ],
)
def test_tar_header_is_judged_by_every_byte_of_a_field(offset: int, byte: int, error: str) -> None:
    header = bytearray(tar_header("a", MAX_SIZE))
    header[offset] = byte
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * ord(" "))
    assert refusal(lambda: parse_header(bytes(header))).id == error


def test_tar_checksum_is_read_with_its_first_digit() -> None:
    header = bytearray(tar_header("a", 1))
    header[148] = ord("1")
    assert refusal(lambda: parse_header(bytes(header))).id == "tar-checksum"


def test_tar_header_is_for_a_plain_file_unless_a_mode_is_named() -> None:
    assert parse_header(tar_header("a", 1)).mode == 0o644


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
    ("forge", "cap", "error_id"),
    [
        (lambda data: Forge(packing=data), MAX_PACKING_BYTES, "packing-too-large"),
        (lambda data: Forge(raw=data), MAX_RELEASE_BYTES, "release-too-large"),
    ],
)
def test_head_is_cut_off_beyond_each_cap_and_not_before(
    forge: Callable[[bytes], Forge], cap: int, error_id: str
) -> None:
    just, beyond = (forge(b" " * size).bytes() for size in (cap, cap + 1))
    assert refusal(lambda: checked(just)).id == "json-invalid"
    assert refusal(lambda: checked(beyond)).id == error_id


def test_knows_a_bundle_that_was_cut_from_what_never_was_one() -> None:
    magic = Forge().bytes()[:4]
    assert [refusal(lambda data=data: checked(data)).id for data in (b"", magic[:3], magic, magic + b"\xa0")] == [  # type: ignore[misc]
        *["not-a-bundle"] * 3,
        "truncated",
    ]
