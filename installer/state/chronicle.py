"""When each step of a run began, how long it took, and how it ended: read off the journal's lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from installer.state.journal import Entry


@dataclass(frozen=True)
class StepRun:
    """One step as it went. ``seconds`` is None, and ``outcome`` ``cut off``, where nothing more is known of it."""

    step: str
    began: str
    seconds: float | None = None
    outcome: str = "cut off"

    def as_json(self) -> dict[str, object]:
        return {"step": self.step, "began": self.began, "seconds": self.seconds, "outcome": self.outcome}


def chronicle(entries: Iterable[Entry]) -> dict[str, list[StepRun]]:
    """The steps of each run, by the run's id, in the order in which they began; one begun twice stands there twice."""
    found: dict[str, list[StepRun]] = {}
    for entry in entries:
        steps = found.setdefault(entry.run, [])
        if entry.event == "step-begin":
            steps.append(StepRun(entry.step, entry.at))
        elif entry.event in ("step-done", "failed", "stopped") and steps and steps[-1].step == entry.step:
            outcome = "done" if entry.event == "step-done" else "failed"
            steps[-1] = replace(steps[-1], seconds=_between(steps[-1].began, entry.at), outcome=outcome)
        elif entry.event == "undo-done":
            steps.append(StepRun(entry.step, entry.at, None, "taken back"))
    return found


def took(began: str, ended: str) -> float | None:
    """Seconds of a whole run; None where it has not ended."""
    return _between(began, ended) if ended else None


def _between(began: str, ended: str) -> float:
    """By the host's clock, which may have been set meanwhile: never less than nothing."""
    return round(max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()), 3)
