"""The benchmark's own inputs: an OCI layout and a product around it, the same bytes for the same seed and scale.

What a registry holds is mostly gzip'ed, so most of it is: real gzip streams of text and records, in tars that are all
different. Beside them stand a layer that every image shares, one that is not compressed, one that cannot be
compressed, and many small blobs. Streams are drawn from a pool, because gzip costs ten times what is measured here;
the same stream never stands twice within 32 MiB, further than ``zstd -3`` looks back.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
REF_NAME: Final = "org.opencontainers.image.ref.name"
MIB: Final = 1024 * 1024
HOLE: Final = bytes(MIB)
"""These zeros take no room in the files of a layout."""
PIECE: Final = 8 * MIB
PACKED: Final = PIECE * 2 // 5
"""About what a piece's gzip stream has."""
POOL: Final = 24
FULL: Final = 3.5e9
"""Bytes of blobs at scale 1."""

RECIPE: Final = """\
apiVersion: sealift.dev/v1
product: bench
platforms: [linux/amd64]
images: {{{images}}}
templates: [templates]
deploy: {{compose: compose.yaml.j2}}
services: {{first: {{image: {first}}}}}
"""


def words(seed: int, size: int) -> bytes:
    """Text and records that gzip shrinks to about two fifths, as it does a root filesystem."""
    chance = random.Random(seed)
    vocabulary, weights = _vocabulary()
    made = bytearray()
    while len(made) < size:
        count = min(16384, (size - len(made)) // 8 + 64)
        made += b"".join(chance.choices(vocabulary, cum_weights=weights, k=count))
        made += chance.randbytes(count * 3 // 4)
    return bytes(made[:size])


@cache
def _vocabulary() -> tuple[list[bytes], list[float]]:
    """Words, and how often each is drawn: as in a language, the second one half as often as the first."""
    chance = random.Random("words")
    made = [chance.randbytes(chance.randint(2, 9)).hex().encode()[:9] + b" " for _ in range(4096)]
    return made, list(accumulate(1 / (rank + 1) for rank in range(len(made))))


@dataclass
class Pool:
    """Pieces of 8 MiB and their gzip streams, made when first asked for."""

    seed: int
    count: int = POOL
    _pieces: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def piece(self, number: int) -> tuple[bytes, bytes]:
        """The piece, and its gzip stream."""
        number %= self.count
        if number not in self._pieces:
            plain = words(self.seed * 1000 + number, PIECE)
            self._pieces[number] = (plain, gzip.compress(plain, 6, mtime=0))
        return self._pieces[number]


def tar_header(name: str, size: int) -> bytes:
    """The header of one plain file."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def gzipped_layer(pool: Pool, name: str, size: int) -> Iterator[tuple[bytes, bytes]]:
    """About ``size`` compressed bytes of a tar with one file: pairs of compressed and plain bytes."""
    chance = random.Random(name)
    count, tail = divmod(size, PACKED)
    start = chance.randrange(pool.count)
    rest = words(chance.randrange(1 << 30), max(512, int(tail * PIECE / PACKED) // 512 * 512))
    begin = tar_header(f"srv/{name}", count * PIECE + len(rest)) + rest
    yield gzip.compress(begin, 6, mtime=0), begin
    for number in range(start, start + count):
        plain, packed = pool.piece(number)
        yield packed, plain
    yield gzip.compress(bytes(1024), 6, mtime=0), bytes(1024)


def plain_layer(name: str, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """A tar with one file of ``size`` bytes, a multiple of 512."""
    yield tar_header(f"srv/{name}", size)
    left = size
    for piece in pieces:
        yield piece[:left]
        left -= min(left, len(piece))
        if not left:
            break
    yield bytes(1024)


@dataclass
class Layout:
    """An OCI layout that is being written."""

    folder: Path
    blobs: dict[str, int] = field(default_factory=dict)
    index: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, chunks: Iterable[bytes], media_type: str) -> dict[str, Any]:
        """Store a blob and return its descriptor."""
        place = self.folder / "blobs/sha256"
        place.mkdir(parents=True, exist_ok=True)
        hasher, size = hashlib.sha256(), 0
        with (place / "new").open("wb") as file:
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
                if chunk is HOLE:
                    file.seek(len(chunk), os.SEEK_CUR)
                else:
                    file.write(chunk)
            file.truncate(size)
        (place / "new").rename(place / hasher.hexdigest())
        self.blobs[hasher.hexdigest()] = size
        return {"mediaType": media_type, "digest": f"sha256:{hasher.hexdigest()}", "size": size}

    def gzipped(self, pool: Pool, name: str, size: int) -> tuple[dict[str, Any], str]:
        """Store a layer of about ``size`` compressed bytes; its descriptor and the digest of what it unpacks to."""
        plain = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            for packed, content in gzipped_layer(pool, name, size):
                plain.update(content)
                yield packed

        descriptor = self.blob(chunks(), LAYER + "+gzip")
        return descriptor, f"sha256:{plain.hexdigest()}"

    def plain(self, name: str, pieces: Iterable[bytes], size: int) -> tuple[dict[str, Any], str]:
        """Store an uncompressed layer."""
        descriptor = self.blob(plain_layer(name, pieces, max(512, size // 512 * 512)), LAYER)
        return descriptor, descriptor["digest"]

    def image(self, name: str, layers: Iterable[tuple[dict[str, Any], str]]) -> None:
        """Store an image of these layers."""
        layers = list(layers)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob([json.dumps(config).encode()], CONFIG),
            "layers": [layer for layer, _ in layers],
        }
        entry = self.blob([json.dumps(manifest).encode()], MANIFEST)
        platform = {"os": "linux", "architecture": "amd64"}
        self.index.append(entry | {"platform": platform, "annotations": {REF_NAME: name}})

    def finish(self) -> None:
        """Write what makes it a layout."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.index}))


@dataclass(frozen=True)
class Product:
    """A product that ``bundle build`` can be run on, in ``folder``."""

    folder: Path
    images: tuple[str, ...]
    blobs: int
    size: int

    @property
    def layout(self) -> Path:
        return self.folder / "manifests/bench/layout"


def make_product(folder: Path, layout: Layout) -> Product:
    """Put a manifest, a changelog and a template around a layout at ``Product.layout``."""
    layout.finish()
    base = folder / "manifests/bench"
    names = tuple(entry["annotations"][REF_NAME] for entry in layout.index)
    images = ", ".join(f'{name}: {{from: "oci:layout:{name}"}}' for name in names)
    (base / "templates").mkdir(parents=True, exist_ok=True)
    (base / "release.yaml").write_text(RECIPE.format(images=images, first=names[0]))
    (base / "templates/compose.yaml.j2").write_text("services: {first: {image: '{{ images." + names[0] + " }}'}}\n")
    changes = "".join(f"## [1.0.{number}] - 2026-11-0{9 - number}\n\n- change {number}\n\n" for number in (3, 2, 1, 0))
    (base / "CHANGELOG.md").write_text(f"# Changelog\n\n{changes}")
    return Product(folder, names, len(layout.blobs), sum(layout.blobs.values()))


def make_mixed(folder: Path, size: float, *, seed: int = 1, changed: int = 0) -> Product:
    """Images of ``size`` bytes in all; ``changed`` counts up for releases in which one small layer is another."""
    layout = Layout(folder / "manifests/bench/layout")
    pool = Pool(seed)
    base = layout.gzipped(pool, f"base {seed}", int(size * 0.08))
    for number in range(10):
        own = layout.gzipped(pool, f"own {seed} {number}", int(size * 0.065))
        layout.image(f"app-{number}", [base, own])
    pieces = (pool.piece(number)[0] for number in range(1 << 30))
    layout.image("plain", [base, layout.plain(f"plain {seed}", pieces, int(size * 0.12))])
    noise = random.Random(f"noise {seed}")
    chunks = (noise.randbytes(MIB) for _ in range(1 << 30))
    layout.image("random", [base, layout.plain(f"random {seed}", chunks, int(size * 0.10))])
    small = [layout.gzipped(pool, f"small {seed} {number}", int(size * 0.0005)) for number in range(100)]
    layout.image("small", [base, *small, layout.gzipped(pool, f"changed {seed} {changed}", int(size * 0.003))])
    return make_product(folder, layout)


def make_many(folder: Path, images: int, *, layers: int = 8, size: int = 4096) -> Product:
    """``images`` images of ``layers`` small layers, a configuration and a manifest each."""
    layout = Layout(folder / "manifests/bench/layout")
    chance = random.Random(images)
    for number in range(images):
        own = [
            layout.plain(f"{number}-{part}", iter([chance.randbytes(size)]), size // 512 * 512)
            for part in range(layers)
        ]
        layout.image(f"image-{number}", own)
    return make_product(folder, layout)


if __name__ == "__main__":
    kind, place, amount, *number = sys.argv[1:]
    if kind == "mixed":
        made = make_mixed(Path(place), float(amount), changed=int(number[0]))
    else:
        made = make_many(Path(place), int(amount))
    print(json.dumps({"images": made.images, "blobs": made.blobs, "size": made.size}))
