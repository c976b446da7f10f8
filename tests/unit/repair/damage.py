"""Two copies of one bundle, damaged as media are: drawn from a seed, with what neither copy has kept in mind."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from installer.bundle.parts import PARTS_FILE, PartsNote, part_name

SECTORS = (512, 2048, 4096)


@dataclass
class Damaged:
    """One copy: its bytes, and which of them are wrong or not there."""

    data: bytearray
    bad: set[int] = field(default_factory=set)
    end: int = -1

    def __post_init__(self) -> None:
        self.end = len(self.data) if self.end < 0 else self.end

    def flip(self, place: int, bit: int) -> None:
        """One bit."""
        self.data[place] ^= 1 << bit
        self.bad.add(place)

    def zero(self, start: int, count: int) -> None:
        """A sector that was lost."""
        for place in range(start, min(start + count, len(self.data))):
            if self.data[place]:
                self.bad.add(place)
                self.data[place] = 0

    def cut(self, end: int) -> None:
        """The copy ends there."""
        self.bad.update(range(end, self.end))
        self.end = min(self.end, end)


@dataclass(frozen=True)
class Case:
    """Both copies of ``right``, and where each lies; ``lost`` are the bytes that neither has."""

    paths: tuple[Path, Path]
    right: bytes
    lost: set[int]
    told: str


def draw(seed: int, right: bytes, name: str, folder: Path, *, overlap: bool) -> Case:
    """Damage both copies. Without ``overlap``, no byte is bad in both."""
    dice = random.Random(seed)
    told: list[str] = []
    taken: set[int] = set()
    for which in (0, 1):
        part_size = dice.choice([None, None, 4096, 5000, 9999])
        copy = Damaged(bytearray(right))
        gone: set[int] = set()
        for _ in range(dice.randint(1, 4)):
            kind = dice.choice(["flip", "flip", "zero", "zero", "cut", "part"])
            trial = Damaged(bytearray(copy.data), set(copy.bad), copy.end)
            missing = set(gone)
            damage(dice, kind, trial, part_size, missing)
            wrong = trial.bad | missing_bytes(missing, part_size, len(right))
            empty = part_size is not None and len(missing) == -(-len(right) // part_size)
            if empty or (not overlap and wrong & taken):
                continue
            copy, gone = trial, missing
            told.append(f"{which}:{kind}")
        lay_out(copy, gone, part_size, name, folder / "ab"[which], note=dice.random() < 0.7)
        bad = copy.bad | missing_bytes(gone, part_size, len(right))
        lost = taken & bad
        taken |= bad
    return Case((folder / "a", folder / "b"), right, lost, f"seed {seed}: {' '.join(told)}")


def damage(dice: random.Random, kind: str, copy: Damaged, part_size: int | None, gone: set[int]) -> None:
    """One more damage of that kind."""
    size = len(copy.data)
    if kind == "flip":
        for _ in range(dice.randint(1, 3)):
            copy.flip(dice.randrange(size), dice.randrange(8))
    elif kind == "zero":
        sector = dice.choice(SECTORS)
        copy.zero(dice.randrange(0, size, sector), sector)
    elif kind == "cut" and part_size is None:
        copy.cut(dice.randrange(1, size))
    elif part_size is not None:
        gone.add(dice.randrange(-(-size // part_size)))


def missing_bytes(gone: set[int], part_size: int | None, size: int) -> set[int]:
    """Bytes of parts that are not there."""
    return {
        place
        for number in gone
        for place in range(number * (part_size or 0), min((number + 1) * (part_size or 0), size))
    }


def lay_out(copy: Damaged, gone: set[int], part_size: int | None, name: str, folder: Path, *, note: bool) -> None:
    """Write a copy as it lies on its media."""
    folder.mkdir()
    data = bytes(copy.data[: copy.end])
    if part_size is None:
        (folder / name).write_bytes(data)
        return
    count = -(-len(copy.data) // part_size)
    for number in range(count):
        if number not in gone:
            piece = data[number * part_size : (number + 1) * part_size]
            (folder / part_name(name, number + 1)).write_bytes(piece)
    if note:
        hashes = tuple(f"sha256:{number:064x}" for number in range(count))
        told = PartsNote(bundle=name, size=len(copy.data), part_size=part_size, parts=hashes)
        (folder / PARTS_FILE).write_bytes(told.to_bytes())
