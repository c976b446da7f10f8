"""Every moment at which a run can die or be refused a write: all mutating calls, and both sides of each transition.

The product knows nothing of this. In a process that is about to be killed, the functions of :mod:`os` that change
something are replaced by ones that count first, and the journal and the performer by ones that name where a run is.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from installer.state.journal import Journal
from tests.contract.driver import FilePerformer

CALLS: Final = ("write", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "ftruncate", "fchmod", "chmod")
"""What changes a disk. A killed ``write`` is torn: half of its bytes are there."""
_WHAT_SERVES: Final = ("/world/containers/", "/world/edge/")


@dataclass
class Points:
    """Names each point as it comes by; ``at`` says where ``strike`` is called instead; ``look`` after each change."""

    strike: Callable[[str, str, tuple[Any, ...]], Any] | None = None
    at: Callable[[int], bool] = field(default=lambda number: False)
    counts: Callable[[str, tuple[Any, ...]], bool] = field(default=lambda call, arguments: True)
    look: Callable[[], None] = field(default=lambda: None)
    names: list[str] = field(default_factory=list)
    where: str = "start"

    def passes(self, call: str, arguments: tuple[Any, ...] = ()) -> Any:
        """Count one point; what ``strike`` returned where it struck, else None."""
        if not self.counts(call, arguments):
            return None
        self.names.append(f"{self.where}: {call}")
        if self.strike is not None and self.at(len(self.names) - 1):
            return self.strike(self.names[-1], call, arguments)
        return None


def die(report: int) -> Callable[[str, str, tuple[Any, ...]], Any]:
    """Ends this process as a pulled plug would, after telling ``report`` (a descriptor) where."""
    write = os.write

    def strike(name: str, call: str, arguments: tuple[Any, ...]) -> None:
        if call == "write":
            write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        write(report, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    return strike


def refuse(code: int) -> Callable[[str, str, tuple[Any, ...]], Any]:
    """Answers as a full or a broken disk: half a write, then an error."""
    write = os.write

    def strike(name: str, call: str, arguments: tuple[Any, ...]) -> Any:
        if call == "write":
            write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
        raise OSError(code, os.strerror(code))

    return strike


FULL: Final = refuse(errno.ENOSPC)
BROKEN: Final = refuse(errno.EIO)


def below(root: Path) -> Callable[[str, tuple[Any, ...]], bool]:
    """Counts writes, fsyncs and renames of files below ``root`` only."""
    stem = f"{root}/"

    def counts(call: str, arguments: tuple[Any, ...]) -> bool:
        if call not in ("write", "fsync", "rename"):
            return False
        return f"{place_of(arguments[0])}/".startswith(stem)

    return counts


def place_of(what: Any) -> str:
    """The path of what a call is about, which it may name by a descriptor."""
    return str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else str(what)


@contextmanager
def watched(points: Points) -> Iterator[Points]:
    """Let everything in the block pass by ``points``."""
    kept: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, new: Any) -> None:
        kept.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    for call in CALLS:
        replace(os, call, _counted(points, call, getattr(os, call)))
    replace(Journal, "write", _journal(points, Journal.write))
    replace(FilePerformer, "__call__", _performer(points, FilePerformer.__call__))
    try:
        yield points
    finally:
        for owner, name, old in reversed(kept):
            setattr(owner, name, old)


def _counted(points: Points, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        points.passes(call, arguments)
        done = real(*arguments, **options)
        if call in ("rename", "unlink") and any(part in str(arguments[0]) for part in _WHAT_SERVES):
            points.look()
        return done

    return counted


def _journal(points: Points, real: Callable[..., Any]) -> Callable[..., Any]:
    def write(journal: Journal, run: str, event: str, step: str = "", detail: Any = None) -> None:
        outer, points.where = points.where, f"journal {event}{' ' if step else ''}{step}"
        points.passes("before")
        real(journal, run, event, step, detail)
        points.passes("after")
        points.where = outer

    return write


def _performer(points: Points, real: Callable[..., Any]) -> Callable[..., Any]:
    def perform(performer: FilePerformer, action: Any) -> None:
        outer, points.where = points.where, f"{action.kind}"
        points.passes("before")
        real(performer, action)
        points.look()
        points.passes("after")
        points.where = outer

    return perform
