"""An engine kept in files: networks, images, containers, volumes, a registry. It obeys the words of Docker's programs.

::

    world/  networks/NAME  containers/PROJECT/NAME  volumes/NAME  images/NAME  registry/{running,blobs/*}
            edge/{disk.cfg,disk.map}   what the front door reads when it starts
            edge/{live.cfg,live.map}   what its worker knows; gone when it does not run

Each change is one file, written durably, so that a process killed between two changes leaves what a killed Compose
leaves: some of the containers. A container whose environment says ``FAULT`` is ``unhealthy``, or ``mute`` (it answers
no question), or ``mute-outside`` (none that comes through the front door). A file ``down``: the engine does not answer.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from installer.commands import Command
from installer.durable import make_folder, write_durably
from installer.errors import SealiftError
from installer.look.inventory import NetworkSeen, Observed
from installer.system import Finished
from installer.targets import labels
from installer.targets.states import Replica

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class World:
    """One engine, below ``root``."""

    root: Path

    # What is looked at, as the planner's inventory does

    def observe(self, product: str | None = None) -> Observed:
        """Containers and networks, of one product where it is given."""
        self._refuse_down()
        replicas = [replica for _, replica in self.containers() if product in (None, replica.product)]
        nets = [self._network(path) for path in self._all("networks")]
        return Observed(
            tuple(sorted(replicas, key=lambda one: (one.product, one.part, one.container))),
            tuple(net for net in nets if product in (None, net.product)),
        )

    def containers(self) -> Iterator[tuple[Path, Replica]]:
        """Every container with its file."""
        for path in self._all("containers/*"):
            yield path, _container(path.read_bytes())[0]

    def fault(self, address: str) -> str | None:
        """What ails the container with this address; ``absent`` where none has it."""
        for path in self._all("containers/*"):
            replica, fault = _container(path.read_bytes())
            if address in replica.addresses.values():
                return fault
        return "absent"

    def network_exists(self, name: str) -> bool:
        self._refuse_down()
        return (self.root / "networks" / name).exists()

    def owner_of(self, network: str, address: str) -> str | None:
        return next((one.id for _, one in self.containers() if one.addresses.get(network) == address), None)

    def last_log_lines(self, container: str, count: int) -> tuple[str, ...]:
        return (f"the last of {count} words of {container[:6]}",)

    def registry_runs(self) -> bool:
        return (self.root / "registry/running").exists()

    # What is done

    def prune(self) -> None:
        """What ``docker system prune --all`` does where no container is stopped: images go that nobody uses."""
        used = {_plain(one.image) for _, one in self.containers()}
        for path in self._all("images"):
            if path.name not in used:
                path.unlink()

    def run(self, command: Command, *, check: bool = True) -> Finished:
        """Obey. Raises ``tool-failed`` (7) as the real program's failure would."""
        self._refuse_down()
        try:
            finished = Finished(0, self._obey(list(command.argv)), "")
        except _Refusal as refusal:
            finished = Finished(1, "", str(refusal))
        if check and finished.code:
            raise SealiftError("tool-failed", f"exit code 1 from: {command}: {finished.err}", hint="see the world")
        return finished

    def make_ill(self, product: str, part: str, fault: str) -> None:
        """What ails every container of a part from now on; nothing where ``fault`` is empty."""
        for path, replica in list(self.containers()):
            if (replica.product, replica.part) == (product, part):
                value = json.loads(path.read_bytes())
                value["fault"], value["replica"]["health"] = fault, "unhealthy" if fault else "healthy"
                self.put(str(path.relative_to(self.root)), json.dumps(value).encode())

    def _refuse_down(self) -> None:
        if (self.root / "down").exists():
            raise SealiftError("engine-missing", "no engine answers", hint="start it")

    def put(self, name: str, content: bytes = b"") -> None:
        """Write one file of the world."""
        path = self.root / name
        make_folder(path.parent)
        write_durably(path, content)

    def drop(self, name: str) -> None:
        """Remove one file, or a folder with all it holds."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _obey(self, words: list[str]) -> str:
        match words:
            case ["docker", "compose", "--project-name", project, *rest]:
                self._compose(project, rest)
            case ["docker", "volume", *rest]:
                return self._volumes(rest)
            case ["docker", "network", "create", *options, name]:
                if self.network_exists(name):
                    raise _Refusal(f"network {name} already exists")
                marks = dict(word.split("=", 1) for word in options if word.startswith(labels.PREFIX))
                self.put(f"networks/{name}", json.dumps(marks).encode())
            case ["docker", "network", "rm", name]:
                if any(name in one.addresses for _, one in self.containers()):
                    raise _Refusal(f"network {name} has active endpoints")
                self.drop(f"networks/{name}")
            case ["docker", *_, "image", "rm", name]:
                if any(one.image == name for _, one in self.containers()):
                    raise _Refusal(f"image {name} is being used")
                self.drop(f"images/{_plain(name)}")
            case _:
                raise _Refusal(f"this world does not know: {words}")
        return ""

    def _volumes(self, words: list[str]) -> str:
        if words[0] == "ls":
            wanted = {word.removeprefix("label=") for word in words if word.startswith("label=")}
            found = [path for path in self._all("volumes") if wanted <= set(json.loads(path.read_bytes()))]
            return "\n".join(path.name for path in found)
        for name in words[1:]:
            self.drop(f"volumes/{name}")
        return ""

    def _compose(self, project: str, words: list[str]) -> None:
        file = Path(words[3]) if words[0] == "--project-directory" else None
        verb, *rest = words[4:] if file else words
        named = [word for word in rest if not word.startswith("-")]
        match verb:
            case "down":
                for path in self._all(f"containers/{project}"):
                    path.unlink()
                self.drop(f"containers/{project}")
            case "rm":
                for name in named:
                    (self.root / "containers" / project / name).unlink(missing_ok=True)
            case "pull":
                for service in _read(file)["services"].values():
                    self._pull(service["image"])
            case "up":
                self._up(project, _read(file), [name for name in named if name != "missing"], rest)
            case _:
                raise _Refusal(f"this world does not know compose {verb}")

    def _up(self, project: str, value: Mapping[str, Any], named: list[str], options: list[str]) -> None:
        services = value["services"]
        wanted = list(named or services)
        if "--no-deps" not in options:
            for name in wanted:  # grows while it is walked
                wanted += [one for one in services[name].get("depends_on", ()) if one not in wanted]
        nets = {key: net["name"] for key, net in value.get("networks", {}).items()}
        for name in nets.values():
            if not self.network_exists(name):
                raise _Refusal(f"network {name} declared as external, but could not be found")
        self._make_volumes(value.get("volumes", {}))
        for name in reversed(wanted):
            self._start(project, name, services[name], nets)
        if "--remove-orphans" in options:
            for path in self._all(f"containers/{project}"):
                if path.name not in services:
                    path.unlink()

    def _make_volumes(self, volumes: Mapping[str, Any]) -> None:
        for volume in volumes.values():
            marks = sorted(f"{key}={text}" for key, text in volume.get("labels", {}).items())
            if not (self.root / "volumes" / volume["name"]).exists():
                self.put(f"volumes/{volume['name']}", json.dumps(marks).encode())

    def _start(self, project: str, name: str, service: Mapping[str, Any], nets: Mapping[str, str]) -> None:
        path = self.root / "containers" / project / name
        content = hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()
        if path.exists() and json.loads(path.read_bytes())["replica"]["config_hash"] == content:
            return
        self._pull(service["image"])
        addresses = {nets[key]: net.get("ipv4_address", "") for key, net in service.get("networks", {}).items()}
        taken = {one for other, replica in self.containers() if other != path for one in replica.addresses.values()}
        if clash := taken & {one for one in addresses.values() if one}:
            raise _Refusal(f"address already in use: {clash}")
        fault = service.get("environment", {}).get("FAULT", "")
        replica = _replica(name, service["labels"], content, service["image"], fault, addresses)
        self.put(f"containers/{project}/{name}", json.dumps({"replica": asdict(replica), "fault": fault}).encode())

    def _pull(self, name: str) -> None:
        if (self.root / "images" / _plain(name)).exists():
            return
        digest = name.rpartition("@")[2]
        if not self.registry_runs() or not (self.root / "registry/blobs" / digest).exists():
            raise _Refusal(f"{name}: not found in the registry")
        self.put(f"images/{_plain(name)}")

    def _network(self, path: Path) -> NetworkSeen:
        marks = json.loads(path.read_bytes())
        return NetworkSeen(path.name, marks.get(labels.PRODUCT, ""), marks.get(labels.COLOUR, ""), (), {})

    def _all(self, pattern: str) -> list[Path]:
        # Not with Path, because torture does it hundreds of thousands of times. Leaves out names with a leading dot.
        found = glob.glob(f"{self.root}/{pattern}/*")  # noqa: PTH207
        return [Path(name) for name in sorted(found) if os.path.isfile(name)]  # noqa: PTH113


class _Refusal(Exception):
    """What a program says on its standard error before it ends with 1."""


@lru_cache(maxsize=256)
def _container(raw: bytes) -> tuple[Replica, str]:
    """What the file of a container says: itself, and what ails it."""
    value = json.loads(raw)
    return Replica(**value["replica"]), str(value["fault"])


def _replica(
    name: str, own: Mapping[str, str], content: str, image: str, fault: str, addresses: dict[str, str]
) -> Replica:
    return Replica(
        id=hashlib.sha256(f"{own} {content}".encode()).hexdigest(),
        product=own[labels.PRODUCT],
        part=own[labels.PART],
        service=own[labels.SERVICE],
        number=int(own[labels.REPLICA]),
        container=name,
        version=own.get(labels.VERSION, ""),
        release=own.get(labels.RELEASE, ""),
        finishes=False,
        config_hash=content,
        image=image,
        status="running",
        health="unhealthy" if fault == "unhealthy" else "healthy",
        health_log="",
        restarts=0,
        started_at=1.0,
        exit_code=None,
        error="",
        addresses=addresses,
    )


def _read(file: Path | None) -> dict[str, Any]:
    if file is None or not file.exists():
        raise _Refusal(f"open {file}: no such file")
    return _parsed(file.read_bytes())


@lru_cache
def _parsed(content: bytes) -> dict[str, Any]:
    value: dict[str, Any] = yaml.load(content, _LOADER)  # noqa: S506 - it is a safe loader
    return value


def _plain(name: str) -> str:
    return name.replace("/", "_")
