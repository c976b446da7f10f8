"""The only loop that acts: walks a plan, journals before and after every step, and takes back what failed.

Rules: an interrupted run goes *on* if its switch had begun and nothing failed, else it goes *back*. A failure while
only preparing keeps its own error; a failure after something that runs was touched ends as ``upgrade-rolled-back``
(10), or ``operator-needed`` (11) when it could not be taken back. What can't be taken back at all (a removal) keeps
its error too, and the next run goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from installer.actions import Action
from installer.checks import Check
from installer.errors import SealiftError
from installer.journal import Journal, Run
from installer.plan import Plan, Step

Perform = Callable[[Action | Check], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recovered:
    """A run that was cut off, and whether it was brought to its end; else it was taken back."""

    plan: Plan
    done: bool


class Executor:
    """Walks plans of one state dir. ``perform`` does an action or looks, idempotently; ``say`` tells a person."""

    def __init__(self, journal: Journal, perform: Perform, say: Say) -> None:
        self._journal = journal
        self._perform = perform
        self._say = say

    def execute(self, plan: Plan) -> None:
        """Carry out ``plan``. Raises what went wrong, after everything begun was taken back."""
        run = secrets.token_hex(4)
        self._journal.write(run, "begin", detail=plan.model_dump_json())
        self._forward(run, plan, plan.steps, ())

    def recover(self, run: Run) -> Recovered:
        """Bring a run that was cut off to its end, forwards or backwards."""
        plan = Plan.model_validate_json(run.intent)
        onward = plan.goes_on(run.begun, failed=bool(run.failed))
        if onward:
            self._say(f"going on with what was interrupted: {plan.headline}")
            self._forward(run.id, plan, plan.to_do(run.done), run.begun)
        else:
            self._say(f"taking back what was interrupted: {plan.headline}")
            self._back(run.id, plan, run.begun, run.undone)
            self._journal.write(run.id, "end", detail="rolled-back")
        return Recovered(plan, onward)

    def _forward(self, run: str, plan: Plan, steps: Sequence[Step], begun: tuple[str, ...]) -> None:
        for step in steps:
            self._say(f"{step.name}: {step.intent}")
            self._journal.write(run, "step-begin", step.name)
            begun = (*begun, step.name)
            try:
                for act in (*step.actions, *step.check):
                    self._perform(act)
            except (SealiftError, OSError) as error:
                if plan.one_way:
                    self._journal.write(run, "stopped", step.name, f"{step.name}: {error}")
                    raise
                raise self._failed(run, plan, step, begun, error) from error
            self._journal.write(run, "step-done", step.name)
        self._journal.write(run, "end", detail="done")

    def _failed(
        self, run: str, plan: Plan, step: Step, begun: tuple[str, ...], error: SealiftError | OSError
    ) -> SealiftError | OSError:
        """Take everything back; the error that the whole run ends with."""
        self._journal.write(run, "failed", step.name, f"{step.name}: {error}")
        self._say(f"{step.name} failed: {error}")
        try:
            self._back(run, plan, begun, ())
        except (SealiftError, OSError) as undoing:
            self._journal.write(run, "end", detail="operator-needed")
            return _operator_needed(plan, step, error, undoing)
        self._journal.write(run, "end", detail="rolled-back")
        return error if step.prepares else rolled_back(plan, step, error)

    def _back(self, run: str, plan: Plan, begun: Sequence[str], undone: Sequence[str]) -> None:
        for step in plan.to_undo(begun, undone):
            self._say(f"taking back: {step.name}")
            for action in step.undo:
                self._perform(action)
            self._journal.write(run, "undo-done", step.name)


def rolled_back(plan: Plan, step: Step, error: Exception) -> SealiftError:
    """The error of an upgrade that failed and was taken back. Its first line says what serves now."""
    serving = f"{plan.old} is serving" if plan.old else "nothing is serving, and nothing was left behind"
    return SealiftError(
        "upgrade-rolled-back",
        f"{serving}; nothing has to be done before morning: {plan.version} failed at {step.name}: {error}",
        hint=getattr(error, "hint", "") or "look at the lines above; the next run starts afresh",
        details=getattr(error, "details", ()),
    )


def _operator_needed(plan: Plan, step: Step, error: Exception, undoing: Exception) -> SealiftError:
    return SealiftError(
        "operator-needed",
        f"somebody must look at this now: {plan.version} failed at {step.name} ({error}), "
        f"and taking it back failed too ({undoing})",
        hint="mend what the last message names, then run the same command again: it takes back the rest",
        details=getattr(error, "details", ()),
    )
