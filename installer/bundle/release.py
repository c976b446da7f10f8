"""``release.json``: what a release is, as a closed, canonical document. The only thing that is signed.

Every model refuses unknown fields and loose types. Whatever :meth:`Release.parse` accepts,
:meth:`Release.to_bytes` writes back byte for byte.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from installer.bundle.digest import Digest
from installer.bundle.fields import (
    Closed,
    DigestText,
    HttpPlace,
    Input,
    InputName,
    Instant,
    MediaType,
    Name,
    Path,
    Port,
    Reference,
    SemVer,
    Size,
    TcpPlace,
    Text,
    VersionRange,
)
from installer.bundle.paths import folders
from installer.bundle.problems import fault, first_problem, problem_id
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

# What a release is made of is imported from here; where the values are defined is this package's own business.
__all__ = [
    "MAX_RELEASE_BYTES",
    "RELEASE_TYPE",
    "ROLE_FOLDER",
    "Closed",
    "Deploy",
    "Descriptor",
    "DigestText",
    "Edge",
    "EntryPoint",
    "File",
    "FileRole",
    "Health",
    "Image",
    "Input",
    "InputName",
    "MediaType",
    "Name",
    "Path",
    "Port",
    "Release",
    "Requires",
    "SemVer",
    "Service",
    "Size",
    "Smoke",
    "Text",
    "VersionRange",
    "first_problem",
]

RELEASE_TYPE: Final = "application/vnd.sealift.release.v1+json"
MAX_RELEASE_BYTES: Final = 8 * 1024 * 1024
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Descriptor(Closed):
    """A blob of the OCI layout. ``uncompressed`` is the size in bytes after decompression, where known."""

    media_type: MediaType
    digest: DigestText
    size: Size
    uncompressed: Size | None = None


class Image(Closed):
    """An image: ``digest`` is what is deployed and stands last in ``manifests`` (children before their index)."""

    name: Name
    reference: Reference
    digest: DigestText
    manifests: Annotated[tuple[Descriptor, ...], Field(min_length=1)]
    blobs: tuple[Descriptor, ...]

    @model_validator(mode="after")
    def _manifests_are_manifests(self) -> Self:
        if any(part.media_type not in MANIFEST_TYPES for part in self.manifests):
            raise fault("release-manifest", f"a manifest of {self.name} is of a type that is none")
        if self.manifests[-1].digest != self.digest:
            raise fault("release-manifest", "the deployed digest must be the last of the manifests")
        _refuse_repeats((part.digest for part in (*self.manifests, *self.blobs)), f"a blob of {self.name}")
        return self


FileRole = Literal["binary", "chart", "template", "changelog", "doc", "tool", "program", "layout"]
ROLE_FOLDER: Final[dict[str, str]] = {
    "binary": "binaries/",
    "chart": "charts/",
    "template": "templates/",
    "doc": "docs/",
    "tool": "tools/",
    "program": "program/",
}
_FIXED_PATHS: Final = {"CHANGELOG.md": "changelog", "oci-layout": "layout", "index.json": "layout"}


class File(Closed):
    """A file of the closed list; ``path`` is also its member name in the archive."""

    path: Path
    role: FileRole
    size: Size
    digest: DigestText
    mode: Literal["0644", "0755"]

    @model_validator(mode="after")
    def _path_fits_role(self) -> Self:
        folder = ROLE_FOLDER.get(self.role)
        fits = self.path.startswith(folder) if folder else _FIXED_PATHS.get(self.path) == self.role
        if not fits:
            raise fault("release-role", f"role {self.role} cannot stand at {self.path}")
        return self


class Health(Closed):
    """How readiness shows beyond the container's own health check: ``http: ":8080/healthz"`` or ``tcp: ":9000"``."""

    http: HttpPlace | None = None
    tcp: TcpPlace | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.http is None) == (self.tcp is None):
            raise ValueError("health needs exactly one of http, tcp")
        return self


class Service(Closed):
    """What an upgrade has to know on top of the compose file. ``state: shared`` means one copy, outside the colours."""

    image: Name
    replicas: Annotated[int, Field(ge=1, le=32)] = 1
    health: Health | None = None
    needs: tuple[Name, ...] = ()
    state: Literal["none", "shared"] = "none"


class EntryPoint(Closed):
    """A name that the site binds to an address; ``port`` is the container's."""

    service: Name
    port: Port
    protocol: Literal["http", "tcp"]


class Smoke(Closed):
    """One question asked through the front door, and the answer that counts."""

    entry: Name
    http: Annotated[str, StringConstraints(pattern=r"^/[\x21-\x7e]*$", max_length=500)]
    expect: Annotated[int, Field(ge=100, le=599)] = 200
    contains: Annotated[str, StringConstraints(max_length=500)] | None = None


class Requires(Closed):
    """What must hold on the site before this release may come in."""

    upgrade_from: VersionRange | None = None
    installer: VersionRange | None = None


class Deploy(Closed):
    """The template that describes the running product, as a path below ``templates/``."""

    compose: Path


class Edge(Closed):
    """Names of the images for the site's own services; they belong to the site, not to the product."""

    haproxy: Name | None = None
    registry: Name | None = None


class Release(Closed):
    """The signed statement. Its digest is *the* name of the release."""

    type: Literal["application/vnd.sealift.release.v1+json"]
    product: Name
    version: SemVer
    channel: Name
    platform: Annotated[str, StringConstraints(pattern=r"^linux/(amd64|arm64)$")]
    created: Instant
    minimum_root_version: Annotated[int, Field(ge=1)]
    requires: Requires
    strategy: Literal["blue-green", "rolling"]
    deploy: Deploy
    edge: Edge
    services: dict[Name, Service]
    entry_points: dict[Name, EntryPoint]
    smoke: tuple[Smoke, ...]
    inputs: dict[InputName, Input]
    images: tuple[Image, ...]
    files: tuple[File, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Release:
        """Read the bytes of ``release.json``; call it only after the signatures over them hold.

        Raises the ``json-…`` errors (spelling) or the ``release-…``, ``path-…`` and ``name-twin`` errors (content),
        all of exit code 3.
        """
        value = parse_canonical(raw, "release.json")
        if not isinstance(value, dict) or value.get("type") != RELEASE_TYPE:
            raise SealiftError(
                "release-type", "release.json does not say that it is a release", hint="not made for this program"
            )
        try:
            release = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError(
                problem_id(error),
                f"release.json breaks the format: {first_problem(error)}",
                hint="the builder must be fixed",
            ) from error
        if release.to_bytes() != raw:
            raise SealiftError("release-spelling", "release.json leaves out fields that must be spelled out")
        return release

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical(self.model_dump(mode="json"))

    @cached_property
    def digest(self) -> Digest:
        """Its name everywhere. Made once: of a thousand images it takes a tenth of a second."""
        return Digest.of(self.to_bytes())

    def image(self, name: str) -> Image:
        """The image called ``name``; the schema guarantees it for every name used in the release."""
        return next(image for image in self.images if image.name == name)

    def blobs(self) -> dict[str, Descriptor]:
        """All blobs of the OCI layout (manifests too) by hex digest, each once, sorted."""
        parts = (part for image in self.images for part in (*image.manifests, *image.blobs))
        named = {part.digest.removeprefix("sha256:"): part for part in parts}  # one blob, two media types: fine
        return dict(sorted(named.items()))

    def members(self) -> Iterator[tuple[str, File | Descriptor]]:
        """The signed content in archive order: files by path, the layout's two files, blobs by digest."""
        layout = {file.path: file for file in self.files if file.role == "layout"}
        for file in self.files:
            if file.role != "layout":
                yield file.path, file
        for path in ("oci-layout", "index.json"):
            if path in layout:
                yield path, layout[path]
        for hex_digest, blob in self.blobs().items():
            yield f"blobs/sha256/{hex_digest}", blob

    @model_validator(mode="after")
    def _lists_are_sorted_and_unique(self) -> Self:
        paths = [file.path for file in self.files]
        for listed, what in ((paths, "files"), ([image.name for image in self.images], "images")):
            _refuse_repeats(listed, what)
            if listed != sorted(listed):
                raise fault("release-order", f"{what} must be sorted")
        folded = {path.casefold() for path in paths}
        if len(folded) != len(paths):
            raise fault("name-twin", "two files whose paths differ only in case")
        if not folded.isdisjoint(folder.casefold() for path in paths for folder in folders(path)):
            raise fault("name-twin", "a file whose path is another's folder")
        if bool(self.images) != ({"oci-layout", "index.json"} <= set(paths)):
            raise fault("release-role", "images and the files of their OCI layout go together")
        return self

    @model_validator(mode="after")
    def _one_digest_means_one_thing(self) -> Self:
        sizes: dict[str, int] = {}
        kinds: dict[str, str] = {}
        parts = [part for image in self.images for part in (*image.manifests, *image.blobs)]
        for digest, size in [(item.digest, item.size) for item in self.files] + [
            (part.digest, part.size) for part in parts
        ]:
            if sizes.setdefault(digest, size) != size:
                raise fault("release-size", f"one digest with two sizes: {digest}")
        for image in self.images:
            for part in image.manifests:
                if kinds.setdefault(part.digest, part.media_type) != part.media_type:
                    raise fault("release-manifest", f"one manifest with two media types: {part.digest}")
        if any(part.digest in kinds for image in self.images for part in image.blobs):
            raise fault("release-manifest", "one digest stands among the manifests and among the blobs")
        return self

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> Self:
        images = {image.name for image in self.images}
        paths = {file.path for file in self.files}
        for name, service in self.services.items():
            _must_be(service.image, images, f"image of service {name}")
            for need in service.needs:
                _must_be(need, self.services, f"need of service {name}")
            _refuse_repeats((name, *service.needs), f"needs of service {name}")  # nor may it need itself
        for name, entry in self.entry_points.items():
            _must_be(entry.service, self.services, f"service of entry point {name}")
            if self.services[entry.service].state == "shared":
                raise fault(
                    "release-reference", f"entry point {name} leads to a stateful service: it could not be switched"
                )
        for smoke in self.smoke:
            _must_be(smoke.entry, self.entry_points, "entry point of a smoke test")
            if self.entry_points[smoke.entry].protocol != "http":
                raise fault(
                    "release-reference", f"a smoke test asks HTTP of entry point {smoke.entry}, which is not HTTP"
                )
        for edge_image in (self.edge.haproxy, self.edge.registry):
            if edge_image is not None:
                _must_be(edge_image, images, "edge image")
        _must_be(f"templates/{self.deploy.compose}", paths, "compose template")
        return self


def _must_be(name: str, known: Container[str], what: str) -> None:
    if name not in known:
        raise fault("release-reference", f"{what} is not in the release: {name}")


def _refuse_repeats(names: Iterable[str], what: str) -> None:
    listed = list(names)
    if len(set(listed)) != len(listed):
        raise fault("release-repeated", f"{what}: one of them stands there twice")
