"""Where two readings of the same bytes differ, what each difference looks like, and which mixtures to try first."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bundler.repair.copies import Copy, Range

_STRETCH: Final = 4096
_OURS, _THEIRS, _OPEN = b"\1", b"\2", b"\3"
_CLASSES: Final = re.compile(rb"\x01(?:\0{0,8}\x01)*+|\x02(?:\0{0,8}\x02)*+|\x03(?:\0{0,2}\x03)*+")
"""Neighbours of one kind, over a few bytes that happen to be equal: one damage. What has matched is never given back
(``*+``): so that it could be, the library keeps 100 bytes for each repetition."""
MOST_GROUPS: Final = 40
"""Differences in one frame that are still tried one by one; beyond, sector by sector, then copy by copy."""


MOST_SINGLE: Final = 1024
"""Bytes that differ in one frame and are still tried one by one, when nothing else has helped."""


@dataclass(frozen=True)
class Group:
    """Bytes ``start`` to ``end`` of a frame that differ. ``likely``: the copy that is probably right (0 or 1), and
    ``weight`` how probably."""

    start: int
    end: int
    likely: int
    weight: int


@dataclass(frozen=True)
class Seams:
    """Where one stretch of both copies can be put together: ``groups`` are where they differ.

    ``only``: first byte, end and number of the one copy that has these bytes; no group reaches into them.
    ``starts``: where it begins in each.
    """

    groups: tuple[Group, ...]
    only: tuple[tuple[int, int, int], ...]
    starts: tuple[int, int]

    def before(self, end: int) -> Seams:
        """Those of the bytes up to ``end``."""
        return replace(self, groups=tuple(group for group in self.groups if group.start < end))

    def pieces(self, mask: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Where the bytes of a mixture come from: number of a copy, first byte there, and how many.

        Bit *n* of ``mask`` says that group *n* is taken from the less likely copy.
        """
        chosen = [(g.start, g.end, 1) for n, g in enumerate(self.groups) if g.likely ^ (mask >> n & 1)]
        place = 0
        for first, last, _ in [*sorted(mark for mark in (*self.only, *chosen) if mark[2]), (end, end, 1)]:
            first, last = min(first, end), min(last, end)
            if place < first:
                yield 0, self.starts[0] + place, first - place
            if first < last:
                yield 1, self.starts[1] + first, last - first
            place = last


@dataclass(frozen=True)
class Pair:
    """The same stretch in two copies. ``readings`` are bytes; ``lost`` is what neither has.

    Where only one copy has a byte, both readings hold it.
    """

    readings: tuple[bytes, bytes]
    seams: Seams
    lost: tuple[Range, ...]

    def mixed(self, seams: Seams, mask: int, end: int) -> bytes:
        """The bytes up to ``end``, as :meth:`Seams.pieces` has them."""
        chosen = ((g.start, g.end) for n, g in enumerate(seams.groups) if g.likely ^ (mask >> n & 1))
        ours, theirs = memoryview(self.readings[0]), memoryview(self.readings[1])
        pieces: list[memoryview] = []
        place = 0
        for first, last in chosen:
            pieces += [ours[place : min(first, end)], theirs[first : min(last, end)]]
            place = last
        return b"".join([*pieces, ours[place:end]])


def pair(copies: Sequence[Copy], starts: tuple[int, int], count: int, *, fine: bool = False) -> Pair:
    """Read ``count`` bytes of both copies, from where each has them, and compare; ``fine``: byte by byte."""
    readings: list[bytes | bytearray] = []
    gaps = []
    for copy, start in zip(copies, starts, strict=True):
        data = copy.read(start, count)
        readings.append(data if len(data) == count else data + bytes(count - len(data)))
        gaps.append([(first - start, last - start) for first, last in copy.missing(start, start + count)])
    lost = tuple(_both(gaps[0], gaps[1]))
    only: list[tuple[int, int, int]] = []
    for mine, other in ((0, 1), (1, 0)):
        if gaps[mine]:
            filled = bytearray(readings[mine])
            for first, last in gaps[mine]:
                filled[first:last] = readings[other][first:last]
                only.append((first, last, other))
            readings[mine] = bytes(filled)
    ours, theirs = (bytes(data) for data in readings)
    groups = tuple(piece for group in _groups(ours, theirs, fine) for piece in _apart(group, only))
    return Pair((ours, theirs), Seams(groups, tuple(only), starts), lost)


def _both(ours: Sequence[Range], theirs: Sequence[Range]) -> Iterator[Range]:
    """What lies in both."""
    for first, last in ours:
        for begin, end in theirs:
            if max(first, begin) < min(last, end):
                yield max(first, begin), min(last, end)


def _groups(ours: bytes, theirs: bytes, by_byte: bool) -> Iterator[Group]:
    """The differences, fine where they are few, by sectors where they are many, and none where all differs."""
    spans = list(_stretches(ours, theirs))
    if sum(last - first for first, last in spans) > 256 * _STRETCH:
        return
    fine = [group for first, last in spans for group in _fine(ours, theirs, first, last)]
    if by_byte and sum(group.end - group.start for group in fine) <= MOST_SINGLE:
        yield from (replace(g, start=at, end=at + 1) for g in fine for at in range(g.start, g.end))
        return
    for grain in (0, 512, _STRETCH):
        found = fine if not grain else list(_coarse(fine, grain))
        if len(found) <= MOST_GROUPS:
            yield from found
            return


def _apart(group: Group, only: Sequence[tuple[int, int, int]]) -> Iterator[Group]:
    """A group without the bytes that only one copy has."""
    start = group.start
    for first, last, _ in sorted(only):
        if start < last and first < group.end:
            if start < first:
                yield replace(group, start=start, end=first)
            start = last
    if start < group.end:
        yield replace(group, start=start)


def _stretches(ours: bytes, theirs: bytes) -> Iterator[Range]:
    """Stretches of 4 KiB that differ, joined where they touch."""
    begun: int | None = None
    for start in range(0, len(ours), _STRETCH):
        if ours[start : start + _STRETCH] != theirs[start : start + _STRETCH]:
            begun = start if begun is None else begun
        elif begun is not None:
            yield begun, start
            begun = None
    if begun is not None:
        yield begun, len(ours)


def _fine(ours: bytes, theirs: bytes, first: int, last: int) -> Iterator[Group]:
    """Runs of one kind: only ours is zero, only theirs is zero, neither is."""
    kinds = bytes(
        0 if a == b else 1 if a == 0 else 2 if b == 0 else 3
        for a, b in zip(ours[first:last], theirs[first:last], strict=True)
    )
    for found in _CLASSES.finditer(kinds):
        kind, length = found[0][:1], len(found[0])
        likely, weight = (1, 3) if kind == _OURS else (0, 3) if kind == _THEIRS else (0, 1)
        yield Group(first + found.start(), first + found.end(), likely, weight if length > 2 or kind == _OPEN else 1)


def _coarse(fine: Sequence[Group], grain: int) -> Iterator[Group]:
    """The same differences, those in one sector as one."""
    held: list[Group] = []
    for group in [*fine, None]:
        if held and (group is None or group.start // grain != held[0].start // grain):
            votes = sum((g.end - g.start) * (1 if g.likely else -1) * g.weight for g in held)
            yield Group(held[0].start, held[-1].end, int(votes > 0), 2)
            held = []
        if group is not None:
            held.append(group)


def masks(groups: Sequence[Group]) -> Iterator[int]:
    """All choices, the likeliest first: as for :meth:`Seams.pieces`."""
    yield 0
    order = sorted(range(len(groups)), key=lambda number: groups[number].weight)
    weights = [groups[number].weight for number in order]
    heap = [(weights[0], 0, 1 << order[0])] if order else []
    while heap:
        total, place, mask = heapq.heappop(heap)
        yield mask
        if place + 1 < len(order):
            following = 1 << order[place + 1]
            heapq.heappush(heap, (total + weights[place + 1], place + 1, mask | following))
            swapped = mask & ~(1 << order[place]) | following
            heapq.heappush(heap, (total - weights[place] + weights[place + 1], place + 1, swapped))
