"""Receipts made in memory, by keys of their own."""

from __future__ import annotations

import hashlib
from typing import Any

from installer.bundle.pathnote import PathNote, PathStep
from installer.bundle.receipt import Receipt, pack_digests, seal
from installer.bundle.sigstorefields import to_base64
from installer.bundle.strictjson import canonical
from tests.unit.trust.keys import key

NONE: str = ""


def digest(text: object) -> str:
    return f"sha256:{hashlib.sha256(str(text).encode()).hexdigest()}"


def name(version: str) -> dict[str, str]:
    return {"version": version, "digest": digest(version)}


def value(site: str = "hall", held: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """A receipt of a site where 1.1.0 serves, and 1.0.0 before it; ``held`` stand in its registry."""
    kept = sorted((name("1.0.0"), name("1.1.0")), key=lambda one: one["digest"])
    board = {"product": "board", "current": name("1.1.0"), "previous": name("1.0.0"), "kept": kept}
    return {
        "type": "application/vnd.sealift.receipt.v1+json",
        "site": site,
        "key": to_base64(key(site).spki),
        "time": "2026-11-28T12:00:00Z",
        "platform": "linux/amd64",
        "channel": "stable",
        "target": "compose",
        "program": {"version": "0.1.0", "digest": None},
        "trust": {"product": "board", "version": 1, "epoch": 1, "digest": digest("root"), "expires": None},
        "products": [board | {"mark": name("1.1.0") | {"epoch": 1}}],
        "edge": {"haproxy": {"digest": digest("haproxy"), "version": "3.0"}, "registry": None},
        "held": {"registry": pack_digests(held), "archives": NONE, "files": NONE, "brought": NONE},
    } | changes


def sealed(signer: str = "hall", **changes: Any) -> bytes:
    """The file."""
    return seal_raw(canonical(value(**changes)), signer)


def seal_raw(raw: bytes, signer: str = "hall") -> bytes:
    """Any statement, with a sound signature."""
    return raw + key(signer).signature_file(raw)


def parsed(**changes: Any) -> Receipt:
    """The statement."""
    return Receipt.parse(canonical(value(**changes)))


def note() -> PathNote:
    """The hint to a way of two steps."""
    steps = (("01-board-v1.2.0", "1.2.0"), ("02-board-v2.0.0", "2.0.0"))
    found = (PathStep(folder=folder, version=version, digest=digest(version)) for folder, version in steps)
    return PathNote(product="board", site="hall", since="1.1.0", steps=tuple(found))


__all__ = ["digest", "name", "note", "parsed", "seal", "seal_raw", "sealed", "value"]
