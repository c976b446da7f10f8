"""``bundle build --check``: builds a release again from its sources and names what differs from a given bundle."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from bundler.build import Request, assembled, draft
from bundler.difference import differences
from bundler.writing.write import write_bundle
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.packing import Patch
from installer.bundle.parts import open_bundle, split_name
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.roots import root_member
from installer.errors import SealiftError
from installer.talk import Talk

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Check:
    """What came of building ``bundle`` again. ``digest`` names the given release; no differences: the same bytes."""

    bundle: Path
    digest: Digest
    differences: tuple[str, ...]

    @property
    def reproducible(self) -> bool:
        """Whether the whole file is what these sources give, its signatures left as they are."""
        return not self.differences

    def as_json(self) -> dict[str, object]:
        """The object of ``--json``."""
        return {
            "reproducible": self.reproducible,
            "differences": list(self.differences),
            "bundle": str(self.bundle),
            "digest": str(self.digest),
        }

    def refusal(self) -> SealiftError:
        """What to raise where there are differences."""
        count = len(self.differences)
        return SealiftError(
            "build-differs",
            f"these sources do not give {self.bundle.name}: {count} difference{'s' if count > 1 else ''}",
            hint="check out what it was built from, and pass --installer FILE with the program beside the bundle",
        )


@dataclass(frozen=True)
class Member:
    """A member of the archive: the digests of its content, and of the frames that carry it."""

    mode: int
    content: str
    packed: str


@dataclass(frozen=True)
class Archive:
    """All of a bundle but its signatures. ``head`` is the digest of the frames before the content."""

    release: bytes
    packing: bytes
    head: str
    members: Mapping[str, Member]


def check(request: Request, path: Path, talk: Talk, environment: Mapping[str, str] = os.environ) -> Check:
    """Build what ``request`` asks for in a scratch folder and compare it with the bundle (or media folder) at ``path``.

    No key is needed: the given signatures, which are not judged here, are packed again as they are. Time and platform
    are the given bundle's, unless ``SOURCE_DATE_EPOCH`` and ``request`` name others. Raises what reading a bundle,
    :func:`bundler.build.draft` and collecting raise; that something differs is the result, not an error.
    """
    bundle = locate_bundle(path)
    with BundleReader(bundle) as reader:
        head = reader.head
    given = Release.parse(head.release)
    the_draft = draft(replace(request, platform=request.platform or given.platform), at_time_of(given, environment))
    with tempfile.TemporaryDirectory(prefix="sealift-check-") as scratch:
        name, _ = split_name(bundle.name) or (bundle.name, 0)
        made = Path(scratch) / name
        with assembled(request, the_draft, Path(scratch), talk) as assembly:
            with talk.progress("building it again", assembly.size) as meter:
                roots = {root_member(version): raw for version, raw in head.roots.items()}
                write_bundle(made, assembly, head.signatures | roots, meter.advance)
            found = [] if _same(made, bundle) else compare(made, bundle)
    return Check(bundle, Digest.of(head.release), tuple(found))


def _same(made: Path, given: Path) -> bool:
    """Whether two bundles are the same bytes, whether in one file or in parts."""
    with open_bundle(made) as ours, open_bundle(given) as theirs:
        while chunk := ours.read(_CHUNK):
            if theirs.read(len(chunk)) != chunk:
                return False
        return not theirs.read(1)


def at_time_of(given: Release, environment: Mapping[str, str]) -> dict[str, str]:
    """``environment``, with the time that ``given`` says it was made at where no other is asked for."""
    seconds = int(datetime.strptime(given.created, "%Y-%m-%dT%H:%M:%S%z").timestamp())
    return {"SOURCE_DATE_EPOCH": str(max(seconds, 0))} | {name: value for name, value in environment.items() if value}


def compare(made: Path, given: Path) -> list[str]:
    """What differs between two files that are not the same bytes; never empty."""
    ours, theirs = read_archive(made), read_archive(given)
    release = Release.parse(theirs.release)
    found = differences(Release.parse(ours.release), release)
    if ours.packing != theirs.packing:
        found.append("packing.json: other bytes")
    found += damage(theirs.members, dict(release.members()))
    if not found:
        found += _packed(ours, theirs)
    return found or ["the archive as a whole: other bytes around the same members"]


def read_archive(path: Path) -> Archive:
    """Read a whole bundle. Raises what breaks the format (3), ``truncated``, ``frame-corrupt`` (4)."""
    members: dict[str, Member] = {}
    with BundleReader(path) as reader, open_bundle(path) as file:
        head, start = _digest(file, reader.position), reader.position
        while (header := reader.next_header()) is not None:
            hasher = hashlib.sha256()
            for chunk in reader.data(header.size):
                hasher.update(chunk)
            packed, start = _digest(file, reader.position - start), reader.position
            members[header.name] = Member(header.mode, f"sha256:{hasher.hexdigest()}", packed)
        reader.finish()
    return Archive(reader.head.release, reader.head.packing, head, members)


def damage(members: Mapping[str, Member], listed: Mapping[str, File | Descriptor | Patch]) -> list[str]:
    """Where the content of the given bundle is not what its own ``release.json`` lists."""
    found = [f"{name}: stands in the bundle, but not in its release.json" for name in members if name not in listed]
    for name, entry in listed.items():
        member = members.get(name)
        mode = int(entry.mode, 8) if isinstance(entry, File) else 0o644
        if member is None:
            found.append(f"{name}: stands in the bundle's release.json, but not in the bundle")
        elif (member.content, member.mode) != (entry.digest, mode):
            found.append(f"{name}: the bundle holds something else than its release.json lists: it is damaged")
    return found


def _packed(ours: Archive, theirs: Archive) -> list[str]:
    """Same content in other frames: another compressor."""
    names = [name for name, member in ours.members.items() if member.packed != theirs.members[name].packed]
    if ours.head != theirs.head:
        names.insert(0, "release.json and signatures")
    why = f"the same content, compressed to other bytes (here zstandard {zstandard.__version__})"
    return [f"{name}: {why}" for name in names]


def _digest(file: BinaryIO, count: int) -> str:
    """The digest of the next ``count`` bytes."""
    hasher = hashlib.sha256()
    while count:
        chunk = file.read(min(count, _CHUNK))
        if not chunk:
            raise SealiftError("media-changed", "the bundle shrank while it was read", hint="check it again")
        hasher.update(chunk)
        count -= len(chunk)
    return hasher.hexdigest()
