"""What was done, step by step: append-only lines, each with its checksum, synced before and after every step.

A run begins with its whole plan, so that what remains of it can be done, or undone, by another process. Its state is
a fold over the lines (:func:`fold`); the last line may be torn by a power cut, any other damage is named.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from installer.bundle.digest import Digest
from installer.bundle.strictjson import canonical
from installer.durable import make_folder, sync_folder, write_all
from installer.errors import SealiftError
from installer.state.numbered import Copy, newest

Event = Literal["begin", "step-begin", "step-done", "stopped", "failed", "undo-done", "end", "program"]
_NAME: Final = "journal.jsonl"
_BLOCK: Final = 64 * 1024
_HOLE: Final = 64  # zeros in a row: no line has them


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
    number: int = 0
    state: int = 0


@dataclass(frozen=True)
class Run:
    """A run as its lines tell it. ``outcome`` is empty while it is unfinished.

    ``failed`` is why it is taken back, ``stopped`` why one that can't be taken back came to a halt. ``number`` is that
    of its first line.
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
    number: int = 0


def fold(entries: Iterable[Entry]) -> list[Run]:
    """The runs, oldest first. Pure."""
    runs: dict[str, Run] = {}
    for entry in entries:
        if entry.event == "program":
            continue
        if entry.event == "begin":
            runs[entry.run] = Run(entry.run, entry.at, entry.detail, number=entry.number)
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


class JournalUnwritableError(SealiftError):
    """A line could not be written: nothing more may be done that would have to be written down."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            "journal-unwritable",
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}",
            hint="free some space, or mend the disk, then run the same command again: it goes on or goes back",
        )


class Journal:
    """The journal of a state dir. Only the holder of the lock writes.

    Each line is sealed by the SHA-256 over the seal before it and its own content, so that no line can be altered,
    left out, doubled or moved. It names its number and, in ``state``, the number of the state's newest copy.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "journal" / _NAME
        self._state_dir = state_dir
        self._broken: OSError | None = None

    def write(self, run: str, event: Event, step: str = "", detail: Any = None) -> None:
        """Append one line and sync it. Raises ``JournalUnwritableError``, from then on each time.

        After an error nobody knows what is on the disk, so nothing more is added before somebody has read it anew.
        """
        try:
            if self._broken is not None:
                raise self._broken
            self._append({"run": run, "event": event, "at": _now(), "step": step, "detail": detail})
        except OSError as error:
            self._broken = error
            raise JournalUnwritableError(self.path, error) from error

    def _append(self, content: dict[str, Any]) -> None:
        fresh = not self.path.exists()
        make_folder(self.path.parent)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            end, last = _last_line(descriptor)
            if end != os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, end)  # the torn beginning of a line that nobody was told was written
            known = newest(self._state_dir) or Copy(0, 0, b"")
            seal, number = _ends(last) if last else ("", known.journal)
            body = canonical({"number": number + 1, "state": known.number, **content})
            write_all(descriptor, _seal(seal, body).encode() + b" " + body)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            sync_folder(self.path.parent)

    def length(self) -> int:
        """The number of the last whole line; 0 where there is none."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            _, last = _last_line(file.fileno())
        return _ends(last)[1] if last else 0

    def entries(self) -> list[Entry]:
        """All whole lines. Raises ``journal-damaged`` (4) when one is not what was written, or not in its place.

        A last line that ends in the middle counts as never written: a power cut came before anybody relied on it.
        """
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        found: list[Entry] = []
        seal = ""
        for number, line in enumerate(lines, 1):
            if number == len(lines) and not _holds(seal, line) and not _holds(seal, line[:-1]):
                break  # torn, or nothing at all; with an altered end it would be whole but for that
            if not _holds(seal, line):
                if number == len(lines) - 1 and not lines[-1] and bytes(_HOLE) in line:
                    break  # torn as well: the disk had room for the line, and not yet its content
                raise self._damaged(f"line {number} was altered, or is not in its place")
            found.append(_entry(line))
            seal = _ends(line)[0]
        if found and found[0].number != 1 and not self._set_aside.exists():
            raise self._damaged("its beginning is missing")
        return found

    def check(self) -> None:
        """Compare with what the state knows. Raises ``journal-damaged``, ``state-damaged`` (4).

        Who looks without the lock looks while both grow: an older copy may know no more lines than are read after it,
        and lines no newer copy than is read after them.
        """
        before = newest(self._state_dir)
        entries = self.entries()
        copy = newest(self._state_dir)
        known = before.journal if before else 0
        length = entries[-1].number if entries else 0
        if length < known and (entries or not self._set_aside.exists()):
            raise self._damaged(f"it ends at line {length}, and the state knows of {known} lines")
        wanted = max((entry.state for entry in entries), default=0)
        if copy is not None and copy.number < wanted:
            raise SealiftError(
                "state-damaged",
                f"the state's newest whole copy is number {copy.number}, and the journal knows of {wanted}",
                hint="what runs goes on running; restore the state dir from a backup, state and journal together",
            )

    def newest_state(self) -> int:
        """The highest number of a copy of the state that a line knows of; 0 where none does."""
        return max((entry.state for entry in self.entries()), default=0)

    def runs(self) -> list[Run]:
        return fold(self.entries())

    def programs(self) -> list[Entry]:
        """Each time a newer sealift took over, oldest first."""
        return [entry for entry in self.entries() if entry.event == "program" and entry.step == "done"]

    def unfinished(self) -> Run | None:
        """The last run, if it was cut off or could not be taken back."""
        runs = self.runs()
        return runs[-1] if runs and runs[-1].outcome in ("", "operator-needed") else None

    @property
    def _set_aside(self) -> Path:
        """What a person called a damaged journal after looking at it; then a new one may begin."""
        return self.path.with_name("journal.damaged")

    def _damaged(self, why: str) -> SealiftError:
        return SealiftError(
            "journal-damaged",
            f"{self.path}: {why}",
            hint="what runs goes on running; restore the state dir from a backup, or look what runs and begin anew: "
            f"mv {self.path} {self._set_aside}",
        )


def _seal(before: str, body: bytes) -> str:
    return Digest.of(f"{before}\n".encode() + body).hex


def _holds(before: str, line: bytes) -> bool:
    """Whether a line without its end is what was written after the line with the seal ``before``."""
    seal, _, body = line.partition(b" ")
    return seal == _seal(before, body + b"\n").encode()


def _entry(line: bytes) -> Entry:
    return Entry(**json.loads(line.partition(b" ")[2]))


def _ends(line: bytes) -> tuple[str, int]:
    """Seal and number of a line."""
    return line[:64].decode(), int(json.loads(line[65:])["number"])


def _last_line(descriptor: int) -> tuple[int, bytes]:
    """Where the last whole line ends, and the line without its end; nothing where there is none."""
    size = os.fstat(descriptor).st_size
    start, tail = size, b""
    while start > 0:
        start, end = max(0, start - _BLOCK), start
        tail = os.pread(descriptor, end - start, start) + tail
        before, newline, torn = tail.rpartition(b"\n")
        if newline and (b"\n" in before or start == 0):
            return size - len(torn), before.rpartition(b"\n")[2]
    return 0, b""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
