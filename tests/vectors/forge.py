"""Makes good and bad bundles in memory. Same inputs, same bytes: the keys are fixed, so whoever reads this can sign.

A forge is changed at one layer and everything below follows: value → raw JSON → signatures → members → frames → file.
Whatever is changed above the signatures is signed again, validly.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.digest import Digest
from installer.bundle.frames import FRAME_DATA, FrameSpan, compress_frame, raw_frame, seek_table
from installer.bundle.packing import Packing
from installer.bundle.release import RELEASE_TYPE
from installer.bundle.roots import root_member
from installer.bundle.signature import sigstore_bundle
from installer.bundle.strictjson import canonical
from installer.bundle.tarheader import END, padding, tar_header
from installer.bundle.trust import PublicKey, Requirement, Role, TrustPolicy

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
EXPIRES = datetime(2036, 1, 1, tzinfo=UTC)
_SMALL = 64 * 1024


class Key:
    """A P-256 key that anybody can make again: its secret is a number."""

    def __init__(self, name: str, secret: int) -> None:
        self.name = name
        self._private = ec.derive_private_key(secret, ec.SECP256R1())
        public = self._private.public_key()
        self.spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes) -> bytes:
        """DER, deterministic."""
        return self._private.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def signature_file(self, payload: bytes) -> bytes:
        return sigstore_bundle(self.sign(payload), Digest.of(payload), self.spki)

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy.from_key(self.pem, f"{self.name}.pub")


ROOT, RELEASE, SECOND, STRANGER, INSTALLER = (
    Key(name, number) for number, name in enumerate(("root", "release", "second", "stranger", "installer"), start=1001)
)


def root_of(
    *release: Key, expires: datetime = EXPIRES, by: tuple[Key, ...] = (), also: tuple[Key, ...] = (), **fields: Any
) -> bytes:
    """A root of trust for these release keys, held by ``by``; ``also`` sign it. ``fields`` are others of its plan."""
    plan = RootPlan(
        [NamedKey(key.spki, key.name) for key in release],
        installer=[NamedKey(INSTALLER.spki, "installer")],
        **{"product": "p", **fields},
    )
    return make_root(plan, by or [ROOT], expires, also)


def demands(name: str, *keys: Key, threshold: int = 1, channels: frozenset[str] | None = None) -> Requirement:
    """What must be met besides the threshold of the releases."""
    rule = Role(tuple(PublicKey(key.spki, key.name) for key in keys), threshold)
    return Requirement(name, rule, channels=channels)


@dataclass(frozen=True)
class Frame:
    """Bytes of one frame in the file, the size of its content, and whose it is."""

    data: bytes
    content: int
    label: str


@dataclass(frozen=True)
class Member:
    """A member of the tar. ``header`` stands instead of the right one; ``pad`` instead of zeros."""

    name: str
    data: bytes
    mode: int = 0o644
    header: bytes | None = None
    pad: bytes | None = None
    packed: bool = False

    def frames(self) -> list[Frame]:
        """Its header's frame and those of its data. Most members of most forges are the same: small ones are kept."""
        return list(_kept_frames(self) if len(self.data) < _SMALL else self._made_frames())

    def _made_frames(self) -> list[Frame]:
        encode = raw_frame if self.packed else compress_frame
        header = self.header or tar_header(self.name, len(self.data), self.mode)
        pad = bytes(padding(len(self.data))) if self.pad is None else self.pad
        pieces = [self.data[start : start + FRAME_DATA] for start in range(0, len(self.data), FRAME_DATA)]
        pieces[-1:] = [piece + pad for piece in pieces[-1:]]
        return [
            Frame(compress_frame(header), len(header), f"header of {self.name}"),
            *(Frame(encode(piece), len(piece), f"{self.name} [{n}]") for n, piece in enumerate(pieces)),
        ]


@lru_cache(maxsize=256)
def _kept_frames(member: Member) -> list[Frame]:
    return member._made_frames()


@dataclass
class Forge:
    """One small product with one image. ``raw``, ``signatures``, ``packing`` replace what follows from ``value``."""

    keys: tuple[Key, ...] = (RELEASE,)
    content: dict[str, bytes] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    packing: bytes = field(default_factory=lambda: Packing().to_bytes())
    roots: dict[int, bytes] = field(default_factory=dict)
    executables: frozenset[str] = frozenset({"binaries/linux-amd64/ctl", "tools/compose", "program/install"})
    edit_signatures: Callable[[dict[str, bytes]], dict[str, bytes]] | None = None

    def __post_init__(self) -> None:
        if not self.value:
            self.content, self.value = small_product()

    def copy(self) -> Forge:
        """The same, to be changed."""
        return replace(self, content=dict(self.content), value=copy.deepcopy(self.value))

    @property
    def statement(self) -> bytes:
        """The bytes of ``release.json``."""
        return canonical(self.value) if self.raw is None else self.raw

    @property
    def signatures(self) -> dict[str, bytes]:
        made = {f"signatures/{key.name}.sigstore.json": key.signature_file(self.statement) for key in self.keys}
        return self.edit_signatures(made) if self.edit_signatures else made

    def members(self) -> list[Member]:
        """Head and content, in order; ``content`` keeps the order of the signed list."""
        roots = dict(sorted((root_member(version), raw) for version, raw in self.roots.items()))
        head = {"release.json": self.statement, **self.signatures, **roots, "packing.json": self.packing}
        modes = dict.fromkeys(self.executables, 0o755)
        return [
            *(Member(name, data) for name, data in head.items()),
            *(Member(n, d, modes.get(n, 0o644), packed=n.startswith("blobs/")) for n, d in self.content.items()),
        ]

    def frames(self) -> list[Frame]:
        return frames_of(self.members())

    def bytes(self) -> bytes:
        """The bundle as it would lie on a stick."""
        return file_of(self.frames())

    def write(self, folder: Path) -> Path:
        path = folder / "p-1.0.0-linux-amd64.bundle.tar.zst"
        path.write_bytes(self.bytes())
        return path

    @cached_property
    def policy(self) -> TrustPolicy:
        """Trusts the release key, for the product ``p``."""
        return TrustPolicy.from_root(root_of(RELEASE), "root.json")


def frames_of(members: list[Member]) -> list[Frame]:
    """The members' frames and the end of the archive."""
    return [*(frame for member in members for frame in member.frames()), END_FRAME]


END_FRAME = Frame(compress_frame(END), len(END), "end")


def file_of(frames: list[Frame], tail: bytes | None = None) -> bytes:
    """Frames, and the seek table that fits them unless ``tail`` stands there."""
    table = seek_table([FrameSpan(len(frame.data), frame.content) for frame in frames])
    return b"".join(frame.data for frame in frames) + (table if tail is None else tail)


def boundaries(frames: list[Frame]) -> list[int]:
    """Where each frame begins, and where the last one ends."""
    places = [0]
    for frame in frames:
        places.append(places[-1] + len(frame.data))
    return places


def zstd_frame(
    data: bytes,
    *,
    flags: int = 0b1010_0000,
    extra: bytes = b"",
    size: bytes | None = None,
    blocks: list[bytes] | None = None,
) -> bytes:
    """A frame by hand: flags, what stands between them and the size field, the size field, the blocks."""
    field_bytes = struct.pack("<I", len(data)) if size is None else size
    body = [block(data[at : at + 2**17], last=at + 2**17 >= len(data)) for at in range(0, len(data) or 1, 2**17)]
    return b"\x28\xb5\x2f\xfd" + bytes([flags]) + extra + field_bytes + b"".join(body if blocks is None else blocks)


def block(data: bytes, *, kind: int = 0, length: int | None = None, last: bool = False) -> bytes:
    """A block by hand. ``kind``: 0 raw, 1 one byte repeated, 2 compressed, 3 reserved."""
    count = len(data) if length is None else length
    return (count << 3 | kind << 1 | last).to_bytes(3, "little") + data


def compressed(data: bytes, level: int) -> bytes:
    """A frame by the library, at another level than the format's writer."""
    return zstandard.ZstdCompressor(level=level, write_content_size=True).compress(data)


def small_product() -> tuple[dict[str, bytes], dict[str, Any]]:
    """The content in archive order, and the release value, of a product ``p`` with one image and a few files."""
    layer, config = b"\x1f\x8b layer " * 1000, canonical({"architecture": "amd64", "os": "linux"})
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": oci_descriptor(config, CONFIG_TYPE),
            "layers": [oci_descriptor(layer, LAYER_TYPE)],
        }
    )
    entry = {**oci_descriptor(manifest, MANIFEST_TYPE), "annotations": {"org.opencontainers.image.ref.name": "web"}}
    files = {
        "CHANGELOG.md": ("changelog", "0644", b"# 1.0.0\n\n- first\n"),
        "binaries/linux-amd64/ctl": ("binary", "0755", b"#!/bin/sh\nexit 0\n"),
        "docs/guide.md": ("doc", "0644", b""),
        "templates/p/compose.yaml.j2": ("template", "0644", b"services: {}\n"),
        "tools/compose": ("tool", "0755", bytes(range(256)) * 4),
        "oci-layout": ("layout", "0644", canonical({"imageLayoutVersion": "1.0.0"})),
        "index.json": ("layout", "0644", canonical({"schemaVersion": 2, "manifests": [entry]})),
    }
    blobs = {Digest.of(data).hex: data for data in (layer, config, manifest)}
    content = {path: data for path, (_, _, data) in files.items()}
    content |= {f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.items())}
    return content, _release_value(files, layer, config, manifest)


def oci_descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"media_type": media_type, "digest": str(Digest.of(data)), "size": len(data), "uncompressed": None}


def _release_value(
    files: dict[str, tuple[str, str, bytes]], layer: bytes, config: bytes, manifest: bytes
) -> dict[str, Any]:
    service = {"image": "web", "replicas": 1, "health": {"http": ":80/", "tcp": None}, "needs": [], "state": "none"}
    store = {"image": "web", "replicas": 1, "health": None, "needs": [], "state": "shared"}
    return {
        "type": RELEASE_TYPE,
        "product": "p",
        "version": "1.0.0",
        "channel": "stable",
        "platform": "linux/amd64",
        "created": "2026-01-01T00:00:00Z",
        "minimum_root_version": 1,
        "requires": {"upgrade_from": None, "installer": None},
        "strategy": "blue-green",
        "deploy": {"compose": "p/compose.yaml.j2"},
        "edge": {"haproxy": None, "registry": None},
        "services": {"store": store, "web": service},
        "entry_points": {
            "relay": {"service": "web", "port": 81, "protocol": "tcp"},
            "web": {"service": "web", "port": 80, "protocol": "http"},
        },
        "smoke": [{"entry": "web", "http": "/", "expect": 200, "contains": None}],
        "inputs": {"mail.host": {"type": "string", "default": None, "since": None, "description": "where mail goes"}},
        "images": [
            {
                "name": "web",
                "reference": "p/web:1.0.0",
                "digest": str(Digest.of(manifest)),
                "manifests": [descriptor(manifest, MANIFEST_TYPE)],
                "blobs": [descriptor(config, CONFIG_TYPE), descriptor(layer, LAYER_TYPE)],
            }
        ],
        "files": [
            {"path": path, "role": role, "size": len(data), "digest": str(Digest.of(data)), "mode": mode}
            for path, (role, mode, data) in sorted(files.items())
        ],
    }
