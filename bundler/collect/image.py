"""One image out of a store, byte for byte: its platform's manifest, or the whole index that it stands in.

A registry takes no index with a missing child (CNCF Distribution 2.8 and 3 check that), so an index is either carried
with all its children or left behind; then the platform's manifest is what is deployed. Every manifest is read through
its digest. Blobs are checked when they are written into the bundle, not here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bundler.collect.content import Bytes, Content
from bundler.collect.documents import CONFIGS, Document, Link, read_document
from bundler.collect.store import ImageStore, need, read_json
from installer.bundle.release import Descriptor, Image
from installer.errors import SealiftError

_DEPTH: Final = 4


@dataclass(frozen=True)
class Wish:
    """What the manifest asks of an image. ``reference`` is what it is called where its source does not say.

    ``pin``: the digest of the index, the manifest or the configuration ("image id"), each of which fixes all content.
    """

    name: str
    platform: str
    reference: str
    index: Literal["platform", "keep"] = "platform"
    pin: str | None = None
    signatures: bool = False


@dataclass(frozen=True)
class CollectedImage:
    """An image with its contents by digest (``sha256:…``), and the platform it runs on."""

    image: Image
    contents: Mapping[str, Content]
    platform: str
    digests: tuple[str, ...] = field(default=())
    """Digests by which the source knows it, from the outermost index to the manifest."""


def collect_image(store: ImageStore, entry: Link, wish: Wish) -> CollectedImage:
    """The image that ``entry`` leads to.

    Raises ``image-not-found``, ``platform-missing``, ``source-unsupported`` (2), ``digest-mismatch`` (4),
    ``too-large`` (3), ``pin-mismatch`` (12).
    """
    try:
        return _collect(store, entry, wish)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise broken(store.name, error) from error


def broken(name: str, error: Exception) -> SealiftError:
    """The refusal for documents without the fields that they must have."""
    return SealiftError(
        "source-unsupported", f"{name} breaks the OCI image format: {error!r}"[:400], hint="make it again"
    )


def _collect(store: ImageStore, entry: Link, wish: Wish) -> CollectedImage:
    path = _path_to(store, entry, wish)
    deployed = path[0] if wish.index == "keep" else path[-1]
    config, contents = _configuration(store, path[-1], wish)
    _check_pin(wish, (*(one.part.digest for one in path), config), store.name)
    found = gather(store, deployed, contents)
    image = found.image(wish.name, wish.reference)
    return CollectedImage(image, found.contents, wish.platform, tuple(one.part.digest for one in path))


@dataclass
class Gathered:
    """Manifests, children first, the blobs that they name, and the content of all, by digest."""

    manifests: dict[str, Descriptor]
    blobs: dict[str, Descriptor]
    contents: dict[str, Content]

    def image(self, name: str, reference: str) -> Image:
        """As a release lists it; the last manifest is what counts."""
        *_, digest = self.manifests
        manifests, blobs = tuple(self.manifests.values()), tuple(self.blobs.values())
        return Image(name=name, reference=reference, digest=digest, manifests=manifests, blobs=blobs)


def gather(store: ImageStore, root: Document, contents: Mapping[str, Content] | None = None) -> Gathered:
    """``root`` and all below it; ``contents`` are held already. Raises as :func:`collect_image` does."""
    found = Gathered({}, {}, dict(contents or {}))
    for document in _children_first(store, root):
        found.manifests.setdefault(document.part.digest, document.part)
        found.contents[document.part.digest] = Bytes(document.raw)
        for one in document.blobs:
            found.blobs.setdefault(one.part.digest, one.part)
            if one.part.digest not in found.contents:
                found.contents[one.part.digest] = fetch(store, one)
    return found


def document_of(store: ImageStore, part: Descriptor) -> Document:
    """A manifest or index of the store. Raises as :func:`collect_image` does."""
    what = f"{part.digest[:19]} of {store.name}"
    return read_document(part, read_json(need(store.manifest(part), part, store.name), what), store.name)


def fetch(store: ImageStore, one: Link) -> Content:
    """A blob of the store, or what the descriptor carries itself. Raises ``image-not-found``, ``digest-mismatch``."""
    if one.data is not None:
        return Bytes(one.data)
    return need(store.blob(one.part), one.part, store.name)


def _path_to(store: ImageStore, entry: Link, wish: Wish) -> list[Document]:
    """From the entry down to the manifest of the platform."""
    path = [document_of(store, entry.part)]
    while path[-1].is_index:
        children = path[-1].children
        found = [child for child in children if child.platform == wish.platform]
        if not found:
            known = ", ".join(sorted({child.platform for child in children} - {"", "unknown/unknown"}))
            raise SealiftError(
                "platform-missing",
                f"{store.name} has no image for {wish.platform} (it has: {known})",
                hint="build it for that",
            )
        path.append(document_of(store, found[0].part))
        if len(path) > _DEPTH:
            raise _too_deep(store)
    return path


def _children_first(store: ImageStore, document: Document, depth: int = 0) -> Iterator[Document]:
    """A document and all below it: attestations and other platforms too, since an index counts as a whole."""
    if depth > _DEPTH:
        raise _too_deep(store)
    for child in document.children:
        try:
            found = document_of(store, child.part)
        except SealiftError as error:
            if error.id != "image-not-found":
                raise
            raise SealiftError(
                error.id,
                f"{store.name} lacks the manifest of {child.platform or 'no platform'} that its index lists",
                hint="drop `index: keep` to carry the platform's manifest alone, or complete the source",
            ) from error
        yield from _children_first(store, found, depth + 1)
    yield document


def _too_deep(store: ImageStore) -> SealiftError:
    return SealiftError("source-unsupported", f"{store.name} nests its indexes too deeply", hint="copy the image alone")


def _configuration(store: ImageStore, manifest: Document, wish: Wish) -> tuple[str, dict[str, Content]]:
    """The digest of the configuration, and its content, which must be that of an image for the platform."""
    config = manifest.blobs[0]
    kind = manifest.value.get("artifactType") or config.part.media_type
    if config.part.media_type not in CONFIGS:
        raise SealiftError(
            "source-unsupported",
            f"{store.name} is no image but an artifact ({kind})",
            hint="a Helm chart goes under `charts:`; other artifacts are carried as files",
        )
    raw = read_json(fetch(store, config), f"configuration of {store.name}")
    # Plain JSON: a configuration is its image's own affair and may hold fractions; only the platform is read here.
    value = json.loads(raw)
    found = f"{value.get('os', '')}/{value.get('architecture', '')}"
    if found != wish.platform:
        raise SealiftError(
            "platform-missing",
            f"image {wish.name} of {store.name} is for {found}, not {wish.platform}",
            hint="build it for that",
        )
    return config.part.digest, {config.part.digest: Bytes(raw)}


def _check_pin(wish: Wish, digests: tuple[str, ...], name: str) -> None:
    if wish.pin is not None and wish.pin not in digests:
        raise SealiftError(
            "pin-mismatch",
            f"the manifest pins image {wish.name} to {wish.pin}, but {name} has {digests[0]}",
            hint="find out who changed it; if the new one is meant, pin that",
            details=tuple(f"its {what} is {digest}" for what, digest in _named(digests)),
        )


def _named(digests: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    *indexes, manifest, config = digests
    yield from (("index", digest) for digest in indexes)
    yield from (("manifest", manifest), ("image id", config))
