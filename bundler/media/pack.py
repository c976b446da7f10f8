"""``bundle pack``: another packing of a signed release, without any key: the same ``release.json``, the same content.

In parts, joined again, or as a delta for sites that hold something already. Signatures that lie beside the bundle are
folded in. What is copied is compared with the list in ``release.json``; who
signed that list is not this verb's business, but that of whoever installs it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.delta.delta import Made, make_delta
from bundler.delta.holdings import Holdings
from bundler.durable import write_new
from bundler.media import kit as media
from bundler.media.encrypt import IN_THE_CLEAR, Cover, sealed_size
from bundler.writing.copying import Source, copy
from bundler.writing.parts import Parts, refuse_too_many
from bundler.writing.write import Progress
from installer.bundle.archive import ArchiveWriter, BundleReader, locate_bundle
from installer.bundle.beside import PROGRAM_PATH, PROGRAM_SIGNATURE, read_countersignatures
from installer.bundle.digest import Digest
from installer.bundle.packing import Delta, Packing, read_packing
from installer.bundle.parts import PARTS_FILE
from installer.bundle.release import Release
from installer.bundle.signature import MAX_SIGNATURES, parse_signature
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.talk import Table, Talk, size

_SCRATCH: Final = "patches"


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
    delta: Delta | None = None
    recipients: tuple[str, ...] = ()

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
            "since": list(self.delta.since) if self.delta else [],
            "encrypted_to": list(self.recipients),
        }

    def table(self) -> Table:
        """For people."""
        what = f"{self.first.name}  {size(self.size)}" + (f" in {self.parts} parts" if self.parts > 1 else "")
        rows = [
            ("media folder", str(self.kit)),
            ("bundle", what),
            ("release", f"{self.release.product} {self.release.version}, {self.release.platform}"),
            ("digest", str(self.digest)),
            *(("only for sites with", label) for label in (self.delta.since if self.delta else ())),
            *(("signature", name) for name in self.signatures),
            *(("encrypted to", recipient) for recipient in self.recipients),
            ("not checked", "who signed: bundle verify"),
        ]
        return Table(("", ""), tuple(rows))


def pack(
    file: Path,
    output: Path,
    part_size: int | None,
    talk: Talk,
    since: Sequence[Holdings] = (),
    cover: Cover = IN_THE_CLEAR,
) -> Packed:
    """Make the media folder of ``file`` again below ``output``, in parts of ``part_size`` bytes or as one file.

    With ``since``, a delta for sites that hold what one of them says; ``cover`` opens an encrypted ``file``, and says
    whom to encrypt to. Raises ``output-exists`` (2) over another release or over ``file`` itself, ``bad-option`` (2)
    for more than 999 parts or where nothing is in common, ``incomplete`` (4) for a delta out of a delta, and what
    reading the bundle raises; nothing is left under a final name unless all went well.
    """
    bundle = locate_bundle(file)
    with BundleReader(bundle, unlock=cover.unlock) as reader:
        head = reader.head
        release = Release.parse(head.release)
        packing = read_packing(head.packing, release)
        target = output / _kit_name(release, cover)
        if target.exists() and target.samefile(bundle.parent):
            raise SealiftError("output-exists", f"{target} is what shall be packed", hint="choose another --output")
        media.refuse_existing(target) if cover.recipients else media.refuse_other_release(target, head.release)
        _refuse_since(reader, packing, release, since)
        whole = sealed_size(reader.size) if cover.recipients else reader.size
        refuse_too_many(0 if since else whole, part_size)
        signatures = fold(head.signatures, head.release, bundle, talk)
        with media.partial_kit(output, target.name) as folder:
            media.remove_leftover(folder)
            made = _delta(bundle, release, since, folder, talk) if since else None
            source = Source(reader, release, packing, made)
            out = Parts(folder, _file_name(source, cover), part_size)
            with out, talk.progress(f"packing {bundle.name}", reader.size) as meter:
                with cover.over(out) as sink:
                    copy(source, signatures, ArchiveWriter(sink), Progress(meter.advance))
                out.finish()
            shutil.rmtree(folder / _SCRATCH, ignore_errors=True)
            _complete(folder, source, out, signatures, cover)
            media.publish(folder, target)
    digest, names = Digest.of(head.release), tuple(sorted(signatures))
    first, parts = target / out.names[0], len(out.names)
    return Packed(target, first, release, digest, out.size, parts, names, source.delta, tuple(cover.recipients))


def _kit_name(release: Release, cover: Cover) -> str:
    if cover.recipients:
        return media.encrypted_kit_name(release.product)
    return media.kit_name(release.product, release.version)


def _file_name(source: Source, cover: Cover) -> str:
    if cover.recipients:
        return media.encrypted_bundle_name(source.release.product)
    return media.bundle_name(source.release, delta=source.delta is not None)


def _refuse_since(reader: BundleReader, packing: Packing | Delta, release: Release, since: Sequence[Holdings]) -> None:
    if since and isinstance(packing, Delta):
        raise SealiftError(
            "incomplete", f"{reader.path.name} is a delta itself, so it does not hold all", hint="pack the whole bundle"
        )
    if since and reader.encrypted:
        raise SealiftError(
            "bad-option",
            f"{reader.path.name} is encrypted, and a delta is made of a bundle in the clear",
            hint="pack it without --since first; what is made of that can be encrypted again",
        )
    for one in since:
        if one.digests.isdisjoint(member.digest for _, member in release.members()):
            raise SealiftError(
                "bad-option",
                f"{one.label} has nothing in common with {release.product} {release.version}",
                hint="--since names what sites of this product hold: an older bundle of it",
            )


def _delta(bundle: Path, release: Release, since: Sequence[Holdings], folder: Path, talk: Talk) -> Made | None:
    scratch = folder / _SCRATCH
    scratch.mkdir()
    made = make_delta(bundle, release, since, scratch, talk)
    if made is None:
        talk.warn("nothing can be left out for these sites: this is the whole release")
    return made


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


def _complete(
    folder: Path, source: Source, out: Parts, signatures: Mapping[str, bytes], cover: Cover = IN_THE_CLEAR
) -> None:
    """Add what stands beside the bundle."""
    note = out.note()
    if note is not None:
        write_new(folder / PARTS_FILE, note.to_bytes())
    if cover.recipients:
        page = media.readme_of_encrypted(source.release.product, out.names, in_parts=note is not None)
        write_new(folder / media.README, page.encode())
    else:
        _add_beside(folder, source, out, signatures)
    write_new(folder / media.SUMS, media.sums(folder, out.hashes).encode())
    sync_folder(folder)


def _add_beside(folder: Path, source: Source, out: Parts, signatures: Mapping[str, bytes]) -> None:
    """What stands beside a bundle in the clear; nothing but signatures where it came out of an encrypted one.

    A delta that leaves the site's program out comes without ``install`` too: the host has it.
    """
    note, delta = out.note(), source.delta
    (folder / "signatures").mkdir()
    for name, data in signatures.items():
        write_new(folder / name, data)
    for path in _beside(source.reader.path.parent) if not source.reader.encrypted else ():
        if path.name == media.README and delta is not None:
            write_new(folder / path.name, media.readme_of_delta(source.release, out.names, delta.since).encode())
        elif delta is not None and PROGRAM_PATH in delta.absent:
            continue
        elif path.name == media.README and note is not None:
            text = path.read_text(encoding="utf-8", errors="replace")
            write_new(folder / path.name, media.readme_of_parts(text, note.bundle, len(note.parts)).encode())
        else:
            shutil.copyfile(path, folder / path.name)
    if (folder / media.PROGRAM).exists():
        (folder / media.PROGRAM).chmod(0o755)


def _beside(source: Path) -> Iterable[Path]:
    """The files of a media folder that go with the bundle."""
    for path in sorted(source.iterdir()):
        if path.is_file() and (path.name in (media.PROGRAM, media.README) or PROGRAM_SIGNATURE.fullmatch(path.name)):
            yield path
