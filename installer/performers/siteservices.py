"""The site's own services, registry and front door: started from archives of our own, taken away again."""

from __future__ import annotations

import shutil
from pathlib import Path

from installer.bundle.release import Descriptor, Image
from installer.edge import lifecycle, succession
from installer.errors import SealiftError
from installer.performers.host import Handlers, Host, Incoming, require
from installer.plan import actions as act
from installer.registry.archive import EdgeImage as EdgeArchive
from installer.registry.archive import ImageArchiveSink, kept_archive
from installer.registry.bundled import BundledService, load_image
from installer.registry.collect import collect
from installer.site.site import BundledRegistry
from installer.state.state import EdgeImage, load_state


class SiteServices:
    """They belong to the site and not to a product, and outlive both."""

    def __init__(self, host: Host, incoming: Incoming | None) -> None:
        self._host, self._incoming = host, incoming

    def handlers(self) -> Handlers:
        return {
            act.Unpack: self._unpack,
            act.DropArchives: self._drop_archives,
            act.StartRegistry: self._start_registry,
            act.RenewRegistry: self._renew_registry,
            act.SettleRegistry: self._settle_registry,
            act.RemoveRegistry: self._remove_registry,
            act.CollectRegistry: self._collect_registry,
            act.StartEdge: self._start_edge,
            act.RenewEdge: self._renew_edge,
            act.SettleEdge: self._settle_edge,
            act.RemoveEdge: self._remove_edge,
        }

    def _unpack(self, action: act.Unpack) -> None:
        media = require(self._incoming).media
        sink = ImageArchiveSink(media.release, action.images, self._archives)
        with self._host.talk.progress("unpack", media.size) as meter:
            media.read([sink], progress=meter.advance, quick=True)
        sink.close()

    def _drop_archives(self, _: act.DropArchives) -> None:
        state = load_state(self._host.state_dir)
        in_use = tuple(kept.archive.removesuffix(".tar") for kept in (state.edge, state.registry) if kept is not None)
        for path in list(self._archives.glob("*")):
            if not str(path).startswith(in_use):
                path.unlink(missing_ok=True)
        if not in_use and self._archives.exists():
            self._archives.rmdir()

    def _start_registry(self, action: act.StartRegistry) -> None:
        archive = self._archive(action.image, load_state(self._host.state_dir).registry)
        self._registry().start(archive)
        self._host.remember(registry=_record(archive, load_image(archive, self._host.engine), action.version))

    def _renew_registry(self, action: act.RenewRegistry) -> None:
        archive = self._unpacked(action.image, action.digest)
        try:
            self._registry().start(archive)
        except SealiftError:
            self._settle_registry(act.SettleRegistry())
            raise
        self._host.remember(registry=_record(archive, load_image(archive, self._host.engine), action.version))

    def _settle_registry(self, _: act.SettleRegistry) -> None:
        kept = load_state(self._host.state_dir).registry
        if kept is not None:
            self._registry().start(self._archive(kept.name, kept))

    def _collect_registry(self, action: act.CollectRegistry) -> None:
        kept = load_state(self._host.state_dir).registry
        if kept is not None:
            collect(self._registry(), self._archive(kept.name, kept), frozenset(action.needed))

    def _remove_registry(self, _: act.RemoveRegistry) -> None:
        self._registry().remove()
        self._host.remember(registry=None)

    def _start_edge(self, action: act.StartEdge) -> None:
        archive = self._archive(action.image, load_state(self._host.state_dir).edge)
        image_id = load_image(archive, self._host.engine)
        lifecycle.start(self._host.names, image_id, self._host.edge_folder, action.config, engine=self._host.engine)
        self._host.remember(edge=_record(archive, image_id, action.version))

    def _renew_edge(self, action: act.RenewEdge) -> None:
        archive = self._unpacked(action.image, action.digest)
        image_id = load_image(archive, self._host.engine)
        succession.replace(self._host.names, image_id, self._host.edge_folder, engine=self._host.engine)
        self._host.remember(edge=_record(archive, image_id, action.version))

    def _settle_edge(self, _: act.SettleEdge) -> None:
        succession.settle(self._host.names, self._host.edge_folder, engine=self._host.engine)

    def _remove_edge(self, _: act.RemoveEdge) -> None:
        lifecycle.stop(self._host.names, engine=self._host.engine)
        shutil.rmtree(self._host.edge_folder, ignore_errors=True)
        self._host.remember(edge=None, edge_config=None)

    @property
    def _archives(self) -> Path:
        return self._host.state_dir / "archives"

    def _registry(self) -> BundledService:
        settings = self._host.site.registry.bundled or BundledRegistry()
        return BundledService.of(self._host.state_dir, settings.listen, self._host.engine)

    def _archive(self, name: str, kept: EdgeImage | None) -> EdgeArchive:
        """The archive of what this host ran already, else the one that the media brought."""
        image = require(self._incoming).media.release.image(name) if kept is None else _image(kept.name, kept.digest)
        return self._held(image)

    def _unpacked(self, name: str, digest: str) -> EdgeArchive:
        return self._held(_image(name, digest))

    def _held(self, image: Image) -> EdgeArchive:
        archive = kept_archive(self._archives, image)
        if archive is None:
            raise SealiftError(
                "engine-failed",
                f"our archive of {image.name} is missing or damaged",
                hint="install from the media again",
            )
        return archive


def _record(archive: EdgeArchive, image_id: str, version: str) -> EdgeImage:
    place = str(archive.path)
    return EdgeImage(name=archive.name, digest=archive.digest, archive=place, image_id=image_id, version=version)


def _image(name: str, digest: str) -> Image:
    """An edge image by what record and plan know of it: enough to find its archive."""
    manifest = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=digest, size=0)
    return Image(name=name, reference=name, digest=digest, manifests=(manifest,), blobs=())
