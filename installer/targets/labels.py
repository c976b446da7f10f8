"""Labels, by which everything of ours is found again: names can stay odd after a kill, labels can't. Pure."""

from __future__ import annotations

from typing import Final

from installer.bundle.release import Release
from installer.site.names import Colour, Names

PREFIX: Final = "dev.sealift."
OWNER: Final = PREFIX + "owner"
PRODUCT: Final = PREFIX + "product"
PART: Final = PREFIX + "part"
COLOUR: Final = PREFIX + "colour"
SERVICE: Final = PREFIX + "service"
REPLICA: Final = PREFIX + "replica"
STATE: Final = PREFIX + "state"
VERSION: Final = PREFIX + "version"
RELEASE: Final = PREFIX + "release"
CONTENT: Final = PREFIX + "content"
FINISHES: Final = PREFIX + "finishes"


def owner(names: Names) -> str:
    """Which state dir something belongs to."""
    return f"sealift{names.suffix}"


def belongings(names: Names, product: str) -> dict[str, str]:
    """Labels of networks and volumes."""
    return {OWNER: owner(names), PRODUCT: product}


def container(
    names: Names,
    release: Release,
    colour: Colour | None,
    *,
    service: str,
    number: int,
    finishes: bool,
    content: str,
) -> dict[str, str]:
    """Labels of a container; without ``colour`` it is part of the base.

    The base says nothing about the release: a label that changes with each one would restart the database.
    """
    common = belongings(names, release.product) | {
        PART: colour or "base",
        SERVICE: service,
        REPLICA: str(number),
        CONTENT: content,
        FINISHES: "yes" if finishes else "no",
    }
    if colour is None:
        return common | {STATE: "shared"}
    return common | {STATE: "none", COLOUR: colour, VERSION: release.version, RELEASE: str(release.digest)}
