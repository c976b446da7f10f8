"""What was looked at and found: values that every verb shows in the same way, people as lines and scripts as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from installer.errors import SealiftError

Level = Literal["ok", "warn", "stop"]

WARNINGS: Final[dict[str, str]] = {
    "clock-behind": "the host's clock is behind a time that has been: the later one is taken",
    "clock-ahead": "the host's clock is years ahead of everything that is known here",
    "date-not-credible": "a release is dated after its root of trust expires: the date counts for nothing",
    "root-expires-soon": "the root of trust expires within 180 days",
    "root-expired": "the root of trust has expired",
    "permit-not-needed": "a permit was given where none is needed: it was not used",
    "state-copy-damaged": "one of the two copies of the state is missing or damaged",
    "state-dir-open": "others on this host can look into the state dir",
    "secret-open": "others on this host can read a secret",
    "disk-low": "a release as large as the one that serves, all of it new, would not fit",
    "disk-not-seen": "the engine's disk cannot be seen from here",
    "kept-release-untrusted": "today's root does not count who has signed what serves",
    "no-way-back": "what a rollback would return to cannot be used",
    "run-unfinished": "a run was cut off: the next one first finishes it, or takes it back",
}
"""Every id of a warning, and what it means. What stops has the id of its error."""


@dataclass(frozen=True)
class Finding:
    """One thing: fine, a warning (an id of :data:`WARNINGS`), or what stops (an id of ``ERRORS``, with its error)."""

    id: str
    level: Level
    message: str
    hint: str = ""
    error: SealiftError | None = None

    @classmethod
    def stop(cls, error: SealiftError) -> Finding:
        """What would end an upgrade with ``error``."""
        return cls(error.id, "stop", error.message, error.hint, error)

    def as_json(self) -> dict[str, object]:
        value: dict[str, object] = {"id": self.id, "level": self.level, "message": self.message, "hint": self.hint}
        return value if self.error is None else value | {"code": int(self.error.exit_code)}


def fine(what: str, message: str) -> Finding:
    """``what`` was looked at, and nothing is wrong with it."""
    return Finding(what, "ok", message)


def warning(id: str, message: str, hint: str) -> Finding:
    """Something to mend that stops nothing."""
    assert id in WARNINGS, id  # noqa: S101 - the table is the documentation
    return Finding(id, "warn", message, hint)


def warnings_as_json(found: Iterable[Finding]) -> list[dict[str, object]]:
    """Warnings as they stand in results."""
    return [{"id": item.id, "message": item.message, "hint": item.hint} for item in found if item.level == "warn"]
