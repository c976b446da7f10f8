"""Manifests and indexes (OCI image-spec 1.1, Docker image manifest v2 schema 2): what they say, read strictly. Pure.

Rules:
- The bytes of a document are those of its digest, and its type is the one that its descriptor pins.
- A document is an index or a manifest, never both.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final

from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor
from installer.bundle.strictjson import parse
from installer.errors import SealiftError

MAX_JSON: Final = 4 * 1024 * 1024
INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
INDEXES: Final = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS: Final = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
CONFIGS: Final = (CONFIG, "application/vnd.docker.container.image.v1+json")
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1+"
_PLAIN_LAYERS: Final = (LAYER, "application/vnd.docker.image.rootfs.diff.tar")
_FOREIGN: Final = (".nondistributable.", ".rootfs.foreign.")


@dataclass(frozen=True)
class Document:
    """A manifest or index whose bytes are those of its digest; ``origin`` names its source in messages."""

    part: Descriptor
    raw: bytes
    value: dict[str, Any]
    origin: str

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests, not blobs."""
        return self.part.media_type in INDEXES

    @property
    def children(self) -> tuple[Link, ...]:
        """The manifests that an index lists."""
        return tuple(link(entry, self.origin) for entry in self.value["manifests"]) if self.is_index else ()

    @property
    def blobs(self) -> tuple[Link, ...]:
        """Configuration and layers of a manifest, each digest once, the configuration first."""
        if self.is_index:
            return ()
        found = [link(entry, self.origin) for entry in (self.value["config"], *self.value["layers"])]
        return tuple({one.part.digest: one for one in found}.values())


@dataclass(frozen=True)
class Link:
    """A descriptor as it stands in a document: ``platform`` is ``os/architecture`` or empty."""

    part: Descriptor
    platform: str = ""
    data: bytes | None = None
    annotations: dict[str, Any] = field(default_factory=dict)


def read_document(part: Descriptor, raw: bytes, origin: str) -> Document:
    """Check and read a manifest or index. Raises ``digest-mismatch`` (4), ``source-unsupported`` (2)."""
    what = f"{part.digest[:19]} of {origin}"
    if len(raw) != part.size or str(Digest.of(raw)) != part.digest:
        raise SealiftError(
            "digest-mismatch", f"{what} is damaged: its bytes do not match its digest", hint="make it again"
        )
    refuse_old(part.media_type, what)
    value = read_object(raw, what)
    fits = value.get("mediaType", part.media_type) == part.media_type and part.media_type in INDEXES + MANIFESTS
    is_index = part.media_type in INDEXES
    if not fits or ("manifests" in value) == ("layers" in value) or ("manifests" in value) != is_index:
        raise SealiftError("source-unsupported", f"{what} is not what its media type says", hint="make the image again")
    return Document(part, raw, value, origin)


def read_object(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object, strictly. Raises ``source-unsupported`` (2)."""
    try:
        value = parse(raw, what)
    except SealiftError as error:
        raise SealiftError("source-unsupported", error.message, hint="make the image again") from error
    if not isinstance(value, dict):
        raise SealiftError("source-unsupported", f"{what} is not a JSON object", hint="make the image again")
    return value


def link(value: Any, origin: str) -> Link:
    """Read a descriptor. Raises ``source-unsupported`` (2), or ``TypeError`` and the like for what is none."""
    kind, digest = value["mediaType"], value["digest"]
    try:
        digest = str(Digest.parse(digest))
    except SealiftError as error:
        raise SealiftError(
            "source-unsupported", f"{origin} names a blob by another digest than sha256", hint="make it with sha256"
        ) from error
    if any(mark in kind for mark in _FOREIGN):
        raise SealiftError(
            "source-unsupported",
            f"a layer of {origin} must not be passed on ({kind}): its maker alone may hand it out",
            hint="use a base image without such layers; with `index: platform` other platforms stay away",
        )
    plain = kind in _PLAIN_LAYERS
    part = Descriptor(media_type=kind, digest=digest, size=value["size"], uncompressed=value["size"] if plain else None)
    return Link(part, _platform(value), _embedded(value.get("data"), part, origin), value.get("annotations") or {})


def refuse_old(media_type: str, what: str) -> None:
    """Refuse image manifests of schema 1, which say neither sizes nor types. Raises ``source-unsupported`` (2)."""
    if media_type.startswith(_SCHEMA_1):
        raise SealiftError(
            "source-unsupported",
            f"{what} is a manifest of the old schema 1",
            hint="pull it with an engine, push it again with a current one, and name that",
        )


def _embedded(data: Any, part: Descriptor, origin: str) -> bytes | None:
    """The content that a descriptor may carry itself, which must be that of its digest."""
    if data is None:
        return None
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        content = b""
    if len(content) != part.size or str(Digest.of(content)) != part.digest:
        raise SealiftError(
            "digest-mismatch",
            f"the data that stands beside {part.digest[:19]} in {origin} is not its content",
            hint="make the image again",
        )
    return content


def _platform(entry: Any) -> str:
    platform = entry.get("platform") or {}
    return f"{platform.get('os', '')}/{platform.get('architecture', '')}".removeprefix("/").removesuffix("/")
