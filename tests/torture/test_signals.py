"""A signal at any line of the journal: 130, a first line that is true of what serves, and the next run gets there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.apart import report_of

LINES = {
    "first-install": (28, 5),
    "blue-green": (26, 2),
    "blue-green-fails": (25, 5),
    "rolling": (50, 6),
    "rollback": (24, 5),
    "stage": (16, 4),
    "unstage": (4, 1),
    "switch": (22, 5),
    "confirm": (8, 2),
    "prune": (8, 2),
    "remove": (14, 3),
}
"""How many lines the journal gets at least in each scenario, and every how manieth is tried."""


@pytest.mark.parametrize("name", LINES)
def test_a_signal_anywhere_says_what_serves_and_the_next_run_converges(name: str, tmp_path: Path) -> None:
    report = report_of("signals", name, LINES[name][1], folder=tmp_path)
    assert report["problems"] == []
    least, share = LINES[name]
    assert [line for line, _ in report["tried"]] == report["lines"][::share]
    assert len(report["lines"]) >= least
