"""What a release puts into a registry and an engine: names, references, sizes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from installer.bundle.release import Descriptor, Image, Release
from installer.registry.address import RegistryAddress

BESIDE: Final = "beside-"
"""How the names of what lies beside an image begin (FORMAT.md, Beside an image)."""
_BESIDE: Final = re.compile(r"([a-z0-9-]+):(sha256-[0-9a-f]{64}(?:\.[a-z]+)?)")
UNPACKED: Final = 3
"""How much larger a compressed layer is taken to be where the release does not say: an ordinary gzip layer."""


@dataclass(frozen=True)
class Needs:
    """Bytes that will be written: to the registry, to the engine's storage, to the state dir."""

    registry: int
    engine: int
    state_dir: int


@dataclass(frozen=True)
class Kept:
    """A manifest in a repository, and the tags that keep it there."""

    repository: str
    part: Descriptor
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where what a release is made of goes in a registry: each blob in each repository that needs it, once; images as
    their manifests, children before their index."""

    blobs: tuple[tuple[str, Descriptor], ...]
    images: tuple[tuple[Kept, ...], ...]

    @property
    def manifests(self) -> tuple[Kept, ...]:
        """The manifests of all images."""
        return tuple(kept for image in self.images for kept in image)


def edge_images(release: Release) -> tuple[Image, ...]:
    """The images of the site's own services, which never go into the registry."""
    names = {release.edge.haproxy, release.edge.registry}
    return tuple(image for image in release.images if image.name in names)


def beside(image: Image) -> tuple[str, str] | None:
    """The image beside which this one lies, and its tag there; None for an image that runs."""
    match = _BESIDE.fullmatch(image.reference) if image.name.startswith(BESIDE) else None
    return (match[1], match[2]) if match else None


def repository_of(release: Release, image: Image, address: RegistryAddress) -> str:
    """Where an image is kept: what lies beside another, in that one's repository, where verifiers look for it."""
    lies = beside(image)
    return address.repository(release.product, lies[0] if lies else image.name)


def product_images(release: Release) -> tuple[Image, ...]:
    """What goes into the registry: all images but those that only the edge uses."""
    used = {service.image for service in release.services.values()}
    edge = {image.name for image in edge_images(release)} - used
    return tuple(image for image in release.images if image.name not in edge)


def placed(release: Release, address: RegistryAddress) -> Placement:
    """Where a site's registry keeps ``release``: a repository for each image."""
    images = [(repository_of(release, image, address), image) for image in product_images(release)]
    blobs = {(repository, blob.digest): blob for repository, image in images for blob in image.blobs}
    return Placement(
        tuple((repository, blob) for (repository, _), blob in blobs.items()),
        tuple(
            tuple(Kept(repository, part, (keep_tags(release, image)[part.digest],)) for part in image.manifests)
            for repository, image in images
        ),
    )


def relocate(release: Release, address: RegistryAddress) -> dict[str, str]:
    """Where each product image will be pulled from: name to ``host:port/prefix/product/name@sha256:…``."""
    return {
        image.name: f"{address.host}/{address.repository(release.product, image.name)}@{image.digest}"
        for image in product_images(release)
        if not beside(image)
    }


def keep_tag(release: Release) -> str:
    """The tag that keeps a release's manifests from a garbage collector that removes what has no tag."""
    return f"sealift-{release.product}-{release.version}-{release.digest.short}"


def keep_tags(release: Release, image: Image) -> dict[str, str]:
    """The keeping tag of each manifest of ``image``, by digest.

    Children of an index have tags of their own: a collector that removes what has no tag takes them from under their
    index (distribution#3178). What lies beside an image has the tag by which verifiers find it.
    """
    tags = {part.digest: f"sealift-{release.digest.short}-{part.digest[7:39]}" for part in image.manifests}
    lies = beside(image)
    return tags | {image.digest: lies[1] if lies else keep_tag(release)}


def bytes_needed(release: Release, missing: Collection[str], in_engine: Collection[str] = ()) -> Needs:
    """The room that bringing in ``release`` takes.

    ``missing`` holds the digests that the registry lacks, ``in_engine`` those of layers that the engine has unpacked.
    """
    product = _by_digest(part for image in product_images(release) for part in (*image.manifests, *image.blobs))
    edge = _by_digest(part for image in edge_images(release) for part in (*image.manifests, *image.blobs))
    layers = {
        digest: part
        for image in release.images
        for digest, part in _by_digest(iter(image.blobs)).items()
        if digest not in in_engine
    }
    return Needs(
        registry=sum(part.size for digest, part in product.items() if digest in missing),
        engine=sum(unpacked(part) for part in layers.values()),
        state_dir=sum(part.size for part in edge.values()),
    )


def unpacked(layer: Descriptor) -> int:
    """The size of a layer in an engine, guessed where the release does not tell."""
    return layer.size * UNPACKED if layer.uncompressed is None else layer.uncompressed


def _by_digest(parts: Iterable[Descriptor]) -> dict[str, Descriptor]:
    return {part.digest: part for part in parts}
