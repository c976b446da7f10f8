"""Where the bytes of a bundle go: one file, or parts of one size, each written once, hashed on the way and synced."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from bundler.durable import PARTIAL
from bundler.writing.press import Hashed
from bundler.writing.reuse import mark_encoder
from installer.bundle.frames import Buffer
from installer.bundle.parts import MAX_PARTS, PartsNote, part_name
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.talk import size as in_words

SMALLEST: Final = 64 * 1024
KNOWN_SIZES: Final = {"fat32": 2**32 - 1, "dvd": 4_700_000_000, "blu-ray": 25_000_000_000}
_SIZE: Final = re.compile(r"(\d{1,15})\s*([kKMGT]?)(i?)[bB]?")
_TIMES: Final = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size(text: str) -> int:
    """Bytes of ``700MB``, ``4GiB``, ``fat32``, ``dvd``, ``blu-ray``. Raises ``bad-option`` (2)."""
    found = _SIZE.fullmatch(text.strip())
    if text.lower() in KNOWN_SIZES:
        return KNOWN_SIZES[text.lower()]
    count = int(found[1]) * (1024 if found[3] else 1000) ** _TIMES[found[2]] if found else 0
    if count < SMALLEST:
        raise SealiftError(
            "bad-option",
            f"{text[:40]!r} is no size of a part",
            hint=f"such as 700MB, 4GiB, {', '.join(KNOWN_SIZES)}; {SMALLEST // 1024} KiB at least",
        )
    return count


def refuse_too_many(length: int, part_size: int | None) -> None:
    """A bundle of ``length`` bytes must be cut into 999 parts at most. Raises ``bad-option`` (2)."""
    if part_size is not None and length > part_size * MAX_PARTS:
        raise SealiftError(
            "bad-option",
            f"{in_words(length)} in parts of {in_words(part_size)} would be more than {MAX_PARTS} parts",
            hint=f"parts of {in_words(-(-length // (MAX_PARTS - 1)))} at least",
        )


class Parts:
    """Takes the bytes of a bundle and cuts them into files of ``part_size``; None: one file. A context manager.

    Files are drafts (:data:`~bundler.durable.PARTIAL`) until :meth:`finish`. ``ours`` says that this program
    compresses what comes, which is noted at the files for later builds.
    """

    def __init__(self, folder: Path, name: str, part_size: int | None, *, ours: bool = False) -> None:
        self._folder, self._name, self._part_size, self._ours = folder, name, part_size, ours
        self._begin()

    def _begin(self) -> None:
        self._file: BinaryIO | None = None
        self._hashed: Hashed | None = None
        self._left = 0
        self.size = 0
        self.hashes: dict[str, str] = {}
        """Hex sha256 by file name, in order; of the parts that are complete."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hashed is not None:
            self._hashed.close()
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take; the first refusal is the one that counts
                self._file.close()
            self._file = None

    @property
    def names(self) -> tuple[str, ...]:
        """The files, in order."""
        return tuple(self.hashes)

    def write(self, data: Buffer, /) -> int:
        """All of ``data``, over as many parts as it takes. Raises ``bad-option`` (2) for a part too many."""
        rest = memoryview(data)
        while rest:
            if self._hashed is None or self._left == 0:
                self._begin_part()
            piece = rest[: self._left]
            assert self._hashed is not None  # noqa: S101 - begun a line before
            self._hashed.write(piece)
            self._left -= len(piece)
            self.size += len(piece)
            rest = rest[len(piece) :]
        return len(data)

    def restart(self) -> None:
        """Forget all that came."""
        self.__exit__(None, None, None)
        self.discard()
        self._begin()

    def finish(self) -> None:
        """All has come: give the files their names."""
        self._end_part()
        for name in self.names:
            self._draft(name).rename(self._folder / name)
        sync_folder(self._folder)

    def discard(self) -> None:
        """Remove the drafts."""
        for name in (*self.names, self._file_name(len(self.hashes) + 1)):
            self._draft(name).unlink(missing_ok=True)

    def note(self) -> PartsNote | None:
        """What ``parts.json`` says; None for one file."""
        if self._part_size is None:
            return None
        hashes = tuple(f"sha256:{value}" for value in self.hashes.values())
        return PartsNote(bundle=self._name, size=self.size, part_size=self._part_size, parts=hashes)

    def _file_name(self, number: int) -> str:
        return self._name if self._part_size is None else part_name(self._name, number)

    def _draft(self, name: str) -> Path:
        return self._folder / f"{name}{PARTIAL}"

    def _begin_part(self) -> None:
        self._end_part()
        number = len(self.hashes) + 1
        if number > MAX_PARTS:
            refuse_too_many(self.size + 1, self._part_size)
        self._left = self._part_size or 2**62
        self._file = self._draft(self._file_name(number)).open("wb")
        if self._ours:
            mark_encoder(self._file.fileno())
        self._hashed = Hashed(self._file)

    def _end_part(self) -> None:
        if self._file is not None and self._hashed is not None:
            name = self._file_name(len(self.hashes) + 1)
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self.hashes[name] = self._hashed.sha256
            self._hashed.close()
        self._file = self._hashed = None
