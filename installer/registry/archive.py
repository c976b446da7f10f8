"""Archives of edge images in the state dir, which ``docker load`` takes on any engine from 20.10 on.

The front door must come back without a registry, and a prune of the engine while it is stopped takes its image away:
hence a copy of our own. An archive is an OCI layout and a Docker archive at once, written blob by blob as they come by.

Rules:
- An archive stands under its name only when it is complete and on disk; its record beside it tells damage.
- Names of files come from checked names and digests of the release, never from the content.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from installer.bundle.content import Writer
from installer.bundle.digest import Digest
from installer.bundle.release import Descriptor, File, Image, Release
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.registry.files import unusable, write_file

_BLOCK: Final = 512
_BLOBS: Final = "blobs/sha256/"
_MAX_JSON: Final = 4 * 1024 * 1024
_INDEXES: Final = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}


@dataclass(frozen=True)
class EdgeImage:
    """An archive on disk. An engine calls the loaded image by ``config`` or, with containerd's store, ``manifest``."""

    name: str
    path: Path
    digest: str
    manifest: str
    config: str
    tag: str

    @property
    def ids(self) -> tuple[str, str]:
        """The ids that the loaded image may have."""
        return self.config, self.manifest


def archive_path(folder: Path, image: Image) -> Path:
    """Where the archive of an edge image stands."""
    return folder / f"{image.name}-{Digest.parse(image.digest).short}.tar"


def local_tag(image: Image) -> str:
    """The name under which the engine keeps an edge image; it is run by its id."""
    return f"sealift-edge/{image.name}:{Digest.parse(image.digest).short}"


def kept_archive(folder: Path, image: Image) -> EdgeImage | None:
    """The archive of ``image`` if it is there and undamaged; reads all of it."""
    path = archive_path(folder, image)
    try:
        record: Any = json.loads(_record_path(path).read_bytes())
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("archive") != f"sha256:{found}":
        return None
    if record.get("digest") != image.digest or not isinstance(record.get("config"), str):
        return None
    return EdgeImage(image.name, path, image.digest, str(record.get("manifest")), record["config"], local_tag(image))


def archived(path: Path) -> frozenset[str]:
    """The digests of the blobs in the archive at ``path``; none where it is gone or damaged. Reads all of it."""
    try:
        record: Any = json.loads(_record_path(path).read_bytes())
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not isinstance(record, dict) or record.get("archive") != f"sha256:{found}":
            return frozenset()
        with tarfile.open(path) as archive:
            names = archive.getnames()
    except (OSError, ValueError, tarfile.TarError):
        return frozenset()
    return frozenset(f"sha256:{name.removeprefix(_BLOBS)}" for name in names if name.startswith(_BLOBS))


class ImageArchiveSink:
    """A :class:`~installer.bundle.content.Sink` that writes an archive for each of ``names`` that is not there yet."""

    def __init__(self, release: Release, names: Iterable[str], folder: Path) -> None:
        """``folder`` is made, 0700, where it is missing. Raises ``state-dir-unusable`` (7)."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # one that is there keeps its owner and mode
        except OSError as error:
            raise unusable(folder, error) from error
        architecture = release.platform.split("/")[1]
        images = [release.image(name) for name in dict.fromkeys(names)]
        self._folder, self._images = folder, images
        self._drafts = [_Draft(image, folder, architecture) for image in images if kept_archive(folder, image) is None]

    @property
    def needed(self) -> frozenset[str]:
        """The digests of blobs that have to come by."""
        return frozenset(digest for draft in self._drafts for digest in draft.parts)

    def open(self, member: File | Descriptor) -> Writer | None:
        """A writer where an archive needs the blob."""
        if isinstance(member, File):
            return None
        drafts = [draft for draft in self._drafts if member.digest in draft.parts]
        return _BlobWriter(member, drafts) if drafts else None

    def close(self) -> None:
        """Complete the archives. Raises ``truncated`` (4) where blobs did not come, ``state-dir-unusable`` (7)."""
        try:
            ended = any(draft.damaged for draft in self._drafts)  # the reader gave up and says why itself
            for draft in self._drafts:
                if draft.whole or not ended:
                    draft.complete()
        finally:
            for draft in self._drafts:
                draft.discard()

    def archives(self) -> dict[str, EdgeImage]:
        """The archives by image name, after :meth:`close`. Raises ``state-damaged`` (4)."""
        found = {image.name: kept_archive(self._folder, image) for image in self._images}
        lost = [name for name, archive in found.items() if archive is None]
        if lost:
            message = f"the archive of edge image {lost[0]} in {self._folder} is damaged"
            raise SealiftError("state-damaged", message, hint="check the disk, then install the release again")
        return {name: archive for name, archive in found.items() if archive is not None}


@dataclass
class _Draft:
    """An archive that is being written."""

    image: Image
    folder: Path
    architecture: str
    parts: dict[str, Descriptor] = field(init=False)
    texts: dict[str, bytes] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    file: BinaryIO | None = None
    damaged: bool = False

    def __post_init__(self) -> None:
        self.parts = {part.digest: part for part in (*self.image.manifests, *self.image.blobs)}
        self.draft_path = self.folder / f".{archive_path(self.folder, self.image).name}.new"

    @property
    def whole(self) -> bool:
        """Whether every blob came, undamaged."""
        return not self.damaged and self.done == set(self.parts)

    def begin(self, part: Descriptor) -> None:
        """The header of a blob."""
        self.write(_header(_blob_name(part.digest), part.size))

    def write(self, content: bytes) -> None:
        """Raises ``state-dir-unusable`` (7)."""
        try:
            if self.file is None:
                self.draft_path.unlink(missing_ok=True)
                self.file = self.draft_path.open("xb")
            self.file.write(content)
        except OSError as error:
            self.damaged = True
            raise _full_or_unusable(self.draft_path, error) from error

    def complete(self) -> None:
        """Write what makes the blobs an image, and put the archive in its place."""
        if not self.whole:
            message = f"the bundle ended before edge image {self.image.name} was complete"
            raise SealiftError("truncated", message, hint="copy the bundle again from its source")
        manifest, listing = self._listing()
        for name, value in _layout(self.image, manifest, listing):
            content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
            self.write(_header(name, len(content)) + _padded(content))
        self.write(bytes(2 * _BLOCK))
        self._settle(manifest, listing)

    def _listing(self) -> tuple[Descriptor, dict[str, Any]]:
        """The manifest of our platform, and the entry of ``manifest.json`` for it."""
        manifest = _pick(self.image, self.texts, self.architecture)
        value = _json(self.texts[manifest.digest], self.image)
        try:
            names = [value["config"]["digest"], *(layer["digest"] for layer in value["layers"])]
        except (KeyError, TypeError) as error:
            raise _not_an_image(self.image) from error
        if not all(isinstance(name, str) and name in self.parts for name in names):
            raise _not_an_image(self.image)
        paths = [_blob_name(name) for name in names]
        return manifest, {"Config": paths[0], "Layers": paths[1:], "RepoTags": [local_tag(self.image)]}

    def _settle(self, manifest: Descriptor, listing: dict[str, Any]) -> None:
        path = archive_path(self.folder, self.image)
        try:
            assert self.file is not None  # noqa: S101 - something was written
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            with self.draft_path.open("rb") as file:
                digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            _record_path(path).unlink(missing_ok=True)
            self.draft_path.rename(path)
            sync_folder(self.folder)
        except OSError as error:
            raise _full_or_unusable(path, error) from error
        config = "sha256:" + listing["Config"].rpartition("/")[2]
        record = {"archive": digest, "digest": self.image.digest, "manifest": manifest.digest, "config": config}
        write_file(_record_path(path), json.dumps(record, indent=1).encode() + b"\n", 0o600)

    def discard(self) -> None:
        """Leave no unfinished file. Never raises."""
        if self.file is not None:
            self.file.close()
        self.draft_path.unlink(missing_ok=True)


class _BlobWriter:
    """One blob on its way into each archive that needs it."""

    def __init__(self, part: Descriptor, drafts: list[_Draft]) -> None:
        self._part, self._drafts = part, drafts
        self._text = bytearray()
        self._is_json = part.size <= _MAX_JSON and part.media_type.endswith("+json")
        for draft in drafts:
            draft.begin(part)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises ``state-dir-unusable``, ``disk-full`` (7)."""
        for draft in self._drafts:
            draft.write(chunk)
        if self._is_json:
            self._text += chunk

    def finish(self) -> None:
        """Count the blob."""
        for draft in self._drafts:
            draft.write(bytes(-self._part.size % _BLOCK))
            draft.done.add(self._part.digest)
            if self._is_json:
                draft.texts[self._part.digest] = bytes(self._text)

    def abort(self) -> None:
        """Give up the archives that this blob belongs to."""
        for draft in self._drafts:
            draft.damaged = True


def _pick(image: Image, texts: dict[str, bytes], architecture: str) -> Descriptor:
    """The manifest to run: the deployed one, or the child of our platform where that is an index."""
    deployed = image.manifests[-1]
    if deployed.media_type not in _INDEXES:
        return deployed
    manifests = {part.digest: part for part in image.manifests}
    try:
        for entry in _json(texts[deployed.digest], image)["manifests"]:
            platform = entry.get("platform") or {}
            if (platform.get("os"), platform.get("architecture")) == ("linux", architecture):
                return manifests[entry["digest"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise _not_an_image(image) from error
    raise _not_an_image(image)


def _layout(image: Image, manifest: Descriptor, listing: dict[str, Any]) -> list[tuple[str, Any]]:
    """The JSON members: an OCI layout for new engines, ``manifest.json`` for old ones."""
    tag = local_tag(image)
    entry = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
        "annotations": {
            "io.containerd.image.name": f"docker.io/{tag}",
            "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
        },
    }
    return [
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("index.json", {"schemaVersion": 2, "manifests": [entry]}),
        ("manifest.json", [listing]),
    ]


def _json(text: bytes, image: Image) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_an_image(image) from error


def _header(name: str, size: int) -> bytes:
    """A GNU tar header: sizes over 8 GiB stay in it."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.GNU_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


def _blob_name(digest: str) -> str:
    return f"{_BLOBS}{Digest.parse(digest).hex}"


def _record_path(archive: Path) -> Path:
    return archive.with_suffix(".json")


def _not_an_image(image: Image) -> SealiftError:
    message = f"edge image {image.name} has no manifest that an engine of this platform can load"
    return SealiftError("release-invalid", message, hint="the builder must be fixed")


def _full_or_unusable(path: Path, error: OSError) -> SealiftError:
    if error.errno == errno.ENOSPC:
        return SealiftError("disk-full", f"no room left for {path}", hint="free some room, then run this again")
    return unusable(path, error)
