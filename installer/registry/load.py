"""Brings the images of a release into a registry, while the bundle streams by once.

Rules:
- Asked first, sent second: what the registry has is never sent again, so a run that was killed goes on by itself.
- Blobs before manifests, children before their index, tags last. Manifests are pushed only by
  :meth:`RegistrySink.finish_manifests`, after every byte of the bundle was verified; until then blobs are staging that
  nothing refers to.
- A blob that one repository has is shared with the others there, not sent twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from installer.bundle.content import Writer
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError
from installer.registry.abreast import abreast
from installer.registry.client import RegistryClient
from installer.registry.images import Kept, Placement, placed
from installer.registry.upload import Uploads

MAX_MANIFEST: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Held:
    """What a registry has of a release.

    ``blobs``: which repositories hold a blob, for every blob by digest. ``manifests``: pairs of repository and digest;
    one counts only when its keeping tag is there too.
    """

    blobs: dict[str, frozenset[str]]
    manifests: frozenset[tuple[str, str]]
    missing: frozenset[str]
    """Digests whose bytes must come from the bundle."""


def survey(client: RegistryClient, placement: Placement, others: Collection[str] = ()) -> Held:
    """Ask the registry what it has of what is to be placed there. Raises the errors of :class:`RegistryClient`.

    What none of its repositories has is looked for in ``others`` too: from there it can be shared.
    """

    def has_blob(pair: tuple[str, Descriptor]) -> bool:
        return client.has_blob(pair[0], pair[1].digest, pair[1].size)

    def has_manifest(kept: Kept) -> bool:
        named = (kept.part.digest, *kept.tags)
        return all(client.manifest_digest(kept.repository, name) == kept.part.digest for name in named)

    blob_answers = abreast(has_blob, placement.blobs)
    manifest_answers = abreast(has_manifest, placement.manifests)
    places: dict[str, set[str]] = {part.digest: set() for _, part in placement.blobs}
    for (repository, part), found in zip(placement.blobs, blob_answers, strict=True):
        if found:
            places[part.digest].add(repository)
    for repository in sorted(others):
        lost = {part.digest: part for _, part in placement.blobs if not places[part.digest]}
        for part in lost.values():
            if client.has_blob(repository, part.digest, part.size):
                places[part.digest].add(repository)
    answered = zip(placement.manifests, manifest_answers, strict=True)
    manifests = {(kept.repository, kept.part.digest): found for kept, found in answered}
    missing = {digest for digest, where in places.items() if not where}
    missing |= {digest for (_, digest), found in manifests.items() if not found}
    return Held(
        {digest: frozenset(where) for digest, where in places.items()},
        frozenset(pair for pair, found in manifests.items() if found),
        frozenset(missing),
    )


def missing_blobs(client: RegistryClient, release: Release) -> set[str]:
    """The digests that a registry needs from the bundle; empty when the release is there, tags included."""
    return set(survey(client, placed(release, client.address)).missing)


class RegistrySink:
    """A :class:`~installer.bundle.content.Sink` for what of a release goes into a registry.

    Calls in order: what the reader does, :meth:`close`, :meth:`finish_manifests`. ``sent`` counts the bytes of blobs
    that were uploaded. ``outrun`` is set once the registry is slower than the media.
    """

    def __init__(self, client: RegistryClient, what: Release | Placement, others: Collection[str] = ()) -> None:
        """``what``: the images of a release where a site keeps them, or what is placed otherwise. Asks what the
        registry has of it, in ``others`` too (:func:`survey`). Raises as :class:`RegistryClient` does."""
        placement = what if isinstance(what, Placement) else placed(what, client.address)
        self._client, self._placement = client, placement
        self.held = self._held = survey(client, placement, others)
        self._uploads = Uploads(client)
        self.outrun = self._uploads.outrun
        self._repositories = _repositories_of(placement.blobs)
        self._sizes = {part.digest: part.size for _, part in placement.blobs}
        self._manifests = {kept.part.digest for kept in placement.manifests}
        self._texts: dict[str, bytes] = {}
        self._sent_to: dict[str, str] = {}
        self.sent = 0

    def open(self, member: File | Descriptor) -> Writer | None:
        """A writer where the registry lacks the blob. Raises ``too-large`` (3) for a manifest over 4 MiB."""
        if member.digest not in self._held.missing or member.digest in self._sent_to:
            return None
        if member.digest in self._manifests:
            return _Manifest(member, self._texts)
        repository = self._repositories[member.digest][0]
        upload = self._uploads.begin(repository, member)
        if upload is None:
            return None
        self._sent_to[member.digest] = repository
        self.sent += member.size
        return upload

    def close(self) -> None:
        """Wait until the registry has stored every blob, in each repository that needs it.

        Uploads that the reader left unfinished are dropped. Raises ``registry-*`` (9).
        """
        self._uploads.wait()
        shared = []
        for digest, repositories in self._repositories.items():
            there = self._held.blobs[digest] | {self._sent_to.get(digest, "")} - {""}
            shared += [
                (digest, repository, min(there)) for repository in repositories if there and repository not in there
            ]
        abreast(self._share, shared)

    def finish_manifests(self) -> None:
        """Push the manifests that the registry lacks and tag them. Call it after all of the bundle was verified.

        Raises ``registry-*`` (9).
        """
        lacking = [image for image in self._placement.images if not all(map(self._is_there, image))]
        abreast(self._push_image, lacking)

    def _is_there(self, kept: Kept) -> bool:
        return (kept.repository, kept.part.digest) in self._held.manifests

    def _push_image(self, image: Iterable[Kept]) -> None:
        for kept in image:  # children stand before their index
            if not self._is_there(kept):
                part, text = kept.part, self._text(kept.part)
                for reference in (part.digest, *kept.tags):
                    self._client.put_manifest(kept.repository, reference, part.media_type, part.digest, text)

    def _text(self, part: Descriptor) -> bytes:
        if part.digest not in self._texts:
            message = f"the manifest {part.digest} did not come by, so the registry cannot be completed"
            raise SealiftError("truncated", message, hint="copy the bundle again from its source")
        return self._texts[part.digest]

    def _share(self, blob: tuple[str, str, str]) -> None:
        digest, repository, source = blob
        self._client.copy_blob(repository, digest, self._sizes[digest], source)


class _Manifest:
    """Keeps a manifest's bytes until they are pushed."""

    def __init__(self, part: Descriptor | File, texts: dict[str, bytes]) -> None:
        if part.size > MAX_MANIFEST:
            message = f"manifest {part.digest} has {part.size} bytes, more than a registry takes"
            raise SealiftError("too-large", message, hint="the builder must split that image")
        self._digest, self._texts, self._content = part.digest, texts, bytearray()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._content += chunk

    def finish(self) -> None:
        """Keep them."""
        self._texts[self._digest] = bytes(self._content)

    def abort(self) -> None:
        """Forget them."""
        self._content.clear()


def _repositories_of(wanted: Iterable[tuple[str, Descriptor]]) -> dict[str, list[str]]:
    repositories: dict[str, list[str]] = {}
    for repository, blob in wanted:
        repositories.setdefault(blob.digest, []).append(repository)
    return repositories
