"""The sources that ``from:`` can name, as values. Taking an image from one: :mod:`bundler.collect.images`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bundler.collect.reference import Reference, split_pin
from installer.errors import SealiftError


@dataclass(frozen=True)
class Layout:
    """``oci:FOLDER[:REF]``."""

    folder: Path
    ref: str | None = None
    pin: str | None = None


@dataclass(frozen=True)
class OciArchive:
    """``oci-archive:FILE[:REF]``: an OCI layout in a tar, compressed or not."""

    file: Path
    ref: str | None = None
    pin: str | None = None


@dataclass(frozen=True)
class DockerArchive:
    """``docker-archive:FILE[:REFERENCE]``: what ``docker save`` writes, compressed or not."""

    file: Path
    ref: str | None = None
    pin: str | None = None


@dataclass(frozen=True)
class InEngine:
    """``docker-daemon:REFERENCE``."""

    reference: str
    pin: str | None = None


@dataclass(frozen=True)
class InRegistry:
    """``docker://REFERENCE``."""

    reference: Reference

    @property
    def pin(self) -> str | None:
        """The digest that the reference names."""
        return self.reference.digest


ImageSource = Layout | OciArchive | DockerArchive | InEngine | InRegistry


def parse_source(text: str, base: Path) -> ImageSource:
    """Read a filled-in source; paths are relative to ``base``. Raises ``source-unsupported`` (2)."""
    kind, _, rest = text.partition(":")
    if kind == "docker" and rest.startswith("//"):
        return InRegistry(Reference.parse(rest.removeprefix("//")))
    named, pin = split_pin(rest)
    if not named.startswith(("//", "@")) and "@" not in named:
        path, _, ref = named.partition(":")
        if kind == "docker-daemon" and named:
            return InEngine(named, pin)
        for name, source in (("oci", Layout), ("oci-archive", OciArchive), ("docker-archive", DockerArchive)):
            if kind == name and path:
                return source(base / path, ref or None, pin)
    raise SealiftError(
        "source-unsupported",
        f"cannot take an image from {text[:200]}",
        hint="known are docker://HOST/NAME:TAG, docker-daemon:NAME:TAG, docker-archive:FILE, oci-archive:FILE and"
        " oci:FOLDER, each with @sha256:… if it shall be pinned",
    )
