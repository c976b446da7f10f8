"""``bundle sign``: one more signature beside a bundle that somebody else has built. The bundle is not rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.durable import write_new
from bundler.manifest.changelog import section_for
from bundler.manifest.version import Version
from bundler.media.kit import PROGRAM
from bundler.signing.sign import Signer, trusting
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.beside import (
    FOLDER,
    PROGRAM_PATH,
    PROGRAM_SIGNATURE,
    read_countersignatures,
    read_signature_files,
)
from installer.bundle.digest import Digest
from installer.bundle.release import File, Release
from installer.bundle.signature import MAX_SIGNATURES, parse_signature
from installer.bundle.subject import claim_of
from installer.bundle.trust import Identity, PublicKey
from installer.bundle.trust import Signer as SignedBy
from installer.errors import SealiftError
from installer.talk import Table

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
_CHANGELOG: Final = "CHANGELOG.md"
_MAX_CHANGELOG: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Subject:
    """What somebody is about to sign. ``signatures`` stand inside and beside, unjudged; ``program`` is ``install``."""

    bundle: Path
    release: Release
    raw: bytes
    changes: str
    signatures: Mapping[str, bytes]
    program: bytes | None

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    def lines(self) -> Iterator[str]:
        """For whoever signs: what it is, what it brings, who says to have signed it."""
        release = self.release
        yield f"{release.product} {release.version}, channel {release.channel}, {release.platform}"
        yield f"digest {self.digest}"
        yield from (f"  {line}" for line in self.changes.splitlines())
        for name, claim in self.claims():
            yield f"signed so far (a claim): {claim}, in {name}"

    def claims(self) -> Iterator[tuple[str, str]]:
        """Signature files over this release, and who they say has made them."""
        for name, data in self.signatures.items():
            try:
                found = parse_signature(data, name)
            except SealiftError:
                continue
            if found.digest == self.digest:
                yield name, claim_of(found)


@dataclass(frozen=True)
class Countersigned:
    """Files that were written, none where this signer had signed already: beside release, then beside program."""

    signer: str
    who: PublicKey | Identity
    release: Path | None
    program: Path | None

    @property
    def files(self) -> list[str]:
        return [str(path) for path in (self.release, self.program) if path is not None]

    def as_json(self, subject: Subject) -> dict[str, object]:
        return {
            "signed": bool(self.files),
            "product": subject.release.product,
            "version": subject.release.version,
            "digest": str(subject.digest),
            **{name: text for name, text in SignedBy.of(self.who).as_json().items() if name != "name"},
            "files": self.files,
        }

    def table(self, subject: Subject) -> Table | str:
        if not self.files:
            return f"nothing to do: {self.signer} has signed this already"
        release = f"{subject.release.product} {subject.release.version} {subject.digest}"
        rows = (("release", release), ("signed by", SignedBy.of(self.who).line()))
        return Table(("", ""), (*rows, *(("wrote", path) for path in self.files)))


def read_subject(path: Path) -> Subject:
    """Read what there is to sign at ``path``, a bundle or its media folder.

    Nothing is signed that cannot be read: raises the format errors of the bundle's head and list (3),
    ``digest-mismatch`` (4) for a damaged changelog or another program than the listed one.
    """
    bundle = locate_bundle(path)
    with BundleReader(bundle) as reader:
        raw, inside = reader.head.release, reader.head.signatures
        release = Release.parse(raw)
        changelog = _changelog(reader, release)
    beside = read_countersignatures(bundle).files
    signatures = {**beside, **inside}
    return Subject(bundle, release, raw, changes_in(release, changelog), signatures, _program(bundle, release))


def countersign(subject: Subject, signer: Signer, name: str | None = None) -> Countersigned:
    """Add the signatures that ``signer`` has not made yet; ``name`` is what their files are called.

    Raises ``bad-option``, ``output-exists`` (2), ``signatures-too-many`` (3).
    """
    if name is not None and not _NAME.fullmatch(name):
        raise SealiftError(
            "bad-option",
            f"not a name for a signature: {name}",
            hint="lower-case letters, digits, dot, dash, underscore",
        )
    folder = subject.bundle.parent
    release = program = None
    if not _has_signed(signer, subject.raw, subject.signatures):
        if len(set(subject.signatures.values())) >= MAX_SIGNATURES:
            raise SealiftError(
                "signatures-too-many",
                f"there are {MAX_SIGNATURES} signatures already",
                hint="remove one from signatures/",
            )
        place = _signatures_folder(folder)
        release = _write(place, "{}.sigstore.json", signer, name, signer.signature_file(subject.raw))
    if subject.program is not None:
        made = read_signature_files(folder, PROGRAM_SIGNATURE, "", strays=False).files
        if not _has_signed(signer, subject.program, made):
            signature = signer.signature_file(subject.program)
            program = _write(folder, f"{PROGRAM}.{{}}.sigstore.json", signer, name, signature)
    return Countersigned(signer.name, signer.trusted_as, release, program)


def _has_signed(signer: Signer, payload: bytes, files: Mapping[str, bytes]) -> bool:
    """Whether one of ``files`` is a valid signature by this very key or identity."""
    policy = trusting([signer], signer.name)
    for name, data in files.items():
        try:
            policy.judge("release", payload, {name: data})
        except SealiftError:
            continue
        return True
    return False


def _write(folder: Path, pattern: str, signer: Signer, name: str | None, data: bytes) -> Path:
    path = folder / pattern.format(name or signer.name)
    if name is None and path.exists():  # another key of the same name, or another signature of one that has no key
        unique = Digest.of(data) if isinstance(signer.trusted_as, Identity) else signer.trusted_as.fingerprint
        path = folder / pattern.format(f"{signer.name}-{unique.short}")
    write_new(path, data)
    return path


def _signatures_folder(media: Path) -> Path:
    folder = media / FOLDER
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SealiftError("output-exists", f"{folder} is not a folder of its own", hint="remove it, and sign again")
    folder.mkdir(exist_ok=True)
    return folder


def _changelog(reader: BundleReader, release: Release) -> bytes:
    """The changelog, as listed. It stands first, or is passed over to."""
    listed = next((file for file in release.files if file.path == _CHANGELOG), None)
    if listed is None or listed.size > _MAX_CHANGELOG:
        return b""
    while (header := reader.next_header()) is not None and header.name != _CHANGELOG:
        reader.skip(header.size)
    if header is None or header.size != listed.size:
        raise _damaged(_CHANGELOG, listed)
    data = b"".join(reader.data(header.size))
    if str(Digest.of(data)) != listed.digest:
        raise _damaged(_CHANGELOG, listed)
    return data


def changes_in(release: Release, changelog: bytes) -> str:
    """What is new in a release, by its changelog; it may be by anybody."""
    try:
        return section_for(Version.parse(release.version), changelog.decode("utf-8"), _CHANGELOG).text
    except (SealiftError, UnicodeDecodeError):
        return "(its changelog says nothing about this version)"


def _program(bundle: Path, release: Release) -> bytes | None:
    """The program beside the bundle, if it is there; it must be the one that the release lists."""
    path = bundle.parent / PROGRAM
    listed = next((file for file in release.files if file.path == PROGRAM_PATH), None)
    if not path.is_file() or listed is None:
        return None
    with path.open("rb") as file:
        data = file.read(listed.size + 1)
    if str(Digest.of(data)) != listed.digest:
        raise _damaged(str(path), listed)
    return data


def _damaged(what: str, listed: File) -> SealiftError:
    return SealiftError(
        "digest-mismatch",
        f"{what} is not what the release lists: {listed.digest}",
        hint="sign nothing on damaged media; copy it again from its source",
    )
