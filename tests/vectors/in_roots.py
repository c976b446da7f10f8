"""Roots on the media: newer ones that a host of any age walks to, and everything that only looks like one."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from installer.bundle.digest import Digest
from installer.bundle.signature import sigstore_bundle
from tests.vectors.forge import (
    INSTALLER,
    RELEASE,
    ROOT,
    SECOND,
    STRANGER,
    Forge,
    Key,
    Member,
    file_of,
    frames_of,
    root_of,
)
from tests.vectors.in_trust import signed_by
from tests.vectors.vector import Make, Vector, put

PAST = datetime(2026, 1, 1, tzinfo=UTC)
TEAM = (ROOT, INSTALLER, STRANGER)


@cache
def second(*release: Key, version: int = 2, **fields: Any) -> bytes:
    """A root that follows version 1, by default one for the second key."""
    return root_of(*(release or (SECOND,)), version=version, **fields)


def carrying(*keys: Key, **roots: bytes) -> Make:
    """A release that ``keys`` have signed, with ``roots`` (``v2=…``) on the media."""
    carried = {int(name[1:]): raw for name, raw in roots.items()}
    return lambda: Forge(keys=keys or (RELEASE,), roots=carried).bytes()


def respelled(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Root version 2 with its outside changed: what is signed stays."""
    value = json.loads(second(RELEASE))
    change(value)
    return json.dumps(value, indent=1).encode()


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Root version 2 with its inside changed, and signed again."""
    value = json.loads(second(RELEASE))
    change(value)
    signed_by(ROOT, value)
    return json.dumps(value, indent=1).encode()


def louder(value: dict[str, Any]) -> None:
    value["signatures"][0]["sig"] = value["signatures"][0]["sig"].upper()


def by_a_stranger_too(value: dict[str, Any]) -> None:
    copy = json.loads(second(RELEASE, also=(SECOND,)))
    value["signatures"] = copy["signatures"]


def backwards() -> bytes:
    value = json.loads(second(RELEASE, by=(ROOT, STRANGER)))
    value["signatures"].reverse()
    return json.dumps(value).encode()


def doubled(value: dict[str, Any]) -> None:
    value["signatures"] *= 2


def drawer() -> bytes:
    """Five rotations, each with another root key and another release key."""
    keys = [Key(f"root-{number}", 2000 + number) for number in range(6)]
    people = [Key(f"release-{number}", 3000 + number) for number in range(6)]
    roots = {
        number + 1: root_of(people[number], version=number + 1, by=(keys[number],), also=(keys[number - 1],))
        for number in range(1, 6)
    }
    return Forge(keys=(people[5],), roots=roots).bytes()


def old_root() -> bytes:
    return root_of(Key("release-0", 3000), by=(Key("root-0", 2000),))


def named(name: str, data: bytes, at: str = "packing.json", mode: int = 0o644) -> Make:
    """A member of any name in the head, before another one."""

    def make() -> bytes:
        found: list[Member] = []
        for member in Forge().members():
            found += [Member(name, data, mode)] if member.name == at else []
            found.append(member)
        return file_of(frames_of(found))

    return make


def members(*carried: tuple[str, bytes]) -> Make:
    """Members of any names before the packing, in any order."""

    def make() -> bytes:
        all_ = Forge().members()
        place = [member.name for member in all_].index("packing.json")
        return file_of(frames_of([*all_[:place], *(Member(*one) for one in carried), *all_[place:]]))

    return make


def wanting(version: int, **roots: bytes) -> Make:
    """A release that names its least root."""

    def make() -> bytes:
        forge = Forge(roots={int(name[1:]): raw for name, raw in roots.items()}).copy()
        forge.value["minimum_root_version"] = version
        return forge.bytes()

    return make


def two_of_three(**fields: Any) -> bytes:
    return root_of(RELEASE, by=TEAM, root_threshold=2, **fields)


def signed_by_some(raw: bytes, *keys: Key) -> bytes:
    """Only these people's signatures."""
    value = json.loads(raw)
    wanted = {signature["keyid"] for key in keys for signature in json.loads(root_of(RELEASE, by=(key,)))["signatures"]}
    value["signatures"] = [one for one in value["signatures"] if one["keyid"] in wanted]
    return json.dumps(value).encode()


def older(version: int, **fields: Any) -> Make:
    return lambda: root_of(RELEASE, version=version, **fields)


def relabelled() -> bytes:
    """A stranger's signature that hints at the revoked release key."""
    forge = Forge(roots={2: second()})
    payload = forge.statement
    forged = sigstore_bundle(STRANGER.sign(payload), Digest.of(payload), RELEASE.spki)
    forge.edit_signatures = lambda _: {"signatures/release.sigstore.json": forged}
    return forge.bytes()


# fmt: off
ROOTS = [
    Vector("good-root-carried", "a newer root with other release keys", None, carrying(SECOND, v2=second())),
    Vector("good-root-carried-again", "the root that this host has already", None, carrying(v1=b"unread"), older(1)),
    Vector("good-root-older-unread", "older roots, which nobody reads", None, carrying(v1=b"no JSON", v2=b"{}", v3=b""), older(3)),
    Vector("good-roots-64", "as many roots as there may be", None, carrying(**{f"v{n}": b"" for n in range(1, 65)}), older(64)),
    Vector("good-roots-five", "a host that lay in a drawer for five rotations", None, drawer, old_root),
    Vector("good-root-expired-between", "a root in between that has expired and refuses", None, carrying(v2=second(RELEASE, expires=PAST, expired="refuse"), v3=root_of(RELEASE, version=3))),
    Vector("good-root-lost-key", "two of three root keys replace the third", None, carrying(v2=signed_by_some(root_of(RELEASE, version=2, by=(ROOT, INSTALLER, SECOND), root_threshold=2), ROOT, INSTALLER)), two_of_three),
    Vector("good-root-epoch-raised", "a root that raises the epoch", None, carrying(v2=second(RELEASE, epoch=2))),
    Vector("good-root-wanted", "the root that the release wants, on the media", None, wanting(2, v2=second(RELEASE))),
    Vector("good-root-blanks", "a newer root, spelled with other blanks", None, carrying(v2=respelled(lambda v: None))),
    Vector("revoked-by-omission", "signed by a key that the newer root leaves out", "key-revoked", carrying(RELEASE, v2=second())),
    Vector("revoked-two-roots-ago", "signed by a key that was left out long ago", "key-revoked", carrying(RELEASE, v2=second(), v3=root_of(SECOND, version=3))),
    Vector("revoked-and-relabelled", "a stranger's signature that names a revoked key", "no-valid-signature", relabelled),
    Vector("roots-stripped", "a release by the new key, its root left off", "no-valid-signature", carrying(SECOND)),
    Vector("roots-missing", "a release that wants a newer root, which was left off", "roots-missing", put("minimum_root_version", to=2)),
    Vector("roots-missing-last", "the first of two newer roots alone", "roots-missing", wanting(3, v2=second(RELEASE))),
    Vector("roots-skipped", "version 3 for a host that has version 1", "root-skipped", carrying(v3=root_of(RELEASE, version=3))),
    Vector("roots-gap", "versions 2 and 4", "root-skipped", carrying(v2=second(RELEASE), v4=root_of(RELEASE, version=4))),
    Vector("roots-far", "version 999999999", "root-skipped", carrying(v999999999=root_of(RELEASE, version=999999999))),
    Vector("root-version-high", "version 3 under the name of version 2", "root-version", carrying(v2=root_of(RELEASE, version=3))),
    Vector("root-version-low", "version 1 under the name of version 2", "root-version", carrying(v2=root_of(RELEASE, version=1))),
    Vector("root-of-stranger", "version 2 by somebody else", "root-chain", carrying(v2=root_of(RELEASE, version=2, by=(STRANGER,)))),
    Vector("root-by-release-key", "version 2 by the release key", "root-chain", carrying(v2=root_of(RELEASE, version=2, by=(RELEASE,)))),
    Vector("root-by-one-of-two", "version 2 by one root key where two are needed", "root-chain", carrying(v2=root_of(RELEASE, version=2, by=(ROOT,))), two_of_three),
    Vector("root-threshold-lowered", "a root that lowers its own threshold and is signed by one", "root-chain", carrying(v2=signed_by_some(root_of(RELEASE, version=2, by=TEAM), ROOT)), two_of_three),
    Vector("root-not-by-itself", "version 2 by the old root key alone, which it no longer names", "root-not-self-signed", carrying(v2=signed_by_some(root_of(RELEASE, version=2, by=(SECOND,), also=(ROOT,)), ROOT))),
    Vector("root-broken-below", "a good version 3 above a version 2 by somebody else", "root-chain", carrying(v2=root_of(RELEASE, version=2, by=(STRANGER,)), v3=root_of(RELEASE, version=3))),
    Vector("root-signature-more", "a signature more, by nobody of either root", "root-signature", carrying(v2=respelled(by_a_stranger_too))),
    Vector("root-signatures-unsorted", "signatures in another order", "root-signature", carrying(v2=backwards())),
    Vector("root-signatures-twice", "one signature twice", "root-malformed", carrying(v2=respelled(doubled))),
    Vector("root-signature-capitals", "a signature in capitals", "root-signature", carrying(v2=respelled(louder))),
    Vector("root-signature-field", "a word beside a signature", "root-signature", carrying(v2=respelled(lambda v: v["signatures"][0].update(note="x")))),
    Vector("root-outside-field", "a word beside what is signed", "root-signature", carrying(v2=respelled(lambda v: v.update(note="x")))),
    Vector("root-product-other", "version 2 for another product", "root-product", carrying(v2=second(RELEASE, product="q"))),
    Vector("root-product-any", "version 2 for any product", "root-product", carrying(v2=second(RELEASE, product="*"))),
    Vector("root-epoch-lower", "a lower epoch", "root-epoch", carrying(v2=second(RELEASE, epoch=1)), older(1, epoch=2)),
    Vector("root-carried-expired", "a newer root that has expired and refuses", "root-expired", carrying(v2=second(RELEASE, expires=PAST, expired="refuse"))),
    Vector("root-carried-unknown", "a newer root with a rule that nobody here knows", "root-unknown-field", carrying(v2=changed(lambda v: v["signed"]["x-sealift"].update(quorum=2)))),
    Vector("root-carried-targets", "targets metadata in the place of a newer root", "root-type", carrying(v2=changed(lambda v: v["signed"].update(_type="targets")))),
    Vector("root-carried-release", "release.json in the place of a newer root", "root-malformed", carrying(v2=Forge().statement)),
    Vector("root-carried-empty", "a newer root of no bytes", "json-invalid", carrying(v2=b"")),
    Vector("root-carried-altered", "a newer root changed after it was signed", "root-not-self-signed", carrying(v2=second(RELEASE).replace(b'"epoch": 1', b'"epoch": 9'))),
    Vector("root-carried-large", "a root one byte over the cap, which nobody would read", "root-too-large", carrying(v1=b" " * (512 * 1024 + 1))),
    Vector("roots-65", "one root more than there may be", "roots-too-many", carrying(**{f"v{n}": b"" for n in range(1, 66)}), older(65)),
    Vector("root-zero", "version 0", "member-unexpected", named("trust/0.root.json", b"{}")),
    Vector("root-zeros", "a version with a zero in front", "member-unexpected", named("trust/02.root.json", second())),
    Vector("root-ten-digits", "a version of ten digits", "member-unexpected", named("trust/1000000000.root.json", second())),
    Vector("root-unnumbered", "a root without a version", "member-unexpected", named("trust/root.json", second())),
    Vector("root-targets-name", "another file of TUF", "member-unexpected", named("trust/2.targets.json", second())),
    Vector("root-outside-folder", "a root outside its folder", "member-unexpected", named("2.root.json", second())),
    Vector("root-before-signatures", "a root before the signatures", "member-order", named("trust/2.root.json", second(RELEASE), at="signatures/release.sigstore.json")),
    Vector("roots-by-number", "roots sorted by number, not by bytes", "member-order", members(("trust/2.root.json", b""), ("trust/10.root.json", b"")), older(10)),
    Vector("root-member-twice", "a root twice", "member-repeated", members(("trust/2.root.json", b""), ("trust/2.root.json", b"")), older(10)),
    Vector("root-executable", "a root with mode 755", "member-mode", named("trust/2.root.json", second(RELEASE), mode=0o755)),
    Vector("root-behind-packing", "a root behind the packing", "member-unexpected", named("trust/2.root.json", second(RELEASE), at="CHANGELOG.md")),
]
# fmt: on

PLACES = {"root-too-large", "roots-too-many", "member-unexpected", "member-order", "member-repeated", "member-mode"}
VECTORS = [replace(one, needs_root=True) if one.error not in PLACES else one for one in ROOTS]
