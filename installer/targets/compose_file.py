"""A product's compose file, split into what is started once per colour and what is started once. Pure.

Kept: what the product says about its processes (health checks, environment, limits). Replaced: images, networks,
names, restart policy, secrets, replicas, for these decide whether two colours can live side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from installer.bundle.release import Release, Service
from installer.errors import SealiftError
from installer.site.names import COLOURS, Colour, Names, Part
from installer.site.secretfiles import SecretFile
from installer.targets import labels, strict_yaml, variables
from installer.targets.mounts import Mounts, Spec, invalid

_REFUSED: Final = {
    "build": "a bundle carries images and builds none: name an image",
    "extends": "put everything into one file",
    "links": "use the service's name",
    "external_links": "use an entry point or a value of the site",
    "network_mode": "each colour has a network of its own: take it out, and use entry points instead of ports",
    "volumes_from": "name the volumes",
    "profiles": "a release has one shape: take the service or its profile out",
    "provider": "name an image",
    "label_file": "write the labels out",
    "credential_spec": "use secrets",
}
_REPLACED: Final = {
    *("image", "container_name", "ports", "expose", "restart", "scale", "pull_policy", "develop", "deploy"),
    *("networks", "depends_on", "volumes", "secrets", "configs", "env_file", "labels"),
}
_FAR_REACHING: Final = ("privileged", "pid", "ipc", "userns_mode", "devices", "cap_add", "cgroup_parent")
_TOP_LEVEL: Final = {"services", "volumes", "networks", "secrets", "configs", "name", "version"}
_FINISHES: Final = "service_completed_successfully"


@dataclass(frozen=True)
class Placement:
    """Where a release goes: a colour with its addresses, pinned images by name, secrets, rendered files."""

    names: Names
    colour: Colour
    images: Mapping[str, str]
    addresses: Mapping[tuple[str, int], str]
    secrets: Mapping[str, SecretFile]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class ComposeParts:
    """Two compose projects. ``base`` is None when nothing is stateful.

    ``base_files`` are the rendered files that the base mounts. They belong into a folder whose name is made from
    ``base_key``: mounts are absolute paths, so a folder per release would restart the database with each release.
    """

    base: Spec | None
    colour: Spec
    base_files: Mapping[str, bytes]
    base_key: str
    warnings: tuple[str, ...]

    def write(self, part: Part) -> bytes:
        """The file of a part; the same content gives the same bytes."""
        return strict_yaml.write(self.base if part == "base" else self.colour)


def split(text: bytes, release: Release, placement: Placement) -> ComposeParts:
    """Split a rendered compose file. Raises ``compose-invalid`` (2) or ``secret-missing`` (7)."""
    document = strict_yaml.parse_mapping(text, "the rendered compose file")
    services = _services(document, release)
    variables.refuse_unset(services, placement.files)
    translated = {
        name: _Translated(name, services, release, placement, document).translate() for name in sorted(services)
    }
    _refuse_missing_secrets({secret for item in translated.values() for secret in item.mounts.secrets}, placement)
    stateful = [item for item in translated.values() if item.stateful]
    colour = [item for item in translated.values() if not item.stateful]
    _refuse_name_twice(colour)
    wanted = {path for item in stateful for path in item.mounts.files} | ({variables.FILE} & set(placement.files))
    base_files = {path: placement.files[path] for path in sorted(wanted)} if stateful else {}
    return ComposeParts(
        base=_project(stateful, document, release, placement, "base") if stateful else None,
        colour=_project(colour, document, release, placement, placement.colour),
        base_files=base_files,
        base_key=_digest(base_files),
        warnings=(*_dropped_networks(document), *(line for item in translated.values() for line in item.warnings)),
    )


def declared_secrets(text: bytes) -> tuple[str, ...]:
    """Names of the secrets that a rendered compose file declares. Raises ``compose-invalid`` (2)."""
    secrets = strict_yaml.parse_mapping(text, "the rendered compose file").get("secrets")
    return tuple(sorted(secrets)) if isinstance(secrets, dict) else ()


class _Translated:
    """One service of the product on its way into a project."""

    def __init__(
        self, name: str, services: Mapping[str, Spec], release: Release, placement: Placement, document: Spec
    ) -> None:
        self.name, self._services, self._release, self._placement = name, services, release, placement
        self.declared: Service = release.services[name]
        self.stateful = self.declared.state == "shared"
        self.mounts = Mounts(name, self.stateful, placement.files, document)
        self.warnings: list[str] = []
        self.containers: dict[str, Spec] = {}

    def translate(self) -> _Translated:
        """Fill ``containers``: one compose service per replica. Raises ``compose-invalid`` (2)."""
        spec = self._services[self.name]
        self._refuse(spec)
        common = {key: value for key, value in spec.items() if key not in _REPLACED and not key.startswith("x-")}
        common |= self.mounts.translate(spec)
        common["image"] = _escaped(self._placement.images[self.declared.image])
        common["restart"] = "no" if self._finishes() else "always"
        if isinstance(deploy := spec.get("deploy"), dict) and "resources" in deploy:
            common["deploy"] = {"resources": deploy["resources"]}
        if before := self._depends_on(spec.get("depends_on")):
            common["depends_on"] = before
        for number in range(1, self.declared.replicas + 1):
            self.containers[self._container(self.name, number)] = common | {
                "labels": self._labels(spec.get("labels"), number),
                "networks": self._networks(spec, number),
            }
        self.warnings += self.mounts.warnings
        return self

    def _refuse(self, spec: Spec) -> None:
        for key, way_out in _REFUSED.items():
            if spec.get(key):
                raise invalid(f"the service {self.name} uses `{key}`", way_out)
        if self.stateful and self.declared.replicas != 1:
            raise invalid(f"the stateful service {self.name} has {self.declared.replicas} replicas", "it can have one")
        for key in _FAR_REACHING:
            if spec.get(key):
                self.warnings.append(f"service {self.name}: it asks for rights on this host: {key}")
        if any(word in str(spec.get("security_opt")) for word in ("unconfined", "disable")):
            self.warnings.append(f"service {self.name}: it asks for rights on this host: security_opt")

    def _container(self, service: str, number: int) -> str:
        return service if self._release.services[service].state == "shared" else f"{service}-{number}"

    def _finishes(self) -> bool:
        """Others wait until this service has ended well, so it must not be started again."""
        conditions = (_conditions(spec.get("depends_on")).get(self.name, {}) for spec in self._services.values())
        return any(condition.get("condition") == _FINISHES for condition in conditions)

    def _depends_on(self, value: object) -> Spec:
        result: Spec = {}
        for other, condition in _conditions(value).items():
            if other not in self._services:
                raise invalid(f"the service {self.name} depends on {other}, which is not there", "mind the spelling")
            service = self._release.services[other]
            if service.state == self.declared.state:
                for number in range(1, service.replicas + 1):
                    result[self._container(other, number)] = condition
            elif self.stateful:
                raise invalid(
                    f"the stateful service {self.name} depends on {other}, which is started after it, once per colour",
                    f"turn it round, or mark {other} `state: shared` too",
                )
        return result

    def _labels(self, value: object, number: int) -> dict[str, str]:
        own = _string_mapping(value, f"labels of the service {self.name}")
        if any(key.startswith((labels.PREFIX, "com.docker.compose.")) for key in own):
            raise invalid(f"the service {self.name} sets labels that are kept for sealift or Compose", "rename them")
        return own | labels.container(
            self._placement.names,
            self._release,
            None if self.stateful else self._placement.colour,
            service=self.name,
            number=number,
            finishes=self._finishes(),
            content=self._content(),
        )

    def _content(self) -> str:
        """Compose doesn't see what is inside a mounted file: this label changes with it."""
        secrets = {
            name: self._placement.secrets[name] for name in self.mounts.secrets if name in self._placement.secrets
        }
        inside = {f"secret/{name}": secret.fingerprint.encode() for name, secret in secrets.items()}
        return _digest(inside | {f"file/{path}": self._placement.files[path] for path in self.mounts.files})

    def _networks(self, spec: Spec, number: int) -> Spec:
        aliases = [self.name, *filter(None, [spec.get("container_name")])]
        networks = spec.get("networks")
        for network in networks.values() if isinstance(networks, dict) else ():
            more = network.get("aliases") if isinstance(network, dict) else None
            aliases += more if isinstance(more, list) else []
        aliases = list(dict.fromkeys(str(alias) for alias in aliases))
        if self.stateful:
            return {colour: {"aliases": aliases} for colour in COLOURS}
        address = self._placement.addresses[self.name, number]
        return {self._placement.colour: {"aliases": aliases, "ipv4_address": address}}


def colour_replicas(release: Release) -> dict[str, int]:
    """How many containers of each service a colour has: what needs fixed addresses."""
    return {name: service.replicas for name, service in release.services.items() if service.state == "none"}


def start_order(release: Release, part: Part) -> tuple[str, ...]:
    """Services of a part, each after those that it needs. Raises ``release-invalid`` (3) for a circle."""
    state = "shared" if part == "base" else "none"
    ordered: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise SealiftError(
                "release-invalid", f"services need each other in a circle: {' -> '.join((*above, name))}"
            )
        if name in ordered:
            return
        for need in sorted(release.services[name].needs):
            add(need, (*above, name))
        ordered[name] = None

    for name in sorted(release.services):
        add(name, ())
    return tuple(name for name in ordered if release.services[name].state == state)


def _services(document: Spec, release: Release) -> dict[str, Spec]:
    if unknown := {key for key in document if key not in _TOP_LEVEL and not key.startswith("x-")}:
        raise invalid(f"the compose file has `{sorted(unknown)[0]}` at its top", "put everything into one file")
    services = document.get("services")
    if not isinstance(services, dict) or not services:
        raise invalid("the compose file has no services", "declare them below `services:`")
    if all(service.state == "shared" for service in release.services.values()):
        raise invalid("every service is stateful, so there is nothing to switch", "mark the others `state: none`")
    if differing := set(services) ^ set(release.services):
        name = sorted(differing)[0]
        here, there = ("compose file", "manifest") if name in services else ("manifest", "compose file")
        raise invalid(f"the service {name} stands in the {here}, but not in the {there}", f"add it to the {there}")
    for name, spec in services.items():
        if not isinstance(spec, dict):
            raise invalid(f"the service {name} is not a mapping", "mind the indentation")
    return services


def _project(items: list[_Translated], document: Spec, release: Release, placement: Placement, part: Part) -> Spec:
    names, product = placement.names, release.product
    project: Spec = {
        "name": names.project(product, part),
        "services": {name: spec for item in items for name, spec in item.containers.items()},
        "networks": {
            colour: {"external": True, "name": names.network(product, colour)}
            for colour in (COLOURS if part == "base" else (placement.colour,))
        },
    }
    secrets = {name for item in items for name in item.mounts.secrets}
    configs = {name for item in items for name in item.mounts.configs}
    volumes = {name for item in items for name in item.mounts.volumes}
    if secrets:
        project["secrets"] = {name: {"file": _escaped(placement.secrets[name].path)} for name in secrets}
    if configs:
        project["configs"] = {name: document["configs"][name] for name in configs}
    if volumes:
        project["volumes"] = {name: _volume(document["volumes"][name], names, product, name) for name in volumes}
    return project


def _volume(declared: object, names: Names, product: str, name: str) -> Spec:
    spec = dict(declared) if isinstance(declared, dict) else {}
    if spec.get("external"):
        return spec
    own = _string_mapping(spec.get("labels"), f"labels of the volume {name}")
    return spec | {"name": names.volume(product, name), "labels": own | labels.belongings(names, product)}


def _dropped_networks(document: Spec) -> list[str]:
    networks = document.get("networks")
    declared = networks if isinstance(networks, dict) else {}
    for name, spec in declared.items():
        if isinstance(spec, dict) and spec.get("external"):
            raise invalid(
                f"the network {name} is external: both colours would answer to the same names on it",
                "reach other systems by address, through a value of the site",
            )
    named = sorted(set(declared) - {"default"})
    return [f"networks of the compose file are replaced by one per colour: {', '.join(named)}"] if named else []


def _refuse_missing_secrets(wanted: set[str], placement: Placement) -> None:
    if missing := sorted(wanted - set(placement.secrets)):
        raise SealiftError(
            "secret-missing",
            f"the release needs secrets that the site file lacks: {', '.join(missing)}",
            hint="add to site.yaml, below `secrets:`, "
            + " | ".join(f"{name}: {{file: /etc/sealift/secrets/{name}}}" for name in missing),
        )


def _refuse_name_twice(items: list[_Translated]) -> None:
    names = [name for item in items for name in (item.name, *item.containers)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise invalid(f"the service {twice[0]} has the name of another one's replica", "rename it")


def _conditions(value: object) -> dict[str, Spec]:
    if isinstance(value, list):
        return {str(name): {"condition": "service_started"} for name in value}
    if isinstance(value, dict):
        return {name: dict(spec) if isinstance(spec, dict) else {} for name, spec in value.items()}
    return {}


def _string_mapping(value: object, what: str) -> dict[str, Any]:
    if value is None or isinstance(value, dict):
        return {key: "" if item is None else item for key, item in (value or {}).items()}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {item.partition("=")[0]: item.partition("=")[2] for item in value}
    raise invalid(f"{what} are neither a mapping nor a list", "write them as a mapping")


def _escaped(text: str) -> str:
    """Compose would replace what follows a dollar sign."""
    return text.replace("$", "$$")


def _digest(contents: Mapping[str, bytes]) -> str:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return hashlib.sha256(strict_yaml.write(digests)).hexdigest()[:16]
