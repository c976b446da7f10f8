"""The release manifest ``release.yaml``: what the release engineer writes. Models, and the reading of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from installer.bundle.release import (
    Closed,
    EntryPoint,
    Input,
    InputName,
    Name,
    Path,
    Requires,
    Service,
    Smoke,
    first_problem,
)
from installer.errors import SealiftError
from installer.registry.images import BESIDE

_Model = TypeVar("_Model", bound=Closed)
MANIFESTS: Final = "manifests"
MANIFEST: Final = "release.yaml"
EDGE_NAMES: Final = {"haproxy": "edge-haproxy", "registry": "edge-registry"}
"""What the images of the site's own services are called in a release."""
PLACEHOLDERS: Final = ("version", "os", "arch", "cache")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")

Location = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
"""A path, relative to the manifest's folder unless absolute; may hold placeholders such as ``{{ version }}``."""
Platform = Annotated[str, StringConstraints(pattern=r"^linux/(amd64|arm64)$")]
_HOST: Final = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?"
RegistryHost = Annotated[str, StringConstraints(pattern=rf"^{_HOST}$", max_length=255)]
Mirror = Annotated[str, StringConstraints(pattern=rf"^{_HOST}(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$", max_length=255)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]


class ImageFrom(Closed):
    """Where an image comes from (``docs/sources.md``).

    ``index``: whether an index is carried whole or only its platform; ``signatures``: what lies beside it comes too.
    """

    source: Annotated[str, Field(alias="from", min_length=1, max_length=1000)]
    index: Literal["platform", "keep"] = "platform"
    signatures: bool = False


class RegistrySettings(Closed):
    """How a registry is reached. ``mirrors`` (``host:port`` or ``host:port/prefix``) are asked before it, in order."""

    mirrors: tuple[Mirror, ...] = ()
    plain_http: bool = False
    ca: Location | None = None


class Program(Closed):
    """An executable file: a binary of the product, or a tool that a site may lack."""

    name: FileName
    path: Location


class Chart(Closed):
    """A Helm chart: a folder or a ``.tgz`` (``path``), or one in a registry (``from: oci://HOST/NAME:VERSION``)."""

    path: Location | None = None
    source: Annotated[Location | None, Field(alias="from")] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.source is None):
            raise ValueError("a chart has either a path or a from")
        return self

    def filled(self, values: Mapping[str, str]) -> Chart:
        """With its placeholders replaced."""
        path, source = (None if text is None else fill(text, values) for text in (self.path, self.source))
        return self.model_copy(update={"path": path, "source": source})


class EdgeImages(Closed):
    """Images of the site's own services."""

    haproxy: ImageFrom | None = None
    registry: ImageFrom | None = None


class DeployTemplate(Closed):
    """The compose template, as a path below ``templates/`` in the bundle (the folder's name may stand in front)."""

    compose: Path

    @property
    def below_templates(self) -> str:
        return self.compose.removeprefix("templates/")


class Keyless(Closed):
    """The Sigstore instance to sign with, as a ``client-trust-config.json``; the token comes by another way."""

    config: Location


class Sign(Closed):
    """Who signs when neither ``--key`` nor ``SEALIFT_KEY`` says otherwise: private keys, and an identity."""

    keys: tuple[Location, ...] = ()
    keyless: Keyless | None = None


class Recipe(Closed):
    """The whole manifest."""

    api_version: Annotated[Literal["sealift.dev/v1"], Field(alias="apiVersion")]
    product: Name
    channel: Name = "stable"
    strategy: Literal["blue-green", "rolling"] = "blue-green"
    platforms: Annotated[tuple[Platform, ...], Field(min_length=1)] = ("linux/amd64",)
    registries: dict[RegistryHost, RegistrySettings] = Field(default_factory=dict)
    images: dict[Name, ImageFrom]
    binaries: tuple[Program, ...] = ()
    charts: tuple[Chart, ...] = ()
    templates: Annotated[tuple[Location, ...], Field(min_length=1)]
    changelog: Location = "CHANGELOG.md"
    docs: tuple[Location, ...] = ()
    tools: tuple[Program, ...] = ()
    edge: EdgeImages = EdgeImages()
    inputs: dict[InputName, Input] = Field(default_factory=dict)
    deploy: DeployTemplate
    services: Annotated[dict[Name, Service], Field(min_length=1)]
    entry_points: dict[Name, EntryPoint] = Field(default_factory=dict)
    smoke: tuple[Smoke, ...] = ()
    requires: Requires = Requires()
    minimum_root_version: Annotated[int, Field(ge=1)] = 1
    roots: tuple[Location, ...] = ()
    sign: Sign = Sign()

    @model_validator(mode="after")
    def _services_find_what_they_name(self) -> Self:
        for name, service in self.services.items():
            if service.image not in self.images:
                raise ValueError(f"services.{name}: no image is called {service.image}")
            for need in service.needs:
                if need not in self.services:
                    raise ValueError(f"services.{name}: it needs {need}, which is no service")
        try:
            TopologicalSorter({name: service.needs for name, service in self.services.items()}).prepare()
        except CycleError as error:
            raise ValueError(f"services: they need each other in a circle: {' -> '.join(error.args[1])}") from error
        return self

    @model_validator(mode="after")
    def _entry_points_find_what_they_name(self) -> Self:
        for name, entry in self.entry_points.items():
            service = self.services.get(entry.service)
            if service is None:
                raise ValueError(f"entry_points.{name}: no service is called {entry.service}")
            if service.state == "shared":
                raise ValueError(f"entry_points.{name}: {entry.service} is stateful, so it could not be switched")
        for smoke in self.smoke:
            asked = self.entry_points.get(smoke.entry)
            if asked is None:
                raise ValueError(f"smoke: no entry point is called {smoke.entry}")
            if asked.protocol != "http":
                raise ValueError(f"smoke: the entry point {smoke.entry} does not speak HTTP")
        return self

    @model_validator(mode="after")
    def _names_of_the_edge_are_kept(self) -> Self:
        for name in self.images:
            if name in EDGE_NAMES.values():
                raise ValueError(f"images.{name}: this name is kept for the site's own services")
            if name.startswith(BESIDE):
                raise ValueError(f"images.{name}: names that begin like this are kept for signatures of images")
        if any(image is not None and image.signatures for image in (self.edge.haproxy, self.edge.registry)):
            raise ValueError("edge: images that never come into a registry have no place for signatures")
        return self

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        for text in self._locations():
            fill(text, dict.fromkeys(PLACEHOLDERS, "x"))
        return self

    def sources(self) -> dict[str, ImageFrom]:
        """Every image by the name it has in the release, those of the edge as ``edge-haproxy``, ``edge-registry``."""
        edge = {EDGE_NAMES["haproxy"]: self.edge.haproxy, EDGE_NAMES["registry"]: self.edge.registry}
        return self.images | {name: source for name, source in edge.items() if source is not None}

    def _locations(self) -> list[str]:
        programs = [program.path for program in (*self.binaries, *self.tools)]
        charts = [str(chart.path or chart.source) for chart in self.charts]
        return [*(image.source for image in self.sources().values()), *programs, *charts, *self.docs, self.changelog]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace ``{{ name }}`` by its value, and nothing else. Raises ``ValueError`` for an unknown name."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = ", ".join(f"{{{{ {name} }}}}" for name in PLACEHOLDERS)
            raise ValueError(f"unknown placeholder {match[0]}; known are {known}")
        return values[match[1]]

    return _PLACEHOLDER.sub(value, text)


def find_manifest(root: FilePath) -> FilePath:
    """The one ``manifests/<product>/release.yaml`` below ``root``.

    Raises ``manifest-not-found`` or ``manifest-ambiguous`` (2).
    """
    found = sorted((root / MANIFESTS).glob(f"*/{MANIFEST}"))
    if not found:
        raise SealiftError(
            "manifest-not-found",
            f"no {MANIFESTS}/<product>/{MANIFEST} here",
            hint="bundle init makes one; or name it with --manifest",
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in found)
        raise SealiftError("manifest-ambiguous", f"several products: {names}", hint="choose with --manifest")
    return found[0]


def load_recipe(path: FilePath) -> Recipe:
    """Read a manifest. Raises ``manifest-not-found`` or ``manifest-invalid`` (2)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "manifest-not-found", f"cannot read the manifest {path}: {error}", hint="name it with --manifest"
        ) from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, origin: str) -> Recipe:
    """Read the text of a manifest; ``origin`` names it in messages. Raises ``manifest-invalid`` (2)."""
    return read_model(text, origin, Recipe)


def read_model(text: str, origin: str, model: type[_Model]) -> _Model:
    """Read YAML as ``model``. Raises ``manifest-invalid`` (2)."""
    try:
        value: Any = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader that refuses more
        # Through JSON, because the models are strict: a YAML list is a tuple there, a date never is.
        return model.model_validate_json(json.dumps(value))
    except yaml.YAMLError as error:
        raise _invalid(origin, f"not YAML: {error}", "mind the indentation, and quote values with : or {{") from error
    except ValidationError as error:
        count = error.error_count()
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise _invalid(origin, first_problem(error) + more, "bundle lint shows all of them", error) from error
    except TypeError as error:
        raise _invalid(origin, f"{error}", "quote dates and the like") from error


def _invalid(origin: str, what: str, hint: str, report: ValidationError | None = None) -> SealiftError:
    problems = report.errors(include_url=False, include_input=False) if report else []
    details = tuple(f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in problems)
    return SealiftError("manifest-invalid", f"{origin}: {what}", hint=hint, details=details[1:])


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML readers silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value) and not any(key.tag.endswith(":merge") for key, _ in node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return mapping
