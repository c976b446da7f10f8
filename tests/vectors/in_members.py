"""Members: which there are, in which order, and what follows the last one."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from installer.bundle.frames import FRAME_DATA, compress_frame
from tests.vectors.forge import (
    CONFIG_TYPE,
    END_FRAME,
    Forge,
    Frame,
    Member,
    descriptor,
    file_of,
    frames_of,
    oci_descriptor,
)
from tests.vectors.in_frames import skippable
from tests.vectors.vector import Make, Vector, frames, good, member, members, tail, whole

Members = list[Member]


def without(name: str) -> Make:
    return members(lambda all_: [one for one in all_ if not one.name.startswith(name)])


def without_last(all_: Members) -> Members:
    return all_[:-1]


def at(all_: Members, name: str) -> int:
    return next(number for number, one in enumerate(all_) if one.name.startswith(name))


def inserted(new: Member, before: str | None) -> Make:
    """One more member, at the end without ``before``."""

    def change(all_: Members) -> Members:
        place = len(all_) if before is None else at(all_, before)
        return [*all_[:place], new, *all_[place:]]

    return members(change)


def repeated(name: str, before: str | None) -> Make:
    """A member once more, somewhere else."""

    def change(all_: Members) -> Members:
        place = len(all_) if before is None else at(all_, before)
        return [*all_[:place], all_[at(all_, name)], *all_[place:]]

    return members(change)


def swapped(one: str, other: str) -> Make:
    def change(all_: Members) -> Members:
        first, second = at(all_, one), at(all_, other)
        all_[first], all_[second] = all_[second], all_[first]
        return all_

    return members(change)


def renamed(old: str, new: str) -> Make:
    return member(old, lambda one: replace(one, name=new))


def data(of: str, change: Callable[[bytes], bytes]) -> Make:
    """The same header, other bytes."""
    return member(of, lambda one: replace(one, data=change(one.data)))


def blobs_swapped(all_: Members) -> Members:
    """Two members keep their headers and swap what they hold; sizes fit."""
    first, second = at(all_, "oci-layout"), at(all_, "index.json")
    size = len(all_[first].data)
    all_[first] = replace(all_[first], data=all_[second].data[:size])
    return all_


def sized_wrong() -> bytes:
    """A blob that holds the size and the name of another: its digest tells."""
    forge = Forge()
    names = list(forge.content)[-2:]
    forge.content[names[0]] = bytes(len(forge.content[names[0]]))
    return forge.bytes()


def large(change: Callable[[list[Frame]], list[Frame]]) -> Make:
    """A bundle with a blob of two frames and a half; ``change`` gets its frames."""

    def make() -> bytes:
        forge = Forge().copy()
        blob = b"".join(bytes([letter]) * FRAME_DATA for letter in b"ab") + b"c" * 700
        name = oci_descriptor(blob, "")["digest"].removeprefix("sha256:")
        forge.value["images"][0]["blobs"].append(descriptor(blob, CONFIG_TYPE))
        files = {path: held for path, held in forge.content.items() if not path.startswith("blobs/")}
        blobs = {path: held for path, held in forge.content.items() if path.startswith("blobs/")}
        blobs[f"blobs/sha256/{name}"] = blob
        forge.content = {**files, **dict(sorted(blobs.items()))}
        all_ = frames_of([replace(one, packed=False) for one in forge.members()])
        mine = [number for number, one in enumerate(all_) if one.label.startswith(f"blobs/sha256/{name} [")]
        start, end = mine[0], mine[-1] + 1
        return file_of([*all_[:start], *change(all_[start:end]), *all_[end:]])

    return make


def other_bundle() -> bytes:
    """Another release of the same product, validly signed."""
    forge = Forge().copy()
    forge.value["version"] = "2.0.0"
    return forge.bytes()


def entries(change: Callable[[list[tuple[int, int]]], list[tuple[int, int]]]) -> Make:
    """Other entries in the index, which stays well-formed."""

    def make(table: bytes) -> bytes:
        pairs = list(struct.iter_unpack("<II", table[8:-9]))
        new = b"".join(struct.pack("<II", *pair) for pair in change([(a, b) for a, b in pairs]))
        return table[:4] + struct.pack("<I", len(new) + 9) + new + struct.pack("<I", len(new) // 8) + table[-5:]

    return tail(make)


def mixed_digest() -> bytes:
    """The newer head lists another changelog of the same size."""
    forge = Forge().copy()
    text = b"# 1.0.0\n\n- other\n".ljust(len(forge.content["CHANGELOG.md"]), b"\n")
    entry = next(file for file in forge.value["files"] if file["path"] == "CHANGELOG.md")
    entry["digest"] = oci_descriptor(text, "")["digest"]
    return forge.bytes()


def cut(label: str) -> bytes:
    """The bundle up to the frame called ``label``."""
    whole_file, found = b"", Forge().frames()
    for one in found:
        if one.label == label:
            return whole_file
        whole_file += one.data
    raise KeyError(label)


EXTRA = Member("docs/extra.md", b"not listed\n")
# fmt: off
VECTORS = [
    Vector("cut-first-frame", "the file ends within the first frame", "truncated", whole(lambda b: b[:40])),
    Vector("good-large", "a member of three frames", None, large(lambda f: f)),
    Vector("missing-file", "a listed file is missing", "member-order", without("CHANGELOG.md")),
    Vector("missing-template", "the template is missing", "member-order", without("templates/")),
    Vector("missing-layout", "oci-layout is missing", "member-order", without("oci-layout")),
    Vector("missing-index", "index.json is missing", "member-order", without("index.json")),
    Vector("missing-last", "the last blob is missing", "member-missing", members(without_last)),
    Vector("missing-blobs", "all blobs are missing", "member-missing", without("blobs/")),
    Vector("missing-content", "everything after the head is missing", "member-missing", members(lambda m: m[:3])),
    Vector("missing-packing", "packing.json is missing", "member-unexpected", without("packing.json")),
    Vector("missing-release", "release.json is missing", "not-a-bundle", without("release.json")),
    Vector("missing-all", "an archive without members", "not-a-bundle", members(lambda m: [])),
    Vector("missing-after-release", "release.json alone", "member-missing", members(lambda m: m[:1])),
    Vector("missing-after-signature", "release.json and a signature alone", "member-missing", members(lambda m: m[:2])),
    Vector("repeated-next", "a file twice in a row", "member-repeated", repeated("CHANGELOG.md", "binaries/")),
    Vector("repeated-later", "a file again, much later", "member-repeated", repeated("CHANGELOG.md", "blobs/")),
    Vector("repeated-last", "a file again at the end", "member-repeated", repeated("CHANGELOG.md", None)),
    Vector("repeated-blob", "a blob again at the end", "member-repeated", repeated("blobs/", None)),
    Vector("repeated-signature", "a signature twice", "member-repeated", repeated("signatures/", "packing.json")),
    Vector("repeated-release", "release.json twice in a row", "member-unexpected", repeated("release.json", "signatures/")),
    Vector("repeated-release-later", "release.json again after the head", "member-unexpected", repeated("release.json", "CHANGELOG.md")),
    Vector("repeated-release-last", "release.json again at the end, where extractors overwrite", "member-unexpected", repeated("release.json", None)),
    Vector("repeated-packing", "packing.json twice", "member-unexpected", repeated("packing.json", "CHANGELOG.md")),
    Vector("signature-after-head", "a signature after the head", "member-unexpected", repeated("signatures/", "CHANGELOG.md")),
    Vector("swapped-files", "two files in the wrong order", "member-order", swapped("CHANGELOG.md", "docs/")),
    Vector("swapped-layout", "index.json before oci-layout", "member-order", swapped("oci-layout", "index.json")),
    Vector("swapped-parts", "blobs before files", "member-order", members(lambda m: [*m[:3], *m[-3:], *m[3:-3]])),
    Vector("swapped-blobs", "two blobs in the wrong order", "member-order", members(lambda m: [*m[:-2], m[-1], m[-2]])),
    Vector("swapped-head", "packing.json before the signatures: they are no part of the head", "unsigned", swapped("signatures/", "packing.json")),
    Vector("swapped-first", "the signature before release.json", "not-a-bundle", swapped("release.json", "signatures/")),
    Vector("packing-first", "packing.json before release.json", "not-a-bundle", swapped("release.json", "packing.json")),
    Vector("content-in-head", "a listed file before packing.json", "member-unexpected", repeated("CHANGELOG.md", "packing.json")),
    Vector("extra-first", "a file that is not listed, first", "not-a-bundle", inserted(EXTRA, "release.json")),
    Vector("extra-head", "a file that is not listed, in the head", "member-unexpected", inserted(EXTRA, "packing.json")),
    Vector("extra-middle", "a file that is not listed, in its place by name", "member-unexpected", inserted(EXTRA, "docs/")),
    Vector("extra-last", "a file that is not listed, at the end", "member-unexpected", inserted(EXTRA, None)),
    Vector("extra-blob", "a blob that is not listed", "member-unexpected", inserted(Member("blobs/sha256/" + "f" * 64, b"x"), None)),
    Vector("extra-apple", "what macOS leaves on sticks", "member-unexpected", inserted(Member("._CHANGELOG.md", b"x"), "CHANGELOG.md")),
    Vector("signature-upper-case", "a signature's name in capitals", "member-unexpected", renamed("signatures/", "signatures/Release.sigstore.json")),
    Vector("signature-other-suffix", "a signature with another suffix", "member-unexpected", renamed("signatures/", "signatures/release.json")),
    Vector("signature-nested", "a signature in a folder below", "member-unexpected", renamed("signatures/", "signatures/a/b.sigstore.json")),
    Vector("signature-hidden", "a signature whose name begins with a dot", "member-unexpected", renamed("signatures/", "signatures/.a.sigstore.json")),
    Vector("twin-file", "a name that differs only in case", "name-twin", renamed("CHANGELOG.md", "ChangeLog.md")),
    Vector("twin-last", "a twin of a file at the end", "name-twin", inserted(Member("changelog.MD", b"x"), None)),
    Vector("twin-blob", "a digest in capitals", "name-twin", member("blobs/", lambda m: replace(m, name="blobs/sha256/" + m.name[13:].upper()))),
    Vector("digest-file", "a file with one other letter", "digest-mismatch", data("CHANGELOG.md", lambda d: d[:-1] + b"!")),
    Vector("digest-tool", "a program with one other byte", "digest-mismatch", data("tools/", lambda d: b"\x7f" + d[1:])),
    Vector("digest-blob", "a blob of zeros", "digest-mismatch", sized_wrong),
    Vector("digest-swapped", "a member that holds the beginning of the next", "digest-mismatch", members(blobs_swapped)),
    Vector("digest-mixed", "the head of one release on the content of another", "digest-mismatch", mixed_digest),
    Vector("frames-swapped", "two data frames of one member swapped", "digest-mismatch", large(lambda f: [f[1], f[0], f[2]])),
    Vector("frames-repeated", "the first data frame in place of the second", "digest-mismatch", large(lambda f: [f[0], f[0], f[2]])),
    Vector("frames-dropped", "a data frame of three is missing", "frame-size", large(lambda f: [f[0], f[2]])),
    Vector("frames-added", "a data frame too many", "frame-size", large(lambda f: [f[0], f[1], f[1], f[2]])),
    Vector("frames-last-dropped", "the last data frame is missing", "frame-size", large(lambda f: f[:2])),
    Vector("end-not-zero", "the end of the archive holds a byte", "archive-end", frames(lambda f: [*f[:-1], Frame(compress_frame(bytes(1023) + b"x"), 1024, "end")])),
    Vector("end-missing", "no end of the archive", "frame-skippable", frames(lambda f: f[:-1])),
    Vector("end-half", "only one block of zeros at the end", "tar-number", frames(lambda f: [*f[:-1], Frame(compress_frame(bytes(512)), 512, "end")])),
    Vector("end-long", "an end of 10,240 bytes, as tar's records have it", "frame-size", frames(lambda f: [*f[:-1], Frame(compress_frame(bytes(10240)), 10240, "end")])),
    Vector("end-early", "an end in the middle, more behind it", "member-missing", frames(lambda f: [*f[:8], END_FRAME, *f[8:]])),
    Vector("end-twice", "two ends", "archive-second", frames(lambda f: [*f, END_FRAME])),
    Vector("second-archive", "the bundle twice in one file, one index", "archive-second", frames(lambda f: [*f, *f])),
    Vector("second-member", "a member after the end", "archive-second", frames(lambda f: [*f, *EXTRA.frames(), END_FRAME])),
    Vector("second-other", "another signed bundle after this one's frames", "archive-second", lambda: b"".join(f.data for f in Forge().frames()) + other_bundle()),
    Vector("index-missing", "no index", "truncated", tail(lambda t: b"")),
    Vector("index-cut", "half an index", "truncated", tail(lambda t: t[: len(t) // 2])),
    Vector("index-size", "an index with one other compressed size", "index-lies", entries(lambda e: [(e[0][0] + 1, e[0][1]), *e[1:]])),
    Vector("index-content", "an index with one other content size", "index-lies", entries(lambda e: [*e[:-1], (e[-1][0], 512)])),
    Vector("index-swapped", "an index with two entries swapped", "index-lies", entries(lambda e: [e[1], e[0], *e[2:]])),
    Vector("index-zeros", "an index of zeros", "index-lies", entries(lambda e: [(0, 0)] * len(e))),
    Vector("index-short", "an index that leaves out a frame", "index-malformed", entries(lambda e: e[:-1])),
    Vector("index-long", "an index with a frame too many", "index-malformed", entries(lambda e: [*e, (0, 0)])),
    Vector("index-empty", "an index of nothing", "index-malformed", entries(lambda e: [])),
    Vector("index-huge", "an index that claims 4 GiB", "index-malformed", tail(lambda t: t[:4] + b"\xff" * 4 + t[8:])),
    Vector("index-count", "an index that miscounts", "index-malformed", tail(lambda t: t[:-9] + b"\1\0\0\0" + t[-5:])),
    Vector("index-checksums", "an index that promises checksums", "index-malformed", tail(lambda t: t[:-5] + b"\x80" + t[-4:])),
    Vector("index-magic", "an index with another last magic", "index-malformed", tail(lambda t: t[:-1] + b"\0")),
    Vector("index-other-frame", "another skippable frame instead of the index", "index-malformed", tail(lambda t: skippable(0) + bytes(len(t)))),
    Vector("trailing-byte", "one byte after the end", "trailing-data", whole(lambda b: b + b"x")),
    Vector("trailing-newline", "a newline after the end", "trailing-data", whole(lambda b: b + b"\n")),
    Vector("trailing-zeros", "zeros after the end", "trailing-data", whole(lambda b: b + bytes(4096))),
    Vector("trailing-index", "the index twice", "trailing-data", tail(lambda t: t + t)),
    Vector("trailing-skippable", "a skippable frame after the index", "trailing-data", whole(lambda b: b + skippable(3))),
    Vector("trailing-bundle", "the same bundle once more", "trailing-data", whole(lambda b: b + b)),
    Vector("trailing-other", "another signed bundle behind this one", "trailing-data", lambda: good() + other_bundle()),
    Vector("trailing-zip", "a zip archive behind it, which zip readers would open", "trailing-data", whole(lambda b: b + b"PK\x05\x06" + bytes(18))),
    *(
        Vector(f"cut-{place}", f"the file ends before {label}", "truncated", partial(cut, label))
        for place, label in (
            ("release", "release.json [0]"), ("signature", "header of signatures/release.sigstore.json"), ("packing", "packing.json [0]"),
            ("file", "header of CHANGELOG.md"), ("tool", "tools/compose [0]"), ("layout", "header of index.json"), ("end", "end"),
        )
    ),
]
# fmt: on
