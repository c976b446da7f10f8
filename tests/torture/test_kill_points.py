"""Killed at any point, and killed again while it recovers, a run ends as if nobody had killed it.

Each campaign is a process of its own (``python -m tests.torture.campaign``); what it checks stands there.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.torture.apart import report_of
from tests.torture.campaign import SCENARIOS, chosen

SEED = 20261121
POINTS = {
    "first-install": 160,
    "first-install-fails": 150,
    "blue-green": 140,
    "blue-green-fails": 130,
    "rolling": 160,
    "rolling-fails": 150,
    "rollback": 120,
    "stage": 95,
    "unstage": 55,
    "switch": 115,
    "trial": 115,
    "confirm": 60,
    "confirm-time-out": 115,
    "edge-upgrade": 140,
    "trust-rotation": 130,
    "trust-update": 12,
    "prune": 65,
    "remove": 100,
}
AGAIN = 28

LONG = {"journey": 220}
"""Several upgrades in one run: each transition is one of a single upgrade too, so a share of them is tried."""

assert {**POINTS, **LONG}.keys() == SCENARIOS.keys()


def _hit(name: str, folder: Path, points: int, shard: int = 0, shards: int = 1) -> dict[str, Any]:
    return report_of("campaign", name, SEED, points, AGAIN, shard, shards, folder=folder)


@pytest.mark.parametrize("name", POINTS)
def test_killed_anywhere_it_ends_as_if_nobody_had_killed_it(name: str, tmp_path: Path) -> None:
    report = _hit(name, tmp_path, POINTS[name])
    assert report["problems"] == []
    assert report["points"] == chosen(report["all"], POINTS[name], random.Random(SEED))
    assert report["again"] >= AGAIN


@pytest.mark.parametrize("name", LONG)
def test_killed_on_the_way_over_several_releases_it_ends_as_if_nobody_had(name: str, tmp_path: Path) -> None:
    report = _hit(name, tmp_path, LONG[name], 3, 6)
    assert report["problems"] == []
    assert len(report["points"]) >= LONG[name] // 6


def test_these_are_two_thousand_points_and_five_hundred_second_ones() -> None:
    assert sum(POINTS.values()) >= 2000
    assert AGAIN * len(POINTS) >= 500


def test_a_program_that_does_not_recover_is_found_out(tmp_path: Path) -> None:
    """The campaign itself must be able to fail: here nobody looks whether a run was cut off."""
    found = report_of("blind", folder=tmp_path)
    assert found["before"] == []
    assert any("the next run ended with 4" in problem for problem in found["after"]), found
