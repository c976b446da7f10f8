"""``bundle pack``: another packing of a signed release, without any key: the same ``release.json``, the same content.

Signatures that lie beside the bundle are folded in. What is copied is compared with the list in ``release.json``; who
signed that list is not this verb's business, but that of whoever installs it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bundler import kit as media
from bundler.durable import write_new
from bundler.press import Hashed
from bundler.write import Progress, carry
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter, BundleReader, locate_bundle
from installer.bundle.beside import PROGRAM_SIGNATURE, read_countersignatures
from installer.bundle.digest import Digest
from installer.bundle.frames import Buffer
from installer.bundle.lanes import Lanes
from installer.bundle.packing import Packing
from installer.bundle.parts import MAX_PARTS, PARTS_FILE, PartsNote, part_name
from installer.bundle.release import File, Release
from installer.bundle.roots import root_member
from installer.bundle.signature import MAX_SIGNATURES, parse_signature
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.talk import Table, Talk, size

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


@dataclass(frozen=True)
class Packed:
    """A media folder that was made from another. ``parts`` is 1 for one file; ``size`` is that of all parts."""

    kit: Path
    first: Path
    release: Release
    digest: Digest
    size: int
    parts: int
    signatures: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """As ``build`` tells it, with the number of parts."""
        return {
            "bundle": str(self.first),
            "kit": str(self.kit),
            "digest": str(self.digest),
            "size": self.size,
            "parts": self.parts,
            "product": self.release.product,
            "version": self.release.version,
            "signatures": list(self.signatures),
        }

    def table(self) -> Table:
        """For people."""
        what = f"{self.first.name}  {size(self.size)}" + (f" in {self.parts} parts" if self.parts > 1 else "")
        rows = [
            ("media folder", str(self.kit)),
            ("bundle", what),
            ("release", f"{self.release.product} {self.release.version}, {self.release.platform}"),
            ("digest", str(self.digest)),
            *(("signature", name) for name in self.signatures),
            ("not checked", "who signed: bundle verify"),
        ]
        return Table(("", ""), tuple(rows))


def pack(file: Path, output: Path, part_size: int | None, talk: Talk) -> Packed:
    """Make the media folder of ``file`` again below ``output``, in parts of ``part_size`` bytes or as one file.

    Raises ``output-exists`` (2) over another release or over ``file`` itself, ``bad-option`` (2) for more than 999
    parts, and what reading the bundle raises; nothing is left under a final name unless all went well.
    """
    bundle = locate_bundle(file)
    with BundleReader(bundle) as reader:
        head = reader.head
        release = Release.parse(head.release)
        name = media.kit_name(release.product, release.version)
        target = output / name
        if target.exists() and target.samefile(bundle.parent):
            raise SealiftError("output-exists", f"{target} is what shall be packed", hint="choose another --output")
        media.refuse_other_release(target, head.release)
        _refuse_too_many(reader.size, part_size)
        signatures = fold(head.signatures, head.release, bundle, talk)
        with media.partial_kit(output, name) as folder:
            (folder / media.LEFTOVER).unlink(missing_ok=True)
            out = Parts(folder, media.bundle_name(release), part_size)
            with out, talk.progress(f"packing {bundle.name}", reader.size) as meter:
                _copy(reader, release, signatures, ArchiveWriter(out), Progress(meter.advance))
            made = _complete(folder, bundle.parent, out, signatures)
            media.publish(folder, target)
    first = target / made[0]
    return Packed(target, first, release, Digest.of(head.release), out.size, len(made), tuple(sorted(signatures)))


def fold(inside: Mapping[str, bytes], raw: bytes, bundle: Path, talk: Talk) -> dict[str, bytes]:
    """The signatures inside and those beside ``bundle`` that are over ``raw``, by member name; 32 at most."""
    taken = dict(inside)
    found = read_countersignatures(bundle)
    for item in found.passed_over:
        talk.warn(item.line())
    for name, data in found.files.items():
        if data in taken.values():
            continue
        try:
            sound = parse_signature(data, name).digest == Digest.of(raw)
        except SealiftError as error:
            talk.warn(f"{name} is left out ({error.id}): {error.message}")
            continue
        if not sound or len(taken) == MAX_SIGNATURES:
            talk.warn(f"{name} is left out: " + ("it is over something else" if not sound else "there are too many"))
            continue
        taken[name if name not in taken else f"signatures/{Digest.of(data).hex[:16]}.sigstore.json"] = data
    return taken


class Parts:
    """Takes the bytes of a bundle and cuts them into files of ``part_size``; None: one file. A context manager.

    Every byte is hashed as it passes, for its part and for the whole.
    """

    def __init__(self, folder: Path, name: str, part_size: int | None) -> None:
        self._folder, self._name, self._part_size = folder, name, part_size
        self._whole = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._hashed: Hashed | None = None
        self._left = 0
        self.size = 0
        self.hashes: dict[str, str] = {}
        """Hex sha256 by file name, in order."""

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_part()
        sync_folder(self._folder)

    def write(self, data: Buffer, /) -> int:
        """All of ``data``, over as many parts as it takes."""
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

    def note(self) -> PartsNote | None:
        """What ``parts.json`` says; None for one file."""
        if self._part_size is None:
            return None
        hashes = tuple(f"sha256:{value}" for value in self.hashes.values())
        return PartsNote(bundle=self._name, size=self.size, part_size=self._part_size, parts=hashes)

    def _begin_part(self) -> None:
        self._end_part()
        number = len(self.hashes) + 1
        self._current = self._name if self._part_size is None else part_name(self._name, number)
        self._left = self._part_size or 2**62
        self._file = (self._folder / self._current).open("xb")
        self._hashed = Hashed(self._file)

    def _end_part(self) -> None:
        if self._file is not None and self._hashed is not None:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self.hashes[self._current] = self._hashed.sha256
        self._file = self._hashed = None


def _refuse_too_many(length: int, part_size: int | None) -> None:
    if part_size is not None and length > part_size * (MAX_PARTS - 1):
        raise SealiftError(
            "bad-option",
            f"{size(length)} in parts of {size(part_size)} would be more than {MAX_PARTS} parts",
            hint=f"parts of {size(-(-length // (MAX_PARTS - 1)))} at least",
        )


def _copy(
    reader: BundleReader, release: Release, signatures: Mapping[str, bytes], archive: ArchiveWriter, done: Progress
) -> None:
    """All members, each compared with the list; frames go over as they are."""
    head = {RELEASE_MEMBER: reader.head.release, **dict(sorted(signatures.items()))}
    head |= dict(sorted((root_member(number), raw) for number, raw in reader.head.roots.items()))
    head[PACKING_MEMBER] = Packing().to_bytes()
    for name, data in head.items():
        archive.member(name, len(data), [data])
    with Lanes() as lanes:
        for name, member in release.members():
            header = reader.next_header()
            mode = int(member.mode, 8) if isinstance(member, File) else 0o644
            if header is None or (header.name, header.size, header.mode) != (name, member.size, mode):
                raise SealiftError(
                    "member-missing",
                    f"{reader.path.name} does not hold {name} where its list says",
                    hint="pack from another copy; bundle verify says what is wrong with this one",
                )
            carry(archive, name, member, reader.frames(member.size), lanes, done)
        if reader.next_header() is None:
            reader.finish()
    archive.close()


def _complete(folder: Path, source: Path, out: Parts, signatures: Mapping[str, bytes]) -> tuple[str, ...]:
    """Add what stands beside the bundle; the names of its parts."""
    made = tuple(out.hashes)
    note = out.note()
    if note is not None:
        write_new(folder / PARTS_FILE, note.to_bytes())
    (folder / "signatures").mkdir()
    for name, data in signatures.items():
        write_new(folder / name, data)
    for path in _beside(source):
        if path.name == media.README and note is not None:
            text = path.read_text(encoding="utf-8", errors="replace")
            write_new(folder / path.name, media.readme_of_parts(text, note.bundle, len(made)).encode())
        else:
            shutil.copyfile(path, folder / path.name)
    if (folder / media.PROGRAM).exists():
        (folder / media.PROGRAM).chmod(0o755)
    write_new(folder / media.SUMS, media.sums(folder, out.hashes).encode())
    sync_folder(folder)
    return made


def _beside(source: Path) -> Iterable[Path]:
    """The files of a media folder that go with the bundle."""
    for path in sorted(source.iterdir()):
        if path.is_file() and (path.name in (media.PROGRAM, media.README) or PROGRAM_SIGNATURE.fullmatch(path.name)):
            yield path
