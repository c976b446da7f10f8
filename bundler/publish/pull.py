"""``bundle pull``: a release out of a registry becomes a media folder again, packed as ``bundle build`` does.

What comes from the registry is hostile. ``release.json`` is the only thing that says what to fetch: sizes are known
before anything is read, every byte ends at a digest of that list, and the manifest must be what follows from that list.
Referrers can only add: what does not fit is named and left out, and nothing is left without any signature.

A pull that was cut off goes on: what an earlier try has written comes from there, of the member at which it broke off
the beginning, and a connection that breaks is taken up where it broke.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from bundler.built import Built
from bundler.collect.registry.store import RemoteStore
from bundler.media import kit as media
from bundler.publish import form
from bundler.publish.attached import Attached, attached
from bundler.publish.place import Place
from bundler.publish.remote import RemoteParts, whole_blob
from bundler.signing.countersign import changes_in
from bundler.writing.assemble import Assembly, blob_is_packed
from bundler.writing.parts import refuse_too_many
from bundler.writing.reuse import Reuse
from bundler.writing.write import Writer as BundleWriter
from bundler.writing.write import Written
from installer.bundle.archive import BundleReader
from installer.bundle.beside import PROGRAM_PATH, Beside, weigh
from installer.bundle.content import Writer
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.roots import current, root_member
from installer.bundle.signature import MAX_SIGNATURES, KeySignature, parse_signature
from installer.bundle.subject import claim_of, claimed_subject
from installer.bundle.trust import Identity, Signer, TrustPolicy
from installer.bundle.verify import VerifiedRelease, read_content, verify_statement
from installer.errors import SealiftError
from installer.registry.patience import Patience
from installer.talk import Table, Talk, clean
from installer.talk import size as in_words

PROGRAM_SIGNATURE_FILE: Final = "install.sigstore.json"
_MAX_CHANGELOG: Final = 4 * 1024 * 1024
_DAMAGED: Final = "the registry, or what stands before it, is damaged or lies: pull again, or push the release again"


@dataclass(frozen=True)
class Wish:
    """How to pull: ``policy`` judges the signers before any content is fetched."""

    output: Path
    part_size: int | None = None
    policy: TrustPolicy | None = None
    now: datetime | None = None
    patience: Patience | None = None


@dataclass(frozen=True)
class Pulled:
    """A media folder made of a release in a registry; ``manifest`` is the digest of the latter's manifest there."""

    built: Built
    place: str
    manifest: str
    signers: tuple[Signer, ...] | None

    def as_json(self) -> dict[str, object]:
        """As ``build`` tells it, and where it came from."""
        return self.built.as_json() | {
            "reference": self.place,
            "manifest": self.manifest,
            "signatures": list(self.built.signers),
            "signers": [signer.as_json() for signer in self.signers or ()],
            "not_checked": ["who signed"] if self.signers is None else [],
        }

    def table(self) -> Table:
        """For people."""
        rows = [row for row in self.built.table().rows if row[0] != "signed by"]
        rows = [("pulled", self.place), ("manifest", self.manifest), *rows]
        rows += [("signature", name) for name in self.built.signers]
        rows += [("signed by", signer.line()) for signer in self.signers or ()]
        rows += [("not checked", "who signed: bundle verify")] if self.signers is None else []
        return Table(("", ""), tuple(rows))


@dataclass(frozen=True)
class _Found:
    """A release in a registry: what it is and who signed it, before any of its content was fetched."""

    manifest: str
    raw: bytes
    release: Release
    attached: Attached
    verified: VerifiedRelease | None


def pull(place: Place, wish: Wish, talk: Talk) -> Pulled:
    """Make the media folder of the release at ``place``, below ``wish.output``.

    Raises ``not-a-release``, ``artifact-spelling`` (3), ``release-incomplete``, ``digest-mismatch`` (4), ``unsigned``
    (5), ``output-exists`` (2), ``registry-*`` (9), and with a policy what judging the signers raises. Nothing is left
    under a final name unless all went well.
    """
    store = place.reader(talk, wish.patience)
    found = _find(store, place, wish, talk)
    release, name = found.release, media.kit_name(found.release.product, found.release.version)
    packed = sum(blob.size for blob in release.blobs().values() if blob_is_packed(blob))
    refuse_too_many(packed, wish.part_size)
    media.refuse_other_release(wish.output / name, found.raw)
    with media.partial_kit(wish.output, name) as folder:
        bundle = folder / media.bundle_name(release)
        inside = found.attached.signatures | {root_member(n): raw for n, raw in found.attached.roots.items()}
        with Reuse(media.earlier_bundles(wish.output, release.product, folder)) as reuse:
            assembly = Assembly(release, RemoteParts(store, release, reuse))
            with talk.progress(f"pulling {place}", assembly.size) as meter, _explained(place):
                writer = BundleWriter(reuse=reuse, warn=talk.warn)
                written = writer.write(bundle, assembly, inside, meter.advance, wish.part_size)
            if reuse.bytes_taken:
                talk.say(f"took {in_words(reuse.bytes_taken)} out of what was here")
        media.remove_leftover(folder)
        first = next(iter(written.hashes))
        _complete(folder, first, found, written)
        media.publish(folder, wish.output / name)
    kit, names = wish.output / name, tuple(sorted(found.attached.signatures))
    made = Built(kit, kit / first, assembly, Digest.of(found.raw), written.size, len(written.hashes), names)
    return Pulled(made, str(place), found.manifest, found.verified.signers if found.verified else None)


def _find(store: RemoteStore, place: Place, wish: Wish, talk: Talk) -> _Found:
    """The statement, its signatures and roots; with a policy, judged before the statement is parsed."""
    reference = place.reference
    manifest = store.fetch(reference.digest or str(reference.tag))
    if manifest is None:
        raise SealiftError("release-not-found", f"{place} does not exist", hint="bundle push puts it there")
    config = form.read_release_manifest(manifest.raw, str(place))
    with _explained(place):
        raw = whole_blob(store, config)
    found = attached(store, manifest.digest, raw, talk.warn)
    if not found.signatures:
        raise SealiftError(
            "unsigned", f"no signature over this release refers to {place}", hint="push it again, from signed media"
        )
    if len(found.signatures) > MAX_SIGNATURES:
        found.signatures = _most(found.signatures, raw, wish.policy, talk)
    verified = None
    if wish.policy is not None:
        policy = current(wish.policy, found.roots)
        policy.refuse_expired(wish.now)
        verified = verify_statement(raw, found.signatures, policy)
    release = verified.release if verified else Release.parse(raw)
    if form.release_manifest(release, raw) != manifest.raw:
        raise SealiftError(
            "artifact-spelling",
            f"the manifest of {place} is not the one of the release {release.product} {release.version} that it names",
            hint="somebody made it by other means: push the release again",
        )
    return _Found(manifest.digest, raw, release, found, verified)


def _most(signatures: Mapping[str, bytes], raw: bytes, policy: TrustPolicy | None, talk: Talk) -> dict[str, bytes]:
    """As many as a bundle may hold, those by trusted keys first."""
    if policy is not None:
        weighed = weigh(Beside(dict(signatures)), raw, {}, policy)
        for item in weighed.passed_over:
            if not item.is_by_a_stranger:
                talk.warn(item.line())
        return dict(weighed.files)
    talk.warn(f"{len(signatures)} signatures refer to it: the first {MAX_SIGNATURES} by name are taken along")
    return dict(sorted(signatures.items())[:MAX_SIGNATURES])


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    """What is wrong with content says what to do about a registry."""
    try:
        yield
    except SealiftError as error:
        if error.id == "image-not-found":
            raise SealiftError(
                "release-incomplete",
                f"{place} is not whole: {error.message}",
                hint="run bundle push again, from the media: it sends what is missing",
            ) from error
        if error.id in ("digest-mismatch", "media-changed"):
            raise SealiftError(error.id, error.message, hint=_DAMAGED) from error
        raise


def _complete(folder: Path, first: str, found: _Found, written: Written) -> None:
    """Add what stands beside the bundle: the program out of it, signatures, the page for operators, checksums."""
    release, of_program = found.release, found.attached.of_program
    beside = _Beside(folder)
    with BundleReader(folder / first) as reader:
        read_content(reader, release, [beside], quick=True)
    signers = [_Claimed.of(name, data) for name, data in sorted(found.attached.signatures.items())]
    first_of_program = of_program.get(PROGRAM_SIGNATURE_FILE)
    other = first_of_program is not None and _Claimed.of("", first_of_program).who != signers[0].who
    made = media.Signatures(signers, found.attached.signatures, of_program, program_is_signed=other)
    changes = "\n".join(clean(line) for line in changes_in(release, bytes(beside.changelog)).splitlines())
    media.complete(folder, release, str(Digest.of(found.raw)), made, changes, written.hashes, written.note)


@dataclass(frozen=True)
class _Claimed:
    """Who a signature file says has made it; proved by nothing."""

    name: str
    who: str
    trusted_as: Identity | None

    @classmethod
    def of(cls, member: str, data: bytes) -> _Claimed:
        sign = parse_signature(data, member)
        subject = None if isinstance(sign, KeySignature) else claimed_subject(sign)
        name = member.rpartition("/")[2].removesuffix(".sigstore.json")
        return cls(name, claim_of(sign), Identity(*subject, name) if subject else None)


class _Beside:
    """A :class:`~installer.bundle.content.Sink` that puts the program beside the bundle and keeps the changelog."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.changelog = bytearray()

    def open(self, member: File | Descriptor) -> Writer | None:
        """A writer for those two."""
        if isinstance(member, Descriptor):
            return None
        if member.path == PROGRAM_PATH:
            return _Program(self._folder / media.PROGRAM)
        return _Kept(self.changelog) if member.role == "changelog" and member.size <= _MAX_CHANGELOG else None

    def close(self) -> None:
        """Nothing is left to do."""


class _Kept:
    """Keeps what comes, until it turns out to be wrong."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    def finish(self) -> None:
        """It was right."""

    def abort(self) -> None:
        self._content.clear()


class _Program:
    """Writes the program, which has its name only when the folder has."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def finish(self) -> None:
        self._file.close()

    def abort(self) -> None:
        self._file.close()
