"""Images of the site's own services that a bundle carries, and whether one is newer than what runs here.

They belong to the site: any product may bring a newer one, and none ever brings an older one into service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from installer.bundle.content import Writer
from installer.bundle.release import Descriptor, File, Image
from installer.media import Media

VERSION_LABEL: Final = "org.opencontainers.image.version"
_MAX_JSON: Final = 1024 * 1024
_BEFORE: Final = {"~", "dev", "alpha", "beta", "pre", "rc"}


@dataclass(frozen=True)
class OwnImage:
    """An image as a bundle carries it. ``version`` is what its label says; empty where it says nothing."""

    name: str
    digest: str
    version: str


def newer(version: str, than: str) -> bool:
    """Whether a version label is higher: numbers by value, ``rc`` before the end; unknown is not."""
    return bool(version and than) and _key(version) > _key(than)


def own_images(media: Media) -> Mapping[str, OwnImage]:
    """The images of front door and registry in a bundle, by name; reads nothing but their small documents."""
    edge = media.release.edge
    images = [media.release.image(name) for name in (edge.haproxy, edge.registry) if name is not None]
    if not images:
        return {}
    documents = _Documents(images)
    media.read([documents], progress=lambda _: None, quick=True)
    return {image.name: OwnImage(image.name, image.digest, _version(image, documents.found)) for image in images}


class _Documents:
    """Collects manifests and configurations of some images."""

    def __init__(self, images: list[Image]) -> None:
        self.found: dict[str, bytes] = {}
        self._wanted = {
            part.digest
            for image in images
            for part in (*image.manifests, *image.blobs)
            if part.media_type.endswith("+json") and part.size <= _MAX_JSON
        }

    def open(self, member: File | Descriptor) -> Writer | None:
        if isinstance(member, File) or member.digest not in self._wanted:
            return None
        return _Text(lambda text: self.found.__setitem__(member.digest, text))

    def close(self) -> None:
        """Nothing is pending."""


class _Text:
    def __init__(self, done: Callable[[bytes], None]) -> None:
        self._done, self._parts = done, bytearray()

    def write(self, chunk: bytes) -> None:
        self._parts += chunk

    def finish(self) -> None:
        self._done(bytes(self._parts))

    def abort(self) -> None:
        self._parts.clear()


def _version(image: Image, documents: Mapping[str, bytes]) -> str:
    """What the configuration's label says; of an index with several, the highest digest's is as good as any."""
    for blob in image.blobs:
        try:
            labels = json.loads(documents.get(blob.digest, b"{}"))["config"]["Labels"]
            return str(labels[VERSION_LABEL])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return ""


def _key(version: str) -> list[tuple[int, Any]]:
    parts: list[tuple[int, Any]] = []
    for part in re.findall(r"\d+|[a-z]+|~", version.lower()):
        parts.append((3, int(part)) if part.isdigit() else (0, part) if part in _BEFORE else (2, part))
    return [*parts, (1, "")]
