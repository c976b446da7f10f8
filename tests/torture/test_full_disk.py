"""A disk that refuses any write of journal and state: the right code, old or new serves, the next run converges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.apart import report_of

CALLS = {"blue-green": 60, "blue-green-fails": 55, "rollback": 50, "remove": 25}
"""How many calls there are at least in each scenario."""


@pytest.mark.parametrize("name", CALLS)
def test_whatever_the_disk_refuses_old_or_new_serves_and_the_next_run_converges(name: str, tmp_path: Path) -> None:
    report = report_of("refusals", name, folder=tmp_path)
    assert report["problems"] == []
    assert report["points"] >= CALLS[name]
    assert len(report["tried"]) == 3 * report["points"]
    assert {code for _, _, code in report["tried"]} <= {7, 10, 11}
