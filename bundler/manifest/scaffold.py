"""``bundle init``: manifest, template and changelog for a product, from its compose file or from an example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from bundler.durable import write_new
from bundler.manifest.compose import Compose, ComposeService, read_compose
from bundler.manifest.edge import edge_sources
from bundler.manifest.recipe import MANIFEST, MANIFESTS, parse_recipe
from bundler.manifest.template import make_template
from installer.errors import SealiftError

FIRST_VERSION: Final = "1.0.0"
HTTP_PORTS: Final = frozenset({80, 3000, 4000, 5000, 8000, 8008, 8080, 8081, 8088, 8888, 9090})
_TAG: Final = re.compile(r"(?P<name>[^@]+?):(?P<tag>v?(?P<version>\d+\.\d+\.\d+[0-9A-Za-z.-]*))")
_EXAMPLE: Final = """\
# The running product, as for docker compose; sealift fills in {{ }}.
services:
  web:
    image: example/web:1.0.0
    ports: ["8080:8080"]
    restart: unless-stopped
"""


@dataclass(frozen=True)
class Scaffold:
    """What was written. ``site`` is what a site.yaml needs for this product."""

    product: str
    version: str
    manifest: Path
    files: tuple[Path, ...]
    site: str
    warnings: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people: what was written and what comes next."""
        yield from (f"wrote {path}" for path in self.files)
        yield f"next: look at {self.manifest}, then bundle lint, then bundle build v{self.version}"
        yield "a site that takes this product needs in its site.yaml:"
        yield from (f"  {line}" for line in self.site.splitlines())


@dataclass(frozen=True)
class Entry:
    """An entry point to be; ``bind`` is the address that the compose file published it on."""

    name: str
    service: str
    port: int
    protocol: str
    bind: str


def init(folder: Path, compose_file: Path | None, product: str | None) -> Scaffold:
    """Write the files below ``folder``; ``product`` is its name, else the compose project's, else the folder's.

    Raises ``compose-invalid``, ``output-exists``, ``bad-option`` (2).
    """
    text, origin = (_EXAMPLE, "the example") if compose_file is None else (_read(compose_file), str(compose_file))
    compose = read_compose(text, origin)
    name = _product_name(product or compose.name or folder.resolve().name)
    images = {service.name: _reference(service, name) for service in compose.services}
    version = next((match["version"] for match in map(_TAG.fullmatch, images.values()) if match), FIRST_VERSION)
    try:
        template = make_template(text, {service: service for service in images})
    except (yaml.YAMLError, ValueError) as error:
        raise SealiftError("compose-invalid", f"{origin}: {error}", hint="write anchors of images out") from error
    entries = tuple(_entries(compose))
    edge, doubts = edge_sources()
    manifest = manifest_text(name, version, compose, images, entries, edge)
    parse_recipe(manifest, "the manifest that init would write")
    paths = {
        folder / MANIFESTS / name / MANIFEST: manifest,
        folder / MANIFESTS / name / "CHANGELOG.md": _changelog(name, version),
        folder / "templates" / name / "compose.yaml.j2": template,
    }
    _write_all(paths)
    warnings = (*compose.doubts, *_stateful_doors(compose), *doubts)
    manifest_path = folder / MANIFESTS / name / MANIFEST
    return Scaffold(name, version, manifest_path, tuple(paths), site_text(compose, entries), warnings)


def manifest_text(
    product: str,
    version: str,
    compose: Compose,
    images: dict[str, str],
    entries: tuple[Entry, ...],
    edge: dict[str, str],
) -> str:
    """The text of ``release.yaml``. Pure."""
    lines = [
        f"# What `bundle build v{version}` puts into a release of {product}.",
        "apiVersion: sealift.dev/v1",
        f"product: {product}",
        "channel: stable",
        "platforms: [linux/amd64]",
        "",
        "images:",
        *(
            f"  {name}: {{from: {_quoted('docker-daemon:' + _versioned(ref, version))}}}"
            for name, ref in images.items()
        ),
        "",
        f"templates: [../../templates/{product}]",
        "changelog: CHANGELOG.md",
        "deploy: {compose: compose.yaml.j2}",
        "",
        *_edge_lines(edge),
        "",
        "services:",
        *(_service_line(service) for service in compose.services),
        "",
        "# Names that a site binds to addresses, in its site.yaml.",
        "entry_points:" + ("" if entries else " {}"),
        *(f"  {e.name}: {{service: {e.service}, port: {e.port}, protocol: {e.protocol}}}" for e in entries),
        "",
        *_smoke_lines(compose, entries),
    ]
    if compose.secrets:
        lines += ["", f"# Secrets that the site gives as files: {', '.join(compose.secrets)}"]
    return "\n".join(lines) + "\n"


def site_text(compose: Compose, entries: tuple[Entry, ...]) -> str:
    """The lines that a site.yaml needs for this product. Pure."""
    lines = ["entry_points:" + ("" if entries else " {}")]
    lines += [f'  {entry.name}: {{bind: "{entry.bind}"}}' for entry in entries]
    if compose.secrets:
        lines += ["secrets:", *(f"  {name}: {{file: /etc/sealift/secrets/{name}}}" for name in compose.secrets)]
    return "\n".join(lines)


def _entries(compose: Compose) -> Iterator[Entry]:
    """One entry point for each published port of a stateless service."""
    for service in compose.services:
        for port in service.ports if not service.volumes else ():
            http = port.container in HTTP_PORTS or (service.health is not None and service.health[0] == port.container)
            name = service.name if len(service.ports) == 1 else f"{service.name}-{port.container}"
            bind = f"{port.host}:{port.published or port.container}"
            yield Entry(name, service.name, port.container, "http" if http else "tcp", bind)


def _stateful_doors(compose: Compose) -> Iterator[str]:
    for service in compose.services:
        if service.volumes and service.ports:
            yield f"service {service.name} has volumes and published ports: what has state gets no entry point"


def _service_line(service: ComposeService) -> str:
    words = [f"image: {service.name}"]
    if service.replicas > 1:
        words.append(f"replicas: {service.replicas}")
    if service.health is not None:
        words.append(f"health: {{http: {_quoted(f':{service.health[0]}{service.health[1]}')}}}")
    elif service.ports:
        words.append(f'health: {{tcp: ":{service.ports[0].container}"}}')
    if service.needs:
        words.append(f"needs: [{', '.join(service.needs)}]")
    if service.volumes:
        words.append("state: shared")
    return f"  {service.name}: {{{', '.join(words)}}}"


def _smoke_lines(compose: Compose, entries: tuple[Entry, ...]) -> list[str]:
    """A question for each HTTP entry point whose service says what it answers."""
    health = {service.name: service.health for service in compose.services}
    lines = ["# What a new release must answer through the front door before people reach it."]
    asked = []
    for entry in entries:
        known = health[entry.service]
        if entry.protocol == "http" and known is not None and known[0] == entry.port:
            asked.append(f"  - {{entry: {entry.name}, http: {_quoted(known[1])}, expect: 200}}")
    return [*lines, "smoke:" + ("" if asked else " []"), *asked]


def _edge_lines(edge: dict[str, str]) -> list[str]:
    head = "# The site's own front door and registry; they travel in every bundle."
    if not edge:
        return [head, '# edge: {haproxy: {from: "oci:…"}, registry: {from: "oci:…"}}']
    return [head, "edge:", *(f"  {name}: {{from: {_quoted(source)}}}" for name, source in edge.items())]


def _reference(service: ComposeService, product: str) -> str:
    """The image as the engine knows it; compose names what it builds after project and service."""
    if service.image:
        return service.image
    if service.built:
        return f"{product}-{service.name}:latest"
    raise SealiftError(
        "compose-invalid", f"service {service.name} has neither image nor build", hint="give it an image"
    )


def _versioned(reference: str, version: str) -> str:
    """The reference with the product's version as a placeholder, where that is its tag."""
    match = _TAG.fullmatch(reference)
    if match and match["version"] == version:
        return f"{match['name']}:{match['tag'].replace(version, '{{ version }}')}"
    return reference


def _product_name(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    if not name:
        raise SealiftError("bad-option", f"no product name can be made of {text!r}", hint="--product NAME")
    return name


def _changelog(product: str, version: str) -> str:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        f"# Changelog of {product}\n\n## [Unreleased]\n\n## [{version}] - {today}\n\n### Added\n\n"
        "- First release as a bundle.\n"
    )


def _write_all(paths: dict[Path, str]) -> None:
    for path in paths:
        if path.exists():
            raise SealiftError(
                "output-exists", f"{path} exists", hint="init writes only what is not there: move it away"
            )
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_new(path, text.encode("utf-8"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError("compose-invalid", f"cannot read {path}: {error}", hint="check the path") from error
