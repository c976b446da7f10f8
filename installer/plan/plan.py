"""The plan: every step before anything runs. A value that can be shown, written, compared and replayed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal

from installer.bundle.release import Closed, Name
from installer.plan.actions import Action, UsePermit
from installer.plan.checks import Check
from installer.site.names import Colour
from installer.state.state import ReleaseRef

Strategy = Literal["blue-green", "rolling"]
Kind = Literal["install", "rollback", "remove", "stage", "unstage", "switch", "confirm", "fallback", "prune"]

SWITCH: Final = "switch"
"""The step after which an interrupted run goes on instead of back."""
SHIFT: Final = "shift-"
"""How the steps of a rolling upgrade begin that put new replicas behind the front door, beside the old ones."""
_BESIDE: Final[frozenset[Kind]] = frozenset({"stage", "unstage", "confirm", "prune"})
"""What serves goes on serving, whatever becomes of such a run."""


class Step(Closed):
    """One step: what it is for, what it does, what proves that it did it, and what takes it back.

    ``prepares`` says that nothing which runs is touched yet, so that a failure keeps its own error.
    """

    name: str
    intent: str
    prepares: bool = False
    actions: tuple[Action, ...] = ()
    check: tuple[Check, ...] = ()
    undo: tuple[Action, ...] = ()


class Plan(Closed):
    """From ``old`` to ``new``; to nothing with None. ``colour`` is where the new release will serve.

    Once ``onward_from`` has begun, an interrupted run goes on instead of back. A plan that is ``one_way`` can't be
    taken back at all: what fails in it stays to be done, and the next run goes on.
    """

    kind: Kind
    product: Name
    strategy: Strategy | None
    old: ReleaseRef | None
    new: ReleaseRef | None
    colour: Colour | None
    steps: tuple[Step, ...]
    by: str = ""
    onward_from: str = SWITCH
    one_way: bool = False

    @property
    def version(self) -> str:
        """What it is about: the release that comes, else the one that goes."""
        ref = self.new or self.old
        return ref.version if ref else ""

    @property
    def permit(self) -> UsePermit | None:
        """How it uses up a permit."""
        found = (action for step in self.steps for action in step.actions if isinstance(action, UsePermit))
        return next(found, None)

    @property
    def headline(self) -> str:
        """The plan in one line."""
        if self.new is None:
            return f"{self.kind} {self.product}: {self.version} leaves this host"
        if self.kind in ("unstage", "confirm", "prune"):
            return f"{self.kind} {self.product}: {self.version}"
        came_from = f"{self.old.version} -> " if self.old else "first install of "
        return f"{self.kind} {self.product}: {came_from}{self.new.version}, {self.strategy}, to {self.colour}"

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        width = max(len(step.name) for step in self.steps)
        return [f"{number:2}. {step.name.ljust(width)}  {step.intent}" for number, step in enumerate(self.steps, 1)]

    def goes_on(self, begun: Collection[str], *, failed: bool) -> bool:
        """Whether a run that was cut off is brought to its end, instead of being taken back."""
        return self.one_way or (self.onward_from in begun and not failed)

    def may_serve(self, begun: Sequence[str], *, backwards: bool = False) -> tuple[ReleaseRef | None, ...]:
        """Which release people may get, or one of two, once the steps ``begun`` have begun; None stands for nothing.

        ``backwards``: it is being taken back, and ``begun`` are the steps that are left.
        """
        if self.kind in _BESIDE or not begun:
            return (self.old,)
        if self.kind == "remove":
            return (self.old, None) if len({*begun}) == 1 else (None,)
        if SWITCH not in begun and not any(name.startswith(SHIFT) for name in begun):
            return (self.old,)
        settled = SWITCH in begun and begun[-1] != SWITCH and not backwards
        return (self.new,) if settled else (self.old, self.new)

    def to_undo(self, begun: Collection[str], undone: Collection[str]) -> list[Step]:
        """The steps to take back, last one first."""
        return [step for step in reversed(self.steps) if step.name in begun and step.name not in undone and step.undo]

    def to_do(self, done: Collection[str]) -> list[Step]:
        """The steps that remain."""
        return [step for step in self.steps if step.name not in done]
