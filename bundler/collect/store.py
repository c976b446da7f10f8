"""Where the bytes of images lie: a folder, a tar, memory, a registry. Content is found by digest, never by a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bundler.collect.content import Content, FileContent
from bundler.collect.documents import MAX_JSON
from installer.bundle.release import Descriptor
from installer.errors import SealiftError

Open = Callable[[str], Content | None]
"""Finds a file of a layout by its path inside."""


class ImageStore(Protocol):
    """Content by digest. Nothing is checked here but sizes."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def manifest(self, part: Descriptor) -> Content | None:
        """A manifest or index, or None where it is not there."""

    def blob(self, part: Descriptor) -> Content | None:
        """A configuration, layer or whatever else a manifest names, or None where it is not there."""


@dataclass(frozen=True)
class LayoutStore:
    """An OCI layout (OCI image-spec, image-layout.md), wherever its files are."""

    name: str
    open: Open

    @classmethod
    def of_folder(cls, name: str, folder: Path) -> LayoutStore:
        """A layout that is a folder."""

        def find(path: str) -> Content | None:
            file = folder / path
            return FileContent.of(file, name) if file.exists() else None

        return cls(name, find)

    def blob(self, part: Descriptor) -> Content | None:
        return self.open(f"blobs/sha256/{part.digest.removeprefix('sha256:')}")

    manifest = blob


@dataclass(frozen=True)
class HeldStore:
    """Content that was found before."""

    name: str
    contents: Mapping[str, Content]

    def blob(self, part: Descriptor) -> Content | None:
        return self.contents.get(part.digest)

    manifest = blob


def need(content: Content | None, part: Descriptor, name: str) -> Content:
    """``content``, which must be there and of the size that ``part`` says.

    Raises ``image-not-found`` (2), ``digest-mismatch`` (4), ``too-large`` (3) for a manifest beyond 4 MiB.
    """
    what = f"{part.digest[:19]} of {name}"
    if content is None:
        raise SealiftError(
            "image-not-found",
            f"{name} is incomplete: it lacks {part.digest} ({part.media_type})",
            hint="make the image again",
        )
    if content.size != part.size:
        raise SealiftError(
            "digest-mismatch", f"{what} has {content.size} bytes instead of {part.size}", hint="make the image again"
        )
    return content


def read_json(content: Content, what: str) -> bytes:
    """A document, whole. Raises ``too-large`` (3) beyond 4 MiB, which no registry takes."""
    if content.size > MAX_JSON:
        raise SealiftError("too-large", f"{what} has {content.size} bytes, more than a registry takes")
    return b"".join(content.chunks())
