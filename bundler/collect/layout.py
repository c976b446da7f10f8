"""Images out of OCI layouts (OCI image-spec, image-layout.md), whether a folder or a tar that an engine saved.

Every manifest is read through its digest and must be of the media type that its descriptor pins. Blobs are checked
when they are written into the bundle, not here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from bundler.collect.content import Content, FileContent, read_whole
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, Image
from installer.bundle.strictjson import parse
from installer.errors import SealiftError

MAX_JSON: Final = 4 * 1024 * 1024
INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
REF_NAME: Final = "org.opencontainers.image.ref.name"
FULL_NAME: Final = "io.containerd.image.name"
_INDEXES: Final = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS: Final = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_PLAIN_LAYERS: Final = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
)
_REFERENCE: Final = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}")


class BlobStore(Protocol):
    """Where the files of a layout lie."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def open(self, path: str) -> Content | None:
        """The file at ``path`` inside the layout, or None."""


@dataclass(frozen=True)
class FolderStore:
    """A layout that is a folder."""

    name: str
    folder: Path

    def open(self, path: str) -> Content | None:
        file = self.folder / path
        return FileContent.of(file, self.name) if file.exists() else None


@dataclass(frozen=True)
class CollectedImage:
    """An image with its contents by digest (``sha256:…``), and the platform it runs on."""

    image: Image
    contents: Mapping[str, Content]
    platform: str


def collect_image(store: BlobStore, name: str, ref: str | None, platform: str, reference: str) -> CollectedImage:
    """The image of ``platform`` that ``ref`` names (or the only one) as the release's image ``name``.

    ``reference`` is what it is called where the layout says nothing. Raises ``image-not-found``,
    ``platform-missing`` (2), ``digest-mismatch`` (4), ``source-unsupported`` (2).
    """
    if store.open("oci-layout") is None:
        raise SealiftError(
            "image-not-found", f"{store.name} is not an OCI layout: it has no file oci-layout", hint="check the path"
        )
    try:
        entry = _choose(_json(_need(store, "index.json"), f"index.json of {store.name}"), ref, platform, store.name)
        return _read_image(store, entry, name, platform, reference)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SealiftError(
            "source-unsupported", f"{store.name} breaks the OCI image format: {error!r}"[:400], hint="make it again"
        ) from error


def _read_image(store: BlobStore, entry: Any, name: str, platform: str, reference: str) -> CollectedImage:
    descriptor = _resolve(store, entry, platform)
    manifest = _document(store, descriptor, _MANIFESTS)
    parts = [_descriptor(manifest["config"]), *(_descriptor(layer) for layer in manifest["layers"])]
    blobs = tuple({part.digest: part for part in parts}.values())
    _check_platform(store, blobs[0], platform, name)
    contents = {part.digest: _blob(store, part) for part in (descriptor, *blobs)}
    full_name = (entry.get("annotations") or {}).get(FULL_NAME, "")
    image = Image(
        name=name,
        reference=full_name if _REFERENCE.fullmatch(full_name) else reference,
        digest=descriptor.digest,
        manifests=(descriptor,),
        blobs=blobs,
    )
    return CollectedImage(image, contents, platform)


def _choose(index: Any, ref: str | None, platform: str, where: str) -> Any:
    """The entry that ``ref`` names; without one, the only entry, or the only one for ``platform``."""
    entries = [entry for entry in index.get("manifests", []) if entry.get("mediaType") in _INDEXES + _MANIFESTS]
    names = [(entry.get("annotations") or {}).get(REF_NAME, "") for entry in entries]
    if ref is not None:
        found = [entry for entry, name in zip(entries, names, strict=True) if name == ref]
    else:
        found = entries if len(entries) == 1 else [entry for entry in entries if _platform(entry) == platform]
    if len(found) == 1:
        return found[0]
    wanted = f"called {ref}" if ref is not None else "to choose by itself"
    known = ", ".join(name for name in names if name) or "none with a name"
    raise SealiftError(
        "image-not-found",
        f"{where} has no single image {wanted} (it has: {known})",
        hint="name one as oci:FOLDER:REF" if entries else "the layout is empty",
    )


def _resolve(store: BlobStore, entry: Any, platform: str) -> Descriptor:
    """Follow indexes down to the manifest of ``platform``."""
    for _ in range(4):
        if entry.get("mediaType") in _MANIFESTS:
            return _descriptor(entry)
        children = _document(store, _descriptor(entry), _INDEXES)["manifests"]
        found = [child for child in children if _platform(child) == platform]
        if not found:
            known = ", ".join(sorted({_platform(child) for child in children} - {"", "unknown/unknown"}))
            raise SealiftError(
                "platform-missing",
                f"{store.name} has no image for {platform} (it has: {known})",
                hint="build it for that",
            )
        entry = found[0]
    raise SealiftError("source-unsupported", f"{store.name} nests its indexes too deeply", hint="copy the image alone")


def _document(store: BlobStore, descriptor: Descriptor, kinds: tuple[str, ...]) -> Any:
    """A manifest or index, whose bytes must match its digest and whose type must be the pinned one."""
    what = f"{descriptor.digest[:19]} of {store.name}"
    raw = read_whole(_blob(store, descriptor), MAX_JSON, what)
    if str(Digest.of(raw)) != descriptor.digest:
        raise SealiftError(
            "digest-mismatch", f"{what} is damaged: its bytes do not match its digest", hint="make it again"
        )
    value = _json(raw, what)
    fits = value.get("mediaType", descriptor.media_type) == descriptor.media_type and descriptor.media_type in kinds
    if not fits or ("manifests" in value) == ("layers" in value) or ("manifests" in value) != (kinds is _INDEXES):
        raise SealiftError("source-unsupported", f"{what} is not what its media type says", hint="make the image again")
    return value


def _descriptor(value: Any) -> Descriptor:
    plain = value["mediaType"] in _PLAIN_LAYERS
    digest = str(Digest.parse(value["digest"]))
    return Descriptor(
        media_type=value["mediaType"], digest=digest, size=value["size"], uncompressed=value["size"] if plain else None
    )


def _blob(store: BlobStore, descriptor: Descriptor) -> Content:
    content = _need(store, f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}")
    if content.size != descriptor.size:
        raise SealiftError(
            "digest-mismatch",
            f"{descriptor.digest[:19]} of {store.name} has {content.size} bytes instead of {descriptor.size}",
            hint="make the image again",
        )
    return content


def _need(store: BlobStore, path: str) -> Content:
    content = store.open(path)
    if content is None:
        raise SealiftError(
            "image-not-found", f"{store.name} is incomplete: it lacks {path}", hint="make the image again"
        )
    return content


def _check_platform(store: BlobStore, config: Descriptor, platform: str, name: str) -> None:
    # Plain JSON: a configuration is its image's own affair and may hold fractions; only the platform is read here.
    value = json.loads(read_whole(_blob(store, config), MAX_JSON, f"configuration of {store.name}"))
    found = f"{value.get('os', '')}/{value.get('architecture', '')}"
    if found != platform:
        raise SealiftError(
            "platform-missing", f"image {name} of {store.name} is for {found}, not {platform}", hint="build it for that"
        )


def _platform(entry: Any) -> str:
    platform = entry.get("platform") or {}
    return f"{platform.get('os', '')}/{platform.get('architecture', '')}".removeprefix("/").removesuffix("/")


def _json(source: Content | bytes, what: str) -> Any:
    raw = source if isinstance(source, bytes) else read_whole(source, MAX_JSON, what)
    try:
        value = parse(raw, what)
    except SealiftError as error:
        raise SealiftError("source-unsupported", error.message, hint="make the image again") from error
    if not isinstance(value, dict):
        raise SealiftError("source-unsupported", f"{what} is not a JSON object", hint="make the image again")
    return value
