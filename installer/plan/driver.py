"""What a kind of target brings so that planner and executor work on it. ``tests/contract/`` says what it must promise.

A driver looks (for the planner) and performs (for the executor); how things are changed is translated by a
:class:`installer.targets.target.Target`, which the scene names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from installer.bundle.release import Release
from installer.look.inventory import Observed
from installer.look.observing import Coming
from installer.media import Media
from installer.performers import Incoming
from installer.plan.actions import Action
from installer.plan.checks import Check
from installer.plan.plan import Plan
from installer.plan.planning import Scene
from installer.site.names import Colour
from installer.site.site import Site
from installer.state.state import ProductState, ReleaseRef, SiteState
from installer.talk import Talk


class Performer(Protocol):
    """What the executor needs: every action and check by its value, each idempotent."""

    def __call__(self, action: Action | Check) -> None:
        """Do it, or look. Raises ``SealiftError`` or ``OSError``."""


class Observer(Protocol):
    """What the planner needs. Nothing here changes anything."""

    def observe(self, product: str | None = None) -> Observed:
        """Containers and networks of this state dir."""

    def door(self) -> Mapping[str, Colour]:
        """Where the front door leads now, by product; empty where it does not answer."""

    def serves(self, product: ProductState, ref: ReleaseRef) -> bool:
        """Whether just this release serves already, whole and healthy."""

    def look(self, state: SiteState, product: ProductState, coming: Coming) -> Scene:
        """Everything a plan depends on."""

    def holds(self, releases: Iterable[Release]) -> frozenset[str]:
        """The digests of manifests and blobs of ``releases`` that are really there, asked now."""

    def refuse_groundless(self, media: Media, plan: Plan, scene: Scene) -> None:
        """Refuse a delta that builds on what is not here, before anything is written (4)."""

    def preflight(self, scene: Scene) -> tuple[str, ...]:
        """Refuse before anything is written what would fail later (7). Returns what could not be checked."""


class Driver(Observer, Protocol):
    """A target that was reached."""

    def performer(self, incoming: Incoming | None = None) -> Performer:
        """Does actions there; ``incoming`` is what media bring."""


Connect = Callable[[Path, Site, Talk], AbstractContextManager[Driver]]
"""Reaches the target of a state dir and its site file. Raises ``engine-missing`` (7) where nobody answers."""
