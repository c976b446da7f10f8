"""What was done, step by step: append-only lines, each with its checksum, synced before and after every step.

A run begins with its whole plan, so that what remains of it can be done, or undone, by another process. Its state is
a fold over the lines (:func:`fold`); the last line may be torn by a power cut, any other damage is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from installer.bundle.digest import Digest
from installer.bundle.strictjson import canonical
from installer.durable import make_folder, sync_folder, write_all
from installer.errors import SealiftError

Event = Literal["begin", "step-begin", "step-done", "stopped", "failed", "undo-done", "end", "program"]
_NAME: Final = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One line. ``step`` names a step of the run's plan; ``detail`` is the plan, an outcome, or the error.

    ``program`` belongs to no run: a newer sealift took over, noted before (``begin``) and after (``done``).
    """

    run: str
    event: Event
    at: str
    step: str = ""
    detail: Any = None


@dataclass(frozen=True)
class Run:
    """A run as its lines tell it. ``outcome`` is empty while it is unfinished.

    ``failed`` is why it is taken back, ``stopped`` why one that can't be taken back came to a halt.
    """

    id: str
    began: str
    intent: Any
    begun: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    failed: str = ""
    stopped: str = ""
    outcome: str = ""
    ended: str = ""
    times: dict[str, str] = field(default_factory=dict)


def fold(entries: Iterable[Entry]) -> list[Run]:
    """The runs, oldest first. Pure."""
    runs: dict[str, Run] = {}
    for entry in entries:
        if entry.event == "program":
            continue
        if entry.event == "begin":
            runs[entry.run] = Run(entry.run, entry.at, entry.detail)
            continue
        run = runs[entry.run]
        match entry.event:
            case "step-begin":
                run = replace(run, begun=(*run.begun, entry.step))
            case "step-done":
                run = replace(run, done=(*run.done, entry.step))
            case "stopped":
                run = replace(run, stopped=str(entry.detail))
            case "failed":
                run = replace(run, failed=str(entry.detail))
            case "undo-done":
                run = replace(run, undone=(*run.undone, entry.step))
            case "end":
                run = replace(run, outcome=str(entry.detail), ended=entry.at)
        runs[entry.run] = run
    return list(runs.values())


class Journal:
    """The journal of a state dir. Only the holder of the lock writes."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "journal" / _NAME

    def write(self, run: str, event: Event, step: str = "", detail: Any = None) -> None:
        """Append one line and sync it. Raises ``OSError``."""
        body = canonical({"run": run, "event": event, "at": _now(), "step": step, "detail": detail})
        line = Digest.of(body).hex.encode() + b" " + body
        fresh = not self.path.exists()
        make_folder(self.path.parent)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if not _ends_clean(self.path):
                line = b"\n" + line  # a torn last line stays torn and alone
            write_all(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(self.path.parent)

    def entries(self) -> list[Entry]:
        """All whole lines. Raises ``journal-damaged`` (4) when one in the middle was altered."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        found = []
        for number, line in enumerate(lines, 1):
            checksum, _, body = line.partition(b" ")
            if line and Digest.of(body + b"\n").hex.encode() == checksum:
                found.append(Entry(**json.loads(body)))
            elif line and not checksum_is_torn(line, lines, number):
                raise SealiftError(
                    "journal-damaged",
                    f"line {number} of {self.path} was altered",
                    hint="what runs goes on running; look at the disk, then move the journal away",
                )
        return found

    def runs(self) -> list[Run]:
        return fold(self.entries())

    def programs(self) -> list[Entry]:
        """Each time a newer sealift took over, oldest first."""
        return [entry for entry in self.entries() if entry.event == "program" and entry.step == "done"]

    def unfinished(self) -> Run | None:
        """The last run, if it was cut off or could not be taken back."""
        runs = self.runs()
        return runs[-1] if runs and runs[-1].outcome in ("", "operator-needed") else None


def checksum_is_torn(line: bytes, lines: list[bytes], number: int) -> bool:
    """A torn line is one that a later writer found without its end: it isn't whole JSON. Altered lines still are."""
    if number >= len(lines) - 1:
        return True
    try:
        json.loads(line.partition(b" ")[2])
    except ValueError:
        return True
    return False


def _ends_clean(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
