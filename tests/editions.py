"""Two releases of one small product, whose layers are real: what deltas are made of and applied to."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

from installer.bundle.digest import Digest
from installer.bundle.packing import Packing
from installer.bundle.strictjson import canonical
from tests.vectors.forge import (
    CONFIG_TYPE,
    MANIFEST_TYPE,
    RELEASE,
    Forge,
    Key,
    descriptor,
    oci_descriptor,
    small_product,
)

TAR = "application/vnd.oci.image.layer.v1.tar"
SUFFIXES = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}


def tree(seed: int, files: int = 40, size: int = 20_000) -> dict[str, bytes]:
    """Files of a root filesystem, the same for the same seed: half of it text, half of it noise."""
    source = random.Random(seed)
    words = [bytes(source.randbytes(6).hex(), "ascii") for _ in range(500)]
    found = {}
    for number in range(files):
        text = b" ".join(source.choices(words, k=size // 26))
        found[f"usr/lib/file-{number:03}"] = text + source.randbytes(size // 2)
    return found


def upgraded(files: Mapping[str, bytes], seed: int, share: float = 0.2) -> dict[str, bytes]:
    """The same files, some of which have a stretch of other bytes, and one that is new."""
    source = random.Random(seed)
    found = dict(files)
    for name in source.sample(sorted(found), max(1, int(len(found) * share))):
        data = bytearray(found[name])
        at = source.randrange(len(data) // 2)
        data[at : at + 40] = source.randbytes(60)
        found[name] = bytes(data)
    found["usr/lib/brand-new"] = source.randbytes(300)
    return found


def layer(files: Mapping[str, bytes]) -> bytes:
    """A plain tar, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zlib_gzip(data: bytes, level: int = 6) -> bytes:
    """As Python's gzip packs it, with a name in the header."""
    out = io.BytesIO()
    with gzip.GzipFile("layer.tar", "wb", level, out, mtime=1_700_000_000) as file:
        file.write(data)
    return out.getvalue()


def foreign_gzip(data: bytes) -> bytes:
    """A gzip member that zlib would not make at any of its usual settings."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + 12, 3)
    return packer.compress(data) + packer.flush()


def zstd_stream(data: bytes, level: int = 3, *, sized: bool = False) -> bytes:
    """As python-zstandard packs a stream."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor(level=level, write_checksum=True).stream_writer(
        out, size=len(data) if sized else -1, closefd=False
    ) as file:
        for start in range(0, len(data), 70_000):
            file.write(data[start : start + 70_000])
    return out.getvalue()


def edition(
    version: str,
    images: Mapping[str, Sequence[bytes]],
    files: Mapping[str, tuple[str, str, bytes]] | None = None,
    *,
    keys: tuple[Key, ...] = (RELEASE,),
    edge: Mapping[str, str] | None = None,
    requires: Mapping[str, str] | None = None,
) -> Forge:
    """A signed, whole release of the product ``p`` with these layers; ``files`` are (role, mode, data) by path.

    Its service and store run the first image. ``edge`` names images of the site's own services.
    """
    value = small_product()[1]
    blobs: dict[str, bytes] = {}
    listed: list[dict[str, Any]] = []
    for name, layers in sorted(images.items()):
        packed = [(data, TAR + SUFFIXES.get(data[:2], "")) for data in layers]
        config = canonical({"architecture": "amd64", "os": "linux", "of": name, "version": version})
        manifest = canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": oci_descriptor(config, CONFIG_TYPE),
                "layers": [oci_descriptor(data, kind) for data, kind in packed],
            }
        )
        blobs |= {Digest.of(data).hex: data for data in (config, manifest, *layers)}
        listed.append(
            {
                "name": name,
                "reference": f"p/{name}:{version}",
                "digest": str(Digest.of(manifest)),
                "manifests": [descriptor(manifest, MANIFEST_TYPE)],
                "blobs": [descriptor(config, CONFIG_TYPE), *(descriptor(data, kind) for data, kind in packed)],
            }
        )
    content = {
        "CHANGELOG.md": ("changelog", "0644", f"# {version}\n".encode()),
        "program/install": ("program", "0755", b"#!/bin/sh\n" * 2000),
        "templates/p/compose.yaml.j2": ("template", "0644", b"services: {}\n"),
        "tools/compose": ("tool", "0755", bytes(range(256)) * 400),
        **(files or {}),
        "oci-layout": ("layout", "0644", canonical({"imageLayoutVersion": "1.0.0"})),
        "index.json": ("layout", "0644", canonical({"schemaVersion": 2, "manifests": [], "of": version})),
    }
    first = min(images)
    for service in value["services"].values():
        service["image"] = first
    value["requires"] = {**value["requires"], **(requires or {})}
    value.update(version=version, images=listed, edge={"haproxy": None, "registry": None, **(edge or {})})
    value["files"] = [
        {"path": path, "role": role, "size": len(data), "digest": str(Digest.of(data)), "mode": mode}
        for path, (role, mode, data) in sorted(content.items())
    ]
    order = [*sorted(path for path in content if content[path][0] != "layout"), "oci-layout", "index.json"]
    members = {path: content[path][2] for path in order}
    members |= {f"blobs/sha256/{digest}": data for digest, data in sorted(blobs.items())}
    return Forge(keys=keys, content=members, value=value, packing=Packing().to_bytes())


def write(forge: Forge, folder: Path) -> Path:
    """A media folder with just the bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"p-{forge.value['version']}-linux-amd64.bundle.tar.zst"
    path.write_bytes(forge.bytes())
    return path


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
