"""The sources of images that a manifest can name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.collect.engine import Engine
from bundler.collect.layout import CollectedImage, FolderStore, collect_image
from installer.errors import SealiftError


@dataclass(frozen=True)
class Layout:
    """``oci:FOLDER`` or ``oci:FOLDER:REF``."""

    folder: Path
    ref: str | None


@dataclass(frozen=True)
class InEngine:
    """``docker-daemon:REFERENCE``."""

    reference: str


ImageSource = Layout | InEngine


def parse_source(text: str, base: Path) -> ImageSource:
    """Read a filled-in source; folders are relative to ``base``. Raises ``source-unsupported`` (2)."""
    kind, _, rest = text.partition(":")
    if kind == "oci" and rest:
        folder, _, ref = rest.partition(":")
        return Layout(base / folder, ref or None)
    if kind == "docker-daemon" and rest:
        return InEngine(rest)
    raise SealiftError(
        "source-unsupported",
        f"cannot take an image from {text[:200]}",
        hint="known sources are oci:FOLDER[:REF] and docker-daemon:REFERENCE",
    )


def collect(source: ImageSource, name: str, platform: str, engine: Engine, fallback: str) -> CollectedImage:
    """The image called ``name``; ``fallback`` is its reference where the source gives it none.

    Raises what :func:`bundler.collect.layout.collect_image` and :meth:`Engine.save` raise.
    """
    if isinstance(source, InEngine):
        return collect_image(engine.save(source.reference), name, None, platform, source.reference)
    shown = f"oci:{source.folder}"
    return collect_image(FolderStore(shown, source.folder), name, source.ref, platform, fallback)


def check_present(source: ImageSource, name: str, platform: str, engine: Engine) -> None:
    """Refuse what :func:`collect` would, as far as that shows without reading blobs."""
    if isinstance(source, Layout):
        collect_image(FolderStore(f"oci:{source.folder}", source.folder), name, source.ref, platform, name)
    elif not engine.has(source.reference):
        raise SealiftError(
            "image-not-found",
            f"the engine has no image {source.reference}",
            hint="build or load it; docker images shows all",
        )
