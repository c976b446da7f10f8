"""A target kept in files. Planner, translator, executor, journal and most performers are the product's own.

Only what would reach out of the state dir is another: the engine, the front door, the registry, questions over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.bundle.content import Sink, Writer
from installer.bundle.release import Descriptor, File, Release
from installer.commands import Command
from installer.deltas import Ground, refuse_groundless
from installer.look.inventory import Observed
from installer.look.observing import Coming, door_of, scene_of, serves, translator
from installer.media import Media, ToolSink
from installer.performers import Performer
from installer.performers.host import Host, Incoming, require
from installer.performers.loading import Loading
from installer.performers.siteservices import SiteServices
from installer.plan import actions as act
from installer.plan.checks import Check
from installer.plan.plan import Plan
from installer.plan.planning import Scene
from installer.registry.address import RegistryAddress
from installer.registry.archive import EdgeImage as EdgeArchive
from installer.registry.client import RegistryClient
from installer.registry.images import placed
from installer.registry.load import survey
from installer.site.names import Colour
from installer.site.site import Site
from installer.state.state import EdgeImage, ProductState, ReleaseRef, SiteState, load_state
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

    def watcher(self) -> FileWatcher:
        return FileWatcher(self.world)

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

    def door(self) -> Mapping[str, Colour]:
        return door_of(self.host.edge)

    def serves(self, product: ProductState, ref: ReleaseRef) -> bool:
        return serves(self.host, product, ref)

    def look(self, state: SiteState, product: ProductState, coming: Coming) -> Scene:
        words = translator(self.host, product, ("docker", "compose"))
        return scene_of(self.host, state, product, coming, words)

    def holds(self, releases: Iterable[Release]) -> frozenset[str]:
        blobs = self.host.world.root / "registry/blobs"
        listed = {part.digest for release in releases for part in release.blobs().values()}
        return frozenset(digest for digest in listed if (blobs / digest).exists())

    def preflight(self, scene: Scene) -> tuple[str, ...]:
        return ()

    def refuse_groundless(self, media: Media, plan: Plan, scene: Scene) -> None:
        refuse_groundless(media, plan, scene, lambda: FileRegistry(self.host.world))

    def performer(self, incoming: Incoming | None = None) -> FilePerformer:
        return FilePerformer(self.host, incoming)


@contextmanager
def file_host(state_dir: Path, site: Site, talk: Talk) -> Iterator[FileDriver]:
    """Reach it."""
    yield FileDriver(FileHost(state_dir, site, talk, world_of(state_dir)))


class FileRegistry(RegistryClient):
    """The registry of a world: a blob is in every repository, and no tag is kept."""

    def __init__(self, world: World) -> None:
        self._blobs = world.root / "registry/blobs"

    @property
    def address(self) -> RegistryAddress:
        return RegistryAddress.bundled("127.0.0.1:5999")

    def blob_size(self, repository: str, digest: str, size: int) -> int | None:
        place = self._blobs / digest
        return place.stat().st_size if place.exists() else None

    def read_blob(self, repository: str, digest: str) -> Iterator[bytes]:
        yield (self._blobs / digest).read_bytes()

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        return reference if (self._blobs / reference).exists() else None


class FilePerformer(Performer):
    """Does actions in the world: the product's own performers but for media, registry and front door."""

    def __init__(self, host: FileHost, incoming: Incoming | None) -> None:
        super().__init__(host, incoming)
        self._handlers |= _FileLoading(host, incoming).handlers() | _FileServices(host, incoming).handlers()

    def __call__(self, action: act.Action | Check) -> None:
        super().__call__(action)


class _FileLoading(Loading):
    """The registry is a folder of blobs."""

    def _load_content(self, _: act.LoadContent) -> None:
        incoming = require(self._incoming)
        media, state_dir = incoming.media, self._host.state_dir
        registry = FileRegistry(world_of(state_dir))
        ground = Ground.of(media, registry, state_dir)
        ground.refuse_lacking(survey(registry, placed(media.release, registry.address), ground.repositories))
        sinks: list[Sink] = [_Blobs(world_of(state_dir)), ToolSink(state_dir)]
        media.read(sinks, progress=lambda _: None, quick=incoming.quick, rebuild=ground.rebuilder)


class _FileServices(SiteServices):
    """Registry and front door start and stop by one file each; their archives are kept as on every host."""

    @property
    def _world(self) -> World:
        return world_of(self._host.state_dir)

    def _start_registry(self, action: act.StartRegistry) -> None:
        self._run_registry(self._archive(action.image, load_state(self._host.state_dir).registry), action.version)

    def _renew_registry(self, action: act.RenewRegistry) -> None:
        self._run_registry(self._unpacked(action.image, action.digest), action.version)

    def _run_registry(self, archive: EdgeArchive, version: str) -> None:
        self._world.put("registry/running", archive.digest.encode())
        self._host.remember(registry=_record(archive, version))

    def _settle_registry(self, _: act.SettleRegistry) -> None:
        kept = load_state(self._host.state_dir).registry
        if kept is not None:
            self._world.put("registry/running", kept.digest.encode())

    def _collect_registry(self, action: act.CollectRegistry) -> None:
        """Stopped, freed of what no manifest that is needed names, and started again."""
        self._world.drop("registry/running")
        blobs = self._world.root / "registry/blobs"
        needed = set(action.needed)
        for digest in action.needed:
            manifest = json.loads((blobs / digest).read_bytes())
            needed |= {part["digest"] for part in (manifest["config"], *manifest["layers"])}
        for path in sorted(blobs.iterdir()):
            if path.name not in needed:
                path.unlink()
        self._settle_registry(act.SettleRegistry())

    def _remove_registry(self, _: act.RemoveRegistry) -> None:
        self._world.drop("registry")
        self._host.remember(registry=None)

    def _start_edge(self, action: act.StartEdge) -> None:
        archive = self._archive(action.image, load_state(self._host.state_dir).edge)
        FileDoor(self._world).start(action.config)
        self._world.put("edge/image", archive.digest.encode())
        self._host.remember(edge=_record(archive, action.version))

    def _renew_edge(self, action: act.RenewEdge) -> None:
        """The new one takes over what the old one listens on: one file says which of them it is."""
        archive = self._unpacked(action.image, action.digest)
        self._world.put("edge/image", archive.digest.encode())
        self._host.remember(edge=_record(archive, action.version))

    def _settle_edge(self, _: act.SettleEdge) -> None:
        kept = load_state(self._host.state_dir).edge
        if kept is not None:
            self._world.put("edge/image", kept.digest.encode())

    def _remove_edge(self, _: act.RemoveEdge) -> None:
        FileDoor(self._world).stop()
        self._host.remember(edge=None, edge_config=None)


def _record(archive: EdgeArchive, version: str) -> EdgeImage:
    return EdgeImage(
        name=archive.name,
        digest=archive.digest,
        archive=str(archive.path),
        image_id=archive.config,
        version=version,
    )


@dataclass(frozen=True)
class FileWatcher:
    """Looks after a trial: a file says that it does."""

    world: World

    @property
    def kind(self) -> str:
        return "file"

    def arm(self, site_file: str) -> None:
        self.world.put("watcher", site_file.encode())

    def disarm(self) -> None:
        self.world.drop("watcher")


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
