"""A campaign in a process of its own, whose children are forked from a small one; its report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def report_of(campaign: str, *words: object, folder: Path) -> dict[str, Any]:
    """What ``python -m tests.torture.CAMPAIGN WORDS`` prints; ``folder`` is for its files."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.torture.{campaign}", *map(str, words)],
        cwd=Path(__file__).resolve().parents[2],
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
