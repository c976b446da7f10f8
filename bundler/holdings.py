"""What a site provably holds, so that a delta can leave it out or patch against it. Pure but for opening a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.release import Release


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
        with BundleReader(bundle) as reader:
            release = Release.parse(reader.head.release)
        digests = frozenset(member.digest for _, member in release.members())
        return cls(f"{release.product} {release.version}", digests, (bundle,))
