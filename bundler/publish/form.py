"""What a release is in a registry: manifests as values, the same bytes for the same release. Pure.

The manifest of a release follows from its ``release.json`` alone, so a reader makes it again and demands those bytes.
What may be added later (signatures, roots) refers to it, each by a manifest of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bundler.collect.documents import INDEX, MANIFEST, MAX_JSON
from installer.bundle.beside import PROGRAM_SIGNATURE
from installer.bundle.digest import Digest
from installer.bundle.release import MAX_RELEASE_BYTES, RELEASE_TYPE, Descriptor, Release
from installer.bundle.roots import MAX_ROOTS, ROOT_NAME
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, MEDIA_TYPE, SIGNATURE_NAME
from installer.bundle.strictjson import canonical, parse
from installer.bundle.trust import MAX_ROOT_BYTES
from installer.errors import SealiftError
from installer.registry.images import Kept, Placement

FILE_TYPE: Final = "application/octet-stream"
IMAGES_TYPE: Final = "application/vnd.sealift.images.v1+json"
ROOT_TYPE: Final = "application/vnd.sealift.root.v1+json"
PROGRAM_SIGNATURE_TYPE: Final = "application/vnd.sealift.install-signature.v1+json"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
EMPTY: Final = b"{}"
TITLE: Final = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Kind:
    """What may refer to a release: its artifact type, the names its content may have, and how much of it there is.

    ``spare``: a name for what has none of these, made of a part of its digest; empty where it must have one.
    """

    artifact_type: str
    content_type: str
    names: re.Pattern[str]
    largest: int
    most: int
    spare: str = ""


SIGNATURE: Final = Kind(
    MEDIA_TYPE,
    MEDIA_TYPE,
    SIGNATURE_NAME,
    MAX_SIGNATURE_BYTES,
    2 * MAX_SIGNATURES,
    "signatures/attached-{}.sigstore.json",
)
OF_PROGRAM: Final = Kind(
    PROGRAM_SIGNATURE_TYPE,
    MEDIA_TYPE,
    PROGRAM_SIGNATURE,
    MAX_SIGNATURE_BYTES,
    MAX_SIGNATURES,
    "install.attached-{}.sigstore.json",
)
ROOT: Final = Kind(ROOT_TYPE, ROOT_TYPE, ROOT_NAME, MAX_ROOT_BYTES, MAX_ROOTS)
KINDS: Final = {kind.artifact_type: kind for kind in (SIGNATURE, OF_PROGRAM, ROOT)}


@dataclass(frozen=True)
class Attachment:
    """A small file that refers to a release; ``name`` is where it lies in a bundle or beside it."""

    kind: Kind
    name: str
    data: bytes

    def manifest(self, subject: Descriptor) -> bytes:
        """Its manifest."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": self.kind.artifact_type,
                "config": _listed(described(EMPTY, EMPTY_TYPE)),
                "layers": [_listed(described(self.data, self.kind.content_type), {TITLE: self.name})],
                "subject": _listed(subject),
            }
        )


@dataclass(frozen=True)
class Referrer:
    """One line in a list of referrers, as it stands there; believed in nothing."""

    digest: str
    size: int
    artifact_type: str | None


def described(data: bytes, media_type: str) -> Descriptor:
    """The descriptor of bytes."""
    return Descriptor(media_type=media_type, digest=str(Digest.of(data)), size=len(data))


def release_manifest(release: Release, raw: bytes) -> bytes:
    """The manifest of a release: ``raw``, its ``release.json``, is the config, its files are the layers.

    Raises ``too-large`` (3) beyond what registries take.
    """
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": RELEASE_TYPE,
            "config": _listed(described(raw, RELEASE_TYPE)),
            "layers": [_listed(blob, {TITLE: path}) for path, blob in files(release)],
            "annotations": {
                "org.opencontainers.image.created": release.created,
                TITLE: release.product,
                "org.opencontainers.image.version": release.version,
            },
        }
    )
    if len(manifest) > MAX_JSON:
        raise SealiftError(
            "too-large",
            f"the manifest of {release.product} {release.version} has {len(manifest)} bytes, more than registries take",
            hint="a release of so many files goes by media; or pack files of one kind into an archive",
        )
    return manifest


def images_index(release: Release, subject: Descriptor) -> bytes:
    """An index of all images, which refers to the release: so whoever copies that with its referrers copies them."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": IMAGES_TYPE,
            "manifests": [_listed(image.manifests[-1], {TITLE: image.name}) for image in release.images],
            "subject": _listed(subject),
        }
    )


def files(release: Release) -> Iterator[tuple[str, Descriptor]]:
    """The files of a release, by path, as blobs."""
    for file in release.files:
        yield file.path, Descriptor(media_type=FILE_TYPE, digest=file.digest, size=file.size)


def placement(release: Release, repository: str) -> Placement:
    """Where images and files go: all into one repository, each manifest under a tag that keeps it there."""
    blobs = {blob.digest: blob for image in release.images for blob in image.blobs}
    blobs |= {blob.digest: blob for _, blob in files(release)}
    return Placement(
        tuple((repository, blob) for blob in blobs.values()),
        tuple(
            tuple(Kept(repository, part, (kept_as(release, part.digest),)) for part in image.manifests)
            for image in release.images
        ),
    )


def kept_as(release: Release, digest: str) -> str:
    """The tag that keeps a manifest of this release from collectors of what has none."""
    return f"sealift-{release.digest.short}-{digest[7:39]}"


def fallback_tag(subject: str) -> str:
    """The tag under which referrers are listed where a registry does not list them itself (distribution-spec 1.1)."""
    return subject.replace(":", "-")


def read_release_manifest(raw: bytes, place: str) -> Descriptor:
    """Where ``release.json`` lies, by a manifest that claims to be of a release. Raises ``not-a-release`` (3)."""
    value = parse(raw, f"the manifest of {place}")
    kind = value.get("artifactType") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind != RELEASE_TYPE:
        what = f"its artifactType is {kind[:100]!r}" if isinstance(kind, str) else "it has no artifactType"
        raise SealiftError("not-a-release", f"{place} is no release of sealift: {what}", hint=PUSHED)
    config = _descriptor(value.get("config"))
    if config is None or config.media_type != RELEASE_TYPE:
        raise SealiftError("not-a-release", f"{place} does not say where its release.json lies", hint=PUSHED)
    if config.size > MAX_RELEASE_BYTES:
        raise SealiftError("release-too-large", f"the release.json of {place} has {config.size} bytes", hint=PUSHED)
    return config


def read_referrers(raw: bytes, place: str) -> tuple[Referrer, ...]:
    """The lines of a list of referrers, of what refers to a release and of what does not say what it is.

    Raises ``referrers-malformed`` (3), ``referrers-too-many`` (3).
    """
    value = parse(raw, f"the referrers of {place}")
    listed = value.get("manifests") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        raise SealiftError("referrers-malformed", f"the referrers of {place} are no index", hint=RUN)
    found: dict[str, Referrer] = {}
    for entry in listed:
        part = _descriptor(entry)
        if part is None:
            raise SealiftError("referrers-malformed", f"the referrers of {place} list what is no manifest", hint=RUN)
        kind = entry.get("artifactType")
        if kind is None or kind in KINDS:
            found[part.digest] = Referrer(part.digest, part.size, kind)
    _refuse_too_many(found.values(), place)
    return tuple(found.values())


def _refuse_too_many(found: Iterable[Referrer], place: str) -> None:
    counts: dict[str | None, int] = {}
    for one in found:
        counts[one.artifact_type] = counts.get(one.artifact_type, 0) + 1
    for kind, count in counts.items():
        most = KINDS[kind].most if kind else _MOST_UNNAMED
        if count > most:
            what = kind or "that do not say what they are"
            raise SealiftError(
                "referrers-too-many", f"{count} referrers of {place} ({what}), more than {most}", hint=RUN
            )


def read_attachment(raw: bytes, subject: str, place: str) -> tuple[Kind, str, Descriptor] | None:
    """What a referrer's manifest says: kind, name and content; None for what is not of ours.

    Raises ``referrer-of-another`` (5), ``referrer-malformed`` (3).
    """
    value = parse(raw, place)
    kind = KINDS.get(str(value.get("artifactType"))) if isinstance(value, dict) else None
    if kind is None:
        return None
    about = _descriptor(value.get("subject"))
    if about is None or about.digest != subject:
        raise SealiftError("referrer-of-another", f"{place} refers to another release", hint=RUN)
    layers = value.get("layers")
    content = _descriptor(layers[0]) if isinstance(layers, list) and len(layers) == 1 else None
    if content is None or content.media_type != kind.content_type or content.size > kind.largest:
        raise SealiftError("referrer-malformed", f"{place} does not hold one file of its kind")
    notes: Any = layers[0].get("annotations")
    title = notes.get(TITLE) if isinstance(notes, dict) else None
    if isinstance(title, str) and kind.names.fullmatch(title):
        return kind, title, content
    if not kind.spare:
        raise SealiftError("referrer-malformed", f"{place} has no name of its kind")
    return kind, name_of(kind, content.digest), content


def listing(before: Iterable[Mapping[str, Any]], added: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A list of referrers under the fallback tag: what stood there as it was, then what is new, by digest."""
    stood = list(before)
    there = {entry.get("digest") for entry in stood}
    fresh = [dict(entry) for digest, entry in sorted(added.items()) if digest not in there]
    return canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*stood, *fresh]})


def listed_as(raw: bytes, media_type: str, artifact_type: str) -> dict[str, Any]:
    """A line in a list of referrers."""
    return _listed(described(raw, media_type)) | {"artifactType": artifact_type}


def name_of(kind: Kind, digest: str) -> str:
    """A name for a signature that came with none of its kind (``oras attach`` keeps that of a file)."""
    return kind.spare.format(digest[7:23])


def _listed(part: Descriptor, notes: Mapping[str, str] | None = None) -> dict[str, Any]:
    value: dict[str, Any] = {"mediaType": part.media_type, "digest": part.digest, "size": part.size}
    return value | ({"annotations": dict(notes)} if notes else {})


def _descriptor(value: Any) -> Descriptor | None:
    """A descriptor as a manifest spells it, or None for what is none."""
    if not isinstance(value, dict):
        return None
    try:
        return Descriptor(media_type=value["mediaType"], digest=value["digest"], size=value["size"])
    except (KeyError, ValueError):
        return None


_MOST_UNNAMED: Final = 64
PUSHED: Final = "name what bundle push has put there: oci://REGISTRY/REPOSITORY:TAG"
RUN: Final = "ask who may write to that repository: what does not belong there has to go"
