"""Waiting for health: what counts, what ends the wait, what the second look catches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from installer.bundle.release import Health
from installer.errors import SealiftError
from installer.targets.health import Clock, await_healthy, diagnose
from installer.targets.states import Replica, State, clean, replica_state

HEALTH = Health(http=":8080/healthz")
NOW = 1_000_000.0
WELL = Replica(
    id="1",
    product="note-board",
    part="blue",
    service="web",
    number=1,
    container="web-1",
    version="1.2.0",
    release="sha256:00",
    finishes=False,
    config_hash="",
    image="127.0.0.1:5000/web@sha256:00",
    status="running",
    health="healthy",
    health_log="",
    restarts=0,
    started_at=NOW - 60,
    exit_code=None,
    error="",
    addresses={"net": "10.213.0.2"},
)


class Bent:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> Clock:
        return Clock(lambda: NOW + self.passed, lambda: self.passed, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.passed += max(seconds, 0.01)


def wait(
    looks: Sequence[Sequence[Replica]],
    probe: Callable[[Replica, Health], str | None] = lambda *_: None,
    bent: Bent | None = None,
    health: Health | None = HEALTH,
) -> None:
    """Wait while the engine shows these looks one after the other, the last one for ever."""
    left = list(looks)
    await_healthy(
        lambda: left.pop(0) if len(left) > 1 else left[0],
        probe,
        {"web": health},
        timeout=20,
        settle=3,
        logs=lambda replica: (f"last words of {replica.id}",),
        clock=(bent or Bent()).clock(),
    )


def failure(
    looks: Sequence[Sequence[Replica]], probe: Callable[[Replica, Health], str | None] = lambda *_: None
) -> SealiftError:
    """The error that waiting ends with."""
    with pytest.raises(SealiftError) as failed:
        wait(looks, probe)
    assert failed.value.id == "service-unhealthy"
    return failed.value


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "healthy"),
        ({"health": "none"}, "healthy"),
        ({"health": "starting"}, "starting"),
        ({"health": "unhealthy"}, "unhealthy"),
        ({"status": "created"}, "starting"),
        ({"status": "created", "error": "no such program"}, "exited"),
        ({"status": "exited"}, "exited"),
        ({"status": "dead"}, "exited"),
        ({"status": "paused"}, "exited"),
        ({"status": "restarting"}, "crash-loop"),
        ({"restarts": 2, "started_at": NOW - 1}, "crash-loop"),
        ({"restarts": 2, "started_at": NOW - 3600}, "healthy"),
        ({"restarts": 2, "started_at": NOW + 1}, "crash-loop"),
        ({"restarts": 2, "started_at": NOW + 86400}, "healthy"),  # the clock was put back a day
        ({"status": "exited", "finishes": True, "exit_code": 0}, "completed"),
        ({"status": "exited", "finishes": True, "exit_code": 1}, "exited"),
    ],
)
def test_reads_the_state_of_a_container(change: dict[str, object], state: State) -> None:
    assert replica_state(replace(WELL, **change), NOW) == state  # type: ignore[arg-type]


def test_returns_when_all_are_well_and_still_are_after_the_settle_time() -> None:
    bent = Bent()
    wait([[replace(WELL, health="starting")], [WELL]], bent=bent)
    assert bent.passed == pytest.approx(3.5)


def test_waits_while_the_answer_from_outside_is_wrong() -> None:
    answers = ["503", "503", None, None]
    wait([[WELL]], probe=lambda *_: answers.pop(0))
    assert answers == []


def test_asks_nobody_from_outside_who_needs_no_asking() -> None:
    wait([[WELL]], probe=lambda *_: "asked", health=None)
    wait([[replace(WELL, finishes=True, status="exited", exit_code=0)]], probe=lambda *_: "asked")


def test_ends_the_wait_when_the_products_own_check_has_decided() -> None:
    error = failure([[replace(WELL, health="unhealthy", health_log="no database")]])

    assert "web-1 of note-board: unhealthy; its health check says: no database" in error.message
    assert "within" not in error.message
    assert error.details == ("web-1: last words of 1",)


def test_ends_the_wait_for_a_container_that_fails_again_and_again() -> None:
    error = failure([[replace(WELL, status="restarting", restarts=6, exit_code=3)]])
    assert "it ends again and again with exit code 3 (started 7 times)" in error.message


def test_gives_a_container_that_failed_once_the_time_to_recover() -> None:
    wait([[replace(WELL, status="restarting", restarts=1)], [replace(WELL, restarts=1)]])


@pytest.mark.parametrize(
    ("look", "words"),
    [
        ([replace(WELL, health="starting")], "still starting"),
        ([replace(WELL, status="exited", exit_code=7)], "exit code 7"),
        ([], "web has no container"),
    ],
)
def test_gives_up_at_the_end_of_the_time(look: list[Replica], words: str) -> None:
    assert words in failure([look]).message


def test_names_what_the_answer_from_outside_was() -> None:
    error = failure([[WELL]], probe=lambda *_: ":8080/healthz answers 500")
    assert "not healthy within 20 s: :8080/healthz answers 500" in error.message


@pytest.mark.parametrize(
    ("later", "words"),
    [
        ([replace(WELL, restarts=1, started_at=NOW, exit_code=9)], "ended with exit code 9 and was started again"),
        ([replace(WELL, started_at=NOW)], "it ended and was started again"),
        ([replace(WELL, restarts=3, started_at=NOW - 1, exit_code=9)], "it ended with exit code 9"),
        ([replace(WELL, status="paused")], "it is paused"),
        ([replace(WELL, id="2")], "is gone"),
        ([replace(WELL, health="unhealthy")], "unhealthy"),
        ([replace(WELL, status="exited", exit_code=1)], "exit code 1"),
    ],
)
def test_catches_what_was_healthy_once(later: list[Replica], words: str) -> None:
    error = failure([[WELL], later])

    assert "healthy at first, but 3 s later" in error.message
    assert words in error.message


def test_shows_the_logs_of_the_replica_that_failed() -> None:
    other = replace(WELL, id="2", container="web-2", health="unhealthy")
    assert failure([[WELL, other]]).details == ("web-2: last words of 2",)


def test_names_who_is_to_blame_when_starting_failed() -> None:
    waiting = replace(WELL, id="1", container="web-1", status="created")
    crashing = replace(WELL, id="2", container="web-2", status="restarting", restarts=1, exit_code=4)
    lost = replace(WELL, id="3", container="web-3", health="unhealthy")
    clock = Bent().clock()

    for seen, guilty in (((waiting,), "web-1"), ((waiting, crashing), "web-2"), ((waiting, crashing, lost), "web-3")):
        error = diagnose(seen, lambda replica: (f"last words of {replica.id}",), clock)
        assert error is not None
        assert guilty in error.message
        assert error.details == (f"{guilty}: last words of {guilty[-1]}",)


def test_blames_nobody_when_all_look_well() -> None:
    assert diagnose((WELL,), lambda replica: (), Bent().clock()) is None


def test_takes_control_characters_out_of_what_a_container_wrote() -> None:
    assert clean("a\x1b[31mred\x07\tb\u202e\r") == "a[31mred b"
