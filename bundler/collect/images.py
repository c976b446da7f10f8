"""Takes images from the sources that a manifest names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bundler.collect.dockerarchive import collect_from_docker_archive
from bundler.collect.engine import Engine
from bundler.collect.image import CollectedImage, Wish
from bundler.collect.layout import collect_from_layout
from bundler.collect.sources import DockerArchive, ImageSource, InEngine, Layout, OciArchive
from bundler.collect.store import LayoutStore
from bundler.collect.tarfiles import Spool
from installer.errors import SealiftError
from installer.talk import Talk


@dataclass(frozen=True)
class Sources:
    """What taking images needs. Made by :func:`open_sources`; what it gives can be read as long as that is open."""

    spool: Spool
    engine: Engine

    def collect(self, source: ImageSource, wish: Wish) -> CollectedImage:
        """The image that ``source`` names, as ``wish`` asks.

        Raises what :func:`~bundler.collect.image.collect_image` and the stores raise.
        """
        match source:
            case Layout(folder, ref, pin):
                store = LayoutStore.of_folder(f"oci:{folder}", folder)
                return collect_from_layout(store, ref, replace(wish, pin=pin))
            case OciArchive(file, ref, pin):
                tar = self.spool.tar(file, "oci-archive")
                return collect_from_layout(LayoutStore(tar.name, tar.open), ref, replace(wish, pin=pin))
            case DockerArchive(file, ref, pin):
                return collect_from_docker_archive(self.spool.tar(file, "docker-archive"), ref, replace(wish, pin=pin))
            case InEngine(reference, pin):
                named = replace(wish, pin=pin, reference=wish.reference if _is_id(reference) else reference)
                return collect_from_docker_archive(self.engine.save(reference), None, named)
        raise NotImplementedError(source)

    def check(self, source: ImageSource, wish: Wish) -> None:
        """Refuse what :meth:`collect` would, as far as that shows without reading blobs. Raises the same."""
        if not isinstance(source, InEngine):
            self.collect(source, wish)
        elif not self.engine.has(source.reference):
            raise SealiftError(
                "image-not-found",
                f"the engine has no image {source.reference}",
                hint="build or load it; docker images shows all",
            )


@contextmanager
def open_sources(talk: Talk, folder: Path | None) -> Iterator[Sources]:
    """Sources of images; what has to be spooled goes to the disk of ``folder`` (None: the temporary folder)."""
    spool = Spool(folder, talk)
    try:
        yield Sources(spool, Engine(spool))
    finally:
        spool.close()


def _is_id(reference: str) -> bool:
    return reference.startswith("sha256:")
