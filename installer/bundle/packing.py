"""``packing.json``: how one file carries the content. Unsigned, so nothing in it is believed.

Whatever it says of the content, each byte that is used ends at a digest of ``release.json``,
so a lie here can only refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from installer.bundle.problems import fault, first_problem, problem_id
from installer.bundle.release import Closed, Descriptor, DigestText, File, Path, Release, Size
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

PACKING_TYPE: Final = "application/vnd.sealift.packing.v1+json"
DELTA_TYPE: Final = "application/vnd.sealift.packing.v2+json"
MAX_PACKING_BYTES: Final = 4 * 1024 * 1024
"""Of 10,000 blobs, each of them patched, packing.json has 4.0 MB; left out, 0.8 MB."""
MAX_PATCH: Final = 2 * 1024**3
MAX_UNPACKED: Final = 8 * 1024**3
"""Bytes of a layer, old or new, that may be patched: the old one may lie unpacked on the disk meanwhile."""
ALWAYS_CARRIED: Final = frozenset({"template", "doc", "changelog", "layout"})
"""Roles of files that whoever reads a bundle needs, whatever he has already."""
_Kind = TypeVar("_Kind", "Packing", "Delta")
_HINT: Final = "made by a newer sealift, or not by sealift at all"
_IDS: Final = {"release-unknown-field": "packing-unknown-field", "release-digest": "packing-digest"}


class Packing(Closed):
    """``kind: full``: every member of the signed list follows, whole and in order."""

    type: Literal["application/vnd.sealift.packing.v1+json"] = "application/vnd.sealift.packing.v1+json"
    kind: Literal["full"] = "full"

    @property
    def patches(self) -> tuple[Patch, ...]:
        """None."""
        return ()

    def carried(self, release: Release) -> dict[str, File | Descriptor]:
        """What follows of the signed list, in order: all of it."""
        return dict(release.members())

    def to_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, raw: bytes) -> Packing:
        """Read the one valid spelling.

        Raises the ``json-…`` errors, ``packing-type``, ``packing-unknown-field`` or ``packing-invalid`` (3).
        """
        return _parse(cls, raw)


Library = Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.+-]{0,31}$")]
"""The version of a compressor: another one may give other bytes."""
Label = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+( [\x21-\x7e]+)*$", max_length=100)]


class Plain(Closed):
    """The layer is a plain tar."""

    kind: Literal["none"] = "none"


class Gzip(Closed):
    """The layer is one gzip member of zlib's: ``header`` is all before the compressed data, in hex."""

    kind: Literal["gzip"] = "gzip"
    header: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2}){10,512}$")]
    level: Annotated[int, Field(ge=1, le=9)]
    library: Library


class Zstd(Closed):
    """The layer is one zstd frame. ``at_once``: made in one call; ``sized``: it declares its content size."""

    kind: Literal["zstd"] = "zstd"
    at_once: bool
    checksum: bool
    level: Annotated[int, Field(ge=1, le=19)]
    library: Library
    sized: bool


Encoding = Annotated[Plain | Gzip | Zstd, Field(discriminator="kind")]


class Patch(Closed):
    """The member ``patches/<hex of digest>``: gives the unpacked ``target`` out of the unpacked ``base``.

    ``encoding`` says how the target is packed again. Sizes are bytes; the unpacked ones bound what may be written.
    ``reach`` is how far before the furthest place that it has leaned on it goes back: what must be kept of the base.
    """

    base: DigestText
    base_unpacked: Size
    digest: DigestText
    encoding: Encoding
    reach: Size
    size: Size
    target: DigestText
    unpacked: Size

    @property
    def name(self) -> str:
        """Of its member."""
        return f"patches/{self.digest.removeprefix('sha256:')}"

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.size > MAX_PATCH or max(self.unpacked, self.base_unpacked, self.reach) > MAX_UNPACKED:
            raise fault("packing-size", "a patch, or what it is about, is larger than may be patched")
        if self.base == self.target:
            raise fault("packing-base", "a patch of a layer against itself")
        return self


class Delta(Closed):
    """``kind: delta``: of the signed list, ``absent`` is left out; of the ``patches``, one for each target is used.

    ``since`` says for people what it builds on. What is neither absent nor a target follows, then the patches.
    """

    type: Literal["application/vnd.sealift.packing.v2+json"] = "application/vnd.sealift.packing.v2+json"
    kind: Literal["delta"] = "delta"
    since: Annotated[tuple[Label, ...], Field(min_length=1, max_length=64)]
    absent: tuple[Path, ...]
    patches: tuple[Patch, ...]

    def to_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, raw: bytes) -> Delta:
        """As :meth:`Packing.parse`; raises also the other ``packing-…`` errors (3)."""
        return _parse(cls, raw)

    def carried(self, release: Release) -> dict[str, File | Descriptor]:
        """What follows of the signed list, in order. The patches come after it."""
        targets = {blob_name(patch.target) for patch in self.patches}
        gone = targets.union(self.absent)
        return {name: member for name, member in release.members() if name not in gone}

    def left_out(self, release: Release) -> dict[str, File | Descriptor]:
        """What the file does not hold whole, in the order of the signed list."""
        carried = self.carried(release)
        return {name: member for name, member in release.members() if name not in carried}

    def fit(self, release: Release) -> None:
        """Refuse a delta that speaks of what the signed list does not have, or leaves out what all need.

        Raises ``packing-unlisted``, ``packing-needed``, ``packing-target``, ``packing-overlap`` (3).
        """
        listed = dict(release.members())
        manifests = {part.digest for image in release.images for part in image.manifests}
        absent = frozenset(self.absent)
        for name in self.absent:
            if name not in listed:
                raise _foul("packing-unlisted", f"packing.json leaves out {name}, which the signed list does not have")
            if _is_needed(listed[name], manifests):
                raise _foul("packing-needed", f"packing.json leaves out {name}, which every bundle must carry")
        for patch in self.patches:
            name = blob_name(patch.target)
            if name not in listed:
                raise _foul("packing-unlisted", f"packing.json patches {name}, which the signed list does not have")
            if patch.target in manifests:
                raise _foul("packing-target", f"packing.json patches the manifest {patch.target}")
            if name in absent:
                raise _foul("packing-overlap", f"packing.json both leaves out and patches {name}")

    @model_validator(mode="after")
    def _lists_are_sorted_and_unique(self) -> Self:
        digests = tuple(patch.digest for patch in self.patches)
        for listed, what in ((self.since, "since"), (self.absent, "absent"), (digests, "patches")):
            if list(listed) != sorted(listed):
                raise fault("packing-order", f"{what} must be sorted")
            if len(set(listed)) != len(listed):
                raise fault("packing-repeated", f"{what}: one of them stands there twice")
        if len({(patch.target, patch.base) for patch in self.patches}) != len(self.patches):
            raise fault("packing-repeated", "two patches for one layer against one base")
        if not self.absent and not self.patches:
            raise fault("packing-empty", "a delta that leaves nothing out")
        return self


def blob_name(digest: str) -> str:
    """The member that holds a blob."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def read_packing(raw: bytes, release: Release) -> Packing | Delta:
    """How a file carries ``release``. Raises the ``json-…`` and ``packing-…`` errors (3)."""
    value = parse_canonical(raw, "packing.json")
    kind: object = value.get("type") if isinstance(value, dict) else None
    if kind == DELTA_TYPE:
        delta = Delta.parse(raw)
        delta.fit(release)
        return delta
    return Packing.parse(raw)


def bases_of(packing: Packing | Delta) -> Mapping[str, tuple[Patch, ...]]:
    """The patches of each target, by its digest."""
    found: dict[str, list[Patch]] = {}
    for patch in packing.patches:
        found.setdefault(patch.target, []).append(patch)
    return MappingProxyType({target: tuple(patches) for target, patches in found.items()})


def patched(packing: Packing | Delta, release: Release) -> Iterator[tuple[Patch, Descriptor]]:
    """Each patch, in the order of the file, with the blob that it gives."""
    blobs = release.blobs()
    for patch in packing.patches:
        yield patch, blobs[patch.target.removeprefix("sha256:")]


def _is_needed(member: File | Descriptor, manifests: set[str]) -> bool:
    return member.role in ALWAYS_CARRIED if isinstance(member, File) else member.digest in manifests


def _parse(kind: type[_Kind], raw: bytes) -> _Kind:
    value = parse_canonical(raw, "packing.json")
    if not isinstance(value, dict) or value.get("type") != kind.model_fields["type"].default:
        raise SealiftError("packing-type", "packing.json is of a type that is not known here", hint=_HINT)
    try:
        packing = kind.model_validate_json(raw)
    except ValidationError as error:
        found = problem_id(error)
        found = _IDS.get(found, "packing-invalid" if found.startswith("release-") else found)
        raise SealiftError(found, f"packing.json: {first_problem(error)}", hint=_HINT) from error
    if packing.to_bytes() != raw:
        raise SealiftError("packing-invalid", "packing.json leaves out fields that must be spelled out")
    return packing


def _foul(error_id: str, message: str) -> SealiftError:
    return SealiftError(error_id, message, hint="the media was not made by sealift, or was tampered with")
