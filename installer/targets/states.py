"""What a container is, and what its state means for a release. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["starting", "healthy", "unhealthy", "exited", "crash-loop", "completed"]

# The engine forgets about crashes once a container has lived for this long.
_SETTLED: Final = 10.0
_LINE: Final = 500


@dataclass(frozen=True)
class Replica:
    """One container of ours. ``started_at`` is in seconds since 1970, ``addresses`` by network.

    ``container`` is its name within the compose project, such as ``gateway-1``; ``finishes`` says that it is meant
    to end; ``health`` is ``none`` for a container without a health check of its own; ``exit_code`` is that of its last
    end, None where it never ended or the engine has forgotten it.
    """

    id: str
    product: str
    part: str
    service: str
    number: int
    container: str
    version: str
    release: str
    finishes: bool
    config_hash: str
    image: str
    status: str
    health: str
    health_log: str
    restarts: int
    started_at: float
    exit_code: int | None
    error: str
    addresses: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The digest that the image is pinned by; empty when it isn't."""
        return self.image.partition("@")[2]


def replica_state(replica: Replica, now: float) -> State:
    """What to make of a container at the time ``now``; one without a health check is healthy once it runs."""
    if replica.finishes and replica.status == "exited" and replica.exit_code == 0:
        return "completed"
    if replica.status == "restarting":
        return "crash-loop"
    if replica.status != "running":
        return "starting" if replica.status == "created" and not replica.error else "exited"
    if replica.restarts and abs(now - replica.started_at) < _SETTLED:  # a start in the future: the clock was put back
        return "crash-loop"
    if replica.health in ("starting", "unhealthy"):
        return "starting" if replica.health == "starting" else "unhealthy"
    return "healthy"


def clean(text: str) -> str:
    """A line for a terminal: what a container wrote must not move the cursor or recolour the screen."""
    kept = (" " if character == "\t" else character for character in text)
    return "".join(one for one in kept if unicodedata.category(one)[0] != "C")[:_LINE].rstrip()
