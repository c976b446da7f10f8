"""Images in tars: plain members by name, read in place, never extracted. Whoever made the tar is not believed.

Rules:
- A name is looked up, never turned into a path. Of two members of one name neither is believed.
- Links count only where a Docker archive needs them (an old engine links layers that images share), and then only to
  a plain member of the same tar.
- Headers, members and what a compressed tar may unpack to are bounded.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

import zstandard

from bundler.collect.content import CHUNK, Content, Slice
from installer.errors import SealiftError
from installer.talk import Talk

MAX_MEMBERS: Final = 200_000
MAX_HEADER: Final = 1024 * 1024
_RATIO: Final = 250
_ALLOWANCE: Final = 1024 * 1024 * 1024
_ZSTD_WINDOW: Final = 128 * 1024 * 1024


def _unzstd(file: BinaryIO) -> IO[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return cast(IO[bytes], decompressor.stream_reader(file, read_across_frames=True))


_OPENERS: Final[Mapping[bytes, Callable[[BinaryIO], IO[bytes]]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file)),
    b"\x28\xb5\x2f\xfd": _unzstd,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}


@dataclass(frozen=True)
class Tar:
    """An uncompressed tar: its plain members and where its links lead, by name."""

    name: str
    members: Mapping[str, Slice]
    links: Mapping[str, str]

    def open(self, path: str) -> Content | None:
        """The plain member called ``path``."""
        return self.members.get(path)

    def follow(self, path: str) -> Content | None:
        """The plain member called ``path``, or the one that a link of this name leads to."""
        return self.members.get(path) or self.members.get(self.links.get(path, ""))

    @classmethod
    def of(cls, name: str, file: BinaryIO) -> Tar:
        """Index an uncompressed tar. Raises ``source-unsupported`` (2) for what is none, or no honest one."""
        file.seek(0)
        members: dict[str, Slice] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=cast(BinaryIO, _Bounded(file)), mode="r:") as archive:
                while (one := archive.next()) is not None:
                    # The library would remember every member.
                    archive.members.clear()  # type: ignore[attr-defined]
                    path = posixpath.normpath(one.name)
                    if path in members or path in links:
                        raise _refused(name, f"two members are called {path[:200]!r}")
                    if len(members) + len(links) >= MAX_MEMBERS:
                        raise _refused(name, f"it has more than {MAX_MEMBERS} members")
                    if one.isreg() and not one.issparse():
                        members[path] = Slice(file, one.offset_data, one.size)
                    elif one.issym():
                        links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), one.linkname))
                    elif one.islnk():
                        links[path] = posixpath.normpath(one.linkname)
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(name, f"{error}"[:200]) from error
        return cls(name, members, links)


@dataclass
class Spool:
    """Nameless files on the disk of ``folder`` (None: the system's temporary folder): they go with this process."""

    folder: Path | None
    talk: Talk
    _open: ExitStack = field(default_factory=ExitStack)
    _tars: dict[Path, Tar] = field(default_factory=dict)

    def file(self) -> BinaryIO:
        """A new file that lives until :meth:`close`."""
        return self._open.enter_context(tempfile.TemporaryFile(dir=self.folder, prefix=".sealift-spool-"))

    def tar(self, path: Path, what: str) -> Tar:
        """The tar at ``path``; a compressed one is unpacked once, since it can't be read in place.

        Raises ``input-missing``, ``source-unsupported`` (2).
        """
        if path not in self._tars:
            self._tars[path] = self._opened(path, f"{what}:{path}")
        return self._tars[path]

    def _opened(self, path: Path, name: str) -> Tar:
        try:
            file = self._open.enter_context(path.open("rb"))
            magic = file.read(6)
        except OSError as error:
            raise SealiftError(
                "input-missing", f"cannot read {path}: {str(error.strerror).lower()}", hint="check the path"
            ) from error
        opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
        return Tar.of(name, file if opener is None else self._unpack(file, opener, name))

    def _unpack(self, packed: BinaryIO, opener: Callable[[BinaryIO], IO[bytes]], name: str) -> BinaryIO:
        size = packed.seek(0, 2)
        packed.seek(0)
        limit = size * _RATIO + _ALLOWANCE
        plain = self.file()
        self.talk.say(f"spooling {name}: a compressed tar cannot be read in place")
        with opener(packed) as stream, self.talk.progress(f"unpacking {name}", size) as meter:
            seen = 0
            for chunk in _pieces(stream, name):
                plain.write(chunk)
                meter.advance(packed.tell() - seen)
                seen = packed.tell()
                if plain.tell() > limit:
                    raise _refused(name, f"{size} bytes unpack to more than {limit}")
        plain.flush()
        return plain

    def close(self) -> None:
        """Let go of all of them."""
        self._open.close()


def _pieces(stream: IO[bytes], name: str) -> Iterator[bytes]:
    """What a decompressor gives; its errors are of many kinds, and none of them is the disk's."""
    while True:
        try:
            chunk = stream.read(CHUNK)
        except (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
            raise _refused(name, f"it does not decompress: {error}"[:200]) from error
        if not chunk:
            return
        yield chunk


@dataclass
class _Bounded:
    """A file in which no header makes its reader take much memory: long names and PAX records are read whole."""

    file: BinaryIO

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.file.read(size)

    def seek(self, position: int) -> int:
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()


def _refused(name: str, why: str) -> SealiftError:
    return SealiftError("source-unsupported", f"{name} is no tar that can be read: {why}", hint="make it again")
