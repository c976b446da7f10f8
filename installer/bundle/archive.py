"""The ``.bundle.tar.zst`` file: a tar of plain files, each header and each stretch of data in frames of its own.

Every member is one frame with its 512-byte header, then its data in frames of 8 MiB, the last one with the padding.
The end of the archive is one frame of 1024 zeros and the seek table. So frame sizes follow from the signed sizes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from installer.bundle.frames import FRAME_DATA, FrameReader, FrameSpan, compress_frame, raw_frame, seek_table
from installer.bundle.packing import Packing
from installer.bundle.release import MAX_RELEASE_BYTES, Descriptor, File
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, SIGNATURE_NAME
from installer.bundle.tarheader import END, padding, parse_header, tar_header
from installer.errors import SealiftError

RELEASE_MEMBER: Final = "release.json"
PACKING_MEMBER: Final = "packing.json"
MAX_PACKING_BYTES: Final = 8 * 1024 * 1024
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Head:
    """What stands before the content: unverified bytes, each within its cap. ``signatures`` by file name."""

    release: bytes
    signatures: dict[str, bytes]
    packing: Packing


class ArchiveWriter:
    """Writes members to ``out``, which it neither syncs nor closes; every byte once, in order."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._spans: list[FrameSpan] = []
        self.written = 0

    def member(
        self, name: str, size: int, chunks: Iterable[bytes], *, mode: int = 0o644, compressed: bool = False
    ) -> None:
        """Write one member of ``size`` bytes. ``compressed`` says that its data gains nothing by zstd.

        Raises ``ValueError`` when ``chunks`` hold another number of bytes.
        """
        self._frame(tar_header(name, size, mode), compress_frame)
        encode = raw_frame if compressed else compress_frame
        left = size
        buffer = bytearray()
        for chunk in chunks:
            buffer += chunk
            while len(buffer) >= FRAME_DATA and left > FRAME_DATA:
                self._frame(bytes(buffer[:FRAME_DATA]), encode)
                del buffer[:FRAME_DATA]
                left -= FRAME_DATA
        if len(buffer) != left:
            raise ValueError(f"{name}: {size - left + len(buffer)} bytes came instead of {size}")
        if size:
            self._frame(bytes(buffer) + bytes(padding(size)), encode)

    def close(self) -> None:
        """Write the end of the archive and the seek table."""
        self._frame(END, compress_frame)
        table = seek_table(self._spans)
        self._out.write(table)
        self.written += len(table)

    def _frame(self, data: bytes, encode: Callable[[bytes], bytes]) -> None:
        frame = encode(data)
        self._out.write(frame)
        self._spans.append(FrameSpan(len(frame), len(data)))
        self.written += len(frame)


class BundleReader:
    """Reads a bundle through one descriptor, front to back. Use as a context manager.

    Nothing it returns is trusted; :mod:`installer.bundle.verify` decides that.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise SealiftError(
                "media-unreadable",
                f"cannot read {path}: {error.strerror}",
                hint="is the media mounted, and may you read it",
            ) from error
        self._frames = FrameReader(self._file)
        try:
            self.head = self._read_head()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes of the file that have been read or passed over."""
        return self._frames.position

    def expect(self, name: str, member: File | Descriptor) -> None:
        """The next header must be just the one that the signed list calls for. Raises ``member-order`` (3)."""
        mode = int(member.mode, 8) if isinstance(member, File) else 0o644
        header = self._read_frame(512)
        if header == tar_header(name, member.size, mode):
            return
        found, size, _ = parse_header(header)
        raise SealiftError(
            "member-order",
            f"the bundle holds {found[:100]!r} ({size} bytes) where the signed list has {name!r} ({member.size} bytes)",
            hint="the media was tampered with: get another copy",
        )

    def data(self, size: int) -> Iterator[bytes]:
        """The data of the member whose header was just read, in pieces of at most 1 MiB."""
        for length, content in _data_frames(size):
            frame = self._read_frame(content)
            if any(frame[length:]):
                raise SealiftError(
                    "tar-invalid", "the padding of a member is not zero", hint="the media was tampered with"
                )
            for start in range(0, length, _CHUNK):
                yield frame[start : min(start + _CHUNK, length)]

    def skip(self, size: int) -> None:
        """Pass over the data of the member whose header was just read, without reading or checking it."""
        for _, content in _data_frames(size):
            self._frames.skip(content)

    def finish(self) -> None:
        """Nothing may follow but the end of the archive and the seek table."""
        if self._read_frame(len(END)) != END:
            raise SealiftError(
                "member-unexpected", "the bundle holds more than the signed list", hint="get another copy"
            )
        self._frames.finish()

    def _read_frame(self, expected: int | None = None) -> bytes:
        try:
            return self._frames.read(expected)
        except OSError as error:
            raise SealiftError(
                "media-unreadable",
                f"reading {self.path} failed: {error.strerror}",
                hint="was the media pulled; try another copy",
            ) from error

    def _read_head(self) -> Head:
        release = self._head_member(RELEASE_MEMBER, MAX_RELEASE_BYTES)
        signatures: dict[str, bytes] = {}
        while True:
            name, size, mode = parse_header(self._read_frame(512))
            if name == PACKING_MEMBER:
                break
            signature = SIGNATURE_NAME.fullmatch(name)
            if not signature or mode != 0o644:
                raise SealiftError(
                    "member-unexpected", f"the head of the bundle holds {name[:100]!r}", hint="not made by sealift"
                )
            if signatures and name <= max(signatures):
                raise SealiftError(
                    "member-order", "the signatures are not sorted by name, each once", hint="not made by sealift"
                )
            if len(signatures) == MAX_SIGNATURES or size > MAX_SIGNATURE_BYTES:
                raise SealiftError(
                    "too-large", "too many signatures, or one that is too large", hint="not made by sealift"
                )
            signatures[name] = b"".join(self.data(size))
        if size > MAX_PACKING_BYTES or mode != 0o644:
            raise SealiftError("too-large", "packing.json is larger than the format allows")
        return Head(release, signatures, Packing.parse(b"".join(self.data(size))))

    def _head_member(self, expected: str, cap: int) -> bytes:
        try:
            name, size, mode = parse_header(self._read_frame(512))
        except SealiftError as error:
            if self.position < 5 or not self._frames.spans:
                raise SealiftError(
                    "not-a-bundle",
                    f"{self.path.name} is not a bundle",
                    hint="expected a file *.bundle.tar.zst made by bundle build",
                ) from error
            raise
        if name != expected or mode != 0o644:
            raise SealiftError(
                "not-a-bundle", f"{self.path.name} does not begin with {expected}", hint="not made by sealift"
            )
        if size > cap:
            raise SealiftError("too-large", f"{expected} is larger than {cap} bytes")
        return b"".join(self.data(size))


def _data_frames(size: int) -> Iterator[tuple[int, int]]:
    """For each data frame of a member: bytes of data in it, and its whole content with the padding."""
    left = size
    while left > 0:
        length = min(left, FRAME_DATA)
        left -= length
        yield length, length + (padding(size) if left == 0 else 0)


def locate_bundle(path: Path) -> Path:
    """The bundle that ``path`` means: the file itself, or the only one in a media folder. Raises ``not-a-bundle``."""
    if not path.is_dir():
        return path
    found = sorted(entry for entry in path.glob("*.bundle.tar.zst") if not entry.name.startswith("."))
    if len(found) != 1:
        raise SealiftError(
            "not-a-bundle",
            f"{path} holds {len(found) or 'no'} bundles"
            + (": " + ", ".join(entry.name for entry in found) if found else ""),
            hint="name the bundle itself" if found else "expected a file *.bundle.tar.zst",
        )
    return found[0]
