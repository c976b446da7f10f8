"""Brings the images of a release into a registry, while the bundle streams by once.

Rules:
- Asked first, sent second: what the registry has is never sent again, so a run that was killed goes on by itself.
- Blobs before manifests, children before their index, tags last. Manifests are pushed only by
  :meth:`RegistrySink.finish_manifests`, after every byte of the bundle was verified; until then blobs are staging that
  nothing refers to.
- A blob that one repository has is shared with the others there, not sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from installer.bundle.content import Writer
from installer.bundle.release import Descriptor, File, Image, Release
from installer.errors import SealiftError
from installer.registry.client import RegistryClient
from installer.registry.images import keep_tags, product_images, repository_of
from installer.registry.upload import Uploads

MAX_MANIFEST: Final = 4 * 1024 * 1024
_ASKING: Final = 8

_Asked = TypeVar("_Asked")


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


def survey(client: RegistryClient, release: Release) -> Held:
    """Ask the registry what it has of ``release``. Raises the errors of :class:`RegistryClient`."""
    blobs_wanted = wanted_blobs(client, release)
    manifests_wanted = wanted_manifests(client, release)

    def has_blob(pair: tuple[str, Descriptor]) -> bool:
        return client.has_blob(pair[0], pair[1].digest, pair[1].size)

    def has_manifest(asked: tuple[str, Descriptor, str]) -> bool:
        repository, part, tag = asked
        return all(client.manifest_digest(repository, name) == part.digest for name in (part.digest, tag))

    with ThreadPoolExecutor(_ASKING) as pool:
        blob_answers = list(in_order(pool, has_blob, blobs_wanted))
        manifest_answers = list(in_order(pool, has_manifest, manifests_wanted))
    places: dict[str, set[str]] = {part.digest: set() for _, part in blobs_wanted}
    for (repository, part), found in zip(blobs_wanted, blob_answers, strict=True):
        if found:
            places[part.digest].add(repository)
    answered = zip(manifests_wanted, manifest_answers, strict=True)
    manifests = {(repository, part.digest): found for (repository, part, _), found in answered}
    missing = {digest for digest, where in places.items() if not where}
    missing |= {digest for (_, digest), found in manifests.items() if not found}
    return Held(
        {digest: frozenset(where) for digest, where in places.items()},
        frozenset(pair for pair, found in manifests.items() if found),
        frozenset(missing),
    )


def missing_blobs(client: RegistryClient, release: Release) -> set[str]:
    """The digests that a registry needs from the bundle; empty when the release is there, tags included."""
    return set(survey(client, release).missing)


class RegistrySink:
    """A :class:`~installer.bundle.content.Sink` for the product images of ``release``.

    Calls in order: what the reader does, :meth:`close`, :meth:`finish_manifests`. ``sent`` counts the bytes of blobs
    that were uploaded.
    """

    def __init__(self, client: RegistryClient, release: Release, held: Held | None = None) -> None:
        """``held`` is a fresh survey, made here where it is not given. Raises as :class:`RegistryClient` does."""
        self._client, self._release = client, release
        self._held = held or survey(client, release)
        self._uploads = Uploads(client)
        self._repositories = _repositories_of(wanted_blobs(client, release))
        self._manifests = {part.digest for image in product_images(release) for part in image.manifests}
        self._texts: dict[str, bytes] = {}
        self._sent_to: dict[str, str] = {}
        self.sent = 0

    def open(self, member: File | Descriptor) -> Writer | None:
        """A writer where the registry lacks the blob. Raises ``too-large`` (3) for a manifest over 4 MiB."""
        if isinstance(member, File) or member.digest not in self._held.missing:
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
        with ThreadPoolExecutor(_ASKING) as pool:
            list(in_order(pool, self._share, shared))

    def finish_manifests(self) -> None:
        """Push the manifests that the registry lacks and tag them. Call it after all of the bundle was verified.

        Raises ``registry-*`` (9).
        """
        images = product_images(self._release)
        lacking = [image for image in images if not self._complete(image)]
        with ThreadPoolExecutor(_ASKING) as pool:
            list(in_order(pool, self._push_image, lacking))

    def _complete(self, image: Image) -> bool:
        repository = repository_of(self._release, image, self._client.address)
        return all((repository, part.digest) in self._held.manifests for part in image.manifests)

    def _push_image(self, image: Image) -> None:
        repository = repository_of(self._release, image, self._client.address)
        tags = keep_tags(self._release, image)
        for part in image.manifests:  # children stand before their index
            if (repository, part.digest) not in self._held.manifests:
                for reference in (part.digest, tags[part.digest]):
                    self._client.put_manifest(repository, reference, part.media_type, part.digest, self._text(part))

    def _text(self, part: Descriptor) -> bytes:
        if part.digest not in self._texts:
            message = f"the manifest {part.digest} did not come by, so the registry cannot be completed"
            raise SealiftError("truncated", message, hint="copy the bundle again from its source")
        return self._texts[part.digest]

    def _share(self, blob: tuple[str, str, str]) -> None:
        digest, repository, source = blob
        size = next(part.size for part in self._release.blobs().values() if part.digest == digest)
        self._client.copy_blob(repository, digest, size, source)


class _Manifest:
    """Keeps a manifest's bytes until they are pushed."""

    def __init__(self, part: Descriptor, texts: dict[str, bytes]) -> None:
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


def wanted_blobs(client: RegistryClient, release: Release) -> list[tuple[str, Descriptor]]:
    """Each blob in each repository that needs it, once."""
    pairs = {
        (repository_of(release, image, client.address), blob.digest): blob
        for image in product_images(release)
        for blob in image.blobs
    }
    return [(repository, blob) for (repository, _), blob in pairs.items()]


def wanted_manifests(client: RegistryClient, release: Release) -> list[tuple[str, Descriptor, str]]:
    """Each manifest with its repository and its keeping tag."""
    return [
        (repository_of(release, image, client.address), part, keep_tags(release, image)[part.digest])
        for image in product_images(release)
        for part in image.manifests
    ]


def _repositories_of(wanted: Iterable[tuple[str, Descriptor]]) -> dict[str, list[str]]:
    repositories: dict[str, list[str]] = {}
    for repository, blob in wanted:
        repositories.setdefault(blob.digest, []).append(repository)
    return repositories


def in_order(pool: ThreadPoolExecutor, work: Callable[[_Asked], object], items: Iterable[_Asked]) -> Iterable[object]:
    """The results in order; the first failure ends it, and what has not begun is not begun."""
    waiting = [pool.submit(work, item) for item in items]
    try:
        yield from (future.result() for future in waiting)
    finally:
        for future in waiting:
            future.cancel()
