"""A transparency log as Rekor is one, of either version: entries in a Merkle tree whose head it signs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.keyless.authority import new_key, sign, spki


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def canonical(value: object) -> bytes:
    """RFC 8785, for values that hold text and small integers alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Entry:
    """An entry, with what the log says of it. ``time`` and ``promise`` are of version 1 alone."""

    body: bytes
    index: int
    size: int
    path: tuple[bytes, ...]
    root: bytes
    checkpoint: str
    log_id: bytes
    time: int | None = None
    promise: bytes | None = None

    def as_bundle(self) -> dict[str, Any]:
        """As it stands in a Sigstore bundle."""
        kind = json.loads(self.body)
        value: dict[str, Any] = {
            "logIndex": str(self.index),
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": kind["kind"], "version": kind["apiVersion"]},
            "inclusionProof": {
                "logIndex": str(self.index),
                "rootHash": b64(self.root),
                "treeSize": str(self.size),
                "hashes": [b64(part) for part in self.path],
                "checkpoint": {"envelope": self.checkpoint},
            },
            "canonicalizedBody": b64(self.body),
        }
        if self.promise is not None:
            value["integratedTime"] = str(self.time)
            value["inclusionPromise"] = {"signedEntryTimestamp": b64(self.promise)}
        return value

    def as_response(self) -> dict[str, Any]:
        """As version 1 of the service answers."""
        proof = {
            "checkpoint": self.checkpoint,
            "hashes": [part.hex() for part in self.path],
            "logIndex": self.index,
            "rootHash": self.root.hex(),
            "treeSize": self.size,
        }
        entry = {
            "body": b64(self.body),
            "integratedTime": self.time,
            "logID": self.log_id.hex(),
            "logIndex": self.index,
            "verification": {"inclusionProof": proof, "signedEntryTimestamp": b64(self.promise or b"")},
        }
        return {hashlib.sha256(b"\0" + self.body).hexdigest(): entry}


@dataclass
class TransparencyLog:
    """Keeps the hashes of its entries' bodies. ``origin`` is the host name in its checkpoints."""

    origin: str = "127.0.0.1"
    version: int = 1
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    leaves: list[bytes] = field(default_factory=lambda: [_leaf(b"first"), _leaf(b"second")])

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(spki(self.key)).digest()

    def add(self, digest: bytes, signature: bytes, certificate: x509.Certificate, at: datetime | None) -> Entry:
        """Log that ``certificate`` signed what has this digest. ``at`` None: without a promise, and so without time."""
        body = (_body if self.version == 1 else _body_v2)(digest, signature, certificate)
        return self.log(body, at if self.version == 1 else None)

    def log(self, body: bytes, at: datetime | None) -> Entry:
        """Any body at all."""
        index = len(self.leaves)
        self.leaves.append(_leaf(body))
        root = _root(self.leaves)
        entry = Entry(
            body,
            index,
            len(self.leaves),
            tuple(_path(index, self.leaves)),
            root,
            self._checkpoint(len(self.leaves), root),
            self.log_id,
        )
        if at is None:
            return entry
        time = int(at.timestamp())
        said = {"body": b64(body), "integratedTime": time, "logID": self.log_id.hex(), "logIndex": index}
        promise = sign(self.key, canonical(said))
        return Entry(**{**entry.__dict__, "time": time, "promise": promise})

    def _checkpoint(self, size: int, root: bytes) -> str:
        # Version 1 is told from version 2, by sigstore's Go library too, by the number of the tree in its checkpoints.
        tree = " - 1193050959916656506" if self.version == 1 else ""
        note = f"{self.origin}{tree}\n{size}\n{b64(root)}\n"
        return f"{note}\n\u2014 {self.origin} {b64(self.log_id[:4] + sign(self.key, note.encode()))}\n"


def _body(digest: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    pem = certificate.public_bytes(Encoding.PEM)
    data = {"hash": {"algorithm": "sha256", "value": digest.hex()}}
    spec = {"data": data, "signature": {"content": b64(signature), "publicKey": {"content": b64(pem)}}}
    return canonical({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec})


def _body_v2(digest: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
    }
    spec = {
        "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
        "signature": {"content": b64(signature), "verifier": verifier},
    }
    return canonical({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}})


def _leaf(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(_root(leaves[:middle]), _root(leaves[middle:]))


def _path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1: from the leaf up."""
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*_path(index, leaves[:middle]), _root(leaves[middle:])]
    return [*_path(index - middle, leaves[middle:]), _root(leaves[:middle])]
