"""What the steps of a kit that were checked already bring, for the steps after them.

A step may leave out what an earlier one carries, and patch a layer that an earlier one has patched; that layer stands
nowhere as a whole, so it is kept when it is rebuilt, in a nameless file, if a later step leans on it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from installer.bundle.content import Writer
from installer.bundle.packing import Delta, Packing
from installer.bundle.release import Descriptor, File, Release
from installer.patching.rebuild import Bases

_PIECE: Final = 1024 * 1024


class StepsBefore:
    """A :class:`~installer.bundle.content.Sink` of the step that is checked, and the bases that those before it gave.
    A context manager.

    ``digests``: all that earlier steps carried whole or that was rebuilt of them, each byte compared.
    """

    def __init__(self, packings: Collection[Packing | Delta], folder: Path) -> None:
        """``packings`` are those of all steps: they say which layers are rebuilt, and which are leaned on."""
        patches = [patch for packing in packings for patch in packing.patches]
        self._targets = frozenset(patch.target for patch in patches)
        self._bases = frozenset(patch.base for patch in patches)
        self._folder, self._stack = folder, ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._rebuilt: set[str] = set()
        self.digests: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, release: Release, packing: Packing | Delta) -> None:
        """A step is checked: what it carries, and what was rebuilt of it, is held from here on."""
        carried = {member.digest for member in packing.carried(release).values()}
        self.digests |= carried | self._rebuilt

    def has(self, digest: str) -> bool:
        """Whether this layer was rebuilt and kept."""
        return digest in self._files

    def read(self, digest: str) -> Iterator[bytes]:
        """Its bytes."""
        file = self._files[digest]
        file.seek(0)
        while chunk := file.read(_PIECE):
            yield chunk

    def open(self, member: File | Descriptor) -> Writer | None:
        """Every layer that is patched is wanted, or nobody would rebuild it; few are kept."""
        if member.digest not in self._targets:
            return None
        if member.digest not in self._bases:
            return _Rebuilt(self, member.digest, None)
        return _Rebuilt(self, member.digest, self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder)))

    def close(self) -> None:
        """What is kept lasts until the block ends."""

    def keep(self, digest: str, file: IO[bytes] | None) -> None:
        """A layer was rebuilt, and its digest was right; ``file`` holds it, where a later step needs it."""
        self._rebuilt.add(digest)
        if file is not None:
            self._files[digest] = file


class BothBases:
    """Old layers out of either, the first one first."""

    def __init__(self, *both: Bases) -> None:
        self._both = both

    def has(self, digest: str) -> bool:
        """Whether one has it."""
        return any(one.has(digest) for one in self._both)

    def read(self, digest: str) -> Iterator[bytes]:
        """Its bytes."""
        return next(one for one in self._both if one.has(digest)).read(digest)


class _Rebuilt:
    """Takes a layer as it is rebuilt."""

    def __init__(self, steps: StepsBefore, digest: str, file: IO[bytes] | None) -> None:
        self._steps, self._digest, self._file = steps, digest, file

    def write(self, chunk: bytes) -> None:
        """Raises ``OSError`` where the disk is full."""
        if self._file is not None:
            self._file.write(chunk)

    def finish(self) -> None:
        """It was right."""
        self._steps.keep(self._digest, self._file)

    def abort(self) -> None:
        """It was not."""
        if self._file is not None:
            self._file.close()
