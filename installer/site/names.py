"""Names on the engine. They derive from product and state dir, so that two sites can share one engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from installer.site.site import DEFAULT_STATE_DIR

Colour = Literal["blue", "green"]
Part = Literal["blue", "green", "base"]
COLOURS: tuple[Colour, Colour] = ("blue", "green")


def other(colour: Colour) -> Colour:
    """The colour that is not ``colour``."""
    return "green" if colour == "blue" else "blue"


@dataclass(frozen=True)
class Names:
    """Names of everything one state dir owns on an engine. ``suffix`` is empty for the default state dir."""

    suffix: str

    @classmethod
    def of(cls, state_dir: Path) -> Names:
        if state_dir.resolve() == DEFAULT_STATE_DIR:
            return cls("")
        return cls("-" + hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:6])

    def project(self, product: str, part: Part) -> str:
        """The compose project, such as ``lan-chat-blue``."""
        return f"{product}{self.suffix}-{part}"

    def network(self, product: str, colour: Colour) -> str:
        """The bridge network of a colour."""
        return f"{product}{self.suffix}-net-{colour}"

    def volume(self, product: str, name: str) -> str:
        """A named volume: it stays the same whatever colour serves."""
        return f"{self.project(product, 'base')}_{name}"

    @property
    def edge(self) -> str:
        """The HAProxy container."""
        return f"sealift{self.suffix}-edge"

    @property
    def registry(self) -> str:
        """The bundled registry's container."""
        return f"sealift{self.suffix}-registry"
