"""What a delta leaves out, and what it brings as patches: decided from what sites hold, proved before it is written.

Rules:
- What every one of the given sites holds is left out, but for what every bundle carries.
- A layer that some of them lack comes as one patch for each of them where that pays, else whole. A patch leans on a
  layer that the site holds: the one at the same place of the same image first; three are tried at most.
- Every patch has been applied, by the very process that a site uses, and gave the digest that the release lists.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bundler.delta.holdings import Holdings, OldBytes
from bundler.delta.layers import Unpacked
from bundler.delta.patches import make_patch
from bundler.writing.reuse import Earlier
from installer.bundle.packing import ALWAYS_CARRIED, Delta, Encoding, Patch, blob_name
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError
from installer.patching.rebuild import Rebuilder
from installer.registry.images import product_images
from installer.talk import Talk

TRIES: Final = 3
_SMALLEST: Final = 16 * 1024
"""Bytes of a layer below which a patch saves nothing worth its trouble."""
_PAYS: Final = 0.9
"""How much of the whole, as it would be carried, all patches of a layer may come to."""


@dataclass(frozen=True)
class Made:
    """A delta, and the file of each of its patches by member name."""

    delta: Delta
    files: Mapping[str, Path] = field(default_factory=dict)


def make_delta(full: Path, release: Release, since: Sequence[Holdings], scratch: Path, talk: Talk) -> Made | None:
    """The delta of the bundle ``full`` for sites that hold what ``since`` says; None where nothing can be left out.

    Patches are made in ``scratch``. Raises what a damaged ``full`` raises.
    """
    held_by_all = frozenset[str].intersection(*(one.digests for one in since))
    absent = [
        name for name, member in release.members() if member.digest in held_by_all and not _needed(release, member)
    ]
    files: dict[str, Path] = {}
    patches: list[Patch] = []
    with OldBytes([full]) as new, OldBytes(path for one in since for path in one.bundles) as old:
        workshop = _Workshop(new, old, scratch)
        for blob in _patchable(release):
            lacking = [one for one in since if blob.digest not in one.digests]
            if not lacking or not new.has(blob.digest) or blob.size < _SMALLEST:
                continue
            with talk.progress(f"looking for what changed in {blob.digest[7:19]}", blob.size) as meter:
                made = workshop.patches(release, blob, lacking)
                meter.advance(blob.size)
            for patch, file in made:
                files[patch.name] = file
                patches.append(patch)
    if not absent and not patches:
        return None
    patches.sort(key=lambda patch: patch.digest)
    labels = sorted({one.label for one in since})
    return Made(Delta(since=tuple(labels), absent=tuple(sorted(absent)), patches=tuple(patches)), files)


def _needed(release: Release, member: File | Descriptor) -> bool:
    """What is carried whatever the site has: what readers need at once, and small documents."""
    if isinstance(member, File):
        return member.role in ALWAYS_CARRIED
    return member.media_type.endswith("+json") or member.digest in {
        part.digest for image in release.images for part in image.manifests
    }


def _patchable(release: Release) -> Iterator[Descriptor]:
    """Layers that a registry gets, each once."""
    found = {blob.digest: blob for image in product_images(release) for blob in image.blobs}
    manifests = {part.digest for image in release.images for part in image.manifests}
    for digest, blob in sorted(found.items()):
        if digest not in manifests and not blob.media_type.endswith("+json"):
            yield blob


@dataclass(frozen=True)
class _Workshop:
    """Where patches are made: ``new`` has the layers that are wanted, ``old`` those that sites have."""

    new: OldBytes
    old: OldBytes
    scratch: Path

    def patches(self, release: Release, blob: Descriptor, lacking: Sequence[Holdings]) -> list[tuple[Patch, Path]]:
        """One patch for each of ``lacking``, some for several; none at all where the whole layer is as small."""
        whole = _carried_size(self.new.bundles[0], blob)
        made: dict[str, tuple[Patch, Path]] = {}
        with self._layer(self.new, blob) as target:
            encoding = target.encoding() if target is not None else None
            if target is None or encoding is None:
                return []
            for site in lacking:
                if not any(base in site.digests for base in made):
                    best = self._best(release, blob, site, target, encoding)
                    if best is None:
                        return self._forget(made)
                    made[best[0].base] = best
        if sum(patch.size for patch, _ in made.values()) > whole * _PAYS:
            return self._forget(made)
        if len({patch.digest for patch, _ in made.values()}) < len(made):  # a patch has one base
            return self._forget(made)
        proved = all(self._gives(patch, file, blob) for patch, file in made.values())
        return list(made.values()) if proved else self._forget(made)

    def _best(
        self, release: Release, blob: Descriptor, site: Holdings, target: Unpacked, encoding: Encoding
    ) -> tuple[Patch, Path] | None:
        """The smallest patch against a layer of this site."""
        best: tuple[Patch, Path] | None = None
        for base in _bases(release, blob, site, self.old)[:TRIES]:
            with self._layer(self.old, base) as source:
                if source is None:
                    continue
                patch, file = self._patch(blob, base, source, target, encoding)
            if best is None or patch.size < best[0].size:
                if best is not None:
                    best[1].unlink()
                best = (patch, file)
            else:
                file.unlink()
            if patch.size * 2 < blob.size:
                break
        return best

    def _patch(
        self, blob: Descriptor, base: Descriptor, source: Unpacked, target: Unpacked, encoding: Encoding
    ) -> tuple[Patch, Path]:
        path = self.scratch / f"{blob.digest[7:23]}-{base.digest[7:23]}"
        with path.open("w+b") as file:
            reach = make_patch(source, target, file)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        patch = Patch(
            base=base.digest,
            base_unpacked=source.size,
            digest=f"sha256:{digest}",
            encoding=encoding,
            reach=reach,
            size=size,
            target=blob.digest,
            unpacked=target.size,
        )
        return patch, path

    def _gives(self, patch: Patch, file: Path, blob: Descriptor) -> bool:
        """Whether a site that applies it gets what the release lists."""
        hasher, size = hashlib.sha256(), 0
        try:
            with file.open("rb") as data:
                pieces = iter(lambda: data.read(1024 * 1024), b"")
                for chunk in Rebuilder(self.old, self.scratch).rebuild(patch, pieces):
                    hasher.update(chunk)
                    size += len(chunk)
        except SealiftError:
            return False
        return size == blob.size and f"sha256:{hasher.hexdigest()}" == blob.digest

    def _layer(self, place: OldBytes, blob: Descriptor) -> Unpacked | _Nothing:
        try:
            return Unpacked(place.read(blob.digest), self.scratch)
        except ValueError:
            return _Nothing()

    def _forget(self, made: Mapping[str, tuple[Patch, Path]]) -> list[tuple[Patch, Path]]:
        for _, file in made.values():
            file.unlink()
        return []


class _Nothing:
    """Stands for a layer that cannot be unpacked."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""


def _bases(release: Release, blob: Descriptor, site: Holdings, old: OldBytes) -> list[Descriptor]:
    """Layers of the site that a patch may lean on, the likeliest first."""
    wanted = {(image.name, number) for image in release.images for number, one in _layers(image.blobs) if one == blob}
    names = {name for name, _ in wanted}
    found: dict[str, tuple[int, int, Descriptor]] = {}
    for bundle in old.bundles:
        for image in product_images(Release.parse(bundle.reader.head.release)):
            for number, layer in _layers(image.blobs):
                if layer.digest in site.digests and old.has(layer.digest):
                    rank = 0 if (image.name, number) in wanted else 1 if image.name in names else 2
                    far = abs(layer.size - blob.size)
                    found[layer.digest] = min(
                        found.get(layer.digest, (3, 0, layer)), (rank, far, layer), key=_first_two
                    )
    return [layer for _, _, layer in sorted(found.values(), key=_first_two)]


def _first_two(entry: tuple[int, int, Descriptor]) -> tuple[int, int, str]:
    return entry[0], entry[1], entry[2].digest


def _layers(blobs: Sequence[Descriptor]) -> Iterator[tuple[int, Descriptor]]:
    return enumerate(blob for blob in blobs if not blob.media_type.endswith("+json"))


def _carried_size(bundle: Earlier, blob: Descriptor) -> int:
    """Bytes that a blob takes in a bundle."""
    frames = bundle.frames(blob_name(blob.digest), blob.size)
    return sum(sum(map(len, frame.parts)) for _, frame in frames)
