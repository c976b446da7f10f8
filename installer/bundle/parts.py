"""A bundle cut into parts, for FAT32, DVDs or a diode: ``NAME.001``, ``NAME.002`` …, which ``cat`` joins again.

Rules (FORMAT.md, "Parts"): all parts but the last have the size of the first; ``parts.json`` beside them says how many
there are and what each must hash to. It is a hint, never believed: what is read is judged as one file would be. A part
is looked for beside the first one, then in the folders beside that folder (several discs, each mounted somewhere), and
at last asked for (one disc after another).
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

from pydantic import Field, ValidationError

from installer.bundle.fields import Closed, DigestText
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

PARTS_FILE: Final = "parts.json"
MAX_PARTS: Final = 999
MAX_PARTS_BYTES: Final = 256 * 1024
_PART: Final = re.compile(r"(.+\.bundle\.tar\.zst(?:\.age)?)\.([0-9]{3})")
_ENDINGS: Final = ("", ".001", ".age", ".age.001")
_PIECE: Final = 1024 * 1024

Ask = Callable[[str], bool]
"""Asks a person for the disc with the part of that name; False when nobody can bring it."""


class PartsNote(Closed):
    """``parts.json``: ``size`` of the whole bundle, ``part_size`` of all parts but the last, their hashes in order."""

    type: Literal["application/vnd.sealift.parts.v1+json"] = "application/vnd.sealift.parts.v1+json"
    bundle: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}\.bundle\.tar\.zst(\.age)?$")]
    size: Annotated[int, Field(ge=1, le=2**50)]
    part_size: Annotated[int, Field(ge=1, le=2**50)]
    parts: Annotated[tuple[DigestText, ...], Field(min_length=1, max_length=MAX_PARTS)]

    @classmethod
    def beside(cls, part: Path) -> PartsNote | None:
        """The note in the folder of ``part`` that is about its bundle; None where there is none that can be read."""
        split = split_name(part.name)
        try:
            with open_regular(part.parent / PARTS_FILE) as file:
                raw = file.read(MAX_PARTS_BYTES + 1)
            parse_canonical(raw, PARTS_FILE)
            note = cls.model_validate_json(raw)
        except (OSError, SealiftError, ValidationError):
            return None
        is_about_it = split is not None and split[0] == note.bundle
        return note if is_about_it and note.to_bytes() == raw else None

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical(self.model_dump(mode="json"))

    def span(self, number: int) -> tuple[int, int]:
        """First byte of part ``number`` in the bundle, and the byte after its last."""
        start = (number - 1) * self.part_size
        return start, min(start + self.part_size, self.size)


def part_name(bundle: str, number: int) -> str:
    """How part ``number`` (from 1) of ``bundle`` is called."""
    return f"{bundle}.{number:03}"


def split_name(name: str) -> tuple[str, int] | None:
    """Name of the bundle and number of the part, or None for what is no part."""
    found = _PART.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def bundle_of(name: str) -> str:
    """Name of the bundle that a file of that name is, or is a part of."""
    split = split_name(name)
    return split[0] if split else name


def bundles_in(folder: Path) -> list[Path]:
    """Bundles and first parts in ``folder``, encrypted or not, sorted; those with a hidden name are none."""
    named = (entry for ending in _ENDINGS for entry in folder.glob(f"*.bundle.tar.zst{ending}"))
    return sorted(entry for entry in named if not entry.name.startswith("."))


def open_bundle(path: Path, ask: Ask | None = None) -> BinaryIO:
    """The bundle at ``path``, which may be its first part, for reading from its beginning.

    Raises ``OSError``, ``media-not-a-file`` (3), ``part-not-first`` (3).
    """
    split = split_name(path.name)
    if split is None:
        return open_regular(path)
    if split[1] != 1:
        raise SealiftError(
            "part-not-first",
            f"{path.name} is not the first part of its bundle",
            hint=f"name {part_name(split[0], 1)}, or the folder it lies in",
        )
    return io.BufferedReader(PartedFile(path, ask))


def check_part(path: Path) -> None:
    """Read one part alone and compare it with ``parts.json`` beside it. Says nothing about who made it.

    Raises ``part-missing``, ``part-damaged``, ``media-unreadable`` (4), ``part-unknown`` (3) without a note about it.
    """
    split, note = split_name(path.name), PartsNote.beside(path)
    if split is None or note is None or not 1 <= split[1] <= len(note.parts):
        raise SealiftError(
            "part-unknown",
            f"{path.parent} has no {PARTS_FILE} that tells about {path.name}",
            hint=f"copy {PARTS_FILE} beside the part, or compare SHA256SUMS",
        )
    digest, size = hashlib.sha256(), 0
    try:
        with open_regular(path) as file:
            while chunk := file.read(_PIECE):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        raise _missing(path.name, note, split[1]) from None
    except OSError as error:
        raise SealiftError("media-unreadable", f"reading {path} failed: {error.strerror}", hint=_COPY) from error
    start, end = note.span(split[1])
    if size != end - start or f"sha256:{digest.hexdigest()}" != note.parts[split[1] - 1]:
        raise SealiftError(
            "part-damaged",
            f"{path.name} is damaged: bytes {start} to {end - 1} of {note.bundle}",
            hint=f"{_COPY}; from a second copy of the media: bundle repair",
        )


_COPY: Final = "copy that part again from its source"


class PartedFile(io.RawIOBase):
    """All parts as one file that can be read and sought in; one part is open at a time.

    Raises ``part-missing``, ``part-size`` (4) when a part is needed that is not there or has another size.
    """

    def __init__(self, first: Path, ask: Ask | None = None) -> None:
        """Open the first part. Raises ``OSError``, ``media-not-a-file`` (3)."""
        super().__init__()
        split = split_name(first.name)
        assert split is not None  # noqa: S101 - open_bundle looked
        self._bundle, self._first, self._ask = split[0], first, ask
        self._note = PartsNote.beside(first)
        self._number, self._file = 1, open_regular(first)
        self._part_size = os.fstat(self._file.fileno()).st_size
        self._size: int | None = None
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, over all parts."""
        return True

    def tell(self) -> int:
        """The position in the whole bundle."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position in the whole bundle; from its end, it is as long as its parts, or as the note says."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: 0}[whence]
        if whence == os.SEEK_END:
            base = self._whole_size()
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from one part; 0 at the end of the last."""
        view = memoryview(buffer).cast("B")
        if not self._part_size:
            return 0
        number, offset = divmod(self._position, self._part_size)
        if not self._turn_to(number + 1):
            return 0
        self._file.seek(offset)
        count = self._file.readinto(view[: self._part_size - offset])  # type: ignore[attr-defined]
        self._position += count
        return int(count)

    def close(self) -> None:
        """Close the part that is open."""
        if not self.closed:
            self._file.close()
        super().close()

    def _turn_to(self, number: int) -> bool:
        """Open part ``number``; False when the one before was the last."""
        if number == self._number:
            return True
        if number > self._number and self._is_last(self._number):
            return False
        path = self._find(number)
        if path is None:
            if self._note is None and number > 1:
                return False  # nobody says that there is one: the reader will find the end too early
            raise _missing(part_name(self._bundle, number), self._note, number)
        self._file.close()
        self._file, self._number = open_regular(path), number
        self._check_size(path, number)
        return True

    def _is_last(self, number: int) -> bool:
        if self._note is not None:
            return number >= len(self._note.parts)
        return os.fstat(self._file.fileno()).st_size < self._part_size

    def _check_size(self, path: Path, number: int) -> None:
        size = os.fstat(self._file.fileno()).st_size
        wanted = self._part_size
        if self._note is not None and number <= len(self._note.parts):
            start, end = self._note.span(number)
            wanted = end - start
        elif size <= wanted:
            return  # the last one may be shorter
        if size != wanted:
            start = (number - 1) * self._part_size
            raise SealiftError(
                "part-size",
                f"{path.name} has {size} bytes instead of {wanted}: bytes {start} to {start + wanted - 1} of "
                f"{self._bundle}",
                hint=_COPY,
            )

    def _find(self, number: int) -> Path | None:
        """Part ``number``: beside the first one, in a folder beside that folder, or after a person was asked."""
        name = part_name(self._bundle, number)
        while True:
            folder = self._first.parent.absolute()
            beside = sorted(entry for entry in folder.parent.glob("*/") if entry != folder)
            for place in (folder, *beside):
                with suppress(OSError):  # a folder of somebody else, who lets nobody in
                    if (place / name).is_file():
                        return place / name
            known = self._note is not None and number <= len(self._note.parts)
            if not known or self._ask is None:
                return None
            self._file.close()  # so that the disc can be taken out
            if not self._ask(name):
                return None

    def _whole_size(self) -> int:
        if self._note is not None:
            return self._note.size
        if self._size is None:
            self._size = self._part_size
            for number in range(2, MAX_PARTS + 1):
                path = self._find(number)
                if path is None:
                    break
                self._size += path.stat().st_size
        return self._size


def _missing(name: str, note: PartsNote | None, number: int) -> SealiftError:
    where = "" if note is None else ": bytes {} to {} of {}".format(*_inclusive(note.span(number)), note.bundle)
    count = "" if note is None else f" ({number} of {len(note.parts)})"
    return SealiftError(
        "part-missing",
        f"the part {name}{count} is not there{where}",
        hint="copy all parts into one folder, mount all discs side by side, or run this on a terminal, disc after disc",
    )


def _inclusive(span: tuple[int, int]) -> tuple[int, int]:
    return span[0], span[1] - 1


def open_regular(path: Path) -> BinaryIO:
    """``path`` for reading. Never waits: a pipe on the media would block an ordinary open for ever.

    Raises ``OSError``, ``media-not-a-file`` (3).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SealiftError("media-not-a-file", f"{path} is not a plain file", hint="name the bundle itself")
    return os.fdopen(descriptor, "rb")
