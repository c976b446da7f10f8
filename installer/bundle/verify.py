"""The one door: only this module constructs a :class:`VerifiedRelease`, and everything later demands one.

Order: the roots that the media carries; signatures over the raw bytes of ``release.json`` by all that the policy
demands in every channel; only then its parsing; then the product and the version of the root, and what the policy
demands for the release's channel; then the packing; then, member by member, the content against the signed list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Final

from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink, Writer
from installer.bundle.digest import Digest
from installer.bundle.lanes import Lane, Lanes
from installer.bundle.packing import Packing
from installer.bundle.release import Descriptor, File, Release
from installer.bundle.roots import current
from installer.bundle.tarheader import Header
from installer.bundle.trust import Signer, TrustPolicy
from installer.errors import SealiftError

_KEY: Final = object()
_SMALL: Final = 1024 * 1024
"""Bytes up to which handing a member to another thread costs more than it gains."""
_TAMPERED: Final = "the media was tampered with, or is incomplete: get another copy"
Now = datetime | Callable[[TrustPolicy], datetime] | None
"""What time it is, or what time it is under the root that was reached."""
Progress = Callable[[int], None]
"""Called with the number of bytes of the file that have just been read."""


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
    :func:`verify_statement` and :meth:`Packing.parse` raise.
    """
    policy = current(policy, reader.head.roots)
    policy.refuse_expired(now(policy) if callable(now) else now)
    verified = verify_statement(reader.head.release, {**beside, **reader.head.signatures}, policy)
    Packing.parse(reader.head.packing)
    return verified


def check_content(
    reader: BundleReader,
    verified: VerifiedRelease,
    sinks: Sequence[Sink] = (),
    *,
    progress: Progress = lambda _: None,
    quick: bool = False,
) -> tuple[str, ...]:
    """Read the content once, check every member against the signed list, and feed ``sinks`` on the way.

    As :func:`read_content`, for a list that somebody whom the policy trusts has signed.
    """
    return read_content(reader, verified.release, sinks, progress=progress, quick=quick)


def read_content(
    reader: BundleReader,
    release: Release,
    sinks: Sequence[Sink] = (),
    *,
    progress: Progress = lambda _: None,
    quick: bool = False,
) -> tuple[str, ...]:
    """Read the content once and check every member against a list, whoever made that list.

    Each sink's writer is finished only after the member's digest was right. ``quick`` passes over members that no
    sink wants; their names are returned as *not checked* (empty otherwise). Raises ``digest-mismatch``,
    ``truncated`` (4) and the format errors (3). The sinks are not closed here.
    """
    not_checked: list[str] = []
    seen = 0

    def advance() -> None:
        nonlocal seen
        progress(reader.position - seen)
        seen = reader.position

    listed = dict(release.members())
    with Lanes() as lanes:
        for number, (name, member) in enumerate(listed.items()):
            _check_header(reader.next_header(), name, listed, number)
            writers = [writer for sink in sinks if (writer := sink.open(member)) is not None]
            if quick and not writers:
                reader.skip(member.size)
                not_checked.append(name)
            elif writers or member.size <= _SMALL:
                _check_here(reader, name, member, writers, advance)
            else:
                _check_on_lane(reader, lanes.begin(partial(_check_digest, name, member)), member, advance)
            advance()
        surplus = reader.next_header()
        if surplus is not None:
            raise _misplaced(surplus, "the end of the archive", listed, len(listed))
        reader.finish()
    return tuple(not_checked)


def _check_header(header: Header | None, name: str, listed: Mapping[str, File | Descriptor], number: int) -> None:
    """``header`` must introduce ``name``, which is the member ``number`` of the signed list."""
    if header is None:
        raise SealiftError(
            "member-missing", f"the bundle ends before {name}, which the signed list has", hint=_TAMPERED
        )
    if header.name != name:
        raise _misplaced(header, name, listed, number)
    member = listed[name]
    mode = int(member.mode, 8) if isinstance(member, File) else 0o644
    if header.size != member.size:
        raise SealiftError(
            "member-size", f"{name} has {header.size} bytes, the signed list says {member.size}", hint=_TAMPERED
        )
    if header.mode != mode:
        raise SealiftError(
            "member-mode", f"{name} has mode {header.mode:o}, the signed list says {mode:o}", hint=_TAMPERED
        )


def _misplaced(header: Header, place: str, listed: Mapping[str, File | Descriptor], number: int) -> SealiftError:
    """``header`` stands where ``place`` must be, after the first ``number`` members of the signed list."""
    order = list(listed)
    if header.name in order[:number]:
        return SealiftError("member-repeated", f"{header.name} stands twice in the bundle", hint=_TAMPERED)
    if header.name in listed:
        return SealiftError("member-order", f"the bundle holds {header.name} where {place} must be", hint=_TAMPERED)
    if header.name.casefold() in {name.casefold() for name in order}:
        return SealiftError("name-twin", f"{header.name} differs from a listed name only in case", hint=_TAMPERED)
    return SealiftError("member-unexpected", f"{header.name} is not in the signed list", hint=_TAMPERED)


def _check_on_lane(reader: BundleReader, lane: Lane, member: File | Descriptor, advance: Callable[[], None]) -> None:
    for length, frame in reader.frames(member.size):
        lane.feed(length, frame)
        advance()
    lane.close()


def _check_here(
    reader: BundleReader, name: str, member: File | Descriptor, writers: list[Writer], advance: Callable[[], None]
) -> None:
    hasher = hashlib.sha256()
    try:
        for chunk in reader.data(member.size):
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
            hint="copy the bundle again from its source and compare SHA256SUMS",
        )
