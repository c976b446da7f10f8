"""Members out of one bundle into another: whole, left out, or as patches. Each is compared with the list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundler.delta.delta import Made
from bundler.writing.write import Progress, carry
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter, BundleReader
from installer.bundle.lanes import Lanes
from installer.bundle.packing import Delta, Packing, Patch
from installer.bundle.release import File, Release
from installer.bundle.roots import root_member
from installer.errors import SealiftError


@dataclass(frozen=True)
class Source:
    """A bundle that is packed otherwise: ``packing`` is the one that it has, ``made`` a delta that it shall become."""

    reader: BundleReader
    release: Release
    packing: Packing | Delta
    made: Made | None = None

    @property
    def delta(self) -> Delta | None:
        """The delta that is written, if it is one."""
        if self.made is not None:
            return self.made.delta
        return self.packing if isinstance(self.packing, Delta) else None


def copy(source: Source, signatures: Mapping[str, bytes], archive: ArchiveWriter, done: Progress) -> None:
    """Write all that goes over; frames as they are. Raises ``member-missing`` (3) and what damage raises (4)."""
    reader, packing = source.reader, source.delta or Packing()
    head = {RELEASE_MEMBER: reader.head.release, **dict(sorted(signatures.items()))}
    head |= dict(sorted((root_member(number), raw) for number, raw in reader.head.roots.items()))
    head[PACKING_MEMBER] = packing.to_bytes()
    for name, data in head.items():
        archive.member(name, len(data), [data])
    wanted = packing.carried(source.release)
    with Lanes() as lanes:
        for name, member in source.packing.carried(source.release).items():
            _expect(reader, name, member.size, int(member.mode, 8) if isinstance(member, File) else 0o644)
            if name in wanted:
                carry(archive, name, member, reader.frames(member.size), lanes, done)
            else:
                reader.skip(member.size)
                done.advance(member.size)
    for patch in packing.patches:
        archive.member(patch.name, patch.size, _patch(source, patch), compressed=True)
    if reader.next_header() is None:
        reader.finish()
    archive.close()


def _patch(source: Source, patch: Patch) -> Iterator[bytes]:
    """The bytes of a patch that was made, or that the source carries."""
    if source.made is not None:
        with source.made.files[patch.name].open("rb") as file:
            yield from iter(lambda: file.read(1024 * 1024), b"")
        return
    hasher = hashlib.sha256()
    _expect(source.reader, patch.name, patch.size, 0o644)
    for piece in source.reader.data(patch.size):
        hasher.update(piece)
        yield piece
    if f"sha256:{hasher.hexdigest()}" != patch.digest:
        raise SealiftError("digest-mismatch", f"{patch.name} is damaged", hint="pack from another copy")


def _expect(reader: BundleReader, name: str, size: int, mode: int) -> None:
    header = reader.next_header()
    if header is None or (header.name, header.size, header.mode) != (name, size, mode):
        raise SealiftError(
            "member-missing",
            f"{reader.path.name} does not hold {name} where its list says",
            hint="pack from another copy; bundle verify says what is wrong with this one",
        )
