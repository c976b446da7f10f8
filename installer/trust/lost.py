"""Has this host been in use, and lost its state? Then nothing that comes in may pass for a first install."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from installer.durable import create_durably
from installer.look.inventory import Observed
from installer.state.journal import Journal, Run
from installer.state.state import has_state, load_state

Observe = Callable[[], Observed]
"""Looks at the containers of the state dir."""
_USED: Final = Path("trust/used")
"""Written beside the root at the first commit: who restores the trust alone restores this too."""


def note_use(state_dir: Path) -> None:
    """A release was committed here. Again changes nothing."""
    if not (state_dir / _USED).exists():
        create_durably(state_dir / _USED, b"a release was committed here\n")


def lost_state(state_dir: Path, observe: Observe | None) -> str:
    """What shows that there was a state once; empty where there is one, and on a host that is new.

    Without ``observe`` the engine is not asked.
    """
    if has_state(state_dir):
        return "to begin anew has not come about yet" if load_state(state_dir).lost else ""
    return evidence(
        used=(state_dir / _USED).exists(),
        kept=sum(1 for _ in (state_dir / "releases").glob("*/[!.]*/release.json")),
        runs=Journal(state_dir).runs(),
        containers=[replica.container for replica in observe().replicas] if observe else [],
    )


def evidence(*, used: bool, kept: int, runs: Iterable[Run], containers: Iterable[str]) -> str:
    """The same of what was looked up. Pure."""
    done = sum(1 for run in runs if run.outcome == "done")
    running = sorted(containers)
    found = [
        ("a release was committed (trust/used)", used),
        (f"{kept} kept releases", kept),
        (f"{done} runs in the journal", done),
        (f"containers such as {running[0]}" if running else "", running),
    ]
    return ", ".join(text for text, there in found if there)
