"""What is here: the engine, our containers and networks, Compose. Reads only, through the engine's own interface.

Containers are found by label: after a kill in the middle of ``up`` their names can stay odd.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import docker
import requests
from docker.errors import APIError, DockerException, NotFound

from installer.commands import Command
from installer.errors import SealiftError
from installer.plan.addresses import Route, parse_routes
from installer.site.names import Names
from installer.system import run
from installer.targets import labels
from installer.targets.states import Replica, State, clean, replica_state

__all__ = ["EngineFacts", "Inventory", "NetworkSeen", "Observed", "Replica", "State", "find_compose", "replica_state"]

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_COMPOSE: Final = (2, 22)  # the first that pulls only what is missing
_LONGEST_RESTART: Final = 120.0
"""Seconds from a container's end to its next start; the engine waits at most half of it."""
_ROUTES: Final = Path("/proc/net/route")


@dataclass(frozen=True)
class EngineFacts:
    """The engine as it says it is. ``free_bytes`` is None when its disk isn't this host's."""

    version: str
    platform: str
    data_root: str
    free_bytes: int | None
    live_restore: bool
    unchecked_registries: tuple[str, ...] = ()
    """Hosts (``host:port``) and networks whose registries it believes without TLS, or without checking it."""
    rootless: bool = False


@dataclass(frozen=True)
class NetworkSeen:
    """A network of ours; ``addresses`` maps container ids to addresses on it."""

    name: str
    product: str
    colour: str
    subnets: tuple[IPv4Network, ...]
    addresses: Mapping[str, str]


@dataclass(frozen=True)
class Observed:
    """Everything of one state dir on the engine, at one moment."""

    replicas: tuple[Replica, ...]
    networks: tuple[NetworkSeen, ...]

    def of(self, product: str, part: str) -> tuple[Replica, ...]:
        """Containers of a part of a product."""
        return tuple(replica for replica in self.replicas if (replica.product, replica.part) == (product, part))


class Inventory:
    """Looks at one engine for one state dir. Use it as a context manager, or close it.

    Every method raises ``engine-missing`` (7) when the engine isn't there, ``engine-failed`` (9) when it refuses.
    """

    def __init__(self, engine: str, names: Names, timeout: int = 60) -> None:
        self._endpoint, self._names = engine, names
        with _translated(engine):
            self._client = docker.DockerClient(base_url=engine, timeout=timeout)
            self._api = self._client.api

    def __enter__(self) -> Inventory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def engine(self) -> EngineFacts:
        """Version, platform, and the room on its disk."""
        with _translated(self._endpoint):
            info = self._api.info()
        root = info["DockerRootDir"]
        machine = info["Architecture"]
        return EngineFacts(
            version=info["ServerVersion"],
            platform=f"{info['OSType']}/{_ARCHITECTURES.get(machine, machine)}",
            data_root=root,
            free_bytes=_free_bytes(root) if self._endpoint.startswith("unix://") else None,
            live_restore=bool(info.get("LiveRestoreEnabled")),
            unchecked_registries=_unchecked(info.get("RegistryConfig") or {}),
            rootless=any("rootless" in option for option in info.get("SecurityOptions") or ()),
        )

    def observe(self, product: str | None = None) -> Observed:
        """All containers and networks of this state dir, stopped ones too; only ``product``'s where it is given."""
        wanted = [f"{labels.OWNER}={labels.owner(self._names)}"]
        wanted += [f"{labels.PRODUCT}={product}"] if product else []
        with _translated(self._endpoint):
            found = self._api.containers(all=True, filters={"label": wanted})
            seen = [state for item in found if (state := self._inspect(item["Id"])) is not None]
            nets = self._api.networks(filters={"label": wanted})
            networks = [self._api.inspect_network(net["Id"]) for net in nets]
            found = [_replica(item, self._last_exit_code(item)) for item in seen]
        replicas = sorted(found, key=lambda one: (one.product, one.part, one.container))
        return Observed(tuple(replicas), tuple(sorted((_network(net) for net in networks), key=lambda net: net.name)))

    def network_exists(self, name: str) -> bool:
        """Whether a network of that very name is there."""
        with _translated(self._endpoint):
            return any(net["Name"] == name for net in self._api.networks(names=[name]))

    def owner_of(self, network: str, address: str) -> str | None:
        """The id of the running container that has this address on that network, or None."""
        with _translated(self._endpoint):
            try:
                found = self._api.inspect_network(network).get("Containers") or {}
            except NotFound:
                return None
        return next((key for key, end in found.items() if end["IPv4Address"].split("/")[0] == address), None)

    def last_log_lines(self, container: str, count: int) -> tuple[str, ...]:
        """The last lines that a container wrote, without control characters; none when it is gone."""
        with _translated(self._endpoint):
            try:
                raw = self._api.logs(container, tail=count, stdout=True, stderr=True)
            except NotFound:
                return ()
        return tuple(clean(line) for line in bytes(raw).decode(errors="replace").splitlines()[-count:])

    def foreign_routes(self) -> tuple[Route, ...]:
        """Networks that this host or its engine has, and that aren't ours: the site's subnet must not overlap them.

        The kernel keeps quiet about bridges without a container, so the engine's own list is read too.
        """
        with _translated(self._endpoint):
            networks = [(net, _network(net)) for net in self._api.networks()]
        mine = labels.owner(self._names)
        own = {
            one for net, seen in networks if (net.get("Labels") or {}).get(labels.OWNER) == mine for one in seen.subnets
        }
        try:
            routes = parse_routes(_ROUTES.read_text())
        except OSError:
            routes = ()
        engine = (Route(one, f"the engine's network {seen.name}") for _, seen in networks for one in seen.subnets)
        return tuple(route for route in (*engine, *routes) if route.network not in own)

    def _inspect(self, container: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self._api.inspect_container(container)
        except NotFound:  # gone between the list and the look
            return None
        return found

    def _last_exit_code(self, item: Mapping[str, Any]) -> int | None:
        """The engine says 0 of a container that it has started again, whatever it ended with: only its events tell."""
        state = item["State"]
        if not state["Running"] or state["Restarting"]:
            return int(state["ExitCode"])
        if not item["RestartCount"]:
            return None
        # In the past, also where the clock was put back: then the answer ends by itself. The engine takes fractions.
        until = min(_seconds(state["StartedAt"]), time.time())
        ends = self._api.events(  # type: ignore[call-overload]
            since=f"{until - _LONGEST_RESTART:.9f}",
            until=f"{until:.9f}",
            filters={"container": item["Id"], "event": "die"},
            decode=True,
        )
        codes = [int(end["Actor"]["Attributes"]["exitCode"]) for end in ends]
        return codes[-1] if codes else None


def find_compose(
    carried: Sequence[Path], environment: Mapping[str, str], docker_argv: tuple[str, ...] = ("docker",)
) -> tuple[str, ...]:
    """How to call Compose: Docker's plugin, else the first of the carried ones that runs and is new enough.

    Raises ``compose-missing`` (7).
    """
    ways = [Command((*docker_argv, "compose"))]
    ways += [Command((str(tool),), carried=True) for tool in carried]
    for way in ways:
        asked = replace(way, argv=(*way.argv, "version", "--short"), cwd="/", env=environment, timeout=30)
        try:
            found = run(asked, check=False)
        except SealiftError:
            continue
        if found.code == 0 and _new_enough(found.out):
            return way.argv
    raise SealiftError(
        "compose-missing",
        f"docker compose {'.'.join(map(str, _COMPOSE))} or later is not here, and the bundle carries none that runs",
        hint="install Docker's compose plugin, or ask for a bundle that carries it as a tool",
    )


def _new_enough(version: str) -> bool:
    numbers = re.match(r"v?(\d+)\.(\d+)", version.strip())
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _COMPOSE


def _replica(item: Mapping[str, Any], exit_code: int | None) -> Replica:
    state, own = item["State"], item["Config"]["Labels"]
    health = state.get("Health") or {}
    log = health.get("Log") or []
    networks = item["NetworkSettings"]["Networks"]
    return Replica(
        id=item["Id"],
        product=own.get(labels.PRODUCT, ""),
        part=own.get(labels.PART, ""),
        service=own.get(labels.SERVICE, ""),
        number=int(own[labels.REPLICA]) if own.get(labels.REPLICA, "").isdigit() else 0,
        container=own.get("com.docker.compose.service", item["Name"].lstrip("/")),
        version=own.get(labels.VERSION, ""),
        release=own.get(labels.RELEASE, ""),
        finishes=own.get(labels.FINISHES) == "yes",
        config_hash=own.get("com.docker.compose.config-hash", ""),
        image=item["Config"]["Image"],
        status=state["Status"],
        health=health.get("Status", "none"),
        health_log=clean(" ".join(log[-1].get("Output", "").split())) if log else "",
        restarts=int(item.get("RestartCount", 0)),
        started_at=_seconds(state.get("StartedAt", "")),
        exit_code=exit_code,
        error=clean(state.get("Error", "")),
        addresses={name: _fixed_or_current(net) for name, net in sorted(networks.items())},
    )


def _fixed_or_current(net: Mapping[str, Any]) -> str:
    """A stopped container has no address any more, but keeps the one that it was promised."""
    return net.get("IPAddress") or (net.get("IPAMConfig") or {}).get("IPv4Address") or ""


def _network(net: Mapping[str, Any]) -> NetworkSeen:
    own = net.get("Labels") or {}
    ranges = [entry["Subnet"] for entry in (net.get("IPAM") or {}).get("Config") or () if ":" not in entry["Subnet"]]
    return NetworkSeen(
        name=net["Name"],
        product=own.get(labels.PRODUCT, ""),
        colour=own.get(labels.COLOUR, ""),
        subnets=tuple(IPv4Network(text) for text in ranges),
        addresses={key: end["IPv4Address"].split("/")[0] for key, end in (net.get("Containers") or {}).items()},
    )


def _seconds(text: str) -> float:
    """Seconds since 1970 of the engine's time stamps (nine digits after the point); 0 for never."""
    if not text or text.startswith("0001-"):
        return 0.0
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction[:9]}" if fraction else 0)


def _free_bytes(folder: str) -> int | None:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


@contextmanager
def _translated(endpoint: str) -> Iterator[None]:
    """Errors of the library as ours."""
    try:
        yield
    except APIError as error:
        raise SealiftError(
            "engine-failed", f"the engine at {endpoint} refused: {error.explanation or error}", hint="look at its log"
        ) from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise _unreachable(endpoint, error) from error


def _unreachable(endpoint: str, error: BaseException) -> SealiftError:
    text = repr(error)
    if "PermissionError" in text or "Permission denied" in text:
        why, hint = "not permitted", "run this as root, or as a member of the group docker"
    elif "FileNotFoundError" in text or "No such file" in text:
        why, hint = "there is no such socket", "install and start Docker, or mind target.engine in site.yaml"
    elif "ConnectionRefused" in text or "Connection refused" in text:
        why, hint = "nobody answers", "start Docker: systemctl start docker"
    elif "timed out" in text.lower():
        why, hint = "it does not answer in time", "look at the engine's log; a restart of it may help"
    else:
        why, hint = " ".join(str(error).split())[:200], "start Docker, and mind target.engine in site.yaml"
    return SealiftError("engine-missing", f"no Docker engine at {endpoint}: {why}", hint=hint)


def _unchecked(config: Mapping[str, Any]) -> tuple[str, ...]:
    hosts = [name for name, index in (config.get("IndexConfigs") or {}).items() if not index.get("Secure", True)]
    return (*sorted(hosts), *(config.get("InsecureRegistryCIDRs") or ()))
