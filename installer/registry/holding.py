"""What a registry really has of some releases: it is asked for each blob and manifest, and nothing is assumed."""

from __future__ import annotations

from collections.abc import Iterable

from installer.bundle.release import Release
from installer.registry.abreast import abreast
from installer.registry.client import RegistryClient
from installer.registry.images import placed


def held(client: RegistryClient, releases: Iterable[Release]) -> frozenset[str]:
    """The digests of those blobs and manifests of ``releases`` that can be pulled, each from a place where it belongs.

    A blob whose copy has another size counts as lost. What the registry keeps is not read again: whoever uses it checks
    its digest. Raises ``registry-*`` (9).
    """
    asked = [placed(release, client.address) for release in releases]
    blobs = {(place, one.digest): one.size for placement in asked for place, one in placement.blobs}
    manifests = {(kept.repository, kept.part.digest) for placement in asked for kept in placement.manifests}

    def has_blob(item: tuple[tuple[str, str], int]) -> bool:
        (repository, digest), size = item
        return client.blob_size(repository, digest, size) == size

    def has_manifest(item: tuple[str, str]) -> bool:
        return client.manifest_digest(*item) == item[1]

    there = abreast(has_blob, blobs.items())
    present = abreast(has_manifest, manifests)
    found = {digest for (_, digest), is_there in zip(blobs, there, strict=True) if is_there}
    return frozenset(found | {digest for (_, digest), is_there in zip(manifests, present, strict=True) if is_there})
