"""Writes the bundle: the signed statement first, then everything once, each member checked as it passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bundler.durable import goes_on
from bundler.writing.assemble import Assembly, Part
from bundler.writing.parts import Parts
from bundler.writing.press import Press, default_jobs
from bundler.writing.reuse import Earlier, Reuse
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter
from installer.bundle.frames import Frame
from installer.bundle.lanes import Lane, Lanes
from installer.bundle.packing import Packing
from installer.bundle.parts import PartsNote
from installer.bundle.release import Descriptor, File
from installer.errors import SealiftError


@dataclass(frozen=True)
class Written:
    """What a bundle has become: ``size`` of all of it, its files with their hex sha256; ``note``: parts.json."""

    size: int
    hashes: Mapping[str, str]
    note: PartsNote | None = None


def write_bundle(
    path: Path,
    assembly: Assembly,
    signatures: Mapping[str, bytes],
    progress: Callable[[int], None] = lambda _: None,
) -> Written:
    """As :meth:`Writer.write`, all of it from its sources."""
    return Writer().write(path, assembly, signatures, progress)


class Writer:
    """How bundles get written: ``jobs`` threads that compress, and earlier bundles to take blobs from."""

    def __init__(
        self, *, jobs: int | None = None, reuse: Reuse | None = None, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self._jobs, self._reuse, self._warn = jobs or default_jobs(), reuse or Reuse(()), warn

    def write(
        self,
        path: Path,
        assembly: Assembly,
        signatures: Mapping[str, bytes],
        progress: Callable[[int], None] = lambda _: None,
        part_size: int | None = None,
    ) -> Written:
        """Write ``path``; ``signatures`` are signature files, and roots of trust, by member name.

        With ``part_size`` (bytes) it becomes parts. Under its final name a file is whole or not there. Raises
        ``digest-mismatch`` or ``media-changed`` (4) for content that is not what was collected, ``disk-full`` (7).
        """
        with Parts(path.parent, path.name, part_size, ours=True) as out:
            try:
                self._attempt(out, assembly, signatures, progress)
                out.finish()
            except BaseException as error:
                if not goes_on(error):
                    out.discard()
                raise
        return Written(out.size, out.hashes, out.note())

    def _attempt(
        self, out: Parts, assembly: Assembly, signatures: Mapping[str, bytes], progress: Callable[[int], None]
    ) -> None:
        """Write all of it; once more from the beginning without an earlier bundle that turned out to be damaged."""
        while True:
            done = Progress(progress)
            try:
                with Press(out, self._jobs) as press:
                    self._members(press, assembly, signatures, done)
                return
            except _Damaged as damaged:
                self._warn(
                    f"{damaged.earlier.reader.path} is damaged, so nothing is taken from it: {damaged.why.message}"
                )
                self._reuse.drop(damaged.earlier)
                done.take_back()
                out.restart()

    def _members(
        self, archive: ArchiveWriter, assembly: Assembly, signatures: Mapping[str, bytes], done: Progress
    ) -> None:
        raw = assembly.release.to_bytes()
        archive.member(RELEASE_MEMBER, len(raw), [raw])
        for name, signature in sorted(signatures.items()):
            archive.member(name, len(signature), [signature])
        packing = Packing().to_bytes()
        archive.member(PACKING_MEMBER, len(packing), [packing])
        for name, member in assembly.release.members():
            part = assembly.parts[name]
            mode = int(member.mode, 8) if isinstance(member, File) else 0o644
            earlier = self._reuse.find(name, member, part)
            if earlier is not None:
                _again(archive, name, member, part, earlier, done)
            else:
                chunks = _checked(name, member, part.content.chunks(), done.advance)
                archive.member(name, member.size, chunks, mode=mode, compressed=part.packed)
        archive.close()


@dataclass
class Progress:
    """Counts content bytes, and can take them back."""

    tell: Callable[[int], None]
    done: int = 0

    def advance(self, count: int) -> None:
        """So many more bytes."""
        self.done += count
        self.tell(count)

    def take_back(self) -> None:
        """From the beginning again."""
        self.tell(-self.done)
        self.done = 0


class _Damaged(Exception):
    """An earlier bundle does not hold what it says."""

    def __init__(self, earlier: Earlier, why: SealiftError) -> None:
        super().__init__(earlier, why)
        self.earlier, self.why = earlier, why


def _again(
    archive: ArchiveWriter, name: str, member: File | Descriptor, part: Part, earlier: Earlier, done: Progress
) -> None:
    """Write a blob that an earlier bundle holds: its frames as they are where only this encoder makes such frames."""
    try:
        if part.packed or not earlier.same_encoder:
            chunks = _checked(name, member, earlier.chunks(name, member.size), done.advance)
            mode = int(member.mode, 8) if isinstance(member, File) else 0o644
            archive.member(name, member.size, chunks, mode=mode, compressed=part.packed)
        else:
            with Lanes() as lanes:
                carry(archive, name, member, earlier.frames(name, member.size), lanes, done)
    except SealiftError as error:
        raise _Damaged(earlier, error) from error


def carry(
    archive: ArchiveWriter,
    name: str,
    member: File | Descriptor,
    frames: Iterable[tuple[int, Frame]],
    lanes: Lanes,
    done: Progress,
) -> None:
    """Write a member out of another bundle's ``frames`` as they are; what they hold is hashed on ``lanes``.

    Raises, now or when ``lanes`` end, ``digest-mismatch`` (4) and what damaged frames raise.
    """
    mode = int(member.mode, 8) if isinstance(member, File) else 0o644
    lane = lanes.begin(partial(_judge, name, member))
    archive.carry(name, member.size, _hashed(frames, lane, done), mode=mode)
    lane.close()


def _hashed(frames: Iterable[tuple[int, Frame]], lane: Lane, done: Progress) -> Iterator[Frame]:
    for length, frame in frames:
        lane.feed(length, frame)
        done.advance(length)
        yield frame


def _checked(
    name: str, member: File | Descriptor, content: Iterable[bytes], progress: Callable[[int], None]
) -> Iterator[bytes]:
    """The bytes of ``content``, which must be just those that the release lists."""
    hasher = hashlib.sha256()
    left = member.size
    for chunk in content:
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
    _judge(name, member, f"sha256:{hasher.hexdigest()}")


def _judge(name: str, member: File | Descriptor, digest: str) -> None:
    if digest != member.digest:
        raise SealiftError(
            "digest-mismatch",
            f"{name} is not what its digest says: its source is damaged, or changed while it was read",
            hint="make its source again",
        )
