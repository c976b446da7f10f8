"""Waits until every container of a part serves, and looks again a moment later.

Once is not enough: a container can be healthy, and dead two seconds later, and started again by the engine. So after
``settle`` seconds the same containers must be there, healthy, neither started again nor replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from installer.bundle.release import Health
from installer.errors import SealiftError
from installer.targets.states import Replica, replica_state

Observe = Callable[[], Sequence[Replica]]
Ask = Callable[[Replica, Health], str | None]
Logs = Callable[[Replica], Sequence[str]]

# The engine doubles its pause before each start, from 0.1 s: five starts are three seconds of failing.
_HOPELESS: Final = 5
_POLL: Final = 0.5
_WAITING: Final = "still starting"


@dataclass(frozen=True)
class Clock:
    """Time, so that tests can bend it. ``now`` is in seconds since 1970, ``monotonic`` in seconds since whenever."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class _Trouble:
    """What keeps a part from serving. ``final`` says that waiting won't help."""

    replica: Replica | None
    why: str
    final: bool = False


def await_healthy(
    observe: Observe,
    probe: Ask,
    services: Mapping[str, Health | None],
    *,
    timeout: float,
    settle: float,
    logs: Logs,
    clock: Clock | None = None,
) -> None:
    """Return when all replicas of ``services`` serve and still do after ``settle`` seconds.

    ``timeout`` and ``settle`` are in seconds. ``services`` maps names to what the release asks from outside. Raises
    ``service-unhealthy`` (9) with the last log lines of the first service that fails.
    """
    clock = clock or Clock()
    deadline = clock.monotonic() + timeout
    while True:
        seen = observe()
        trouble = _first_trouble(seen, services, probe, clock.now())
        if trouble is None:
            break
        if trouble.final:
            raise _failure(trouble, trouble.why, logs)
        if clock.monotonic() >= deadline:
            raise _failure(trouble, f"not healthy within {timeout:.0f} s: {trouble.why}", logs)
        clock.sleep(_POLL)
    clock.sleep(settle)
    again = observe()
    trouble = _difference(seen, again) or _first_trouble(again, services, probe, clock.now())
    if trouble is not None:
        raise _failure(trouble, f"healthy at first, but {settle:.0f} s later: {trouble.why}", logs)


def diagnose(seen: Sequence[Replica], logs: Logs, clock: Clock | None = None) -> SealiftError | None:
    """Whose fault it is when starting failed: the worst container with its last log lines; None when all look well.

    Compose only names the first container that it waited for, and shows no logs.
    """
    now = (clock or Clock()).now()
    troubles = [trouble for replica in seen if (trouble := _trouble(replica, now)) is not None]
    worst = min(troubles, key=lambda one: (not one.final, one.why.startswith(_WAITING)), default=None)
    return _failure(worst, worst.why, logs) if worst else None


def _first_trouble(
    seen: Sequence[Replica], services: Mapping[str, Health | None], probe: Ask, now: float
) -> _Trouble | None:
    """What ends the wait comes first; nobody is asked from outside before all look well from inside."""
    missing = sorted(set(services) - {replica.service for replica in seen})
    if missing:
        return _Trouble(None, f"the service {missing[0]} has no container")
    troubles = [trouble for replica in seen if (trouble := _trouble(replica, now)) is not None]
    if troubles:
        return next((trouble for trouble in troubles if trouble.final), troubles[0])
    for replica in seen:
        health = services.get(replica.service)
        if health is not None and not replica.finishes and (why := probe(replica, health)) is not None:
            return _Trouble(replica, why)
    return None


def _trouble(replica: Replica, now: float) -> _Trouble | None:
    said = f"; its health check says: {replica.health_log}" if replica.health_log else ""
    match replica_state(replica, now):
        case "healthy" | "completed":
            return None
        case "starting":
            return _Trouble(replica, f"{_WAITING}{said}")
        case "unhealthy":
            return _Trouble(replica, f"unhealthy{said}", final=True)
        case "crash-loop":
            why = f"it ends again and again{_exit_code(replica)} (started {replica.restarts + 1} times)"
            return _Trouble(replica, why, final=replica.restarts >= _HOPELESS)
        case "exited":
            error = f": {replica.error}" if replica.error else ""
            why = f"it has ended{_exit_code(replica)}" if replica.status == "exited" else f"it is {replica.status}"
            return _Trouble(replica, f"{why}{error}", final=replica.finishes)


def _difference(first: Sequence[Replica], second: Sequence[Replica]) -> _Trouble | None:
    later = {replica.id: replica for replica in second}
    for replica in first:
        found = later.get(replica.id)
        if found is None:
            return _Trouble(replica, "the container is gone")
        if (found.restarts, found.started_at) != (replica.restarts, replica.started_at):
            return _Trouble(found, f"it ended{_exit_code(found)} and was started again")
    return None


def _exit_code(replica: Replica) -> str:
    return "" if replica.exit_code is None else f" with exit code {replica.exit_code}"


def _failure(trouble: _Trouble, why: str, logs: Logs) -> SealiftError:
    replica = trouble.replica
    if replica is None:
        return SealiftError("service-unhealthy", why, hint="look at the engine's log: somebody removed it")
    lines = tuple(f"{replica.container}: {line}" for line in logs(replica))
    return SealiftError(
        "service-unhealthy",
        f"{replica.container} of {replica.product}: {why}",
        hint="its last log lines say more" if lines else "it wrote no log lines; ask whoever made the release",
        details=lines,
    )
