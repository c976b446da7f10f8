"""Writes the bundle: the signed statement first, then everything once, each member checked as it passes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler.assemble import Assembly, Part
from bundler.press import Hashed, Press, default_jobs
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter
from installer.bundle.packing import Packing
from installer.bundle.release import Descriptor, File
from installer.durable import sync_folder
from installer.errors import SealiftError

PARTIAL = ".partial"


@dataclass(frozen=True)
class Written:
    """What a bundle has become: bytes of the file, and the hex sha256 of all of them."""

    size: int
    sha256: str


def write_bundle(
    path: Path,
    assembly: Assembly,
    signatures: Mapping[str, bytes],
    progress: Callable[[int], None] = lambda _: None,
    *,
    jobs: int | None = None,
) -> Written:
    """Write ``path``; ``signatures`` are signature files by member name, ``jobs`` the threads that compress.

    Under its final name the file is whole or not there. Raises ``digest-mismatch`` or ``media-changed`` (4) for
    content that is not what was collected, ``disk-full`` (7).
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as out:
            hashed = Hashed(out)
            with Press(hashed, jobs or default_jobs()) as press:
                size = _write(press, assembly, signatures, progress)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Written(size, hashed.sha256)


def _write(
    archive: ArchiveWriter, assembly: Assembly, signatures: Mapping[str, bytes], progress: Callable[[int], None]
) -> int:
    raw = assembly.release.to_bytes()
    archive.member(RELEASE_MEMBER, len(raw), [raw])
    for name, signature in sorted(signatures.items()):
        archive.member(name, len(signature), [signature])
    packing = Packing().to_bytes()
    archive.member(PACKING_MEMBER, len(packing), [packing])
    for name, member in assembly.release.members():
        part = assembly.parts[name]
        mode = int(member.mode, 8) if isinstance(member, File) else 0o644
        chunks = _checked(name, member, part, progress)
        archive.member(name, member.size, chunks, mode=mode, compressed=part.packed)
    archive.close()
    return archive.written


def _checked(name: str, member: File | Descriptor, part: Part, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a part, which must be just those that the release lists."""
    hasher = hashlib.sha256()
    left = member.size
    for chunk in part.content.chunks():
        hasher.update(chunk)
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
        progress(len(chunk))
    if left:
        raise SealiftError(
            "media-changed", f"{name} changed its size while it was read", hint="let the build end first"
        )
    if f"sha256:{hasher.hexdigest()}" != member.digest:
        raise SealiftError(
            "digest-mismatch",
            f"{name} is not what its digest says: its source is damaged, or changed while it was read",
            hint="make its source again",
        )
