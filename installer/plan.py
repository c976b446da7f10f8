"""The plan: every step before anything runs. A value that can be shown, written, compared and replayed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from installer.actions import Action
from installer.bundle.release import Closed, Name
from installer.names import Colour
from installer.state import ReleaseRef

Strategy = Literal["blue-green", "rolling"]

SWITCH: Final = "switch"
"""The step after which an interrupted run goes on instead of back."""


class Step(Closed):
    """One step: what it is for, what it does, and what takes it back.

    ``prepares`` says that nothing which runs is touched yet, so that a failure keeps its own error.
    """

    name: str
    intent: str
    prepares: bool = False
    actions: tuple[Action, ...]
    undo: tuple[Action, ...] = ()


class Plan(Closed):
    """From ``old`` to ``new``. ``colour`` is where the new release will serve."""

    kind: Literal["install", "rollback"]
    product: Name
    strategy: Strategy
    old: ReleaseRef | None
    new: ReleaseRef
    colour: Colour
    steps: tuple[Step, ...]

    @property
    def headline(self) -> str:
        """The plan in one line."""
        came_from = f"{self.old.version} -> " if self.old else "first install of "
        return f"{self.kind} {self.product}: {came_from}{self.new.version}, {self.strategy}, to {self.colour}"

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        width = max(len(step.name) for step in self.steps)
        return [f"{number:2}. {step.name.ljust(width)}  {step.intent}" for number, step in enumerate(self.steps, 1)]

    def to_undo(self, begun: Collection[str], undone: Collection[str]) -> list[Step]:
        """The steps to take back, last one first."""
        return [step for step in reversed(self.steps) if step.name in begun and step.name not in undone and step.undo]

    def to_do(self, done: Collection[str]) -> list[Step]:
        """The steps that remain."""
        return [step for step in self.steps if step.name not in done]
