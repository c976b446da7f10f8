"""``release.json``: what a release is, as a closed, canonical document. The only thing that is signed.

Every model refuses unknown fields and loose types. Whatever :meth:`Release.parse` accepts,
:meth:`Release.to_bytes` writes back byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

import semver
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from installer.bundle.digest import DIGEST_PATTERN, Digest
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

RELEASE_TYPE: Final = "application/vnd.sealift.release.v1+json"
MAX_RELEASE_BYTES: Final = 8 * 1024 * 1024
MAX_PATH: Final = 100  # what one GNU tar header holds without extensions


def _version(text: str) -> str:
    parsed = semver.Version.parse(text)
    if parsed.build is not None:
        raise ValueError("build metadata (+...) is not allowed: it would give two names to one precedence")
    return text


def _path(text: str) -> str:
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError("a path with empty, '.' or '..' parts")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Names of products, services, images, entry points, channels: they end up in DNS labels and project names."""
InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=80)]
SemVer = Annotated[str, StringConstraints(max_length=64), AfterValidator(_version)]
Path = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=MAX_PATH), AfterValidator(_path)
]
DigestText = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
Size = Annotated[int, Field(ge=0, le=2**50)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(max_length=2000)]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$", max_length=127)]
VersionRange = Annotated[
    str,
    StringConstraints(
        pattern=r"^(==|!=|<=|>=|<|>)\d+(\.\d+){0,2}(,(==|!=|<=|>=|<|>)\d+(\.\d+){0,2})*$", max_length=200
    ),
]


class Closed(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, ser_json_bytes="utf8")


class Descriptor(Closed):
    """A blob of the OCI layout. ``uncompressed`` is the size in bytes after decompression, where known."""

    media_type: MediaType
    digest: DigestText
    size: Size
    uncompressed: Size | None = None


class Image(Closed):
    """An image: ``digest`` is what is deployed and stands last in ``manifests`` (children before their index)."""

    name: Name
    reference: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$", max_length=255)]
    digest: DigestText
    manifests: Annotated[tuple[Descriptor, ...], Field(min_length=1)]
    blobs: tuple[Descriptor, ...]

    @model_validator(mode="after")
    def _deployed_manifest_is_last(self) -> Self:
        if self.manifests[-1].digest != self.digest:
            raise ValueError("the deployed digest must be the last of the manifests")
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
            raise ValueError(f"role {self.role} cannot stand at {self.path}")
        return self


class Health(Closed):
    """How readiness shows beyond the container's own health check: ``http: ":8080/healthz"`` or ``tcp: ":9000"``."""

    http: Annotated[str, StringConstraints(pattern=r"^:\d{1,5}/[\x21-\x7e]*$", max_length=200)] | None = None
    tcp: Annotated[str, StringConstraints(pattern=r"^:\d{1,5}$")] | None = None

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


class Input(Closed):
    """A typed value that the site must (or may, with ``default``) give."""

    type: Literal["string", "integer", "boolean", "list"] = "string"
    default: str | int | bool | None = None
    since: SemVer | None = None
    description: Text = ""


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
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
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

        Raises ``json-invalid`` (spelling) or ``release-invalid`` (content), both exit code 3.
        """
        value = parse_canonical(raw, "release.json")
        if not isinstance(value, dict) or value.get("type") != RELEASE_TYPE:
            raise SealiftError(
                "release-invalid", "release.json does not say that it is a release", hint="not made for this program"
            )
        try:
            release = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError(
                "release-invalid",
                f"release.json breaks the format: {first_problem(error)}",
                hint="the builder must be fixed",
            ) from error
        if release.to_bytes() != raw:
            raise SealiftError("release-invalid", "release.json leaves out fields that must be spelled out")
        return release

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> Digest:
        return Digest.of(self.to_bytes())

    def image(self, name: str) -> Image:
        """The image called ``name``; the schema guarantees it for every name used in the release."""
        return next(image for image in self.images if image.name == name)

    def blobs(self) -> dict[str, Descriptor]:
        """All blobs of the OCI layout (manifests too) by hex digest, each once, sorted."""
        parts = (part for image in self.images for part in (*image.manifests, *image.blobs))
        return dict(sorted((part.digest.removeprefix("sha256:"), part) for part in parts))

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
        if paths != sorted(set(paths)) or len({path.casefold() for path in paths}) != len(paths):
            raise ValueError("files must be sorted by path, without twins that differ only in case")
        names = [image.name for image in self.images]
        if names != sorted(set(names)):
            raise ValueError("images must be sorted by name, each once")
        sizes: dict[str, int] = {}
        for image in self.images:
            for part in (*image.manifests, *image.blobs):
                if sizes.setdefault(part.digest, part.size) != part.size:
                    raise ValueError(f"one blob with two sizes: {part.digest}")
        if bool(self.images) != ({"oci-layout", "index.json"} <= set(paths)):
            raise ValueError("images and the files of their OCI layout go together")
        return self

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> Self:
        images = {image.name for image in self.images}
        paths = {file.path for file in self.files}
        for name, service in self.services.items():
            _must_be(service.image, images, f"image of service {name}")
            for need in service.needs:
                _must_be(need, self.services, f"need of service {name}")
        for name, entry in self.entry_points.items():
            _must_be(entry.service, self.services, f"service of entry point {name}")
            if self.services[entry.service].state == "shared":
                raise ValueError(f"entry point {name} leads to a stateful service: it could not be switched")
        for smoke in self.smoke:
            _must_be(smoke.entry, self.entry_points, "entry point of a smoke test")
            if self.entry_points[smoke.entry].protocol != "http":
                raise ValueError(f"a smoke test asks HTTP of entry point {smoke.entry}, which is not HTTP")
        for edge_image in (self.edge.haproxy, self.edge.registry):
            if edge_image is not None:
                _must_be(edge_image, images, "edge image")
        _must_be(f"templates/{self.deploy.compose}", paths, "compose template")
        return self


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic report as ``place: what``, one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "document"
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def _must_be(name: str, known: object, what: str) -> None:
    if name not in known:  # type: ignore[operator]
        raise ValueError(f"{what} is not in the release: {name}")
