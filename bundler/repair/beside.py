"""What stands beside a damaged bundle in its media folder: the program, its signatures, the readme, the checksums."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bundler.durable import write_new
from bundler.media import kit as media
from bundler.repair.head import Signatures
from installer.bundle.beside import FOLDER, PROGRAM_PATH, PROGRAM_SIGNATURE
from installer.bundle.digest import Digest
from installer.bundle.parts import PARTS_FILE, PartsNote
from installer.bundle.release import Release
from installer.bundle.signature import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, SIGNATURE_NAME
from installer.durable import sync_folder

_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]{1,255})")
_MOST_SUMS: Final = 256 * 1024
_MOST_SMALL: Final = 4 * 1024 * 1024
"""Bytes of a readme; the program is checked against the signed list instead."""


class Beside:
    """The folders of both copies. Checksums in them are hints: what they say of the bundle counts for nothing."""

    def __init__(self, ours: Path, theirs: Path) -> None:
        self._folders = (ours, theirs)
        self._sums = {**_sums(theirs), **_sums(ours)}
        self.signatures: tuple[Signatures, Signatures] = (_signatures(ours), _signatures(theirs))

    def changes(self, release: Release, target: Path, hashes: Mapping[str, str], note: PartsNote | None) -> Changes:
        """What must become of the files at ``target``, where the bundle is whole now; ``hashes`` are of its files."""
        wanted = {name: value for name, value in self._sums.items() if _goes_along(name)}
        if self._sums or any((one / media.PROGRAM).exists() for one in self._folders):
            program = (file.digest for file in release.files if file.path == PROGRAM_PATH)
            wanted |= dict.fromkeys((media.PROGRAM,), next(program, "").removeprefix("sha256:"))
        made = Changes({}, {}, ())
        if note is not None and _read(target / PARTS_FILE) != note.to_bytes():
            made.texts[PARTS_FILE] = note.to_bytes()
        left = []
        for name, value in sorted(wanted.items()):
            source = next((one / name for one in self._folders if _hash(one / name) == value), None)
            if _hash(target / name) != value and source is not None:
                made.copies[name] = source
            elif _hash(target / name) != value:
                left.append(name)
        if self._sums:
            known = {**wanted, **hashes} | ({} if note is None else {PARTS_FILE: Digest.of(note.to_bytes()).hex})
            lines = "".join(f"{value}  {name}\n" for name, value in sorted(known.items()))
            if _read(target / media.SUMS) != lines.encode():
                made.texts[media.SUMS] = lines.encode()
        return replace(made, left=tuple(left))


@dataclass(frozen=True)
class Changes:
    """Files to write, files to copy from elsewhere, by name; and what is ``left`` damaged."""

    texts: dict[str, bytes]
    copies: dict[str, Path]
    left: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files that change."""
        return tuple(sorted({*self.texts, *self.copies}))

    def make(self, folder: Path, target: Path) -> None:
        """Write them below ``folder``, then give them their names at ``target``, the checksums last."""
        for name, source in self.copies.items():
            shutil.copyfile(source, folder / name)
            (folder / name).chmod(0o755 if name == media.PROGRAM else 0o644)
            with (folder / name).open("rb") as file:
                os.fsync(file.fileno())
        for name, text in self.texts.items():
            write_new(folder / name, text)
        for name in sorted(self.names, key=lambda name: name == media.SUMS):
            (folder / name).rename(target / name)
        sync_folder(target)


def _goes_along(name: str) -> bool:
    return name in (media.PROGRAM, media.README) or PROGRAM_SIGNATURE.fullmatch(name) is not None


def _sums(folder: Path) -> dict[str, str]:
    """What ``SHA256SUMS`` says, by file name; nothing where it cannot be read."""
    try:
        with (folder / media.SUMS).open("rb") as file:
            text = file.read(_MOST_SUMS).decode("ascii", errors="replace")
    except OSError:
        return {}
    return {found[2]: found[1] for line in text.splitlines() if (found := _LINE.fullmatch(line))}


def _signatures(folder: Path) -> dict[str, list[bytes]]:
    """The files of ``signatures/``, as many as a bundle may hold twice, by the name of the member."""
    return dict(_read_signatures(folder))


def _read_signatures(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    try:
        paths = sorted((folder / FOLDER).iterdir())[: 2 * MAX_SIGNATURES]
    except OSError:
        return
    for path in paths:
        name = f"{FOLDER}/{path.name}"
        with suppress(OSError):  # of a file that cannot be read there is no copy
            if SIGNATURE_NAME.fullmatch(name) and path.is_file() and path.stat().st_size <= MAX_SIGNATURE_BYTES:
                yield name, [path.read_bytes()]


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_SUMS + 1)
    except OSError:
        return None


def _hash(path: Path) -> str | None:
    """Hex sha256 of a plain file; None for anything else, and for one that cannot be read."""
    try:
        if not path.is_file() or path.is_symlink() or (path.name == media.README and path.stat().st_size > _MOST_SMALL):
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
