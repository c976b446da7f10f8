"""The sockets of a running HAProxy: the current worker's own, and the master's, which reaches the old workers too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.edge.answers import StatRow, Workers, parse_stat, parse_workers
from installer.edge.sockets import ask
from installer.errors import SealiftError

_POLL: Final = 0.02  # seconds
_PATIENCE: Final = 5.0  # seconds; the master is away while it starts itself anew


MASTER: Final = "run/master.sock"


def predecessor(container: str) -> str:
    """Under which name the master in this container (its id) is still reached once a newer one took its place."""
    return MASTER.replace(".sock", f"-{container[:8]}.sock")


def predecessors(folder: Path) -> list[Control]:
    """Those that handed their sockets over and may still serve what they have, by their masters."""
    found = sorted((folder / MASTER).parent.glob("master-*.sock"))
    return [Control(folder, f"run/{path.name}") for path in found]


@dataclass(frozen=True)
class Control:
    """``folder`` is the edge's folder. All methods raise ``edge-unreachable`` or ``edge-failed`` (9)."""

    folder: Path
    master_socket: str = MASTER

    def ask(self, question: str) -> str:
        """Ask the current worker. Around a reload that may still be the one before."""
        return ask(self.folder / "run/stats.sock", question)

    def master(self, question: str, patience: float = _PATIENCE) -> str:
        """Ask the master, or through it a worker (``@!<pid> …``); again for ``patience`` seconds while it is away."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return ask(self.folder / self.master_socket, question)
            except SealiftError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_POLL)

    def workers(self, patience: float = _PATIENCE) -> Workers:
        """Which workers there are."""
        deadline = time.monotonic() + patience
        while True:
            answer = self.master("show proc", patience)
            # Nothing is answered by a master that starts itself anew in this very moment.
            if answer.strip() or time.monotonic() > deadline:
                return parse_workers(answer)
            time.sleep(_POLL)

    def old_stat(self, pid: int) -> tuple[StatRow, ...]:
        """``show stat`` of an old worker; nothing where it has served its last session and ended since."""
        answer = self.master(f"@!{pid} show stat")
        return parse_stat(answer) if answer.startswith("# pxname") else ()
