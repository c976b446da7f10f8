"""The one door: only this module constructs a :class:`VerifiedRelease`, and everything later demands one.

Order: the roots that the media carries; signatures over the raw bytes of ``release.json`` by all that the policy
demands in every channel; only then its parsing; then the product and the version of the root, and what the policy
demands for the release's channel; then the packing; then, member by member, the content against the signed list.
A delta's patches come last: one that is used ends, like everything, at a digest of the signed list.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from installer.bundle.ahead import Ahead
from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.digest import Digest
from installer.bundle.lanes import Lane, Lanes
from installer.bundle.packing import Delta, Patch, patched, read_packing
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.roots import current
from installer.bundle.tarheader import Header
from installer.bundle.trust import Signer, TrustPolicy
from installer.errors import SealiftError

_KEY: Final = object()
_SMALL: Final = 1024 * 1024
"""Bytes up to which handing a member to another thread costs more than it gains."""
_TAMPERED: Final = "the media was tampered with, or is incomplete: get another copy"
_COPY_AGAIN: Final = "copy the bundle again from its source and compare SHA256SUMS"
Now = datetime | Callable[[TrustPolicy], datetime] | None
"""What time it is, or what time it is under the root that was reached."""
Progress = Callable[[int], None]
"""Called with the number of bytes of the file that have just been read."""


class Rebuild(Protocol):
    """Whoever can make blobs out of patches. Nothing that it gives is believed."""

    def can(self, patch: Patch) -> bool:
        """Whether the base of ``patch`` is at hand."""

    def rebuild(self, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of the target, out of those of the patch. Raises the ``patch-…`` errors."""


@dataclass(frozen=True)
class VerifiedRelease:
    """A release whose signatures hold under ``policy``. Its *content* is checked by :func:`check_content`."""

    release: Release
    raw: bytes
    digest: Digest
    signatures: Mapping[str, bytes]
    signers: tuple[Signer, ...]
    policy: TrustPolicy
    _key: InitVar[object] = None  # not a field: `dataclasses.replace` cannot carry it over to another release

    def __post_init__(self, _key: object) -> None:
        if _key is not _KEY:
            raise TypeError("a VerifiedRelease is made by installer.bundle.verify alone")

    @property
    def policy_origin(self) -> str:
        return self.policy.origin


def verify_statement(raw: bytes, signatures: Mapping[str, bytes], policy: TrustPolicy) -> VerifiedRelease:
    """Trust ``release.json`` or refuse it. Pure.

    Raises the errors of :meth:`TrustPolicy.judge` and :meth:`Release.parse`, ``wrong-product`` (6) and
    ``roots-missing`` (5).
    """
    policy.judge("release", raw, signatures)
    release = Release.parse(raw)
    if policy.product is not None and policy.product != release.product:
        raise SealiftError(
            "wrong-product",
            f"a release of {release.product}, but {policy.origin} is for {policy.product}",
            hint="use the media of the product this host trusts",
        )
    if policy.raw is not None and policy.root_version < release.minimum_root_version:
        raise SealiftError(
            "roots-missing",
            f"the release wants root version {release.minimum_root_version}, and {policy.place} is the newest here: "
            "the roots in between were left off the media",
            hint="get undamaged media, or the roots alone from the vendor: sealift trust update FILE…",
        )
    signers = policy.judge("release", raw, signatures, channel=release.channel)  # what only its channel demands
    return VerifiedRelease(release, raw, Digest.of(raw), dict(signatures), signers, policy, _KEY)


def verify_release(
    reader: BundleReader,
    policy: TrustPolicy,
    beside: Mapping[str, bytes] = MappingProxyType({}),
    *,
    now: Now = None,
) -> VerifiedRelease:
    """Trust the head of a bundle or refuse it. Nothing of the content has been read when it returns.

    The newest root that the media leads to is the one that counts; it stands in the result. ``beside`` are signature
    files from elsewhere, by names that are not inside. Without ``now``, a root that refuses once it has expired
    refuses. Raises what :func:`~installer.bundle.roots.walk` raises, ``root-expired`` (5), then what
    :func:`verify_statement` and :func:`read_packing` raise.
    """
    policy = current(policy, reader.head.roots)
    policy.refuse_expired(now(policy) if callable(now) else now)
    verified = verify_statement(reader.head.release, {**beside, **reader.head.signatures}, policy)
    read_packing(reader.head.packing, verified.release)
    return verified


def check_content(
    reader: BundleReader,
    verified: VerifiedRelease,
    sinks: Sequence[Sink] = (),
    *,
    progress: Progress = lambda _: None,
    quick: bool = False,
    have: Collection[str] | None = (),
    rebuild: Rebuild | None = None,
    outrun: threading.Event | None = None,
) -> tuple[str, ...]:
    """Read the content once, check every member against the signed list, and feed ``sinks`` on the way.

    As :func:`read_content`, for a list that somebody whom the policy trusts has signed.
    """
    return read_content(
        reader,
        verified.release,
        sinks,
        progress=progress,
        quick=quick,
        have=have,
        rebuild=rebuild,
        outrun=outrun,
    )


def read_content(
    reader: BundleReader,
    release: Release,
    sinks: Sequence[Sink] = (),
    *,
    progress: Progress = lambda _: None,
    quick: bool = False,
    have: Collection[str] | None = (),
    rebuild: Rebuild | None = None,
    outrun: threading.Event | None = None,
) -> tuple[str, ...]:
    """Read the content once and check every member against a list, whoever made that list.

    Each sink's writer is finished only after the member's digest was right. ``quick`` passes over members that no
    sink wants; their names are returned as *not checked* (empty otherwise). Of a delta, what ``rebuild`` can make
    out of patches is fed and checked like the rest; ``have`` are digests that are known to be held elsewhere, None
    where it is somebody else's business whether all is there. Once ``outrun`` is set, because a sink is slower than the
    media, large blobs are also read from the end (:mod:`installer.bundle.ahead`): then ``progress``, and the writers of
    two members, are called by two threads. Raises ``digest-mismatch``, ``truncated`` (4), the format errors (3), those
    of ``rebuild``, and, after all that is carried was checked, ``incomplete`` (4). The sinks are not closed here.
    """
    packing = read_packing(reader.head.packing, release)
    not_checked: list[str] = []
    told = _Advance(reader, progress)
    feed = _Feed(sinks, progress)

    def advance() -> None:
        told()
        ahead.look()

    listed = packing.carried(release)
    order = _Order((*listed, *(patch.name for patch in packing.patches)), release)
    with Ahead(reader, listed, None if quick else outrun, feed.check_ahead) as ahead, Lanes() as lanes:
        for name, member in listed.items():
            start = reader.position
            order.check(reader.next_header(), name, member.size, _mode(member), "the signed list")
            if (verdict := ahead.take(name, start)) is not None:
                lanes.wait_for(verdict)
                advance()
                reader.skip(member.size)
                told.pass_over()
                continue
            writers = feed.writers(member)
            if quick and not writers:
                reader.skip(member.size)
                not_checked.append(name)
            elif writers or member.size <= _SMALL:
                _check_here(name, member, reader.data(member.size), writers, advance)
            else:
                _check_on_lane(reader, lanes.begin(partial(_check_digest, name, member)), member, advance)
            advance()
    built = _check_patches(reader, patched(packing, release), order, sinks, advance, quick=quick, rebuild=rebuild)
    order.end(reader.next_header())
    reader.finish()
    if isinstance(packing, Delta) and have is not None:
        refuse_incomplete(packing, release, built.union(have))
    return tuple(not_checked)


def _check_patches(
    reader: BundleReader,
    patches: Iterable[tuple[Patch, Descriptor]],
    order: _Order,
    sinks: Sequence[Sink],
    advance: Callable[[], None],
    *,
    quick: bool,
    rebuild: Rebuild | None,
) -> set[str]:
    """Check the patches of a delta and what they give; the digests of what was rebuilt."""
    built: set[str] = set()
    for patch, blob in patches:
        order.check(reader.next_header(), patch.name, patch.size, 0o644, "packing.json")
        able = rebuild if rebuild is not None and patch.target not in built and rebuild.can(patch) else None
        writers = [writer for sink in sinks if able and (writer := sink.open(blob)) is not None]
        able = able if writers or not sinks else None  # what nobody wants needs no rebuilding
        if quick and not writers:
            reader.skip(patch.size)
        else:
            _check_patch(patch, blob, Told(reader.data(patch.size), advance), writers, able)
            built |= {patch.target} if able else set()
        advance()
    return built


def _mode(member: File | Descriptor) -> int:
    return int(member.mode, 8) if isinstance(member, File) else 0o644


def refuse_incomplete(delta: Delta, release: Release, have: Collection[str]) -> None:
    """Raise ``incomplete`` (4) unless ``have`` holds the digests of all that ``delta`` does not carry whole."""
    lacking = {name: member for name, member in delta.left_out(release).items() if member.digest not in have}
    if not lacking:
        return
    raise SealiftError(
        "incomplete",
        f"what this delta carries is good, but {len(lacking)} members are not in it or cannot be rebuilt without what "
        f"it builds on: {', '.join(delta.since)}",
        hint="bundle verify --have the bundle that it builds on; a site is asked what it has when it installs",
        details=tuple(lacking)[:20],
    )


class _Feed:
    """The sinks, asked by one thread at a time."""

    def __init__(self, sinks: Sequence[Sink], progress: Progress) -> None:
        self._sinks, self._progress, self._lock = sinks, progress, threading.Lock()

    def writers(self, member: File | Descriptor) -> list[Writer]:
        """Those of the sinks that want it."""
        with self._lock:
            return [writer for sink in self._sinks if (writer := sink.open(member)) is not None]

    def check_ahead(self, name: str, blob: Descriptor, beside: BundleReader, chunks: Iterator[bytes]) -> None:
        """Check a blob that another reader has come to, which tells of its own progress."""
        advance = _Advance(beside, self._progress, beside.position)
        _check_here(name, blob, chunks, self.writers(blob), advance)


class _Advance:
    """Tells ``progress`` what ``reader`` has read since it was told the last time."""

    def __init__(self, reader: BundleReader, progress: Progress, seen: int = 0) -> None:
        self._reader, self._progress, self._seen = reader, progress, seen

    def __call__(self) -> None:
        """Tell it."""
        self._progress(self._reader.position - self._seen)
        self._seen = self._reader.position

    def pass_over(self) -> None:
        """Somebody else tells of what was passed over."""
        self._seen = self._reader.position


class _Order:
    """Which member must come next: ``names`` in the order of the file."""

    def __init__(self, names: Sequence[str], release: Release) -> None:
        self._names, self._release, self._number = names, release, 0

    def check(self, header: Header | None, name: str, size: int, mode: int, source: str) -> None:
        """``header`` must introduce ``name``, of which ``source`` gives size and mode."""
        if header is None:
            raise SealiftError("member-missing", f"the bundle ends before {name}, which {source} has", hint=_TAMPERED)
        if header.name != name:
            raise self._misplaced(header, name)
        if header.size != size:
            raise SealiftError("member-size", f"{name} has {header.size} bytes, {source} says {size}", hint=_TAMPERED)
        if header.mode != mode:
            raise SealiftError(
                "member-mode", f"{name} has mode {header.mode:o}, {source} says {mode:o}", hint=_TAMPERED
            )
        self._number += 1

    def end(self, surplus: Header | None) -> None:
        """Nothing may follow the last member."""
        if surplus is not None:
            raise self._misplaced(surplus, "the end of the archive")

    def _misplaced(self, header: Header, place: str) -> SealiftError:
        """``header`` stands where ``place`` must be."""
        name = header.name
        signed = [one for one, _ in self._release.members()]
        if name in self._names[: self._number]:
            return SealiftError("member-repeated", f"{name} stands twice in the bundle", hint=_TAMPERED)
        if name in self._names:
            return SealiftError("member-order", f"the bundle holds {name} where {place} must be", hint=_TAMPERED)
        if name in signed:
            return SealiftError(
                "member-left-out",
                f"the bundle holds {name}, which its packing.json leaves out or patches",
                hint=_TAMPERED,
            )
        if name.casefold() in {one.casefold() for one in signed}:
            return SealiftError("name-twin", f"{name} differs from a listed name only in case", hint=_TAMPERED)
        return SealiftError("member-unexpected", f"{name} is not in the signed list", hint=_TAMPERED)


class Told:
    """The bytes of a patch as they pass by: hashed, and the reader's progress told."""

    def __init__(self, chunks: Iterator[bytes], advance: Callable[[], None]) -> None:
        self._chunks, self._advance, self._hasher = chunks, advance, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hasher.update(chunk)
            yield chunk
            self._advance()

    def check(self, patch: Patch) -> None:
        """Read what is left of it; ``digest-mismatch`` (4) unless it is the patch that ``packing.json`` means."""
        for _ in self:
            pass
        if f"sha256:{self._hasher.hexdigest()}" != patch.digest:
            raise SealiftError("digest-mismatch", f"{patch.name} is damaged: its bytes do not match", hint=_COPY_AGAIN)


def _check_patch(patch: Patch, blob: Descriptor, data: Told, writers: list[Writer], rebuild: Rebuild | None) -> None:
    """Check a patch and, with ``rebuild``, what it gives. A damaged patch is told from one that is wrong."""
    if rebuild is None:
        data.check(patch)
        return
    try:
        _check_here(f"{blob.digest}, rebuilt,", blob, rebuild.rebuild(patch, data), writers, lambda: None)
    except SealiftError as error:
        data.check(patch)
        if error.id == "digest-mismatch":
            raise _not_rebuilt(patch) from None
        raise
    data.check(patch)


def _not_rebuilt(patch: Patch) -> SealiftError:
    return SealiftError(
        "digest-mismatch",
        f"what a patch gives is not {patch.target}: it was made wrong, or what it builds on, {patch.base}, is damaged",
        hint="get the whole release in place of the delta",
    )


def _check_on_lane(reader: BundleReader, lane: Lane, member: File | Descriptor, advance: Callable[[], None]) -> None:
    for length, frame in reader.frames(member.size):
        lane.feed(length, frame)
        advance()
    lane.close()


def _check_here(
    name: str,
    member: File | Descriptor,
    chunks: Iterable[bytes],
    writers: list[Writer],
    advance: Callable[[], None],
) -> None:
    hasher = hashlib.sha256()
    try:
        for chunk in chunks:
            hasher.update(chunk)
            for writer in writers:
                writer.write(chunk)
            advance()
        _check_digest(name, member, f"sha256:{hasher.hexdigest()}")
    except BaseException:
        for writer in writers:
            writer.abort()
        raise
    for writer in writers:
        writer.finish()


def _check_digest(name: str, member: File | Descriptor, found: str) -> None:
    if found != member.digest:
        raise SealiftError(
            "digest-mismatch",
            f"{name} is damaged: its bytes do not match the signed digest",
            hint=_COPY_AGAIN,
        )
