"""How long a release has been on trial, whatever the clocks say.

Rules:
- Within one boot only the kernel's own count since boot counts (``CLOCK_BOOTTIME``, which no one can set, and which
  goes on while the machine sleeps).
- What was counted is written down while it is counted, so that a reboot takes at most the last moments away.
- Across a reboot the host's clock may say that more has passed, and is believed: an old release that comes back too
  early is what somebody asked for; one that never comes back is not. A clock that says less counts for nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from installer.durable import make_folder, write_durably
from installer.state.state import Trial

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
PAUSE: Final = 600.0
"""Seconds until a return that failed is tried again."""


@dataclass(frozen=True)
class Reading:
    """The clocks at one moment: which boot, seconds since it began, seconds since 1970 as the host's clock says."""

    boot: str
    uptime: float
    wall: float


@dataclass(frozen=True)
class Counted:
    """``spent`` seconds had passed when the boot ``boot`` was ``uptime`` seconds old; ``tries`` to return failed."""

    boot: str
    uptime: float
    spent: float
    tries: int = 0


def read_clocks() -> Reading:
    """Now. Raises ``OSError``."""
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    return Reading(boot, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def spent(trial: Trial, counted: Counted, now: Reading) -> float:
    """Seconds that have passed of a trial. Pure."""
    if counted.boot == now.boot:
        return counted.spent + max(0.0, now.uptime - counted.uptime)
    return max(counted.spent + now.uptime, now.wall - trial.wall)


def is_over(trial: Trial, counted: Counted, now: Reading) -> bool:
    """Whether its time is up: a confirmation comes too late."""
    return spent(trial, counted, now) >= trial.seconds


def is_due(trial: Trial, counted: Counted, now: Reading) -> bool:
    """Whether the old release is to come back now; where that failed, not at once again."""
    return spent(trial, counted, now) >= trial.seconds + PAUSE * counted.tries


def load_counted(state_dir: Path, product: str, trial: Trial) -> Counted:
    """What was counted last; where that is lost or of another trial, what the trial itself knows."""
    try:
        value = json.loads(_place(state_dir, product).read_bytes())
        if value["trial"] == _name(trial):
            return Counted(str(value["boot"]), float(value["uptime"]), float(value["spent"]), int(value["tries"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Counted(trial.boot, trial.uptime, 0.0)


def count(state_dir: Path, product: str, trial: Trial, now: Reading, *, failed: bool = False) -> Counted:
    """Write down what has passed. Raises ``OSError``."""
    before = load_counted(state_dir, product, trial)
    counted = Counted(now.boot, now.uptime, spent(trial, before, now), before.tries + failed)
    place = _place(state_dir, product)
    make_folder(place.parent)
    write_durably(place, json.dumps(asdict(counted) | {"trial": _name(trial)}).encode(), 0o600)
    return counted


def forget(state_dir: Path, product: str) -> None:
    """Nothing is counted any more."""
    _place(state_dir, product).unlink(missing_ok=True)


def _place(state_dir: Path, product: str) -> Path:
    return state_dir / "trials" / f"{product}.json"


def _name(trial: Trial) -> str:
    return f"{trial.boot} {trial.uptime} {trial.wall}"
