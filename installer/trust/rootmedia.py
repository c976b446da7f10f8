"""Roots as they come to a host: files, folders of them, media folders, bundles. Read, not yet believed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from installer.bundle.archive import BundleReader
from installer.bundle.encrypted import Unlock, is_encrypted
from installer.bundle.parts import bundles_in
from installer.bundle.rootfile import version_of
from installer.bundle.trust import MAX_ROOT_BYTES
from installer.errors import SealiftError

_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def read_roots(paths: Iterable[Path], unlock: Unlock | None = None) -> dict[int, bytes]:
    """Raw roots by the version that each claims, from all of ``paths``; ``unlock`` opens encrypted media.

    Raises ``input-missing`` (2) where there is none, ``roots-differ`` (5) for two of one version, ``root-malformed``,
    ``root-too-large`` and, for bundles, what :class:`BundleReader` raises.
    """
    found: dict[int, tuple[Path, bytes]] = {}
    for path in paths:
        before = len(found)
        for version, place, raw in _roots_at(path, unlock):
            other, known = found.setdefault(version, (place, raw))
            if known != raw:
                raise SealiftError(
                    "roots-differ",
                    f"two different roots of version {version}: {other} and {place}",
                    hint="ask the vendor which of them is right; sealift trust show says what this host has",
                )
        if len(found) == before and not _roots_in(path, found, unlock):
            raise SealiftError(
                "input-missing",
                f"{path} holds no root of trust",
                hint="name a root.json, a folder of <version>.root.json, or media made with bundle build --root",
            )
    return {version: raw for version, (_, raw) in sorted(found.items())}


def _roots_in(path: Path, found: dict[int, tuple[Path, bytes]], unlock: Unlock | None) -> bool:
    """Whether the roots at ``path`` were known from another one."""
    return any(version in found for version, _, _ in _roots_at(path, unlock))


def _roots_at(path: Path, unlock: Unlock | None) -> Iterator[tuple[int, Path, bytes]]:
    if not path.is_dir():
        yield from _roots_of_file(path, unlock)
        return
    for place in (path, path / "trust"):
        for file in sorted(place.glob("*root.json")):
            yield from _roots_of_file(file, unlock)
    for bundle in bundles_in(path):
        yield from _roots_of_file(bundle, unlock)


def _roots_of_file(path: Path, unlock: Unlock | None) -> Iterator[tuple[int, Path, bytes]]:
    data = _read(path)
    if not data.startswith(_ZSTD) and not is_encrypted(data):
        yield version_of(data, str(path)), path, data
        return
    with BundleReader(path, unlock=unlock) as reader:
        yield from ((version, path, raw) for version, raw in reader.head.roots.items())


def _read(path: Path) -> bytes:
    """The first bytes of a plain file, one more than a root may have. Never waits for a pipe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SealiftError("media-not-a-file", f"{path} is not a plain file", hint="name the root itself")
            return file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise SealiftError(
            "input-missing", f"cannot read {path}: {error.strerror}", hint="check the path; is the media mounted"
        ) from error
