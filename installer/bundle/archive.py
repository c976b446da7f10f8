"""The ``.bundle.tar.zst`` file: a tar of plain files, each header and each stretch of data in frames of its own.

Every member is one frame with its 512-byte header, then its data in frames of 8 MiB, the last one with the padding.
The end of the archive is one frame of 1024 zeros and the seek table. So frame sizes follow from the signed sizes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from installer.bundle.encrypted import Unlock, decrypted
from installer.bundle.frames import (
    FRAME_DATA,
    Buffer,
    Frame,
    FrameReader,
    FrameSpan,
    compress_frame,
    raw_parts,
    seek_table,
)
from installer.bundle.packing import MAX_PACKING_BYTES
from installer.bundle.parts import Ask, bundle_of, bundles_in, open_bundle
from installer.bundle.pathnote import PATH_FILE
from installer.bundle.release import MAX_RELEASE_BYTES
from installer.bundle.roots import MAX_ROOTS, ROOT_NAME
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, SIGNATURE_NAME
from installer.bundle.tarheader import BLOCK, END, MODES, Header, padding, parse_header, tar_header
from installer.bundle.trust import MAX_ROOT_BYTES
from installer.errors import SealiftError

RELEASE_MEMBER: Final = "release.json"
PACKING_MEMBER: Final = "packing.json"
_CHUNK: Final = 1024 * 1024
_NAMED: Final = 5
"""Files that a message names at most."""
_FOREIGN: Final = "the media was not made by sealift: get another copy"
_TAMPERED: Final = "the media was tampered with: get another copy"


@dataclass(frozen=True)
class Head:
    """What stands before the content: unverified bytes, each within its cap.

    ``signatures`` by file name, ``roots`` by the version that they are named for.
    """

    release: bytes
    signatures: dict[str, bytes]
    packing: bytes
    roots: dict[int, bytes] = field(default_factory=dict)


class Output(Protocol):
    """Where a bundle is written to: an open file, or what stands before one."""

    def write(self, data: Buffer, /) -> int:
        """Take all of ``data``."""


class ArchiveWriter:
    """Writes members to ``out``, which it neither syncs nor closes; every byte once, in order."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._spans: list[FrameSpan] = []
        self.written = 0

    def member(
        self, name: str, size: int, chunks: Iterable[bytes], *, mode: int = 0o644, compressed: bool = False
    ) -> None:
        """Write one member of ``size`` bytes. ``compressed`` says that its data gains nothing by zstd.

        Raises ``ValueError`` when ``chunks`` hold another number of bytes.
        """
        self._frame([tar_header(name, size, mode)], packed=False)
        left, held = size, 0
        frame: list[Buffer] = []
        for chunk in chunks:
            rest = memoryview(chunk)
            while held + len(rest) >= FRAME_DATA and left > FRAME_DATA:
                _add(frame, rest[: FRAME_DATA - held], packed=compressed)
                self._frame(frame, packed=compressed)
                rest = rest[FRAME_DATA - held :]
                frame, held, left = [], 0, left - FRAME_DATA
            _add(frame, rest, packed=compressed)
            held += len(rest)
        if held != left:
            raise ValueError(f"{name}: {size - left + held} bytes came instead of {size}")
        if size:
            _add(frame, bytes(padding(size)), packed=compressed)
            self._frame(frame, packed=compressed)

    def carry(self, name: str, size: int, frames: Iterable[Frame], *, mode: int = 0o644) -> None:
        """Write one member out of frames that were cut and encoded as :meth:`member` does, as they are."""
        self._frame([tar_header(name, size, mode)], packed=False)
        for frame in frames:
            self._carry(frame)

    def close(self) -> None:
        """Write the end of the archive and the seek table."""
        self._frame([END], packed=False)
        self._finish()

    def _finish(self) -> None:
        table = seek_table(self._spans)
        self._out.write(table)
        self.written += len(table)

    def _frame(self, pieces: list[Buffer], *, packed: bool) -> None:
        """The next frame, with the bytes of ``pieces``. A subclass may leave the work to other threads."""
        self._put(encode(pieces, packed=packed), sum(map(len, pieces)))

    def _carry(self, frame: Frame) -> None:
        self._put(frame.parts, frame.content)

    def _put(self, parts: Iterable[Buffer], content: int) -> None:
        """Write a frame that holds ``content`` bytes."""
        before = self.written
        for part in parts:
            self._out.write(part)
            self.written += len(part)
        self._spans.append(FrameSpan(self.written - before, content))


def encode(pieces: list[Buffer], *, packed: bool) -> list[Buffer]:
    """One frame of ``pieces``, raw where they are ``packed`` already; the same bytes whoever calls it."""
    if packed:
        return raw_parts(pieces)
    return [compress_frame(pieces[0] if len(pieces) == 1 else b"".join(pieces))]


def _add(frame: list[Buffer], piece: Buffer, *, packed: bool) -> None:
    """One more piece of a frame: as it is where it will be stored as it is, else joined to the others."""
    if packed or not frame:
        frame.append(piece if packed else bytearray(piece))
    elif isinstance(joined := frame[0], bytearray):
        joined += piece


class BundleReader:
    """Reads a bundle through one descriptor, front to back. Use as a context manager.

    Nothing it returns is trusted; :mod:`installer.bundle.verify` decides that.
    """

    encrypted = False
    """Whether the file is encrypted. Sizes and positions are of what it holds."""

    def __init__(self, path: Path, ask: Ask | None = None, unlock: Unlock | None = None) -> None:
        """Open ``path``, a bundle or its first part, and read its head.

        ``ask`` brings discs with further parts, ``unlock`` the media keys for an encrypted bundle.
        Raises ``media-unreadable``, ``part-missing``, ``part-size`` (4), ``media-not-a-file`` (3), what
        :func:`~installer.bundle.encrypted.decrypted` raises, format errors.
        """
        try:
            file, self.encrypted = decrypted(open_bundle(path, ask), bundle_of(path.name), unlock)
        except OSError as error:
            raise _unreadable(f"cannot read {path}", error, "is the media mounted, and may you read it") from error
        self._begin(file, path)

    @classmethod
    def from_file(cls, file: BinaryIO, name: str) -> Self:
        """Read from ``file`` (from its beginning; closed with the reader), which messages call ``name``."""
        reader = cls.__new__(cls)
        reader._begin(file, Path(name))
        return reader

    def _begin(self, file: BinaryIO, path: Path) -> None:
        self.path, self._file, self._frames = path, file, FrameReader(file)
        try:
            with self._reading():
                self.size = file.seek(0, os.SEEK_END)
                file.seek(0)
                self.head = self._read_head()
        except BaseException:
            file.close()
            raise

    def beside(self) -> BundleReader | None:
        """Another reader of the same open file, which is moved (:meth:`jump`) without moving this one; None for media
        that are read at one place alone: parts, and what is encrypted."""
        if not isinstance(self._file, io.BufferedReader) or not isinstance(self._file.raw, io.FileIO):
            return None
        try:
            file = os.fdopen(os.open(f"/proc/self/fd/{self._file.fileno()}", os.O_RDONLY), "rb")
        except OSError:
            return None
        other = copy(self)
        other._file, other._frames = file, FrameReader(file)
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def position(self) -> int:
        """Bytes of the file that have been read or passed over."""
        return self._frames.position

    def next_header(self) -> Header | None:
        """The header of the next member, or None at the end of the archive (then :meth:`finish`)."""
        block = self._read_frame(BLOCK, len(END))
        if len(block) == BLOCK:
            return parse_header(block)
        if block != END:
            raise SealiftError("archive-end", "the end of the archive is not 1024 zero bytes", hint=_TAMPERED)
        return None

    def data(self, size: int) -> Iterator[bytes]:
        """The data of the member whose header was just read, in pieces of at most 1 MiB."""
        for length, frame in self.frames(size):
            for piece in unpadded(frame, length):
                for start in range(0, len(piece), _CHUNK):
                    yield piece[start : start + _CHUNK]

    def frames(self, size: int) -> Iterator[tuple[int, Frame]]:
        """The data of the member whose header was just read, still packed: pairs for :func:`unpadded`."""
        for length, content in data_frames(size):
            with self._reading():
                frame = self._frames.take((content,))
            yield length, frame

    def skip(self, size: int) -> None:
        """Pass over the data of the member whose header was just read, without reading or checking it."""
        with self._reading():
            for _, content in data_frames(size):
                self._frames.skip((content,))

    def finish(self) -> None:
        """Nothing may follow the end of the archive but the seek table."""
        with self._reading():
            self._frames.finish()

    def tail(self, count: int) -> bytes:
        """The last ``count`` bytes of the file, or all. Where reading goes on does not change."""
        with self._reading():
            self._file.seek(max(self.size - count, 0))
            data = self._file.read(count)
            self._file.seek(self.position)
        return data

    def jump(self, position: int) -> None:
        """Go on at the frame that begins at ``position``. Not for verifying, which reads from front to back."""
        with self._reading():
            self._file.seek(position)
            self._frames.position = position

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unreadable(f"reading {self.path} failed", error, "was the media pulled; try another copy") from error

    def _read_frame(self, *expected: int) -> bytes:
        with self._reading():
            return self._frames.read(expected)

    def _read_head(self) -> Head:
        release = self._read_release()
        signatures: dict[str, bytes] = {}
        roots: dict[int, bytes] = {}
        last = ""
        while True:
            header = self.next_header()
            if header is None:
                raise SealiftError("member-missing", f"the bundle has no {PACKING_MEMBER}", hint=_FOREIGN)
            if header.name == PACKING_MEMBER:
                break
            _check_place(header, last)
            last = header.name
            if root := ROOT_NAME.fullmatch(last):
                _check_root_member(header, roots)
                roots[int(root[1])] = b"".join(self.data(header.size))
            else:
                _check_signature_member(header, signatures)
                signatures[last] = b"".join(self.data(header.size))
        _check_mode(header)
        if header.size > MAX_PACKING_BYTES:
            raise SealiftError("packing-too-large", f"packing.json is larger than {MAX_PACKING_BYTES} bytes")
        return Head(release, signatures, b"".join(self.data(header.size)), roots)

    def _read_release(self) -> bytes:
        try:
            header = self.next_header()
        except SealiftError as error:
            if error.id not in ("frame-magic", "truncated") or self.position > 4:
                raise
            raise SealiftError(
                "not-a-bundle",
                f"{self.path.name} is not a bundle",
                hint="expected a file *.bundle.tar.zst made by bundle build",
            ) from error
        if header is None or header.name != RELEASE_MEMBER:
            raise SealiftError("not-a-bundle", f"{self.path.name} does not begin with {RELEASE_MEMBER}", hint=_FOREIGN)
        _check_mode(header)
        if header.size > MAX_RELEASE_BYTES:
            raise SealiftError("release-too-large", f"{RELEASE_MEMBER} is larger than {MAX_RELEASE_BYTES} bytes")
        return b"".join(self.data(header.size))


def _check_place(header: Header, last: str) -> None:
    """``header`` stands in the head of the bundle, after the signature or root called ``last``."""
    if not SIGNATURE_NAME.fullmatch(header.name) and not ROOT_NAME.fullmatch(header.name):
        raise SealiftError("member-unexpected", f"the head of the bundle holds {header.name!r}", hint=_FOREIGN)
    _check_mode(header)
    if header.name == last:
        raise SealiftError("member-repeated", f"{header.name} stands twice in the bundle", hint=_FOREIGN)
    if header.name < last:
        raise SealiftError("member-order", "signatures and roots are not sorted by name", hint=_FOREIGN)


def _check_signature_member(header: Header, before: Mapping[str, bytes]) -> None:
    if len(before) == MAX_SIGNATURES:
        raise SealiftError("signatures-too-many", f"more than {MAX_SIGNATURES} signatures", hint=_FOREIGN)
    if header.size > MAX_SIGNATURE_BYTES:
        raise SealiftError("signature-too-large", f"{header.name} is larger than {MAX_SIGNATURE_BYTES} bytes")


def _check_root_member(header: Header, before: Mapping[int, bytes]) -> None:
    if len(before) == MAX_ROOTS:
        raise SealiftError("roots-too-many", f"more than {MAX_ROOTS} roots", hint=_FOREIGN)
    if header.size > MAX_ROOT_BYTES:
        raise SealiftError("root-too-large", f"{header.name} is larger than {MAX_ROOT_BYTES} bytes")


def _check_mode(header: Header) -> None:
    if header.mode != MODES[0]:
        raise SealiftError("member-mode", f"{header.name} has mode {header.mode:o} instead of 644", hint=_FOREIGN)


def _unreadable(what: str, error: OSError, hint: str) -> SealiftError:
    return SealiftError("media-unreadable", f"{what}: {error.strerror or error}", hint=hint)


def data_frames(size: int) -> Iterator[tuple[int, int]]:
    """For each data frame of a member: bytes of data in it, and its whole content with the padding."""
    left = size
    while left > 0:
        length = min(left, FRAME_DATA)
        left -= length
        yield length, length + (padding(size) if left == 0 else 0)


def unpadded(frame: Frame, length: int) -> Iterator[bytes]:
    """The first ``length`` bytes of a frame; the rest must be zero. In any thread.

    Raises ``frame-corrupt`` (4), ``tar-padding`` (3).
    """
    for piece in frame.unpack():
        if any(piece[length:]):
            raise SealiftError("tar-padding", "the padding of a member is not zero", hint=_TAMPERED)
        yield piece[:length]
        length -= min(length, len(piece))


def locate_bundle(path: Path) -> Path:
    """The bundle that ``path`` means: the file itself, or the only one in a media folder, or its first part.

    Raises ``not-a-bundle`` (3).
    """
    if not path.is_dir():
        return path
    found = bundles_in(path)
    if len(found) != 1:
        raise SealiftError(
            "not-a-bundle",
            f"{path} holds {len(found) or 'no'} bundles"
            + (": " + ", ".join(entry.name for entry in found[:_NAMED]) if found else "")
            + (" …" if len(found) > _NAMED else ""),
            hint=_hint(path, found),
        )
    return found[0]


def _hint(folder: Path, found: list[Path]) -> str:
    if found:
        return "name the bundle itself"
    if (folder / PATH_FILE).is_file():
        return "these media hold several releases, each in a folder: sealift install takes them all; else name a folder"
    return "expected a file *.bundle.tar.zst"
