"""``bundle push``: a signed release into one repository of a registry, without any key.

Rules:
- Asked first, sent second: what is there is not sent again, so a push that was cut off goes on where it stopped.
- Blobs before manifests, children before their index, the release before what refers to it, its tag last: whoever finds
  the tag finds all of it.
- Every byte that is sent is compared with the list in ``release.json``; who signed that list is asked only on wish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bundler.collect.documents import INDEX, MANIFEST
from bundler.media.clear import in_the_clear
from bundler.media.pack import fold
from bundler.publish import form
from bundler.publish.place import Place
from bundler.publish.referrers import Reference, attach, missing
from installer.bundle.archive import BundleReader, Head, locate_bundle
from installer.bundle.beside import PROGRAM_SIGNATURE, read_signature_files, verify_with_countersignatures
from installer.bundle.content import Sink
from installer.bundle.digest import Digest
from installer.bundle.packing import read_packing
from installer.bundle.release import Descriptor, Release
from installer.bundle.roots import root_member
from installer.bundle.trust import Signer, TrustPolicy
from installer.bundle.verify import read_content
from installer.errors import SealiftError
from installer.registry.abreast import abreast
from installer.registry.client import RegistryClient
from installer.registry.fill import PAUSES, fill_registry
from installer.registry.images import Placement, beside, keep_tag
from installer.registry.load import Held, survey
from installer.registry.patience import Patience
from installer.talk import Table, Talk, size


@dataclass(frozen=True)
class Wish:
    """How to push: ``policy`` judges the signers first, ``mount`` names repositories that may have blobs already."""

    policy: TrustPolicy | None = None
    now: datetime | None = None
    force: bool = False
    mount: tuple[str, ...] = ()
    patience: Patience | None = None
    pauses: tuple[float, ...] = PAUSES


@dataclass(frozen=True)
class Pushed:
    """A release in a registry. ``sent``: bytes of blobs; ``shared``: blobs that other repositories had; ``added``: how
    many of what refers to it were new."""

    place: str
    manifest: str
    release: Release
    sent: int
    shared: int
    added: int
    attached: tuple[str, ...]
    signers: tuple[Signer, ...] | None

    def as_json(self) -> dict[str, object]:
        release = self.release
        return {
            "reference": self.place,
            "manifest": self.manifest,
            "digest": str(release.digest),
            "product": release.product,
            "version": release.version,
            "sent": self.sent,
            "shared": self.shared,
            "added": self.added,
            "attached": list(self.attached),
            "signers": [signer.as_json() for signer in self.signers or ()],
            "not_checked": ["who signed"] if self.signers is None else [],
        }

    def table(self) -> Table:
        """For people."""
        release = self.release
        what = f"{size(self.sent)} sent" + (f", {self.shared} blobs shared" if self.shared else "")
        rows = [
            ("pushed", self.place),
            ("manifest", self.manifest),
            ("release", f"{release.product} {release.version}, {release.platform}, {release.digest}"),
            ("content", what if self.sent or self.shared else "was there already"),
            *(("attached", name) for name in self.attached),
            *(("signed by", signer.line()) for signer in self.signers or ()),
            *((("not checked", "who signed: bundle verify"),) if self.signers is None else ()),
        ]
        return Table(("", ""), tuple(rows))


def push(file: Path, place: Place, wish: Wish, talk: Talk) -> Pushed:
    """Bring the release of ``file`` under the tag of ``place``, with all that signs it.

    Raises ``output-exists`` (2) where the tag holds something else, ``registry-*`` (9), and what reading the bundle and
    judging its signers raise.
    """
    if place.reference.tag is None or place.reference.digest is not None:
        raise SealiftError("bad-option", f"{place} has no tag to push to", hint="write oci://REGISTRY/REPOSITORY:TAG")
    bundle = locate_bundle(file)
    with in_the_clear(bundle, "a registry gets a release in the clear"), BundleReader(bundle) as reader:
        head = reader.head
        signers = None
        if wish.policy is not None:
            signers = verify_with_countersignatures(reader, wish.policy, bundle, now=wish.now)[0].signers
        release = Release.parse(head.release)
        read_packing(head.packing, release)
    attachments = _attachments(head, bundle, talk)
    manifest = form.release_manifest(release, head.release)
    subject = form.described(manifest, MANIFEST)
    client, repository = place.writer(wish.patience), place.repository
    tagged = client.manifest_digest(repository, place.reference.tag)
    if tagged not in (None, subject.digest) and not wish.force:
        raise SealiftError(
            "output-exists",
            f"{place} holds something else ({tagged}): a version that has left the house never changes",
            hint="choose another tag, or --force when this one is meant to move",
        )
    where = form.placement(release, repository)
    sent, shared = _fill(client, bundle, release, where, wish, talk)
    _lay_beside(client, repository, release)
    _store(client, repository, [head.release, form.EMPTY, *(one.data for one in attachments)])
    _name(client, repository, subject.digest, manifest, (subject.digest, keep_tag(release)))
    lacking = missing(client, repository, subject.digest, _references(release, subject, attachments))
    attach(client, repository, subject.digest, lacking)
    _name(client, repository, subject.digest, manifest, (place.reference.tag,))
    names = tuple(one.name for one in attachments)
    return Pushed(str(place), subject.digest, release, sent, shared, len(lacking), names, signers)


def _attachments(head: Head, bundle: Path, talk: Talk) -> list[form.Attachment]:
    """Signatures inside and beside, those of the program, roots: in the order of their names."""
    signatures = fold(head.signatures, head.release, bundle, talk)
    of_program = read_signature_files(bundle.parent, PROGRAM_SIGNATURE, "", strays=False).files
    roots = {root_member(version): raw for version, raw in head.roots.items()}
    return [
        form.Attachment(kind, name, data)
        for kind, named in (
            (form.SIGNATURE, signatures),
            (form.OF_PROGRAM, of_program),
            (form.ROOT, roots),
        )
        for name, data in sorted(named.items())
    ]


def _references(release: Release, subject: Descriptor, attachments: Sequence[form.Attachment]) -> list[Reference]:
    """The manifests that shall refer to the release."""
    raws = [(MANIFEST, one.kind.artifact_type, one.manifest(subject)) for one in attachments]
    if release.images:
        raws.append((INDEX, form.IMAGES_TYPE, form.images_index(release, subject)))
    return [
        Reference(raw, media_type, kind, form.kept_as(release, str(Digest.of(raw)))) for media_type, kind, raw in raws
    ]


def _share(client: RegistryClient, release: Release, where: Placement, held: Held, more: Sequence[str]) -> int:
    """Make blobs that other repositories of the registry have those of this one too; how many were.

    Asked are those that were named, and those in which builders find an image and sites keep it.
    """
    sources: dict[str, list[str]] = {}
    for image in release.images:
        for blob in image.blobs:
            sources.setdefault(blob.digest, [*more]).extend(_likely(release.product, image.name, where))

    def share(item: tuple[str, Descriptor]) -> bool:
        place, blob = item
        return any(_mounted(client, place, blob, source) for source in dict.fromkeys(sources.get(blob.digest, more)))

    lacking = [(place, blob) for place, blob in where.blobs if place not in held.blobs[blob.digest]]
    return sum(abreast(share, lacking))


def _likely(product: str, name: str, where: Placement) -> list[str]:
    prefix = where.blobs[0][0].rpartition("/")[0]
    beside = [f"{prefix}/{product}/{name}", f"{prefix}/{name}"] if prefix else []
    return [f"{product}/{name}", *beside]


def _mounted(client: RegistryClient, place: str, blob: Descriptor, source: str) -> bool:
    """Whether ``source`` had it. A repository that is not there, or that we may not read, has nothing."""
    try:
        is_there = source != place and client.blob_size(source, blob.digest, blob.size) == blob.size
        return is_there and client.mount_blob(place, blob.digest, source)
    except SealiftError as error:
        if error.id == "registry-unreachable":
            raise
        return False


def _fill(
    client: RegistryClient, bundle: Path, release: Release, where: Placement, wish: Wish, talk: Talk
) -> tuple[int, int]:
    """Send what the registry lacks: how many bytes that was, and how many blobs other repositories had."""
    held = survey(client, where)
    shared = _share(client, release, where, held, wish.mount)
    if shared:
        held = survey(client, where)
    if held.missing:
        # Of a delta, what the registry has need not come by.
        have = {digest for digest, places in held.blobs.items() if places}
        have |= {digest for _, digest in held.manifests} - held.missing

        def read(sink: Sink, again: bool) -> None:
            label = "pushing again" if again else "pushing"
            with BundleReader(bundle) as reader, talk.progress(label, reader.size) as meter:
                read_content(reader, release, [sink], progress=meter.advance, quick=True, have=have)

        fill_registry(client, where, read, talk.warn, wish.pauses)
    sizes = {blob.digest: blob.size for _, blob in where.blobs}
    return sum(sizes.get(digest, 0) for digest in held.missing), shared


def _lay_beside(client: RegistryClient, repository: str, release: Release) -> None:
    """What lies beside an image is found under its tag, unless others have laid something there already."""
    for image in release.images:
        lies = beside(image)
        if lies and client.manifest_digest(repository, lies[1]) is None:
            raw = client.manifest(repository, image.digest) or b""
            client.put_manifest(repository, lies[1], image.manifests[-1].media_type, image.digest, raw)


def _store(client: RegistryClient, repository: str, blobs: Sequence[bytes]) -> None:
    for data in blobs:
        digest = str(Digest.of(data))
        if not client.has_blob(repository, digest, len(data)):
            client.upload_blob(repository, digest, len(data), [data])


def _name(client: RegistryClient, repository: str, digest: str, raw: bytes, names: Sequence[str]) -> None:
    """Have a manifest under these names; nothing is sent for those that lead to it already."""
    for name in names:
        if client.manifest_digest(repository, name) != digest:
            client.put_manifest(repository, name, MANIFEST, digest, raw)
