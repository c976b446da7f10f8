"""Images in registries as a store of content: resolved once, then asked by digest, at mirrors first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bundler.collect.content import Bytes, Content
from bundler.collect.documents import Link, read_object
from bundler.collect.reference import Reference
from bundler.collect.registry.client import Connection, Manifest, RepositoryClient
from bundler.collect.registry.hosts import Endpoint, endpoints
from bundler.manifest.recipe import RegistrySettings
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor
from installer.errors import SealiftError
from installer.registry.patience import Patience
from installer.talk import Talk

_ASKING: Final = 8
_Found = TypeVar("_Found")


@dataclass
class Registries:
    """The registries of one run."""

    settings: Mapping[str, RegistrySettings]
    talk: Talk
    patience: Patience = field(default_factory=lambda: Patience(longest_pause=60))
    _connections: dict[Endpoint, Connection] = field(default_factory=dict)
    _stores: dict[Reference, RemoteStore] = field(default_factory=dict)

    def repository(self, reference: Reference) -> RemoteStore:
        """The repository of ``reference``, the same one each time; nothing is asked yet."""
        if reference not in self._stores:
            places = endpoints(reference.host, self.settings)
            self._stores[reference] = RemoteStore(reference, places, self)
        return self._stores[reference]

    def connect(self, endpoint: Endpoint) -> Connection:
        """A connection, made once."""
        if endpoint not in self._connections:
            self._connections[endpoint] = Connection.to(endpoint, self.patience)
        return self._connections[endpoint]

    def close(self) -> None:
        """End all connections."""
        for connection in self._connections.values():
            connection.session.close()


@dataclass
class RemoteStore:
    """A repository, wherever its mirrors are. Every method raises ``registry-*`` (9) for what the last place says."""

    reference: Reference
    places: list[Endpoint]
    registries: Registries
    _clients: dict[Endpoint, RepositoryClient] = field(default_factory=dict)
    _held: dict[str, Manifest] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"docker://{self.reference}"

    def entry(self) -> Link:
        """What the reference leads to: by its digest where it has one, and then a tag that moved is named.

        Raises ``image-not-found`` (2).
        """
        tag, digest = self.reference.tag, self.reference.digest
        now = self._first(lambda client: client.digest(tag)) if tag and digest else digest
        found = self.fetch(digest or str(tag))
        if found is None:
            moved = f"; the tag {tag} is {now} now" if tag and now and digest else ""
            raise SealiftError(
                "image-not-found", f"{self.name} does not exist{moved}", hint="push it, or name another tag or digest"
            )
        if now != digest:
            what = f"is {now} now" if now else "is gone"
            self.registries.talk.warn(f"{self.name}: the tag {tag} {what}; taken is what the manifest pins")
        value = read_object(found.raw, f"manifest of {self.name}")
        kind = value.get("mediaType") or found.media_type
        return Link(Descriptor(media_type=str(kind), digest=found.digest, size=len(found.raw)))

    def fetch(self, reference: str) -> Manifest | None:
        """A manifest by tag or digest, asked once."""
        if reference not in self._held:
            found = self._first(lambda client: client.manifest(reference))
            if found is None:
                return None
            self._held |= {reference: found, found.digest: found}
        return self._held[reference]

    def manifest(self, part: Descriptor) -> Content | None:
        found = self.fetch(part.digest)
        return Bytes(found.raw) if found else None

    def blob(self, part: Descriptor) -> Content | None:
        return RemoteBlob(self, part.digest, part.size)

    def referrers(self, digest: Digest, *, strict: bool = False) -> bytes | None:
        """The index of what refers to a manifest, where a place offers that question.

        ``strict``: a place that fails does not pass for one that does not offer it.
        """
        return self._first(lambda client: client.referrers(str(digest), strict=strict))

    def check(self, digests: Iterable[str]) -> None:
        """Refuse blobs that are not there, without pulling them. Raises ``image-not-found`` (2)."""

        def there(digest: str) -> tuple[str, bool]:
            return digest, bool(self._first(lambda client: client.has_blob(digest) or None))

        with ThreadPoolExecutor(_ASKING) as pool:
            missing = [digest for digest, found in pool.map(there, digests) if not found]
        if missing:
            raise SealiftError("image-not-found", f"{self.name} lacks blob {missing[0]}", hint="push the image again")

    def clients(self) -> Iterator[RepositoryClient]:
        """The places, mirrors first."""
        for place in self.places:
            if place not in self._clients:
                connection = self.registries.connect(place)
                self._clients[place] = RepositoryClient(connection, self.reference.repository)
            yield self._clients[place]

    def _first(self, ask: Callable[[RepositoryClient], _Found | None]) -> _Found | None:
        """The first answer; a mirror that fails is named and passed over."""
        for place, client in zip(self.places, self.clients(), strict=True):
            try:
                if (found := ask(client)) is not None:
                    return found
            except SealiftError as error:
                if place is self.places[-1]:
                    raise
                self.registries.talk.warn(f"mirror {place.host}: {error.message}")
        return None


@dataclass(frozen=True)
class RemoteBlob:
    """A blob that stays where it is until it is written; a stream that breaks goes on, at the next place if need be.

    ``begun`` gives the bytes of its beginning that are here already, as they come; they are not asked for again.
    """

    store: RemoteStore
    digest: str
    size: int
    begun: Callable[[], Iterator[bytes]] = lambda: iter(())

    def chunks(self) -> Iterator[bytes]:
        position = 0
        for chunk in self.begun():
            position += len(chunk)
            yield chunk
        for place, client in zip(self.store.places, self.store.clients(), strict=True):
            try:
                for chunk in client.blob(self.digest, self.size, position):
                    position += len(chunk)
                    yield chunk
                return
            except SealiftError as error:
                if place is self.store.places[-1]:
                    raise
                self.store.registries.talk.warn(f"mirror {place.host}: {error.message}")
