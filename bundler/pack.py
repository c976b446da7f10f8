"""``bundle pack``: another packing of a signed release, without any key: the same ``release.json``, the same content.

Signatures that lie beside the bundle are folded in. What is copied is compared with the list in ``release.json``; who
signed that list is not this verb's business, but that of whoever installs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bundler import kit as media
from bundler.durable import write_new
from bundler.parts import Parts, refuse_too_many
from bundler.write import Progress, carry
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter, BundleReader, locate_bundle
from installer.bundle.beside import PROGRAM_SIGNATURE, read_countersignatures
from installer.bundle.digest import Digest
from installer.bundle.lanes import Lanes
from installer.bundle.packing import Packing
from installer.bundle.parts import PARTS_FILE
from installer.bundle.release import File, Release
from installer.bundle.roots import root_member
from installer.bundle.signature import MAX_SIGNATURES, parse_signature
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.talk import Table, Talk, size


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
        refuse_too_many(reader.size, part_size)
        signatures = fold(head.signatures, head.release, bundle, talk)
        with media.partial_kit(output, name) as folder:
            media.remove_leftover(folder)
            out = Parts(folder, media.bundle_name(release), part_size)
            with out, talk.progress(f"packing {bundle.name}", reader.size) as meter:
                _copy(reader, release, signatures, ArchiveWriter(out), Progress(meter.advance))
                out.finish()
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
    made, note = out.names, out.note()
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
