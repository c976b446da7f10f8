"""Has this site what a delta builds on? Asked before anything is written, and again before it is loaded.

Rules:
- Nobody but registry and state dir is asked: what the delta says of old releases is for people.
- A layer counts as held where the registry has it in any repository of this product's kept releases; then it is shared.
- Tools, and images of the site's own services, are asked for where the upgrade needs them from the media.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from installer.bundle.packing import Delta, Patch, bases_of, blob_name
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError
from installer.media import Media, holds_file, tool_path
from installer.patching.rebuild import BlobFiles, Rebuilder, no_files, refuse_encoder, scratch_needed
from installer.plan.plan import Plan
from installer.plan.planning import Scene
from installer.plan.siteactions import Unpack
from installer.registry.archive import kept_archive
from installer.registry.client import RegistryClient
from installer.registry.images import placed, product_images, repository_of
from installer.registry.load import Held, survey
from installer.state.releases import list_kept, load_committed
from installer.words import size


@dataclass
class RegistryBases:
    """Old layers out of a registry. Asks once for each."""

    client: RegistryClient
    repositories: tuple[str, ...]
    found: dict[str, str | None] = field(default_factory=dict)

    def has(self, digest: str) -> bool:
        """Whether one of the repositories has it. Raises ``registry-*`` (9)."""
        if digest not in self.found:
            places = (place for place in self.repositories if self.client.blob_size(place, digest, 0) is not None)
            self.found[digest] = next(places, None)
        return self.found[digest] is not None

    def read(self, digest: str) -> Iterator[bytes]:
        """Its bytes, not checked. Raises ``registry-*`` (9)."""
        return self.client.read_blob(self.found[digest] or "", digest)


@dataclass(frozen=True)
class Ground:
    """What a delta stands on here: the repositories that may hold old layers, and who rebuilds out of them."""

    media: Media
    bases: RegistryBases
    rebuilder: Rebuilder | None

    @classmethod
    def of(cls, media: Media, client: RegistryClient, state_dir: Path, files: BlobFiles = no_files) -> Self:
        """Of a whole bundle there is nothing to rebuild, and nothing is looked up. ``files`` are the registry's own."""
        if not isinstance(media.packing, Delta):
            return cls(media, RegistryBases(client, ()), None)
        bases = RegistryBases(client, tuple(_repositories(media.release, client, state_dir)))
        return cls(media, bases, Rebuilder(bases, state_dir, files))

    @property
    def repositories(self) -> tuple[str, ...]:
        """Where else the registry may have what the release needs."""
        return self.bases.repositories

    def refuse_lacking(self, held: Held) -> None:
        """Raise ``delta-base-missing`` (4) where the registry lacks what the delta neither carries nor can rebuild,
        ``patch-encoder`` (6) where it could not be packed again."""
        if not isinstance(self.media.packing, Delta):
            return
        _refuse(self.media.packing, self.lacking(self.media.packing, held))

    def lacking(self, delta: Delta, held: Held) -> list[str]:
        """The members that are needed and cannot be had."""
        patches = bases_of(delta)
        return [
            name
            for name, member in delta.left_out(self.media.release).items()
            if isinstance(member, Descriptor)
            and member.digest in held.missing
            and not self._can_be_rebuilt(patches.get(member.digest, ()))
        ]

    def _can_be_rebuilt(self, patches: tuple[Patch, ...]) -> bool:
        for patch in patches:
            if self.bases.has(patch.base):
                refuse_encoder(patch)
                return True
        return False


def refuse_groundless(media: Media, plan: Plan, scene: Scene, registry: Callable[[], RegistryClient]) -> None:
    """Refuse a delta that this site cannot complete, before anything is written. ``registry`` reaches the site's.

    Raises ``delta-base-missing`` (4), ``patch-encoder`` (6), ``disk-too-small`` (7), ``registry-*`` (9).
    """
    delta, release = media.packing, media.release
    if not isinstance(delta, Delta):
        return
    gone = delta.left_out(release)
    lacking = [*_lacking_tools(gone.values(), scene.state_dir), *_lacking_archives(gone, plan, scene)]
    if not scene.lacking.registry:
        client = registry()
        ground = Ground.of(media, client, scene.state_dir)
        lacking += ground.lacking(delta, survey(client, placed(release, client.address), ground.repositories))
    elif scene.state.registry is None:  # one that is only stopped is asked once it runs
        layers = {blob_name(blob.digest) for image in product_images(release) for blob in image.blobs}
        lacking += [name for name in gone if name in layers]
    _refuse(delta, lacking)
    free, wanted = shutil.disk_usage(scene.state_dir).free, scratch_needed(delta)
    if wanted > free:
        raise SealiftError(
            "disk-too-small",
            f"the disk of {scene.state_dir} has {size(free)} free, and the largest old layer takes {size(wanted)} "
            "there while it is patched",
            hint="free some space, or bring the whole release in place of the delta",
        )


def _lacking_tools(gone: Iterable[File | Descriptor], state_dir: Path) -> Iterator[str]:
    for member in gone:
        if (
            isinstance(member, File)
            and member.role == "tool"
            and not holds_file(tool_path(state_dir, member), member.digest)
        ):
            yield member.path


def _lacking_archives(gone: dict[str, File | Descriptor], plan: Plan, scene: Scene) -> Iterator[str]:
    """Blobs of images of the site's own services that the plan unpacks, and that are not kept here."""
    names = {name for step in plan.steps for act in step.actions if isinstance(act, Unpack) for name in act.images}
    for name in sorted(names):
        image = scene.release.image(name)
        if kept_archive(scene.state_dir / "archives", image) is None:
            parts = (blob_name(part.digest) for part in (*image.manifests, *image.blobs))
            yield from (part for part in parts if part in gone)


def _repositories(release: Release, client: RegistryClient, state_dir: Path) -> list[str]:
    """Where this product's images are kept: those of the release, and of every release that is kept here."""
    releases = [release]
    for ref in list_kept(state_dir, release.product):
        try:
            releases.append(load_committed(state_dir, ref).release)
        except SealiftError:
            continue  # one that is damaged only tells of fewer places
    found = {repository_of(one, image, client.address) for one in releases for image in product_images(one)}
    return sorted(found)


def _refuse(delta: Delta, lacking: list[str]) -> None:
    if lacking:
        raise SealiftError(
            "delta-base-missing",
            f"this is a delta for sites with {' or '.join(delta.since)}, and this site lacks {len(lacking)} members of "
            f"what it builds on: {lacking[0]}{' and others' if lacking[1:] else ''}",
            hint="bring the whole release, or a delta that was made for what runs here: sealift status",
            details=tuple(lacking[:20]),
        )
