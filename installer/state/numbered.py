"""Two numbered copies of one document: each write goes over the older one. What is damaged or misplaced is not read.

The first line of a copy names its number, how many lines the journal had when it was written, and the SHA-256 over
both and the rest. Even numbers stand in ``state.a``, odd ones in ``state.b``: copies that changed places are noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.bundle.digest import Digest
from installer.bundle.strictjson import canonical, parse
from installer.durable import write_durably
from installer.errors import SealiftError

COPIES: Final = ("state.a", "state.b")


@dataclass(frozen=True)
class Copy:
    """One whole copy. ``journal`` counts the journal's lines when it was written; 0 where that is not known."""

    number: int
    journal: int
    body: bytes


def read_copies(state_dir: Path) -> dict[Path, Copy | None]:
    """The copies that are there; None for one that is damaged, or stands in the other's place."""
    return {place: _read(place) for name in COPIES if (place := state_dir / name).exists()}


def newest(state_dir: Path) -> Copy | None:
    """The newest whole copy."""
    return max((copy for copy in read_copies(state_dir).values() if copy), key=lambda copy: copy.number, default=None)


def write_copy(state_dir: Path, copy: Copy) -> None:
    """Write over the older copy. Raises ``OSError``; then both are as they were."""
    head = {"journal": copy.journal, "number": copy.number, "sha256": _seal(copy)}
    write_durably(state_dir / COPIES[copy.number % 2], canonical(head) + copy.body, 0o600)


def _seal(copy: Copy) -> str:
    return Digest.of(f"{copy.number} {copy.journal}\n".encode() + copy.body).hex


def _read(place: Path) -> Copy | None:
    head, _, body = place.read_bytes().partition(b"\n")
    try:
        found = parse(head, place.name)
    except SealiftError:
        return None
    if not isinstance(found, dict) or set(found) != {"journal", "number", "sha256"}:
        return None
    copy = Copy(found["number"], found["journal"], body)
    if not (isinstance(copy.number, int) and isinstance(copy.journal, int)) or found["sha256"] != _seal(copy):
        return None
    return copy if COPIES[copy.number % 2] == place.name else None
