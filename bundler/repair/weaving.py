"""Heals one frame after the other: from one copy where that has it, else from a mixture of both."""

from __future__ import annotations

import io
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from bundler.repair.copies import Copy, Range
from bundler.repair.mixing import Pair, Seams, masks, pair
from installer.bundle.frames import Frame, FrameReader
from installer.errors import SealiftError

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_TABLE: Final = b"\x5e\x2a\x4d\x18"
MOST_MIXTURES: Final = 4096
"""Mixtures of one frame, and combinations of one member's frames, that are tried."""
MOST_BYTES: Final = 32 * 2**30
"""Bytes that all of these may unpack and hash in one repair: a minute or two."""
_MOST_SHAPES: Final = 64

Piece = tuple[int, int, int] | bytes
"""Number of a copy, first byte there, how many bytes; or bytes that follow from the list."""
Wanted = Callable[[bytes], bool]


class Budget:
    """How much may still be tried."""

    def __init__(self, left: int = MOST_BYTES) -> None:
        self.left = left

    def spend(self, count: int) -> bool:
        """So many more bytes; False when it is used up."""
        self.left -= count
        return self.left > 0


@dataclass(frozen=True, slots=True)
class Option:
    """One way to have a frame of ``length`` bytes: a mixture of both copies, or ``derived``."""

    length: int
    seams: Seams
    mask: int = 0
    derived: bytes | None = None

    def pieces(self) -> Iterator[Piece]:
        """Where its bytes come from."""
        if self.derived is not None:
            yield self.derived
        else:
            yield from self.seams.pieces(self.mask, self.length)

    @property
    def is_agreed(self) -> bool:
        """Whether both copies have just these bytes."""
        return self.derived is None and not self.seams.groups and not self.seams.only

    def frame(self, copies: Sequence[Copy]) -> bytes:
        """Its bytes."""
        return b"".join(
            piece if isinstance(piece, bytes) else copies[piece[0]].read(piece[1], piece[2]) for piece in self.pieces()
        )


@dataclass(frozen=True)
class Woven:
    """What can stand at one place: ``options``, the likeliest first; none where it is lost.

    ``starts`` and ``length``: where the frame lies in both copies; ``holes``: bytes of copy 0 that neither has.
    """

    content: int
    options: tuple[Option, ...]
    starts: tuple[int, int]
    length: int
    holes: tuple[Range, ...] = ()


@dataclass
class Loom:
    """Both copies, and where each is read next. ``lengths``: of each frame by its number, as a copy's index says."""

    copies: tuple[Copy, Copy]
    places: list[int] = field(default_factory=lambda: [0, 0])
    number: int = 0
    lengths: list[array[int] | None] = field(default_factory=lambda: [None, None])
    heads: list[list[int]] = field(default_factory=lambda: [[], []])
    """Content of the frames before the first one that is numbered."""
    budget: Budget = field(default_factory=Budget)
    fine: bool = False
    """Whether every byte is tried by itself: a byte may be right by chance in what is bad all around."""

    def alone(self, which: int, content: int) -> Frame | None:
        """The next frame as one copy has it, if that is one."""
        return read_frame(self.copies[which], self.places[which], content)

    def next(self, content: int, wanted: Wanted | None = None, derived: bytes | None = None) -> Woven:
        """What can be the next frame, of ``content`` bytes; ``wanted`` says which are right. Goes on behind it.

        ``derived`` is how it is if nobody has it.
        """
        options = list(self._just(derived)) or list(self._whole(content, wanted))
        mixture = None
        if not options or wanted is None:
            mixture = pair(self.copies, self._starts, self._window(content))
            if not options or mixture.seams.groups or mixture.readings[0] == mixture.readings[1]:
                options = [*self._mixtures(mixture, content, wanted)] or options
        if not options and derived is not None:
            options = [Option(len(derived), Seams((), (), self._starts), derived=derived)]
        return self._go_on(content, options, mixture)

    @property
    def _starts(self) -> tuple[int, int]:
        return self.places[0], self.places[1]

    def _just(self, derived: bytes | None) -> Iterator[Option]:
        """The frame as it is derived, where a copy has it so."""
        for which in (0, 1):
            place = self.places[which]
            if derived is not None and self.copies[which].read(place, len(derived)) == derived:
                yield Option(len(derived), Seams((), ((0, len(derived), which),), self._starts))
                return

    def _whole(self, content: int, wanted: Wanted | None) -> Iterator[Option]:
        """The frame as a copy has it, where it is the one that is wanted."""
        for which in (0, 1):
            frame = self.alone(which, content)
            if frame is not None and (wanted is None or _holds(frame, wanted)):
                length = sum(map(len, frame.parts))
                yield Option(length, Seams((), ((0, length, which),), self._starts))
                if wanted is not None:
                    return

    def _window(self, content: int) -> int:
        told = [table[self.number] for table in self.lengths if table is not None and self.number < len(table)]
        return max([content + content // 128 + 1024, *told])

    def _mixtures(self, found: Pair, content: int, wanted: Wanted | None) -> Iterator[Option]:
        """Frames out of both copies, each in one piece."""
        seen: set[int] = set()
        for length, fixed in islice(self._shapes(found, content), _MOST_SHAPES):
            if any(first < length for first, _ in found.lost):
                continue
            if self.fine:
                found, fixed = pair(self.copies, self._starts, length, fine=True), {}
            seams = found.seams.before(length)
            for mask in islice(masks(seams.groups), MOST_MIXTURES):
                if mask in seen or any(mask >> bit & 1 != value for bit, value in fixed.items()):
                    continue
                seen.add(mask)
                frame = parsed(found.mixed(seams, mask, length), content)
                if frame is None or not self._is_good(frame, wanted):
                    continue
                yield Option(length, seams, mask)
                if wanted is not None:
                    return

    def _is_good(self, frame: Frame, wanted: Wanted | None) -> bool:
        """Whether a mixture can be unpacked, to what is wanted. A plain one always can."""
        if frame.plain and wanted is None:
            return True
        return self.budget.spend(frame.content) and _holds(frame, wanted)

    def _shapes(self, found: Pair, content: int) -> Iterator[tuple[int, dict[int, int]]]:
        """Lengths that the frame may have: with each, the groups that its headers lie in, and which way they go.

        Those behind which another frame begins come first.
        """
        waiting: list[dict[int, int]] = [{}]
        doubtful: list[tuple[int, dict[int, int]]] = []
        for _ in range(4 * _MOST_SHAPES):
            if not waiting:
                break
            fixed = waiting.pop()
            file = _Undecided(found, fixed)
            reader = FrameReader(file)  # type: ignore[arg-type]
            try:
                reader.skip((content,))
            except _Branch as branch:
                waiting += [{**fixed, branch.group: 1}, {**fixed, branch.group: 0}]
                continue
            except SealiftError:
                continue
            if reader.position <= len(found.readings[0]):
                if self._follows(reader.position):
                    yield reader.position, fixed
                else:
                    doubtful.append((reader.position, fixed))
        yield from doubtful

    def _follows(self, length: int) -> bool:
        """Whether another frame may begin behind one of that length, or nobody knows."""
        known = False
        for copy, place in zip(self.copies, self.places, strict=True):
            begin = place + length
            if copy.missing(begin, begin + 4):
                continue
            known = True
            if copy.read(begin, 4) in (_MAGIC, _TABLE):
                return True
        return not known

    def _go_on(self, content: int, options: list[Option], mixture: Pair | None) -> Woven:
        start, place = self.places[0], self.places[1]
        lengths = [self._length(which, content, options) for which in (0, 1)]
        told = next((length for length in lengths if length is not None), None)
        if told is None:
            raise Derailed((start, max(copy.size for copy in self.copies)))
        ours, theirs = (told if length is None else length for length in lengths)
        self.places = [start + ours, place + theirs]
        self.number += 1
        holes: tuple[Range, ...] = ()
        if not options and mixture is not None:
            holes = tuple((start + a, start + min(b, ours)) for a, b in mixture.lost if a < ours)
        return Woven(content, tuple(options), (start, place), ours, holes)

    def _length(self, which: int, content: int, options: Sequence[Option]) -> int | None:
        """How long the frame is in a copy, whether or not it can be read there."""
        lengths = {option.length for option in options}
        if len(lengths) == 1 and self._follows_in(which, *lengths):
            return lengths.pop()
        table = self.lengths[which]
        if table is not None and self.number < len(table):
            return table[self.number]
        frame = self.alone(which, content)
        if frame is not None:
            return sum(map(len, frame.parts))
        return next(iter(lengths), None)

    def _follows_in(self, which: int, length: int) -> bool:
        return self.copies[which].read(self.places[which] + length, 4) in (_MAGIC, _TABLE)


class Derailed(Exception):
    """Nobody knows where the next frame begins: from the first byte of ``span`` on, nothing can be told."""

    def __init__(self, span: Range) -> None:
        super().__init__(span)
        self.span = span


class _Branch(Exception):
    """A header lies in a group that nobody has decided about."""

    def __init__(self, group: int) -> None:
        super().__init__(group)
        self.group = group


class _Undecided(io.RawIOBase):
    """Reads a mixture in which some groups are decided; raises :class:`_Branch` at others."""

    def __init__(self, found: Pair, fixed: dict[int, int]) -> None:
        super().__init__()
        self._found, self._fixed, self._place = found, fixed, 0

    def read(self, count: int = -1) -> bytes:
        start, end = self._place, self._place + count
        data = bytearray(self._found.readings[0][start:end])
        for number, group in enumerate(self._found.seams.groups):
            if group.start < end and start < group.end:
                if number not in self._fixed:
                    raise _Branch(number)
                if group.likely ^ self._fixed[number]:
                    first, last = max(start, group.start), min(end, group.end)
                    data[first - start : last - start] = self._found.readings[1][first:last]
        self._place = end
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place += offset
        return self._place


class _At(io.RawIOBase):
    """A copy from some byte on; it ends where a hole begins."""

    def __init__(self, copy: Copy, place: int) -> None:
        super().__init__()
        self._copy, self._place = copy, place

    def read(self, count: int = -1) -> bytes:
        data = self._copy.read(self._place, count)
        if gaps := self._copy.missing(self._place, self._place + len(data)):
            data = data[: gaps[0][0] - self._place]
        self._place += len(data)
        return data


def read_frame(copy: Copy, place: int, content: int) -> Frame | None:
    """The frame of ``content`` bytes that begins there; None for what is none."""
    try:
        return FrameReader(_At(copy, place)).take((content,))  # type: ignore[arg-type]
    except SealiftError:
        return None


def parsed(data: bytes, content: int) -> Frame | None:
    """``data`` as one frame of ``content`` bytes, all of it; None for what is none."""
    reader = FrameReader(io.BytesIO(data))
    try:
        frame = reader.take((content,))
    except SealiftError:
        return None
    return frame if reader.position == len(data) else None


def _holds(frame: Frame, wanted: Wanted | None) -> bool:
    """Whether it can be unpacked, to what is wanted."""
    try:
        pieces = frame.unpack()
        return wanted is None or wanted(b"".join(pieces))
    except SealiftError:
        return False
