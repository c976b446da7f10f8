"""What goes in, in which order: collected things become a release and the list of its bytes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from bundler.collect.content import Bytes, Content
from bundler.collect.files import CollectedFile, collect_file
from bundler.collect.layout import FULL_NAME, INDEX, REF_NAME, CollectedImage
from bundler.manifest.recipe import EDGE_NAMES, Recipe
from bundler.manifest.version import Version
from installer.bundle.release import RELEASE_TYPE, Deploy, Descriptor, Edge, Image, Release, first_problem
from installer.bundle.strictjson import canonical
from installer.errors import SealiftError
from installer.registry.images import beside

_PACKED_SUFFIXES: Final = ("+gzip", ".gzip", "+zstd")


@dataclass(frozen=True)
class Part:
    """One member's bytes. ``packed`` says that compressing them gains nothing."""

    content: Content
    packed: bool


@dataclass(frozen=True)
class Assembly:
    """A release, and for every name in ``release.members()`` its bytes."""

    release: Release
    parts: Mapping[str, Part]

    @property
    def size(self) -> int:
        """Bytes of the content, each blob once."""
        return sum(member.size for _, member in self.release.members())


def assemble(
    recipe: Recipe,
    version: Version,
    platform: str,
    created: str,
    images: Iterable[CollectedImage],
    files: Iterable[CollectedFile],
) -> Assembly:
    """Put a release together. Raises ``manifest-invalid`` (2) where its parts don't fit."""
    images = sorted(images, key=lambda one: one.image.name)
    files = [*files, *_layout([one.image for one in images], platform)]
    refuse_twins(files)
    files.sort(key=lambda one: one.file.path)
    try:
        release = Release(
            type=RELEASE_TYPE,
            product=recipe.product,
            version=version.text,
            channel=version.channel(recipe.channel),
            platform=platform,
            created=created,
            minimum_root_version=recipe.minimum_root_version,
            requires=recipe.requires,
            strategy=recipe.strategy,
            deploy=Deploy(compose=recipe.deploy.below_templates),
            edge=Edge(
                haproxy=EDGE_NAMES["haproxy"] if recipe.edge.haproxy else None,
                registry=EDGE_NAMES["registry"] if recipe.edge.registry else None,
            ),
            services=recipe.services,
            entry_points=recipe.entry_points,
            smoke=recipe.smoke,
            inputs=recipe.inputs,
            images=tuple(one.image for one in images),
            files=tuple(one.file for one in files),
        )
    except ValidationError as error:
        raise SealiftError(
            "manifest-invalid", f"this is no release: {first_problem(error)}", hint="mend the manifest"
        ) from error
    return Assembly(release, _parts(images, files))


def blob_is_packed(blob: Descriptor) -> bool:
    """Whether compressing a blob gains nothing, by its type alone."""
    return blob.media_type.endswith(_PACKED_SUFFIXES)


def _parts(images: Sequence[CollectedImage], files: Sequence[CollectedFile]) -> dict[str, Part]:
    parts = {one.file.path: Part(one.content, one.packed) for one in files}
    for one in images:
        for blob in (*one.image.manifests, *one.image.blobs):
            packed = blob_is_packed(blob)
            parts[f"blobs/sha256/{blob.digest.removeprefix('sha256:')}"] = Part(one.contents[blob.digest], packed)
    return parts


def _layout(images: Sequence[Image], platform: str) -> list[CollectedFile]:
    """The two files that make the archive's root an OCI layout, where there are images."""
    if not images:
        return []
    system, architecture = platform.split("/")
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": image.manifests[-1].media_type,
                "digest": image.digest,
                "size": image.manifests[-1].size,
                "platform": {"os": system, "architecture": architecture},
                # Short and unique, because oras splits a reference at its last colon; containerd reads the long one.
                "annotations": {REF_NAME: image.name, FULL_NAME: full_name(image.reference)},
            }
            for image in images
            if not beside(image)  # containerd's import breaks on what is no image
        ],
    }
    return [
        collect_file(path, "layout", Bytes(canonical(value)), executable=False, packed=False)
        for path, value in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index))
    ]


def full_name(reference: str) -> str:
    """A reference with its registry spelled out, the way engines complete it."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"


def refuse_twins(files: Iterable[CollectedFile]) -> None:
    """Refuse two files of one path, or of paths that differ only in case. Raises ``manifest-invalid`` (2)."""
    seen: dict[str, str] = {}
    for one in files:
        twin = seen.setdefault(one.file.path.casefold(), one.file.path)
        if twin is not one.file.path:
            raise SealiftError(
                "manifest-invalid",
                f"two files would be {one.file.path} in the bundle"
                + (f" (the other is {twin})" if twin != one.file.path else ""),
                hint="name each once; names that differ only in case are one name on a FAT stick",
            )
