"""What a site provably holds, so that a delta can leave it out or patch against it. And where its old bytes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bundler.media.clear import in_the_clear
from bundler.writing.reuse import Earlier
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.packing import blob_name
from installer.bundle.release import Descriptor, File, Release


@dataclass(frozen=True)
class Holdings:
    """``digests``: of blobs, manifests and files (``sha256:…``) that the site has; what it has beyond them is unknown.

    ``label`` says for people what the site runs, such as ``lan-chat 2.1.0``. ``bundles`` are where old bytes can be
    read, to patch against them; those that hold nothing of ``digests`` do no harm.
    """

    label: str
    digests: frozenset[str]
    bundles: tuple[Path, ...] = ()

    @classmethod
    def of_bundle(cls, path: Path) -> Self:
        """A site that runs the release at ``path`` (a bundle, its first part, a media folder), whatever packing it has.

        Raises what opening a bundle and reading its ``release.json`` raise (3, 4).
        """
        bundle = locate_bundle(path)
        with in_the_clear(bundle, "a delta builds on one in the clear"), BundleReader(bundle) as reader:
            release = Release.parse(reader.head.release)
        digests = frozenset(member.digest for _, member in release.members())
        return cls(f"{release.product} {release.version}", digests, (bundle,))


class OldBytes:
    """Members out of the bundles of ``holdings``, for :mod:`installer.patching.rebuild`. A context manager.

    Nothing in them is believed: whoever uses the bytes ends at a digest.
    """

    def __init__(self, bundles: Iterable[Path]) -> None:
        found = (Earlier.open(path) for path in dict.fromkeys(bundles))
        self.bundles = tuple(one for one in found if one is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bundle in self.bundles:
            bundle.reader.close()

    def has(self, digest: str) -> bool:
        """Whether one of the bundles carries this blob."""
        return any(blob_name(digest) in bundle.places for bundle in self.bundles)

    def read(self, digest: str) -> Iterator[bytes]:
        """A blob's bytes. Raises what a damaged bundle raises."""
        return self.member(blob_name(digest))

    def same(self, name: str, member: File | Descriptor) -> Iterator[bytes]:
        """The bytes of what is called so and is as large; none where nothing is."""
        if any(name in bundle.places and bundle.places[name][1].size == member.size for bundle in self.bundles):
            yield from self.member(name, member.size)

    def member(self, name: str, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a member that one of the bundles carries, of that size; none where none does."""
        found = ((one, one.places[name][1].size) for one in self.bundles if name in one.places)
        bundle = next((one for one, count in found if size in (None, count)), None)
        if bundle is not None:
            yield from bundle.chunks(name, bundle.places[name][1].size)
