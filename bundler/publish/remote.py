"""The content of a release in a registry, as what a bundle is written of; nothing is asked before it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bundler.collect.content import Bytes, Content, looks_packed
from bundler.collect.registry.store import RemoteBlob, RemoteStore
from bundler.writing.assemble import Part, blob_is_packed
from bundler.writing.reuse import Reuse
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, File, Release
from installer.errors import SealiftError

_SMALL: Final = 1024 * 1024


class RemoteParts(Mapping[str, Part]):
    """What stands in the registry, by member name; nothing is asked before it is needed."""

    def __init__(self, store: RemoteStore, release: Release, reuse: Reuse) -> None:
        """``reuse`` has the beginning of the member at which an earlier pull broke off."""
        self._store, self._reuse = store, reuse
        self._members = dict(release.members())
        self._manifests = {part.digest for image in release.images for part in image.manifests}

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> Part:
        member = self._members[name]
        if isinstance(member, Descriptor):
            return Part(self._blob(name, member), blob_is_packed(member))
        remote = self._remote(name, member)
        if member.role == "program":
            return Part(remote, packed=True)
        # A small one is read once, though its beginning is looked at first.
        content: Content = Bytes(b"".join(remote.chunks())) if member.size <= _SMALL else remote
        return Part(content, looks_packed(content))

    def _blob(self, name: str, blob: Descriptor) -> Content:
        return _RemoteManifest(self._store, blob) if blob.digest in self._manifests else self._remote(name, blob)

    def _remote(self, name: str, member: File | Descriptor) -> RemoteBlob:
        return RemoteBlob(self._store, member.digest, member.size, partial(self._reuse.begun, name, member))


@dataclass(frozen=True)
class _RemoteManifest:
    """A manifest of an image, asked for when it is written."""

    store: RemoteStore
    part: Descriptor

    @property
    def size(self) -> int:
        return self.part.size

    def chunks(self) -> Iterator[bytes]:
        found = self.store.fetch(self.part.digest)
        if found is None:
            raise SealiftError(
                "image-not-found", f"{self.store.name} has no manifest {self.part.digest}", hint="push it"
            )
        yield found.raw


def whole_blob(store: RemoteStore, part: Descriptor) -> bytes:
    """A small blob. Raises ``digest-mismatch`` (4)."""
    raw = b"".join(RemoteBlob(store, part.digest, part.size).chunks())
    if str(Digest.of(raw)) != part.digest:
        raise SealiftError("digest-mismatch", f"{part.digest[:19]} is not what its digest says")
    return raw
