"""A signal at any line of the journal: 130, a first line that is true of what serves, and the next run gets there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.signals", name, str(LINES[name][1])],
        cwd=Path(__file__).resolve().parents[2],
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["problems"] == []
    least, share = LINES[name]
    assert [line for line, _ in report["tried"]] == report["lines"][::share]
    assert len(report["lines"]) >= least
