"""What others have signed and said about an image: signatures, attestations, SBOMs that lie beside it in its registry.

Both ways to lie there are followed: tags made of the digest (cosign: ``sha256-<hex>.sig``, ``.att``, ``.sbom``) and
referrers (OCI distribution-spec 1.1: the registry's own list, else the tag ``sha256-<hex>``). They are carried as they
are and judged by nobody here; at the site they come to lie beside the image again (``FORMAT.md``, "Beside an image").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from bundler.collect.documents import INDEX, MANIFESTS, read_document, read_object
from bundler.collect.image import CollectedImage, broken, gather
from bundler.collect.registry.client import Manifest
from bundler.collect.registry.store import RemoteStore
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor
from installer.bundle.strictjson import canonical
from installer.errors import SealiftError
from installer.registry.images import BESIDE

_SUFFIXES: Final = (".sig", ".att", ".sbom")
_KEPT: Final = ("mediaType", "digest", "size", "artifactType", "annotations")


def collect_beside(store: RemoteStore, image: CollectedImage) -> list[CollectedImage]:
    """All that lies beside the manifests of ``image``, in the order of its digests.

    Raises ``signature-not-found`` (2) where there is nothing, and what
    :func:`~bundler.collect.image.collect_image` raises.
    """
    found = [one for part in image.image.manifests for one in _of(store, image, Digest.parse(part.digest))]
    if found:
        return found
    outer = Digest.parse(image.digests[0])
    elsewhere = str(outer) != image.image.digest and any(True for _ in _of(store, image, outer))
    where = f"beside {store.name} ({image.image.digest[:19]})"
    raise SealiftError(
        "signature-not-found",
        f"no signature or attestation lies {where}" + (", but beside its index" if elsewhere else ""),
        hint="carry the whole index: `index: keep`" if elsewhere else "sign it, or drop `signatures: true`",
    )


def _of(store: RemoteStore, image: CollectedImage, subject: Digest) -> Iterator[CollectedImage]:
    tag = f"sha256-{subject.hex}"
    for suffix in _SUFFIXES:
        manifest = store.fetch(tag + suffix)
        if manifest is not None:
            yield _collected(store, manifest, image, tag + suffix)
    listed = store.referrers(subject)
    if listed is None:
        fallback = store.fetch(tag)
        listed = fallback.raw if fallback else b""
    if listed and (index := _index_of(store, listed)):
        yield _collected(store, index, image, tag)


def _index_of(store: RemoteStore, listed: bytes) -> Manifest | None:
    """An index of the manifests in a list of referrers, the same for the same ones, whichever way they were listed."""
    value = read_object(listed, f"referrers of {store.name}")
    try:
        entries = [
            {key: entry[key] for key in _KEPT if key in entry}
            for entry in sorted(value["manifests"], key=lambda entry: str(entry["digest"]))
            if entry["mediaType"] in MANIFESTS
        ]
    except (KeyError, TypeError) as error:
        raise broken(store.name, error) from error
    return (
        Manifest(INDEX, canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})) if entries else None
    )


def _collected(store: RemoteStore, root: Manifest, image: CollectedImage, tag: str) -> CollectedImage:
    """``root`` with all below it, as the format lists what lies beside an image."""
    part = Descriptor(media_type=root.media_type, digest=root.digest, size=len(root.raw))
    reference = f"{image.image.name}:{tag}"
    name = f"{BESIDE}{hashlib.sha256(reference.encode()).hexdigest()[:24]}"
    try:
        found = gather(store, read_document(part, root.raw, store.name))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise broken(store.name, error) from error
    return CollectedImage(found.image(name, reference), found.contents, image.platform)
