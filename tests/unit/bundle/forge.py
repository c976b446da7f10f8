"""Makes good and bad bundles in memory, with a key of its own: the simulator behind the format tests."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from installer.bundle.archive import ArchiveWriter
from installer.bundle.digest import Digest
from installer.bundle.packing import Packing
from installer.bundle.release import RELEASE_TYPE, Release
from installer.bundle.signature import sigstore_bundle
from installer.bundle.strictjson import canonical
from installer.bundle.trust import TrustPolicy

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Key:
    """A throw-away P-256 key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        public = self.private.public_key()
        self.spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, payload: bytes) -> bytes:
        return sigstore_bundle(
            self.private.sign(payload, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)),
            Digest.of(payload),
            self.spki,
        )

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy.from_key(self.pem, "test.pub")


@dataclass
class Forge:
    """One small product with one image; change its parts before :meth:`write`."""

    key: Key = field(default_factory=Key)
    content: dict[str, bytes] = field(default_factory=dict)
    value: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layer, config = b"\x1f\x8b layer " * 1000, canonical({"os": "linux"})
        parts = {"layer": layer, "config": config}
        manifest = canonical({"layers": [str(Digest.of(layer))], "config": str(Digest.of(config))})
        parts["manifest"] = manifest
        files = {
            "CHANGELOG.md": ("changelog", b"# 1.0.0\n"),
            "index.json": ("layout", canonical({"schemaVersion": 2, "manifests": []})),
            "oci-layout": ("layout", canonical({"imageLayoutVersion": "1.0.0"})),
            "templates/p/compose.yaml.j2": ("template", b"services: {}\n"),
        }
        self.content = {path: data for path, (_, data) in files.items()}
        self.content |= {f"blobs/sha256/{Digest.of(data).hex}": data for data in parts.values()}
        self.value = release_value(files, parts)

    @property
    def raw(self) -> bytes:
        return canonical(self.value)

    def signatures(self) -> dict[str, bytes]:
        return {"signatures/test.sigstore.json": self.key.sign(self.raw)}

    def bytes(self) -> bytes:
        """The bundle as it would lie on a stick."""
        out = io.BytesIO()
        writer = ArchiveWriter(out)
        raw = self.raw
        writer.member("release.json", len(raw), [raw])
        for name, data in sorted(self.signatures().items()):
            writer.member(name, len(data), [data])
        packing = Packing().to_bytes()
        writer.member("packing.json", len(packing), [packing])
        for name, _ in Release.parse(raw).members():
            data = self.content[name]
            writer.member(name, len(data), [data], compressed=name.startswith("blobs/"))
        writer.close()
        return out.getvalue()

    def write(self, folder: Path) -> Path:
        path = folder / "p-1.0.0-linux-amd64.bundle.tar.zst"
        path.write_bytes(self.bytes())
        return path


def _descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"media_type": media_type, "digest": str(Digest.of(data)), "size": len(data), "uncompressed": None}


def release_value(files: dict[str, tuple[str, bytes]], parts: dict[str, bytes]) -> dict[str, Any]:
    """The JSON value of a valid release over ``files`` (path → role, bytes) and one image's ``parts``."""
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
        "services": {
            "web": {
                "image": "web",
                "replicas": 1,
                "health": {"http": ":80/", "tcp": None},
                "needs": [],
                "state": "none",
            }
        },
        "entry_points": {"web": {"service": "web", "port": 80, "protocol": "http"}},
        "smoke": [{"entry": "web", "http": "/", "expect": 200, "contains": None}],
        "inputs": {},
        "images": [
            {
                "name": "web",
                "reference": "p/web:1.0.0",
                "digest": str(Digest.of(parts["manifest"])),
                "manifests": [_descriptor(parts["manifest"], MANIFEST_TYPE)],
                "blobs": [_descriptor(parts["config"], CONFIG_TYPE), _descriptor(parts["layer"], LAYER_TYPE)],
            }
        ],
        "files": [
            {"path": path, "role": role, "size": len(data), "digest": str(Digest.of(data)), "mode": "0644"}
            for path, (role, data) in sorted(files.items())
        ],
    }
