"""Members out of bundles that were written before, so that what did not change is neither fetched nor compressed again.

Nothing in an earlier bundle is believed: where a member lies is a hint, its name, size and digest are compared, every
byte is hashed while it passes, and one that is damaged is taken from its source after all. Members are taken only where
that saves something: those that their source would have to send, and blobs whose compressed frames can be carried over
as they are, because the same encoder made them (else the same inputs would no longer give the same bytes).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zstandard

from bundler.collect.content import Bytes, FileContent, Slice
from bundler.writing.assemble import Part
from installer.bundle.archive import BundleReader
from installer.bundle.frames import LEVEL, Frame
from installer.bundle.packing import read_packing
from installer.bundle.places import member_places
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError

ENCODER: Final = f"sealift frames 1, zstandard {zstandard.__version__}, zstd {zstandard.ZSTD_VERSION}, level {LEVEL}"
_ATTRIBUTE: Final = "user.sealift.encoder"

_Cut = tuple[str, int, File | Descriptor] | None
"""The member within which a file ends: its name, position, and what the list says."""


def mark_encoder(descriptor: int) -> None:
    """Note in a bundle's file, not in its bytes, who compressed it; where that cannot be noted, nobody knows."""
    with suppress(OSError):
        os.setxattr(descriptor, _ATTRIBUTE, ENCODER.encode())


@dataclass
class Earlier:
    """A bundle, whole or cut short, and where the header of each member stands in it that it carries, by name."""

    reader: BundleReader
    places: dict[str, tuple[int, File | Descriptor]]
    """Position, and what its list says."""
    same_encoder: bool
    cut: _Cut = None
    taken: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """The bundle at ``path``, or None for what is none."""
        try:
            reader = BundleReader(path)
        except SealiftError:
            return None
        try:
            places, cut = _places(reader)
        except SealiftError:
            reader.close()
            return None
        try:
            same = os.getxattr(path, _ATTRIBUTE) == ENCODER.encode()
        except OSError:
            same = False
        return cls(reader, places, same, cut)

    def frames(self, name: str, size: int) -> Iterator[tuple[int, Frame]]:
        """The frames of a member, as :meth:`BundleReader.frames`. Raises what a damaged file raises."""
        self._go(name, size)
        yield from self.reader.frames(size)

    def chunks(self, name: str, size: int) -> Iterator[bytes]:
        """The bytes of a member."""
        self._go(name, size)
        yield from self.reader.data(size)

    def begun(self) -> Iterator[bytes]:
        """What there is of the member that is cut."""
        if self.cut is not None:
            name, position, member = self.cut
            with suppress(SealiftError):  # it ends there, or it is damaged
                self._go_to(position, name, member.size)
                yield from self.reader.data(member.size)

    def _go(self, name: str, size: int) -> None:
        self._go_to(self.places[name][0], name, size)
        self.taken.add(name)

    def _go_to(self, position: int, name: str, size: int) -> None:
        self.reader.jump(position)
        header = self.reader.next_header()
        if header is None or (header.name, header.size) != (name, size):
            raise SealiftError("media-changed", f"{name} is not where {self.reader.path} says", hint="build it again")


class Reuse:
    """The earlier bundles that a build may take blobs from. A context manager."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._bundles = [found for path in dict.fromkeys(paths) if (found := Earlier.open(path)) is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bundle in self._bundles:
            bundle.reader.close()

    def find(self, name: str, member: File | Descriptor, part: Part) -> Earlier | None:
        """A bundle to take this member from, if that is cheaper than its source."""
        local = isinstance(part.content, Bytes | FileContent | Slice)
        if local and isinstance(member, File):
            return None
        for bundle in self._bundles:
            _, there = bundle.places.get(name, (0, None))
            same = there is not None and (there.digest, there.size) == (member.digest, member.size)
            if same and not (local and (part.packed or not bundle.same_encoder)):
                return bundle
        return None

    def begun(self, name: str, member: File | Descriptor) -> Iterator[bytes]:
        """The beginning of a member, as far as a bundle that was cut short has it. Only its whole can be judged."""
        for bundle in self._bundles:
            if bundle.cut is not None and bundle.cut[0] == name:
                _, _, there = bundle.cut
                if (there.digest, there.size) == (member.digest, member.size):
                    return bundle.begun()
        return iter(())

    def drop(self, bundle: Earlier) -> None:
        """Take nothing from it any more."""
        self._bundles.remove(bundle)
        bundle.reader.close()

    @property
    def bytes_taken(self) -> int:
        """Bytes of the members that came out of earlier bundles."""
        return sum(bundle.places[name][1].size for bundle in self._bundles for name in bundle.taken)


def _places(reader: BundleReader) -> tuple[dict[str, tuple[int, File | Descriptor]], _Cut]:
    """By the seek table at the end; by walking through a file that has none, with the member in which it ends.

    Raises ``release-…``, ``packing-…``.
    """
    release = Release.parse(reader.head.release)
    members = read_packing(reader.head.packing, release).carried(release)
    found = member_places(reader, members)
    if found is None:
        return _walked(reader, dict(members))
    return {name: (position, members[name]) for name, position in found.items()}, None


def _walked(
    reader: BundleReader, listed: Mapping[str, File | Descriptor]
) -> tuple[dict[str, tuple[int, File | Descriptor]], _Cut]:
    """What of a file that was cut short is whole, as far as its headers tell, and the member in which it ends."""
    places: dict[str, tuple[int, File | Descriptor]] = {}
    cut: _Cut = None
    with suppress(SealiftError):
        while True:
            start = reader.position
            header = reader.next_header()
            if header is None:
                break
            member = listed.get(header.name)
            cut = (header.name, start, member) if member is not None and member.size == header.size else None
            reader.skip(header.size)
            if reader.position > reader.size:
                break
            if cut is not None:
                places[header.name] = cut[1:]
            cut = None
    return places, cut
