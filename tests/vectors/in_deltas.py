"""Deltas: what packing.json says of them, and the members that follow. The release is good and validly signed."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from installer.bundle.digest import Digest
from installer.bundle.packing import DELTA_TYPE
from installer.bundle.strictjson import canonical
from tests.vectors.forge import LAYER_TYPE, Forge, Member, file_of, frames_of
from tests.vectors.vector import Make, Vector

HEX = "a" * 64
LEFT_OUT = "tools/compose"
PATCHES = (b"one patch\n" * 30, b"another patch\n" * 30)


@cache
def layer() -> str:
    """The digest of the layer that the patches give."""
    blobs = Forge().value["images"][0]["blobs"]
    return str(next(blob["digest"] for blob in blobs if blob["media_type"] == LAYER_TYPE))


def manifest() -> str:
    return str(Forge().value["images"][0]["digest"])


def config() -> str:
    return str(Forge().value["images"][0]["blobs"][0]["digest"])


def patch(data: bytes, base: str, **fields: Any) -> dict[str, Any]:
    made = {"base": base, "base_unpacked": 70, "digest": str(Digest.of(data)), "encoding": {"kind": "none"}}
    return {**made, "size": len(data), "reach": 70, "target": layer(), "unpacked": 80, **fields}


def good_value() -> dict[str, Any]:
    """Leaves one tool out, and has two patches for the layer."""
    patches = [patch(data, "sha256:" + HEX[:-1] + str(number)) for number, data in enumerate(PATCHES)]
    return {
        "type": DELTA_TYPE,
        "kind": "delta",
        "since": ["p 0.8.0", "p 0.9.0"],
        "absent": [LEFT_OUT],
        "patches": sorted(patches, key=lambda one: str(one["digest"])),
    }


def good_members(value: dict[str, Any] | None = None, raw: bytes | None = None) -> list[Member]:
    """What the good delta carries, with another packing.json where there is one."""
    told = canonical(value or good_value()) if raw is None else raw
    gone = {LEFT_OUT, f"blobs/sha256/{layer()[7:]}"}
    carried = [one for one in Forge(packing=told).members() if one.name not in gone]
    patches = [Member(f"patches/{Digest.of(data).hex}", data, packed=True) for data in PATCHES]
    return [*carried, *sorted(patches, key=lambda one: one.name)]


def told(change: Callable[[dict[str, Any]], object]) -> Make:
    """Another packing.json before the same members."""

    def make() -> bytes:
        value = copy.deepcopy(good_value())
        change(value)
        return file_of(frames_of(good_members(value)))

    return make


def put(*place: str | int, to: Any) -> Make:
    """The field at ``place`` of packing.json holds ``to``."""

    def change(value: dict[str, Any]) -> None:
        node: Any = value
        for step in place[:-1]:
            node = node[step]
        node[place[-1]] = to

    return told(change)


def encoding(**fields: Any) -> Make:
    return put("patches", 0, "encoding", to=fields)


def raw(data: bytes) -> Make:
    return lambda: file_of(frames_of(good_members(raw=data)))


def members(change: Callable[[list[Member]], list[Member]]) -> Make:
    """Other members after the good packing.json."""
    return lambda: file_of(frames_of(change(good_members())))


def carried_too(name: str) -> Make:
    """What is left out or patched stands there all the same, in its place."""

    def change(found: list[Member]) -> list[Member]:
        names = [one.name for one in Forge().members()]
        extra = next(one for one in Forge().members() if one.name.startswith(name))
        after = names[names.index(extra.name) + 1] if extra.name != names[-1] else found[-2].name
        at = next((number for number, one in enumerate(found) if one.name >= after and number > 2), len(found))
        place = next((number for number, one in enumerate(found) if one.name == after), at)
        return [*found[:place], extra, *found[place:]]

    return members(change)


def first_patch(change: Callable[[Member], Member]) -> Make:
    return members(lambda found: [*found[:-2], change(found[-2]), found[-1]])


GZIP = {"kind": "gzip", "header": "1f8b" + "00" * 8, "level": 6, "library": "1.2.13"}
ZSTD = {"kind": "zstd", "at_once": False, "checksum": True, "level": 3, "library": "1.5.7", "sized": True}
# fmt: off
VECTORS = [
    Vector("delta-good", "a sound delta, of which a verifier alone cannot have all", "incomplete", lambda: file_of(frames_of(good_members()))),
    Vector("delta-gzip", "a patch that gives a gzip'ed layer", "incomplete", encoding(**GZIP)),
    Vector("delta-zstd", "a patch that gives a layer of zstd", "incomplete", encoding(**ZSTD)),
    Vector("delta-damaged", "a delta whose carried file has one other letter", "digest-mismatch", members(lambda m: [replace(one, data=one.data[:-1] + b"!") if one.name == "CHANGELOG.md" else one for one in m])),
    Vector("delta-trailing", "a byte behind a delta", "trailing-data", lambda: file_of(frames_of(good_members())) + b"x"),
    Vector("delta-cut", "a delta without its last byte", "truncated", lambda: file_of(frames_of(good_members()))[:-1]),
    # what packing.json says
    Vector("delta-type-3", "a packing of a format to come", "packing-type", put("type", to="application/vnd.sealift.packing.v3+json")),
    Vector("delta-as-full", "a delta passed off as the first format", "packing-invalid", put("type", to="application/vnd.sealift.packing.v1+json")),
    Vector("delta-kind-full", "a delta that calls itself full", "packing-invalid", put("kind", to="full")),
    Vector("delta-kind-gone", "a delta without its kind", "packing-invalid", told(lambda v: v.pop("kind"))),
    Vector("delta-field", "a delta that claims offsets", "packing-unknown-field", put("offsets", to={})),
    Vector("delta-patch-field", "a patch that names a program to run", "packing-unknown-field", put("patches", 0, "run", to="/bin/sh")),
    Vector("delta-encoding-field", "an encoding that claims a dictionary", "packing-unknown-field", encoding(**GZIP, dictionary="x")),
    Vector("delta-spaced", "a delta with blanks", "json-not-canonical", lambda: file_of(frames_of(good_members(raw=canonical(good_value()).replace(b":", b": ", 1))))),
    Vector("delta-since-gone", "a delta for nobody", "packing-invalid", put("since", to=[])),
    Vector("delta-since-many", "a delta since 65 releases", "packing-invalid", put("since", to=[f"p 0.{n:02}.0" for n in range(65)])),
    Vector("delta-since-escape", "a terminal escape in what it builds on", "packing-invalid", put("since", to=["p \x1b[2J"])),
    Vector("delta-since-order", "what it builds on, not sorted", "packing-order", put("since", to=["p 0.9.0", "p 0.8.0"])),
    Vector("delta-since-twice", "what it builds on, twice", "packing-repeated", put("since", to=["p 0.9.0", "p 0.9.0"])),
    Vector("delta-absent-order", "what it leaves out, not sorted", "packing-order", put("absent", to=["tools/compose", "binaries/linux-amd64/ctl"])),
    Vector("delta-absent-twice", "what it leaves out, twice", "packing-repeated", put("absent", to=[LEFT_OUT, LEFT_OUT])),
    Vector("delta-absent-number", "a member that is a number", "packing-invalid", put("absent", to=[7])),
    Vector("delta-absent-climbing", "a member that climbs", "path-climbing", put("absent", to=["../etc/passwd"])),
    Vector("delta-absent-absolute", "a member from the root on", "path-absolute", put("absent", to=["/etc/passwd"])),
    Vector("delta-absent-spelling", "a member with an empty part", "path-spelling", put("absent", to=["tools//compose"])),
    Vector("delta-absent-unlisted", "leaves out what is not in the release", "packing-unlisted", put("absent", to=["tools/other"])),
    Vector("delta-absent-head", "leaves out packing.json itself", "packing-unlisted", put("absent", to=["packing.json"])),
    Vector("delta-absent-template", "leaves out a template", "packing-needed", put("absent", to=["templates/p/compose.yaml.j2"])),
    Vector("delta-absent-changelog", "leaves out the changelog", "packing-needed", put("absent", to=["CHANGELOG.md"])),
    Vector("delta-absent-layout", "leaves out index.json", "packing-needed", put("absent", to=["index.json"])),
    Vector("delta-absent-manifest", "leaves out a manifest", "packing-needed", told(lambda v: v.update(absent=[f"blobs/sha256/{manifest()[7:]}"]))),
    Vector("delta-empty", "a delta that leaves nothing out", "packing-empty", told(lambda v: v.update(absent=[], patches=[]))),
    Vector("delta-overlap", "a layer that is left out and patched", "packing-overlap", told(lambda v: v.update(absent=[f"blobs/sha256/{layer()[7:]}"]))),
    Vector("delta-target-digest", "a target whose digest is a path", "packing-digest", put("patches", 0, "target", to="sha256:../../x")),
    Vector("delta-base-digest", "a base whose digest is in capitals", "packing-digest", put("patches", 0, "base", to="sha256:" + "A" * 64)),
    Vector("delta-patch-digest", "a patch with a digest of another kind", "packing-digest", put("patches", 0, "digest", to="sha512:" + HEX)),
    Vector("delta-target-unlisted", "a patch for what is not in the release", "packing-unlisted", put("patches", 0, "target", to="sha256:" + "b" * 64)),
    Vector("delta-target-manifest", "a patch for a manifest", "packing-target", told(lambda v: v["patches"][0].update(target=manifest()))),
    Vector("delta-target-file", "a patch for a file", "packing-unlisted", told(lambda v: v["patches"][0].update(target=Forge().value["files"][0]["digest"]))),
    Vector("delta-base-itself", "a patch of a layer against itself", "packing-base", told(lambda v: v["patches"][0].update(base=layer()))),
    Vector("delta-pair-twice", "two patches from the same to the same", "packing-repeated", told(lambda v: v["patches"][0].update(base=v["patches"][1]["base"]))),
    Vector("delta-patch-twice", "one patch twice", "packing-repeated", told(lambda v: v.update(patches=[v["patches"][0], {**v["patches"][0], "base": "sha256:" + "c" * 64}]))),
    Vector("delta-patch-order", "patches that are not sorted", "packing-order", told(lambda v: v["patches"].reverse())),
    Vector("delta-patch-large", "a patch of more than 2 GiB", "packing-size", put("patches", 0, "size", to=2**31 + 1)),
    Vector("delta-unpacked-large", "a layer of more than 8 GiB", "packing-size", put("patches", 0, "unpacked", to=2**33 + 1)),
    Vector("delta-base-large", "an old layer of more than 8 GiB", "packing-size", put("patches", 0, "base_unpacked", to=2**33 + 1)),
    Vector("delta-reach-large", "a patch that reaches back more than 8 GiB", "packing-size", put("patches", 0, "reach", to=2**33 + 1)),
    Vector("delta-size-negative", "a patch of less than nothing", "size-negative", put("patches", 0, "size", to=-1)),
    Vector("delta-size-overflow", "a layer above all sizes", "size-overflow", put("patches", 0, "unpacked", to=2**50 + 1)),
    Vector("delta-size-text", "a size that is a text", "packing-invalid", put("patches", 0, "size", to="300")),
    Vector("delta-encoding-kind", "an encoding that nobody knows", "packing-invalid", encoding(kind="xz")),
    Vector("delta-encoding-none", "no encoding", "packing-invalid", told(lambda v: v["patches"][0].pop("encoding"))),
    Vector("delta-gzip-level", "gzip at level 10", "packing-invalid", encoding(**GZIP | {"level": 10})),
    Vector("delta-gzip-header", "a header of half a byte more", "packing-invalid", encoding(**GZIP | {"header": "1f8b" + "00" * 8 + "0"})),
    Vector("delta-gzip-header-large", "a header of 513 bytes", "packing-invalid", encoding(**GZIP | {"header": "00" * 513})),
    Vector("delta-gzip-library", "a version that is a command", "packing-invalid", encoding(**GZIP | {"library": "$(reboot)"})),
    Vector("delta-zstd-level", "zstd at level 22, which needs gigabytes", "packing-invalid", encoding(**ZSTD | {"level": 22})),
    Vector("delta-zstd-flag", "a flag that is a number", "packing-invalid", encoding(**ZSTD | {"sized": 1})),
    # the members that follow
    Vector("delta-missing-file", "a file that it carries is missing", "member-order", members(lambda m: [one for one in m if one.name != "CHANGELOG.md"])),
    Vector("delta-carried-absent", "what it leaves out is there", "member-left-out", carried_too(LEFT_OUT)),
    Vector("delta-carried-target", "what it patches is there, whole", "member-left-out", carried_too(f"blobs/sha256/{layer()[7:]}")),
    Vector("delta-no-patches", "its patches are missing", "member-missing", members(lambda m: m[:-2])),
    Vector("delta-last-patch", "its last patch is missing", "member-missing", members(lambda m: m[:-1])),
    Vector("delta-first-patch", "its first patch is missing", "member-order", members(lambda m: [*m[:-2], m[-1]])),
    Vector("delta-patches-swapped", "patches in the wrong order", "member-order", members(lambda m: [*m[:-2], m[-1], m[-2]])),
    Vector("delta-patch-again", "a patch twice", "member-repeated", members(lambda m: [*m, m[-1]])),
    Vector("delta-patch-extra", "a patch that packing.json does not name", "member-unexpected", members(lambda m: [*m, Member("patches/" + "f" * 64, b"x")])),
    Vector("delta-patch-size", "a patch of another size than it says", "member-size", first_patch(lambda one: replace(one, data=one.data + b"x"))),
    Vector("delta-patch-mode", "an executable patch", "member-mode", first_patch(lambda one: replace(one, mode=0o755))),
    Vector("delta-patch-damaged", "a patch with one other letter", "digest-mismatch", first_patch(lambda one: replace(one, data=one.data[:-1] + b"!"))),
    Vector("delta-twin", "a file whose name differs only in case", "name-twin", members(lambda m: [*m, Member("Tools/compose", b"x")])),
]
# fmt: on
PACKINGS = [canonical(good_value())]
