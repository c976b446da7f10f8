"""What a row of the table is: the commands of both sides, the figures, their limits, and the runs behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.bench.measure import Cost, Pairs
from tests.bench.place import Input, Place

FULL: Final = 3.5e9


@dataclass(frozen=True)
class Goal:
    """One figure and what it may be at most; ``limit`` None for one that is only told."""

    what: str
    value: float
    limit: float | None
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True)
class Row:
    """One row: the commands of both sides, the figures, and the runs behind them; ``other`` names the other side."""

    title: str
    ours: str
    beside: str
    goals: tuple[Goal, ...]
    note: str = ""
    runs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    other: str = "stock tools"


@dataclass(frozen=True)
class Settings:
    """How much is done: ``scale`` times 3.5 GB of images, ``runs`` pairs, and how large the largest bundles are."""

    scale: float
    runs: int
    large: float
    huge: float
    images: int

    @property
    def size(self) -> float:
        return FULL * self.scale

    @property
    def short(self) -> int:
        """Runs of what takes less than a second."""
        return self.runs * 3 - 2


@dataclass
class Bench:
    """What the functions that make rows share: where, how much, and the mixed product, made when first asked for."""

    place: Place
    settings: Settings
    say: Callable[[str], None]
    _mixed: Input | None = None

    def mixed(self) -> Input:
        """Images of ``settings.size`` bytes; nothing may be built from it when this returns it for the first time."""
        if self._mixed is None:
            self.say(f"making images of {self.settings.size / 1e6:.0f} MB")
            self._mixed = self.place.make("mixed", "mixed", self.settings.size, 0)
        return self._mixed

    def built(self) -> Input:
        """The same with its bundle at ``place.bundle(product)``."""
        product = self.mixed()
        if not self.place.bundle(product).exists():
            self.place.build(product, "1.0.0", clear=True)
        return product


def costs(side: tuple[Cost, ...] | list[Cost]) -> list[dict[str, float]]:
    """Runs as plain figures."""
    return [
        {"wall": round(c.wall, 3), "cpu": round(c.cpu, 3), "written": c.written, "peak_mb": round(c.peak, 1)}
        for c in side
    ]


def both(pairs: Pairs) -> dict[str, list[dict[str, float]]]:
    """The runs of both sides."""
    return {"ours": costs(pairs.ours), "beside": costs(pairs.stock)}


def peak(side: tuple[Cost, ...] | list[Cost]) -> Goal:
    """The largest process of a side, as the table's limit has it."""
    return Goal("peak memory", max(cost.peak for cost in side), 120, "MB")
