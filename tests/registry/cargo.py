"""Releases with real images, made in memory, and a reader that pushes their blobs as a bundle's reader does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from installer.bundle.content import Sink
from installer.bundle.release import Descriptor, Image, Release

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MIB = 1024 * 1024


def digest(content: bytes) -> str:
    """The name of a blob."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(seed: str, size: int = 1000) -> bytes:
    """A layer of one file with ``size`` bytes that do not compress; the same for the same seed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(f"srv/{seed}")
        member.size = size
        archive.addfile(member, io.BytesIO(random.Random(seed).randbytes(size)))
    return buffer.getvalue()


def descriptor(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A descriptor as manifests spell it."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


@dataclass
class Picture:
    """An image with its blobs: what is deployed stands last in ``manifests``."""

    name: str
    layers: Sequence[bytes]
    packed: bool = False
    index: bool = False
    command: Sequence[str] = ("/bin/true",)
    manifests: list[tuple[bytes, str]] = field(default_factory=list)
    blobs: list[tuple[bytes, str, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stored = [gzip.compress(part, 1, mtime=0) if self.packed else part for part in self.layers]
        kind = LAYER + ("+gzip" if self.packed else "")
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": list(self.command), "Labels": {"picture": self.name}},
                "rootfs": {"type": "layers", "diff_ids": [digest(part) for part in self.layers]},
            }
        ).encode()
        self.config = digest(config)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(config, CONFIG),
                "layers": [descriptor(part, kind) for part in stored],
            }
        ).encode()
        self.manifests.append((manifest, MANIFEST))
        self.manifest = digest(manifest)
        if self.index:
            platform = {"os": "linux", "architecture": "amd64"}
            entry = descriptor(manifest, MANIFEST, platform=platform)
            text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
            self.manifests.append((text, INDEX))
        self.blobs = [(config, CONFIG, None)]
        self.blobs += [(part, kind, len(plain)) for part, plain in zip(stored, self.layers, strict=True)]

    def as_image(self) -> Image:
        """As a release lists it."""
        manifests = tuple(Descriptor(media_type=kind, digest=digest(t), size=len(t)) for t, kind in self.manifests)
        blobs = {
            digest(part): Descriptor(media_type=kind, digest=digest(part), size=len(part), uncompressed=plain)
            for part, kind, plain in self.blobs
        }
        return Image(
            name=self.name,
            reference=f"builder.example/{self.name}:1",
            digest=manifests[-1].digest,
            manifests=manifests,
            blobs=tuple(blobs.values()),
        )


@dataclass
class Cargo:
    """A release and its bytes."""

    pictures: Sequence[Picture]
    edge: Mapping[str, str] = field(default_factory=dict)
    product: str = "lan-chat"
    version: str = "2.1.0"

    def __post_init__(self) -> None:
        self.contents = {digest(text): text for one in self.pictures for text, _ in one.manifests}
        self.contents |= {digest(part): part for one in self.pictures for part, _, _ in one.blobs}
        files = {"templates/compose.yaml.j2": "template", "oci-layout": "layout", "index.json": "layout"}
        value = {
            "type": "application/vnd.sealift.release.v1+json",
            "product": self.product,
            "version": self.version,
            "channel": "stable",
            "platform": "linux/amd64",
            "created": "2026-11-21T00:00:00Z",
            "minimum_root_version": 1,
            "requires": {},
            "strategy": "blue-green",
            "deploy": {"compose": "compose.yaml.j2"},
            "edge": dict(self.edge),
            "services": {},
            "entry_points": {},
            "smoke": [],
            "inputs": {},
            "images": [one.as_image().model_dump(mode="json") for one in sorted(self.pictures, key=lambda p: p.name)],
            "files": [
                {"path": path, "role": role, "size": 0, "digest": digest(b""), "mode": "0644"}
                for path, role in sorted(files.items())
            ],
        }
        self.release = Release.model_validate_json(json.dumps(value))

    def chunks(self, name: str) -> Iterator[bytes]:
        """A blob's bytes as a reader hands them over."""
        content = self.contents[name]
        for start in range(0, len(content), MIB):
            yield content[start : start + MIB]

    def stream(self, *sinks: Sink, altered: str | None = None) -> None:
        """One read of the bundle. ``altered`` names a blob whose digest turns out to be wrong."""
        for _, member in self.release.members():
            writers = [writer for sink in sinks if (writer := sink.open(member)) is not None]
            for chunk in self.chunks(member.digest) if member.size else ():
                for writer in writers:
                    writer.write(chunk)
            for writer in writers:
                if member.digest == altered:
                    writer.abort()
                else:
                    writer.finish()
            if member.digest == altered:
                raise ValueError(f"altered: {altered}")

    def blobs_of(self, names: Iterable[str]) -> set[str]:
        """The digests of everything that some images consist of."""
        images = [self.release.image(name) for name in names]
        return {part.digest for image in images for part in (*image.manifests, *image.blobs)}
