"""Heals members: which combination of what their frames may be has the digest that the list says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, Self

from bundler.repair.copies import Copy, Range
from bundler.repair.weaving import MOST_MIXTURES, Loom, Option, Piece, Woven, parsed, read_frame
from installer.bundle.archive import data_frames, unpadded
from installer.bundle.frames import Buffer
from installer.errors import SealiftError

_MOST_OPEN: Final = 64
"""Frames of one member of which more than one reading is possible."""
_ZEROS: Final = re.compile(rb"\0{64,}")
"""What compressed data never holds: sectors that were lost."""


@dataclass(frozen=True)
class Loss:
    """Bytes of copy 0 that neither copy has: ``ranges``, as far as they can be told; they lie ``within`` a ``member``.

    ``exact``: just these bytes are not there in either copy; otherwise they are the likeliest.
    """

    member: str
    within: Range
    ranges: tuple[Range, ...]
    exact: bool = False


@dataclass(frozen=True)
class Healed:
    """A member's data: where its bytes come from, and the length of each frame."""

    pieces: tuple[Piece, ...]
    lengths: tuple[int, ...]


class State(Protocol):
    """A hash that can go on in several ways."""

    def update(self, data: Buffer, /) -> None:
        """The next bytes."""

    def copy(self) -> Self:
        """The same, to go on with other bytes."""

    def hexdigest(self) -> str:
        """Of all bytes so far."""


def heal(loom: Loom, name: str, size: int, digest: str) -> Healed | Loss:
    """The data of the member that both copies have next; both go on behind it. Raises :class:`Derailed`."""
    frames = list(data_frames(size))
    for which in (0, 1):
        if (lengths := _alone(loom, which, frames, digest)) is not None:
            start = loom.places[which]
            return Healed(((which, start, sum(lengths)),), tuple(_passed(loom, which, lengths)))
    begun, number = list(loom.places), loom.number
    found = _mixed(loom, name, frames, digest)
    if isinstance(found, Loss) and not found.exact:
        loom.places, loom.number, loom.fine = begun, number, True
        found = _mixed(loom, name, frames, digest)
        loom.fine = False
    return found


def _mixed(loom: Loom, name: str, frames: Sequence[tuple[int, int]], digest: str) -> Healed | Loss:
    """A member out of both copies."""
    woven = [loom.next(content) for _, content in frames]
    if lost := [one for one in woven if not one.options]:
        within = (lost[0].starts[0], lost[-1].starts[0] + lost[-1].length)
        return _loss(loom.copies, name, lost, within, frames[-1][1] - frames[-1][0])
    found = next((chosen for chosen, state in _combinations(loom, woven, frames) if _is(state, digest)), None)
    if found is None:
        within = (woven[0].starts[0], woven[-1].starts[0] + woven[-1].length) if woven else (0, 0)
        return _loss(loom.copies, name, woven, within, frames[-1][1] - frames[-1][0] if frames else 0)
    return Healed(tuple(piece for one in found for piece in one.pieces()), tuple(one.length for one in found))


def _is(state: State, digest: str) -> bool:
    return f"sha256:{state.hexdigest()}" == digest


def _alone(loom: Loom, which: int, frames: Sequence[tuple[int, int]], digest: str) -> list[int] | None:
    """The lengths of a member's frames where one copy has all of it."""
    hasher, place, lengths = hashlib.sha256(), loom.places[which], []
    for length, content in frames:
        frame = read_frame(loom.copies[which], place, content)
        if frame is None:
            return None
        try:
            for piece in unpadded(frame, length):
                hasher.update(piece)
        except SealiftError:
            return None
        lengths.append(sum(map(len, frame.parts)))
        place += lengths[-1]
    return lengths if _is(hasher, digest) else None


def _passed(loom: Loom, which: int, lengths: Sequence[int]) -> Sequence[int]:
    """Go on behind frames of these lengths, in the other copy as its index says, else as far as in this one."""
    for copy in (0, 1):
        table = loom.lengths[copy] if copy != which else None
        told = lengths if table is None else table[loom.number : loom.number + len(lengths)]
        loom.places[copy] += sum(told)
    loom.number += len(lengths)
    return lengths


def _combinations(
    loom: Loom, woven: Sequence[Woven], frames: Sequence[tuple[int, int]]
) -> Iterator[tuple[list[Option], State]]:
    """Every combination of options, the likeliest first, with the state after all of its bytes; as many as may be."""
    runs = [list(run) for _, run in groupby(zip(woven, frames, strict=True), key=lambda one: len(one[0].options) > 1)]
    steps: list[list[tuple[Woven, tuple[int, int]]]] = []
    for run in runs:
        steps += [[one] for one in run] if len(run[0][0].options) > 1 else [run]
    ranks = [len(step[0][0].options) - 1 if len(step) == 1 else 0 for step in steps]
    if sum(rank > 0 for rank in ranks) > _MOST_OPEN:
        return
    tried = 0
    for total in range(sum(ranks) + 1):
        for found in _walk(loom, steps, ranks, hashlib.sha256(), total):
            yield found
            tried += 1
            if tried >= MOST_MIXTURES:
                return
        if loom.budget.left <= 0:
            return


def _walk(
    loom: Loom,
    steps: Sequence[Sequence[tuple[Woven, tuple[int, int]]]],
    ranks: Sequence[int],
    state: State,
    total: int,
) -> Iterator[tuple[list[Option], State]]:
    """Combinations whose ranks add up to ``total``."""
    if not steps:
        if total == 0:
            yield [], state
        return
    rest = sum(ranks[1:])
    for rank in range(max(0, total - rest), min(ranks[0], total) + 1):
        here = state.copy()
        chosen = [woven.options[rank] for woven, _ in steps[0]]
        fed = all(_feed(loom, here, option, *frame) for option, (_, frame) in zip(chosen, steps[0], strict=True))
        if not fed:
            continue
        for more, end in _walk(loom, steps[1:], ranks[1:], here, total - rank):
            yield chosen + more, end


def _feed(loom: Loom, state: State, option: Option, length: int, content: int) -> bool:
    """The data of a frame goes into ``state``; False where its padding is none, or enough has been tried."""
    frame = parsed(option.frame(loom.copies), content) if loom.budget.spend(content) else None
    if frame is None:
        return False
    try:
        for piece in unpadded(frame, length):
            state.update(piece)
    except SealiftError:
        return False
    return True


def _loss(copies: Sequence[Copy], name: str, frames: Sequence[Woven], within: Range, pad: int) -> Loss:
    """What is lost of these frames: what neither copy has, else where both are zeros, else all of it.

    ``pad``: zeros that belong at the end of the member.
    """
    holes = tuple(hole for one in frames for hole in one.holes)
    if holes:
        return Loss(name, within, _joined(holes), exact=True)
    zeros = [found for one in frames for found in _zeros(copies, one) if found[1] <= within[1] - pad]
    return Loss(name, within, _joined(zeros) or (within,))


def _zeros(copies: Sequence[Copy], frame: Woven) -> Iterator[Range]:
    """Where both copies hold nothing but zeros."""
    ours, theirs = (copy.read(start, frame.length) for copy, start in zip(copies, frame.starts, strict=True))
    for found in _ZEROS.finditer(ours):
        first, last = found.span()
        for same in _ZEROS.finditer(theirs, first, last):
            yield frame.starts[0] + same.start(), frame.starts[0] + same.end()


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Those that touch as one."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return tuple(found)
