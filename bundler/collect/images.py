"""Takes images from the sources that a manifest names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.collect.content import Bytes
from bundler.collect.dockerarchive import collect_from_docker_archive
from bundler.collect.engine import Engine
from bundler.collect.image import CollectedImage, Wish, collect_image
from bundler.collect.layout import REFERENCE, Listing
from bundler.collect.sources import DockerArchive, ImageSource, InEngine, InRegistry, Layout, OciArchive
from bundler.collect.store import LayoutStore
from bundler.collect.tarfiles import Spool
from bundler.manifest.recipe import RegistrySettings
from installer.errors import SealiftError
from installer.talk import Talk

if TYPE_CHECKING:
    from bundler.collect.registry.store import Registries


@dataclass(frozen=True)
class Sources:
    """What taking images needs. Made by :func:`open_sources`; what it gives can be read as long as that is open."""

    spool: Spool
    engine: Engine
    registries: Callable[[], Registries]
    """Made when the first one is asked: what it takes to speak to a registry costs a fifth of a second to import."""
    _listings: dict[str, Listing] = field(default_factory=dict)

    def _listing(self, store: LayoutStore) -> Listing:
        if store.name not in self._listings:
            self._listings[store.name] = Listing.read(store)
        return self._listings[store.name]

    def collect(self, source: ImageSource, wish: Wish) -> list[CollectedImage]:
        """The image that ``source`` names, then what lies beside it where ``wish`` asks for that.

        Raises what :func:`~bundler.collect.image.collect_image`, :mod:`~bundler.collect.beside` and the stores raise.
        """
        found = self._image(source, wish)
        if not wish.signatures:
            return [found]
        if not isinstance(source, InRegistry):
            raise SealiftError(
                "source-unsupported",
                f"image {wish.name} does not come from a registry, so no signatures lie beside it",
                hint="take it from docker://, or drop `signatures: true`",
            )
        from bundler.collect.beside import collect_beside  # as late as what speaks to registries

        return [found, *collect_beside(self.registries().repository(source.reference), found)]

    def _image(self, source: ImageSource, wish: Wish) -> CollectedImage:
        match source:
            case Layout(folder, ref, pin):
                store = LayoutStore.of_folder(f"oci:{folder}", folder)
                return self._listing(store).collect(ref, replace(wish, pin=pin))
            case OciArchive(file, ref, pin):
                tar = self.spool.tar(file, "oci-archive")
                return self._listing(LayoutStore(tar.name, tar.open)).collect(ref, replace(wish, pin=pin))
            case DockerArchive(file, ref, pin):
                return collect_from_docker_archive(self.spool.tar(file, "docker-archive"), ref, replace(wish, pin=pin))
            case InEngine(reference, pin):
                named = replace(wish, pin=pin, reference=wish.reference if _is_id(reference) else reference)
                return collect_from_docker_archive(self.engine.save(reference), None, named)
            case InRegistry(reference):
                name = reference.name if REFERENCE.fullmatch(reference.name) else wish.reference
                remote = self.registries().repository(reference)
                return collect_image(remote, remote.entry(), replace(wish, pin=source.pin, reference=name))

    def check(self, source: ImageSource, wish: Wish) -> None:
        """Refuse what :meth:`collect` would, as far as that shows without reading blobs. Raises the same."""
        if isinstance(source, InEngine):
            self.engine.check(source.reference)
            return
        found = self.collect(source, wish)
        if isinstance(source, InRegistry):
            remote = self.registries().repository(source.reference)
            held = {digest: content for one in found for digest, content in one.contents.items()}
            remote.check(digest for digest, content in held.items() if not isinstance(content, Bytes))


@contextmanager
def open_sources(
    talk: Talk, folder: Path | None, settings: Mapping[str, RegistrySettings] | None = None
) -> Iterator[Sources]:
    """Sources of images; what has to be spooled goes to the disk of ``folder`` (None: the temporary folder).

    ``settings`` say how registries are reached.
    """
    with ExitStack() as closing:
        spool = Spool(folder, talk)
        closing.callback(spool.close)

        @cache
        def registries() -> Registries:
            from bundler.collect.registry.store import Registries

            made = Registries(settings or {}, talk)
            closing.callback(made.close)
            return made

        yield Sources(spool, Engine(spool), registries)


def _is_id(reference: str) -> bool:
    return reference.startswith("sha256:")
