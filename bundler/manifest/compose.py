"""A stranger's compose file, read for what a release has to know. Pure; anchors and merges are resolved by YAML."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from installer.errors import SealiftError

ANY_HOST: Final = "0.0.0.0"  # noqa: S104 - what Compose means where a port names no host
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_URL: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(?::(\d{1,5}))?(/[\x21-\x7e]*)?")
_PORT: Final = re.compile(
    r"(?:(?P<host>\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):)?(?:(?P<published>\d+)?:)?(?P<container>\d+)(?:/tcp)?"
)


@dataclass(frozen=True)
class Port:
    """A published port: what the host listens on (a port of None: any) and the container's."""

    host: str
    published: int | None
    container: int


@dataclass(frozen=True)
class ComposeService:
    """One service. ``health`` is the (port, path) that its own health check asks, where it asks by HTTP."""

    name: str
    image: str | None
    built: bool
    ports: tuple[Port, ...]
    volumes: tuple[str, ...]
    needs: tuple[str, ...]
    replicas: int
    health: tuple[int, str] | None


@dataclass(frozen=True)
class Compose:
    """The file. ``name`` is the project's, if it says; ``doubts`` are what a person should look at."""

    name: str | None
    services: tuple[ComposeService, ...]
    secrets: tuple[str, ...]
    doubts: tuple[str, ...]


def read_compose(text: str, origin: str) -> Compose:
    """Read a compose file. Raises ``compose-invalid`` (2)."""
    try:
        value: Any = yaml.safe_load(text)
        if not isinstance(value, dict) or not isinstance(value.get("services"), dict) or not value["services"]:
            raise _invalid(origin, "it has no services")
        named = set(value.get("volumes") or {})
        doubts: list[str] = []
        services = tuple(_service(name, body or {}, named, doubts) for name, body in sorted(value["services"].items()))
        if re.search(r"(?<!\$)\$\{?[A-Za-z_]", text):
            doubts.append("it takes values from the environment (${...}): make them inputs, or write them in")
        return Compose(value.get("name"), services, tuple(sorted(value.get("secrets") or {})), tuple(doubts))
    except yaml.YAMLError as error:
        raise _invalid(origin, f"not YAML: {error}") from error
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise _invalid(origin, str(error)) from error


def _service(name: str, body: dict[str, Any], named: set[str], doubts: list[str]) -> ComposeService:
    if not _NAME.fullmatch(name):
        raise ValueError(f"service {name}: its name must be lower-case letters, digits and dashes")
    for key, why in (
        ("env_file", "put that file beside the compose template if it holds no secret, else use secrets"),
        ("network_mode", "an upgrade gives each colour a network of its own"),
        ("profiles", "a release has one shape: take the service or its profile out"),
        ("extends", "put everything into one file"),
        ("links", "use the service's name"),
        ("volumes_from", "name the volumes"),
    ):
        if key in body:
            doubts.append(f"service {name} has {key}: {why}")
    ports = tuple(_ports(name, body.get("ports") or [], doubts))
    return ComposeService(
        name=name,
        image=body.get("image"),
        built="build" in body,
        ports=ports,
        volumes=tuple(_named_volumes(name, body.get("volumes") or [], named, doubts)),
        needs=tuple(sorted(body.get("depends_on") or ())),
        replicas=int((body.get("deploy") or {}).get("replicas", 1)),
        health=_health(body.get("healthcheck") or {}),
    )


def _ports(name: str, entries: list[Any], doubts: list[str]) -> Iterator[Port]:
    for entry in entries:
        if isinstance(entry, dict) and entry.get("protocol", "tcp") == "tcp":
            published = entry.get("published")
            host = str(entry.get("host_ip", ANY_HOST))
            yield Port(host, int(published) if published is not None else None, int(entry["target"]))
        elif match := _PORT.fullmatch(str(entry)):
            published = match["published"]
            yield Port(match["host"] or ANY_HOST, int(published) if published else None, int(match["container"]))
        else:
            doubts.append(f"service {name} publishes {entry}: only single TCP ports become entry points")


def _named_volumes(name: str, entries: list[Any], named: set[str], doubts: list[str]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, dict):
            source, kind = str(entry.get("source", "")), entry.get("type", "volume")
        else:
            source = str(entry).partition(":")[0] if ":" in str(entry) else ""
            kind = "volume" if source in named else "bind"
        if kind == "volume" and source:
            yield source
        elif kind == "bind" and source:
            doubts.append(f"service {name} mounts {source}: put that file beside the compose template")


def _health(check: dict[str, Any]) -> tuple[int, str] | None:
    test = check.get("test") or []
    words = shlex.split(test) if isinstance(test, str) else [str(word) for word in test]
    match = _URL.search(" ".join(words))
    if not match:
        return None
    return int(match[1] or 80), re.split(r"[|;&'\"]", match[2] or "/")[0] or "/"


def _invalid(origin: str, why: str) -> SealiftError:
    return SealiftError("compose-invalid", f"{origin}: {why}", hint="does docker compose config accept it")
