"""Whatever happens around a run, as any of its steps begins: a true exit code, and the next run gets there.

On the target in files: every step by every mishap. ``make troubles`` does the same on a real engine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.apart import report_of
from tests.torture.mishaps import DISK, MISHAPS

STEPS = {"blue-green": 11, "rolling": 20}
"""How many steps there are at least in each scenario."""


@pytest.mark.parametrize("name", STEPS)
def test_whatever_happens_at_any_step_the_exit_code_is_true_and_the_next_run_converges(
    name: str, tmp_path: Path
) -> None:
    report = report_of("mishaps", name, folder=tmp_path)
    assert report["problems"] == []
    assert len(report["steps"]) >= STEPS[name]
    assert [(step, what) for step, what, _ in report["tried"]] == [
        (step, what) for step in report["steps"] for what in (*MISHAPS, DISK)
    ]
