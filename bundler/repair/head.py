"""Heals the head of a bundle, whose sizes only its own headers tell: release.json, signatures, roots, packing.json.

What decides between readings: of ``release.json`` the digest that undamaged signatures name; of a signature, whether
it belongs to the key whose fingerprint it holds; of a root, whether its own keys have signed it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from bundler.repair.copies import Copy
from bundler.repair.members import Loss
from bundler.repair.recover import is_whole
from bundler.repair.weaving import Derailed, Loom, Option, Piece, Woven, parsed
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, data_frames, unpadded
from installer.bundle.digest import Digest
from installer.bundle.frames import FrameSpan, compress_frame
from installer.bundle.packing import MAX_PACKING_BYTES, Delta, Packing, Patch, read_packing
from installer.bundle.release import MAX_RELEASE_BYTES, Descriptor, File, Release
from installer.bundle.roots import MAX_ROOTS, ROOT_NAME
from installer.bundle.signature import (
    MAX_SIGNATURE_BYTES,
    MAX_SIGNATURES,
    SIGNATURE_NAME,
    SignatureFile,
    parse_signature,
)
from installer.bundle.tarheader import BLOCK, Header, padding, parse_header
from installer.bundle.trust import MAX_ROOT_BYTES, TrustPolicy
from installer.errors import SealiftError

Signatures = Mapping[str, Sequence[bytes]]
"""Files by the name of the member that they are copies of."""
_MOST_READINGS: Final = 256
"""Readings of one member that are parsed, where nothing cheaper tells whether they are right."""


@dataclass
class Plan:
    """The healed bundle: where its bytes come from, in order; or what is ``lost``."""

    release: Release | None = None
    digest: Digest | None = None
    pieces: list[Piece] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    spans: list[FrameSpan] = field(default_factory=list)
    packing: Packing | Delta = field(default_factory=Packing)
    named: bool = False
    """Whether an undamaged signature is over just this release."""

    def add(self, pieces: Sequence[Piece], lengths: Sequence[int], contents: Sequence[int]) -> None:
        """Frames of these lengths come next."""
        for piece in pieces:
            last = self.pieces[-1] if self.pieces else b""
            if isinstance(piece, tuple) and isinstance(last, tuple) and piece[:2] == (last[0], last[1] + last[2]):
                self.pieces[-1] = last[0], last[1], last[2] + piece[2]
            else:
                self.pieces.append(piece)
        self.spans += map(FrameSpan, lengths, contents)

    def take(self, option: Option, content: int) -> None:
        """One frame comes next."""
        self.add(list(option.pieces()), [option.length], [content])

    def chunks(self, copies: Sequence[Copy]) -> Iterator[bytes]:
        """The bytes of the healed bundle, 1 MiB at a time."""
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            number, start, left = piece
            while left:
                data = copies[number].read(start, min(left, 1024 * 1024))
                if not data:
                    raise SealiftError(
                        "media-changed", "a copy shrank while it was read", hint="let nobody write to it"
                    )
                yield data
                start, left = start + len(data), left - len(data)

    def of_the_other(self) -> Plan:
        """The same bytes, out of copy 1 where copy 0 was meant: this was planned from one copy alone."""
        pieces: list[Piece] = [piece if isinstance(piece, bytes) else (1, *piece[1:]) for piece in self.pieces]
        return replace(self, pieces=pieces)

    def members(self) -> dict[str, File | Descriptor | Patch]:
        """What follows the head, in order, by name."""
        carried = {} if self.release is None else self.packing.carried(self.release)
        return {**carried, **{patch.name: patch for patch in self.packing.patches}}

    @property
    def size(self) -> int:
        """Bytes of the healed bundle."""
        return sum(len(piece) if isinstance(piece, bytes) else piece[2] for piece in self.pieces)


@dataclass(frozen=True)
class _Member:
    """A member of the head, in one frame: ``woven`` is where it lies and what it may be."""

    name: str
    size: int
    header: Option
    woven: Woven

    def readings(self, copies: Sequence[Copy]) -> Iterator[tuple[bytes, Option]]:
        """What it may hold, the likeliest first, each once."""
        seen: set[bytes] = set()
        for option in self.woven.options:
            frame = parsed(option.frame(copies), self.woven.content)
            try:
                data = b"" if frame is None else b"".join(unpadded(frame, self.size))
            except SealiftError:
                continue
            if data not in seen:
                seen.add(data)
                yield data, option


class Head:
    """Reads the head out of both copies; ``beside`` are files of ``signatures/`` folders."""

    def __init__(self, loom: Loom, plan: Plan, beside: Signatures) -> None:
        self._loom, self._plan, self._beside = loom, plan, beside
        self._last = ""

    def heal(self, digest: Digest | None = None) -> None:
        """Put the head into the plan, with the release (``digest``, if that is known); or what of it is lost.

        Raises :class:`~bundler.repair.weaving.Derailed`.
        """
        members = [self._member(RELEASE_MEMBER)]
        try:
            while members[-1].name != PACKING_MEMBER and len(members) <= 1 + MAX_SIGNATURES + MAX_ROOTS:
                members.append(self._member())
        except Derailed as end:
            lost = (member.woven.starts[0] for member in members if not member.woven.options)
            raise Derailed((min(*lost, end.span[0], end.span[0]), end.span[1])) from end
        chosen = {member.name: self._choose(member) for member in members[1:]}
        signatures = [one[0] for name, one in chosen.items() if one is not None and SIGNATURE_NAME.fullmatch(name)]
        signatures += [data for files in self._beside.values() for data in files]
        named = {digest} if digest is not None else named_by(signatures)
        chosen[RELEASE_MEMBER] = self._release(members[0], named)
        for member in members:
            self._take(member, chosen[member.name])
        raw = chosen[RELEASE_MEMBER]
        if raw is not None:
            self._plan.release, self._plan.digest = Release.parse(raw[0]), Digest.of(raw[0])
            self._plan.named = self._plan.digest in named
            packing = chosen[PACKING_MEMBER] if members[-1].name == PACKING_MEMBER else None
            self._plan.packing = read_packing(packing[0], self._plan.release) if packing is not None else Packing()

    def _member(self, only: str | None = None) -> _Member:
        """The next one, called ``only``, else anything that may come next."""
        head = self._loom.next(BLOCK, lambda block: _may_stand(parse_header(block), only, self._last))
        if not head.options:
            raise Derailed((head.starts[0], max(copy.size for copy in self._loom.copies)))
        frame = parsed(head.options[0].frame(self._loom.copies), BLOCK)
        found = parse_header(b"".join(frame.unpack() if frame is not None else ()))
        self._last = found.name
        ((_, content),) = data_frames(found.size)
        woven = self._loom.next(content, derived=self._derived(found.name, found.size))
        return _Member(found.name, found.size, head.options[0], woven)

    def _derived(self, name: str, size: int) -> bytes | None:
        """What such a member of that size holds if neither copy can say."""
        known = [*self._beside.get(name, ()), *([Packing().to_bytes()] if name == PACKING_MEMBER else [])]
        fitting = next((data for data in known if len(data) == size), None)
        return None if fitting is None else _usual(fitting)

    def _release(self, member: _Member, named: set[Digest]) -> tuple[bytes, Option] | None:
        """The reading that is ``named``; where nothing is, the only one that can be a release."""
        readings = member.readings(self._loom.copies)
        if named:
            return next(
                (one for one in readings if Digest.of(one[0]) in named and _is_sound(member.name, one[0])), None
            )
        return self._only(member)

    def _choose(self, member: _Member) -> tuple[bytes, Option] | None:
        """The right reading of a member, if something tells which that is."""
        if not SIGNATURE_NAME.fullmatch(member.name):
            return self._only(member)
        readings = list(islice(member.readings(self._loom.copies), _MOST_READINGS))
        for one in readings:
            if (found := read_signature(one[0])) is not None and is_whole(found):
                return one
        same = (one for one in readings if one[0] in self._beside.get(member.name, ()))
        agreed = (one for one in readings[:1] if one[1].is_agreed and _is_sound(member.name, one[0]))
        return next(same, None) or next(agreed, None)

    def _only(self, member: _Member) -> tuple[bytes, Option] | None:
        """The one reading that can be this member; None where there are none, or several."""
        readings = islice(member.readings(self._loom.copies), _MOST_READINGS)
        sound = list(islice((one for one in readings if _is_sound(member.name, one[0])), 2))
        return sound[0] if len(sound) == 1 else None

    def _take(self, member: _Member, chosen: tuple[bytes, Option] | None) -> None:
        """A reading goes into the plan, as this program would pack it where a copy has it so."""
        if chosen is None:
            within = (member.woven.starts[0], member.woven.starts[0] + member.woven.length)
            holes = member.woven.holes
            self._plan.lost.append(Loss(member.name, within, holes or (within,), exact=bool(holes)))
            return
        data, option = chosen
        usual = _usual(data)
        same = (one for one in member.woven.options if one.frame(self._loom.copies) == usual)
        self._plan.take(member.header, BLOCK)
        self._plan.take(next(same, option), member.woven.content)


def named_by(signatures: Sequence[bytes]) -> set[Digest]:
    """What undamaged ones of these signature files are over."""
    read = map(read_signature, signatures)
    return {found.digest for found in read if found is not None and is_whole(found)}


def _usual(data: bytes) -> bytes:
    """The frame of a member of the head as this program packs it."""
    return compress_frame(data + bytes(padding(len(data))))


def _may_stand(header: Header, only: str | None, last: str) -> bool:
    """Whether a member of the head may come after the one called ``last``."""
    caps = {RELEASE_MEMBER: MAX_RELEASE_BYTES, PACKING_MEMBER: MAX_PACKING_BYTES}
    if only is not None or header.name == PACKING_MEMBER:
        return header.name == (only or PACKING_MEMBER) and 0 < header.size <= caps[header.name]
    if SIGNATURE_NAME.fullmatch(header.name):
        return (last == RELEASE_MEMBER or last < header.name) and 0 < header.size <= MAX_SIGNATURE_BYTES
    if ROOT_NAME.fullmatch(header.name):
        return (last == RELEASE_MEMBER or last < header.name) and 0 < header.size <= MAX_ROOT_BYTES
    return False


def read_signature(data: bytes) -> SignatureFile | None:
    """What a signature file says; None for what is none."""
    try:
        return parse_signature(data, "a signature")
    except SealiftError:
        return None


def _is_sound(name: str, data: bytes) -> bool:
    """Whether ``data`` can be the member of the head that is called so."""
    try:
        if name == RELEASE_MEMBER:
            Release.parse(data)
        elif name == PACKING_MEMBER:
            _ = data == Packing().to_bytes() or Delta.parse(data)
        elif SIGNATURE_NAME.fullmatch(name):
            parse_signature(data, name)
        else:
            TrustPolicy.from_root(data, name)
    except SealiftError:
        return False
    return True
