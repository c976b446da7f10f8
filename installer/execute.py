"""The only loop that acts: walks a plan, journals before and after every step, and takes back what failed.

Rules: an interrupted run goes *on* if its switch had begun and nothing failed, else it goes *back*. A failure while
only preparing keeps its own error; a failure after something that runs was touched ends as ``upgrade-rolled-back``
(10), or ``operator-needed`` (11) when it could not be taken back. What can't be taken back at all (a removal) keeps
its error too, and the next run goes on with it. What can't be written down is not done: a run whose journal fails stops
where it is (7), or once the switch has begun calls for somebody (11), and the next run goes on or goes back.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from installer.errors import ExitCode, Interrupted, SealiftError
from installer.plan.actions import Action
from installer.plan.checks import Check
from installer.plan.plan import Plan, Step
from installer.state.journal import Journal, JournalUnwritableError, Run
from installer.state.state import ReleaseRef

Perform = Callable[[Action | Check], None]
Say = Callable[[str], None]
PATIENCE: Sequence[float] = (2.0, 5.0, 10.0, 20.0)
"""Seconds between tries to take a step back: an engine that restarts has everything up again by then."""
_MORNING: Final = "nothing has to be done before morning"
_SOON: Final = "somebody must look at this soon"


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
        run = Run(secrets.token_hex(4), "", plan.model_dump_json())
        with _saying_what_serves(plan, run) as watch:
            self._journal.write(run.id, "begin", detail=run.intent)
            self._forward(watch, plan, plan.steps)

    def recover(self, run: Run) -> Recovered:
        """Bring a run that was cut off to its end, forwards or backwards. Raises as :meth:`execute`."""
        plan = Plan.model_validate_json(run.intent)
        onward = plan.goes_on(run.begun, failed=bool(run.failed))
        with _saying_what_serves(plan, run) as watch:
            if onward:
                self._say(f"going on with what was interrupted: {plan.headline}")
                self._forward(watch, plan, plan.to_do(run.done))
            else:
                self._say(f"taking back what was interrupted: {plan.headline}")
                self._back(watch, plan, run.failed or "a run that was cut off")
        return Recovered(plan, onward)

    def _forward(self, watch: _Watch, plan: Plan, steps: Sequence[Step]) -> None:
        for step in steps:
            self._say(f"{step.name}: {step.intent}")
            self._journal.write(watch.run, "step-begin", step.name)
            watch.begun = (*watch.begun, step.name)
            try:
                for act in (*step.actions, *step.check):
                    self._perform(act)
            except (SealiftError, OSError) as raised:
                error = refused_by_disk(raised)
                if plan.one_way:
                    self._journal.write(watch.run, "stopped", step.name, f"{step.name}: {error}")
                    raise _saying(watch.may_serve, step, error) from raised
                raise self._failed(watch, plan, step, error) from raised
            self._journal.write(watch.run, "step-done", step.name)
        self._journal.write(watch.run, "end", detail="done")

    def _failed(self, watch: _Watch, plan: Plan, step: Step, error: SealiftError) -> SealiftError:
        """Take everything back; the error that the whole run ends with."""
        self._journal.write(watch.run, "failed", step.name, f"{step.name}: {error}")
        self._say(f"{step.name} failed: {error}")
        self._back(watch, plan, f"{step.name}: {error}", error.details)
        return _saying((plan.old,), step, error) if step.prepares else rolled_back(plan, step, error)

    def _back(self, watch: _Watch, plan: Plan, why: str, details: tuple[str, ...] = ()) -> None:
        """Take back what was begun. Raises ``operator-needed`` (11) where that fails too."""
        watch.backwards = True
        for step in plan.to_undo(watch.begun, watch.undone):
            self._say(f"taking back: {step.name}")
            try:
                self._take_back(step)
            except (SealiftError, OSError) as undoing:
                self._journal.write(watch.run, "end", detail="operator-needed")
                raise _operator_needed(watch, step, why, refused_by_disk(undoing), details) from undoing
            watch.undone = (*watch.undone, step.name)
            self._journal.write(watch.run, "undo-done", step.name)
        self._journal.write(watch.run, "end", detail="rolled-back")

    def _take_back(self, step: Step) -> None:
        """Patiently: what does not answer may be starting again. Raises what the last try raised."""
        end = time.monotonic() + sum(PATIENCE)
        for pause in (*PATIENCE, None):
            try:
                for action in step.undo:
                    self._perform(action)
                return
            except SealiftError as error:
                waiting = error.exit_code in (ExitCode.HOST, ExitCode.SERVICE) and time.monotonic() <= end
                if pause is None or not waiting:
                    raise
                self._say(f"  not yet, once more in {pause:.0f} s: {error.message}")
                time.sleep(pause)


@dataclass
class _Watch:
    """Where a run is, so that its last words can say what serves."""

    plan: Plan
    run: str
    begun: tuple[str, ...]
    backwards: bool = False
    undone: tuple[str, ...] = ()

    @property
    def may_serve(self) -> tuple[ReleaseRef | None, ...]:
        left = [name for name in self.begun if name not in self.undone]
        return self.plan.may_serve(left, backwards=self.backwards)

    @property
    def where(self) -> str:
        """What stopped where."""
        plan = self.plan
        what = plan.headline if plan.new is None or plan.new == plan.old else f"{plan.kind} of {plan.version}"
        return f"{what} stopped at {self.begun[-1]}" if self.begun else f"{what} was not begun"


@contextmanager
def _saying_what_serves(plan: Plan, run: Run) -> Iterator[_Watch]:
    """A run that stops where it is: who reads of it must know what people get meanwhile."""
    watch = _Watch(plan, run.id, run.begun, undone=run.undone)
    try:
        yield watch
    except JournalUnwritableError as error:
        settled = watch.may_serve == (plan.old,)
        text = f"{serving(watch.may_serve)}; {_MORNING if settled else _SOON}: {watch.where}: {error.message}"
        raise SealiftError(error.id if settled else "operator-needed", text, hint=error.hint) from error
    except SealiftError:
        raise
    except KeyboardInterrupt as error:
        raise Interrupted(f"{serving_still(watch.may_serve)}: {watch.where}, by a signal") from error
    except Exception as error:  # a bug of ours: nothing was taken back
        error.add_note(f"{serving_still(watch.may_serve)}: {watch.where}")
        raise


def refused_by_disk(error: SealiftError | OSError) -> SealiftError:
    """What the disk of the state dir refused, as an error that a person can act on."""
    if isinstance(error, SealiftError):
        return error
    what = f"{(error.strerror or str(error)).lower()}{f': {error.filename}' if error.filename else ''}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SealiftError("disk-full", what, hint="free some space on the disk of the state dir")
    return SealiftError("state-dir-unusable", what, hint="look at the disk of the state dir, and at its rights")


def serving(refs: Sequence[ReleaseRef | None]) -> str:
    """What people get: one of these, None for nothing."""
    return f"{' or '.join(str(ref or 'nothing') for ref in refs)} is serving"


def serving_still(refs: Sequence[ReleaseRef | None]) -> str:
    """The same, of a run that the next one brings to its end, and whether that can wait."""
    return f"{serving(refs)}; {_MORNING if len(refs) == 1 else _SOON}"


def _saying(refs: Sequence[ReleaseRef | None], step: Step, error: SealiftError) -> SealiftError:
    """The same failure; its first line says what serves too."""
    message = f"{serving_still(refs)}: {step.name} failed: {error.message}"
    return SealiftError(error.id, message, hint=error.hint, details=error.details)


def rolled_back(plan: Plan, step: Step, error: SealiftError) -> SealiftError:
    """The error of an upgrade that failed and was taken back. Its first line says what serves now."""
    left = "" if plan.old else ", and nothing was left behind"
    return SealiftError(
        "upgrade-rolled-back",
        f"{serving((plan.old,))}{left}; {_MORNING}: {plan.version} failed at {step.name}: {error}",
        hint=error.hint or "look at the lines above; the next run starts afresh",
        details=error.details,
    )


def _operator_needed(
    watch: _Watch, step: Step, why: str, undoing: SealiftError, details: tuple[str, ...]
) -> SealiftError:
    return SealiftError(
        "operator-needed",
        f"{serving(watch.may_serve)}, and somebody must look at this now: {watch.plan.version} failed ({why}), "
        f"and taking back {step.name} failed too: {undoing}",
        hint="mend what the last message names, then run the same command again: it takes back the rest",
        details=(*details, *undoing.details),
    )
