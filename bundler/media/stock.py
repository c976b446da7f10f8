"""The vendor's stock of releases: bundles below a folder, found by the digest of their ``release.json``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.durable import PARTIAL
from installer.bundle.archive import BundleReader
from installer.bundle.digest import Digest
from installer.bundle.packing import read_packing
from installer.bundle.release import Release
from installer.errors import SealiftError

_ENDS: Final = (".bundle.tar.zst", ".bundle.tar.zst.001")


@dataclass(frozen=True)
class Stocked:
    """A whole bundle in stock. Nobody has judged who signed it."""

    path: Path
    release: Release
    digest: Digest


@dataclass(frozen=True)
class Stock:
    """What a folder holds, each release once."""

    folder: Path
    releases: tuple[Stocked, ...]

    @classmethod
    def read(cls, folder: Path, warn: Callable[[str], None]) -> Stock:
        """Look at the head of every bundle below ``folder``; what is none, or carries only a part of its release, is
        passed over. Raises ``input-missing`` (2) where there is no such folder.
        """
        if not folder.is_dir():
            raise SealiftError(
                "input-missing", f"there is no folder {folder}", hint="--store names a folder of bundles"
            )
        found: dict[Digest, Stocked] = {}
        for path in _bundles(folder):
            try:
                one = _look(path)
            except SealiftError as error:
                warn(f"{path} is passed over: {error.message}")
                continue
            if one is not None:
                found.setdefault(one.digest, one)
        return cls(folder, tuple(found.values()))

    def holding(self, digests: Iterable[str]) -> tuple[Path, ...]:
        """The bundles of those of these releases that are in stock."""
        wanted = set(digests)
        return tuple(one.path for one in self.releases if str(one.digest) in wanted)


def _bundles(folder: Path) -> Iterator[Path]:
    """Sorted by path, so that the same folder gives the same stock; what is being written is left alone."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(PARTIAL))
        for name in sorted(names):
            if name.endswith(_ENDS) and not name.startswith("."):
                yield Path(place) / name


def _look(path: Path) -> Stocked | None:
    """The release at ``path``; None where other media must bring a part of it."""
    with BundleReader(path) as reader:
        raw, packing = reader.head.release, read_packing(reader.head.packing, Release.parse(reader.head.release))
    return Stocked(path, Release.parse(raw), Digest.of(raw)) if packing.kind == "full" else None
