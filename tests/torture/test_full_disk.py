"""A disk that refuses any write of journal and state: the right code, old or new serves, the next run converges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CALLS = {"blue-green": 60, "blue-green-fails": 55, "rollback": 50, "remove": 25}
"""How many calls there are at least in each scenario."""


@pytest.mark.parametrize("name", CALLS)
def test_whatever_the_disk_refuses_old_or_new_serves_and_the_next_run_converges(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.refusals", name],
        cwd=Path(__file__).resolve().parents[2],
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["problems"] == []
    assert report["points"] >= CALLS[name]
    assert len(report["tried"]) == 3 * report["points"]
    assert {code for _, _, code in report["tried"]} <= {7, 10, 11}
