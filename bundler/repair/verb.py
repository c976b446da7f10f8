"""``bundle repair``: heals a bundle from a second copy. The healed file is written whole, checked, and then named."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.check import damage, read_archive
from bundler.durable import PARTIAL
from bundler.media.clear import refuse_encrypted_copy
from bundler.repair.beside import Beside
from bundler.repair.copies import Copy, find_copy
from bundler.repair.head import Plan
from bundler.repair.healing import heal_bundle
from bundler.repair.members import Loss
from bundler.writing.parts import Parts
from installer.bundle.digest import Digest
from installer.bundle.parts import PartsNote, part_name
from installer.bundle.release import Release
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.talk import Table, Talk, size

CHECKED: Final = ("release.json", "files", "images", "archive")
NOT_CHECKED: Final = ("who signed: bundle verify",)


@dataclass(frozen=True)
class Repaired:
    """A bundle that is whole again. ``healed`` bytes came from the other copy or from the list; 0: it was whole.

    ``unreadable``: bytes ``from`` to ``to`` of a ``file`` that its drive did not give.
    """

    bundle: Path
    release: Release
    digest: Digest
    size: int
    parts: int
    healed: int
    beside: tuple[str, ...]
    not_healed: tuple[str, ...]
    unreadable: tuple[dict[str, object], ...] = ()

    def as_json(self) -> dict[str, object]:
        """The object of ``--json``."""
        return {
            "bundle": str(self.bundle),
            "digest": str(self.digest),
            "size": self.size,
            "parts": self.parts,
            "product": self.release.product,
            "version": self.release.version,
            "healed": self.healed,
            "beside": list(self.beside),
            "not_healed": list(self.not_healed),
            "unreadable": list(self.unreadable),
            "checked": list(CHECKED),
            "not_checked": list(NOT_CHECKED),
        }

    def table(self) -> Table:
        """For people."""
        what = f"{size(self.healed)} healed" if self.healed else "was whole"
        rows = [
            ("bundle", f"{self.bundle}  {size(self.size)}, {what}"),
            ("release", f"{self.release.product} {self.release.version}, {self.release.platform}"),
            ("digest", str(self.digest)),
            *(("healed beside it", name) for name in self.beside),
            *(("not healed", name) for name in self.not_healed),
            ("checked", ", ".join(CHECKED)),
            ("not checked", ", ".join(NOT_CHECKED)),
        ]
        return Table(("", ""), tuple(rows))


def repair(file: Path, other: Path, output: Path | None, talk: Talk) -> Repaired:
    """Heal ``file`` from ``other``, in its place or into the folder ``output``; either may be damaged, and in parts.

    Needs no key and says nothing about who signed. Raises ``beyond-repair`` (4) with the bytes that neither copy has,
    ``copies-differ`` (2), ``output-exists`` (2), ``locked`` (8), ``media-changed`` (4); then nothing has changed.
    """
    for copy in (file, other):
        refuse_encrypted_copy(copy)
    ours, theirs = find_copy(file)[0], find_copy(other)[0]
    with Copy(file, not_in=theirs) as first, Copy(other, not_in=ours) as second:
        beside = Beside(ours, theirs)
        with talk.progress(f"comparing {first.name}", max(first.size, second.size)) as meter:
            plan = heal_bundle((first, second), beside.signatures, meter.advance)
        unreadable = tuple(_unreadable(talk, first, second))
        if plan.lost or plan.release is None or plan.digest is None:
            raise _beyond(plan.lost, first, talk)
        target = output or ours
        if whole := _is_whole(plan, first):
            plan.pieces[:] = [(0, 0, plan.size)]
        if whole and output is None:
            changes = beside.changes(plan.release, target, *_told(first))
            if changes.names:
                with _workshop(target, first.name) as folder:
                    changes.make(folder, target)
        else:
            _refuse_existing(output, first)
            with _workshop(target, first.name) as folder:
                hashes, note = _write(plan, (first, second), folder, talk)
                for name in hashes:  # each takes the place of a damaged one, so any number of them is right
                    (folder / name).rename(target / name)
                sync_folder(target)
                changes = beside.changes(plan.release, target, hashes, note)
                changes.make(folder, target)
        names = _names(first, plan.size)
        count = _other_bytes(plan, first)
    return Repaired(
        target / names[0],
        plan.release,
        plan.digest,
        plan.size,
        len(names),
        count,
        changes.names,
        changes.left,
        unreadable,
    )


def _unreadable(talk: Talk, *copies: Copy) -> Iterator[dict[str, object]]:
    """Tell of every stretch that a drive did not give: it heals from the other copy, but that medium is dying."""
    for copy in copies:
        for path, (first, last) in copy.unreadable():
            talk.warn(f"{path}: bytes {first} to {last - 1} cannot be read")
            yield {"file": str(path), "from": first, "to": last - 1}


def _told(copy: Copy) -> tuple[dict[str, str], PartsNote | None]:
    """The hashes of a whole copy's files, and what ``parts.json`` must say."""
    hashes: dict[str, str] = {}
    for name in _names(copy, copy.size):
        with (copy.folder / name if copy.part_size is None else copy.parts[len(hashes) + 1]).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    if copy.part_size is None:
        return hashes, None
    told = tuple(f"sha256:{value}" for value in hashes.values())
    return hashes, PartsNote(bundle=copy.name, size=copy.size, part_size=copy.part_size, parts=told)


def _names(copy: Copy, whole: int) -> tuple[str, ...]:
    """What the files of a bundle of ``whole`` bytes are called, in the parts that the copy has."""
    if copy.part_size is None:
        return (copy.name,)
    return tuple(part_name(copy.name, number) for number in range(1, -(-whole // copy.part_size) + 1))


def _is_whole(plan: Plan, copy: Copy) -> bool:
    """Whether the copy is the healed bundle already."""
    if copy.size != plan.size or copy.missing(0, copy.size) or copy.is_oversized:
        return False
    place = 0
    for piece in plan.pieces:
        length = len(piece) if isinstance(piece, bytes) else piece[2]
        same = copy.read(place, length) == piece if isinstance(piece, bytes) else piece[:2] == (0, place)
        if not same:
            return False
        place += length
    return True


def _other_bytes(plan: Plan, copy: Copy) -> int:
    """How many of the healed bundle's bytes do not come out of ``copy``, which is the first one."""
    count = place = 0
    for piece in plan.pieces:
        length = len(piece) if isinstance(piece, bytes) else piece[2]
        known = copy.read(place, length) == piece if isinstance(piece, bytes) else piece[0] == 0
        count += 0 if known else length
        place += length
    return count


def _write(plan: Plan, copies: tuple[Copy, Copy], folder: Path, talk: Talk) -> tuple[dict[str, str], PartsNote | None]:
    """Write the healed bundle below ``folder`` and read it again, every byte. Hashes of its files; ``parts.json``."""
    first = copies[0]
    with Parts(folder, first.name, first.part_size) as out:
        with talk.progress(f"writing {first.name}", plan.size) as meter:
            for chunk in plan.chunks(copies):
                out.write(chunk)
                meter.advance(len(chunk))
        out.finish()
    written = folder / out.names[0]
    found = read_archive(written)
    wrong = damage(found.members, plan.members())
    if wrong or Digest.of(found.release) != plan.digest:
        raise SealiftError(
            "media-changed",
            f"what was written is not what was read: {', '.join(wrong[:1]) or 'another release'}",
            hint="let nobody write to the copies, check the disk that it is written to, and run it again",
        )
    return out.hashes, out.note()


def _refuse_existing(output: Path | None, copy: Copy) -> None:
    if output is None or not output.exists():
        return
    names = [name for name in (copy.name, part_name(copy.name, 1)) if (output / name).exists()]
    if names or output.samefile(copy.folder):
        raise SealiftError(
            "output-exists", f"{output} holds {(*names, copy.name)[0]} already", hint="choose another --output"
        )


@contextmanager
def _workshop(target: Path, name: str) -> Iterator[Path]:
    """A folder beside the final files to write in; gone at the end. Raises ``locked`` (8)."""
    folder = target / f"{name}.repair{PARTIAL}"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SealiftError("locked", f"another repair works in {folder}", hint="let it end first") from error
        for path in folder.iterdir():
            path.unlink()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def _beyond(lost: list[Loss], copy: Copy, talk: Talk) -> SealiftError:
    """What neither copy has, byte by byte as far as that can be told; all of it as the verb's result."""
    told: list[dict[str, object]] = []
    for loss in lost:
        for first, last in loss.ranges:
            parts = dict.fromkeys(part for at in (first, last - 1) if (part := copy.part_at(at)) is not None)
            told.append(
                {"from": first, "to": last - 1, "parts": list(parts), "member": loss.member, "exact": loss.exact}
            )
    lines = [_line(one) for one in told]
    talk.result(Table(("neither copy has",), tuple((line,) for line in lines)), {"lost": told})
    return SealiftError(
        "beyond-repair",
        f"neither copy of {copy.name} has {lines[0]}" + (f", and {len(lines) - 1} more ranges" if lines[1:] else ""),
        hint="get a third copy, or these bytes again from the source; nothing has been changed",
    )


def _line(lost: dict[str, object]) -> str:
    parts = lost["parts"] if isinstance(lost["parts"], list) else []
    where = f" ({' to '.join(parts)})" if parts else ""
    return f"{'' if lost['exact'] else 'some of '}bytes {lost['from']} to {lost['to']}{where}, in {lost['member']}"
