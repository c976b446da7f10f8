"""Watching the front door: whom nobody has asked yet is not ill; who was well and is no more is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from installer.edge.answers import Counters
from installer.errors import SealiftError
from installer.performers import frontdoor
from installer.performers.frontdoor import FrontDoor
from installer.plan.actions import Watch

WATCH = Watch(product="board", colour="blue", seconds=0.05, questions=())


def watch(ready: Callable[[int], bool], broken: int = 0) -> int:
    """Watch a door whose servers are ready at each look as ``ready`` says; how often it was looked at."""
    looks: list[bool] = []

    def look(product: str, colour: str) -> bool:
        looks.append(ready(len(looks)))
        return looks[-1]

    def errors(product: str, colour: str) -> Counters:
        return Counters("1", 100, broken * len(looks), 0, 0)

    host: Any = SimpleNamespace(
        edge=lambda: SimpleNamespace(ready=look, errors=errors), with_logs=lambda error, *_: error
    )
    FrontDoor(host)._watch(WATCH)
    return len(looks)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontdoor, "_POLL", 0.01)
    monkeypatch.setattr(frontdoor, "_FIRST_CHECK", 0.3, raising=False)


def test_waits_for_the_first_check_of_a_worker_that_has_just_started() -> None:
    """Right after a reload nobody has asked the servers yet; that is no illness, even where the watch is short."""
    assert watch(lambda number: number >= 8) >= 9


def test_what_was_well_and_is_no_more_ends_it_at_once() -> None:
    with pytest.raises(SealiftError) as caught:
        watch(lambda number: number == 0)
    assert "it stopped being healthy" in caught.value.message


def test_what_no_check_ever_finds_well_ends_it() -> None:
    with pytest.raises(SealiftError) as caught:
        watch(lambda _: False)
    assert "no check of the front door has found it healthy" in caught.value.message


def test_bad_answers_end_it_though_nobody_was_asked_yet() -> None:
    with pytest.raises(SealiftError) as caught:
        watch(lambda _: False, broken=40)
    assert "answers 5xx" in caught.value.message
