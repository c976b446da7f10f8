"""A target kept in files. Planner, translator, executor, journal and most performers are the product's own.

Only what would reach out of the state dir is another: the engine, the front door, the registry, questions over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer import actions as act
from installer.bundle.content import Sink, Writer
from installer.bundle.release import Descriptor, File
from installer.checks import Check
from installer.commands import Command
from installer.inventory import Observed
from installer.media import ToolSink
from installer.observing import Coming, scene_of, serves, translator
from installer.performers.containers import Containers
from installer.performers.frontdoor import FrontDoor
from installer.performers.host import Handlers, Host, Incoming, require
from installer.performers.loading import Loading
from installer.performers.looking import Looking
from installer.performers.permits import Permits
from installer.performers.siteservices import SiteServices
from installer.planning import Scene
from installer.site import Site
from installer.state import EdgeImage, ProductState, ReleaseRef, SiteState, load_state
from installer.system import Finished
from installer.talk import Talk
from installer.targets.health import Ask
from tests.contract.door import FileDoor
from tests.contract.world import World

WORLD: Final = "world"
"""Beside the state dir."""


def world_of(state_dir: Path) -> World:
    """The engine that a state dir's site runs on."""
    return World(state_dir.parent / WORLD)


class FileHost(Host):
    """A host whose engine, front door and network are files."""

    @property
    def world(self) -> World:
        return world_of(self.state_dir)

    def run(self, command: Command, *, check: bool = True) -> Finished:
        return self.world.run(command, check=check)

    def edge(self) -> FileDoor:
        return FileDoor(self.world)

    def ask(self, question: act.Question) -> None:
        FileDoor(self.world).ask(question)

    def probe(self) -> Ask:
        return lambda replica, health: None

    def registry_runs(self) -> bool:
        return self.world.registry_runs()


@dataclass(frozen=True)
class FileDriver:
    """The target, reached."""

    host: FileHost

    def observe(self, product: str | None = None) -> Observed:
        return self.host.world.observe(product)

    def serves(self, product: ProductState, ref: ReleaseRef) -> bool:
        return serves(self.host, product, ref)

    def look(self, state: SiteState, product: ProductState, coming: Coming) -> Scene:
        words = translator(self.host, product, ("docker", "compose"))
        return scene_of(self.host, state, product, coming, words)

    def preflight(self, scene: Scene) -> tuple[str, ...]:
        return ()

    def performer(self, incoming: Incoming | None = None) -> FilePerformer:
        return FilePerformer(self.host, incoming)


@contextmanager
def file_host(state_dir: Path, site: Site, talk: Talk) -> Iterator[FileDriver]:
    """Reach it."""
    yield FileDriver(FileHost(state_dir, site, talk, world_of(state_dir)))


class FilePerformer:
    """Does actions in the world."""

    def __init__(self, host: FileHost, incoming: Incoming | None) -> None:
        self._handlers: Handlers = {
            **Containers(host).handlers(),
            **_FileLoading(host, incoming).handlers(),
            **_FileServices(host, incoming).handlers(),
            **FrontDoor(host).handlers(),
            **Permits(host).handlers(),
            **Looking(host).handlers(),
        }

    def __call__(self, action: act.Action | Check) -> None:
        self._handlers[type(action)](action)


class _FileLoading(Loading):
    """The registry is a folder of blobs."""

    def _load_content(self, _: act.LoadContent) -> None:
        incoming = require(self._incoming)
        sinks: list[Sink] = [_Blobs(world_of(self._host.state_dir)), ToolSink(self._host.state_dir)]
        incoming.media.read(sinks, progress=lambda _: None, quick=incoming.quick)


class _FileServices(SiteServices):
    """Registry and front door start and stop by one file each; their archives are kept as on every host."""

    def _start_registry(self, action: act.StartRegistry) -> None:
        archive = self._archive(action.image, load_state(self._host.state_dir).registry)
        world_of(self._host.state_dir).put("registry/running")
        self._host.remember(
            registry=EdgeImage(
                name=archive.name, digest=archive.digest, archive=str(archive.path), image_id=archive.config
            )
        )

    def _remove_registry(self, _: act.RemoveRegistry) -> None:
        world_of(self._host.state_dir).drop("registry")
        self._host.remember(registry=None)

    def _start_edge(self, action: act.StartEdge) -> None:
        archive = self._archive(action.image, load_state(self._host.state_dir).edge)
        FileDoor(world_of(self._host.state_dir)).start(action.config)
        self._host.remember(
            edge=EdgeImage(name=archive.name, digest=archive.digest, archive=str(archive.path), image_id=archive.config)
        )

    def _remove_edge(self, _: act.RemoveEdge) -> None:
        FileDoor(world_of(self._host.state_dir)).stop()
        self._host.remember(edge=None, edge_config=None)


@dataclass(frozen=True)
class _Blobs:
    """Takes manifests and blobs into the registry; what is there already is not wanted."""

    world: World

    def open(self, member: File | Descriptor) -> Writer | None:
        if isinstance(member, File) or (self.world.root / "registry/blobs" / member.digest).exists():
            return None
        return _Blob(self.world, member.digest, [])

    def close(self) -> None:
        """Nothing is pending."""


@dataclass(frozen=True)
class _Blob:
    world: World
    digest: str
    parts: list[bytes]

    def write(self, chunk: bytes) -> None:
        self.parts.append(bytes(chunk))

    def finish(self) -> None:
        self.world.put(f"registry/blobs/{self.digest}", b"".join(self.parts))

    def abort(self) -> None:
        self.parts.clear()
