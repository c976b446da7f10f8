"""The benchmark runs from end to end on inputs so small that it takes seconds; no time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.report import BEGIN, END

pytestmark = pytest.mark.e2e


def test_bench_writes_its_table_picture_and_figures(tmp_path: Path, repository: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    command = [
        sys.executable,
        "-m",
        "tests.bench",
        "--scale",
        "0.002",
        "--runs",
        "1",
        "--huge",
        "0.05",
        "--images",
        "10",
    ]
    done = subprocess.run(
        [*command, "--folder", tmp_path, "--output", tmp_path], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), (
        done.stderr
    )  # 1: a goal is missed, as small inputs must: starting is all they cost
    value = json.loads((tmp_path / "performance.json").read_text())
    goals = {(row["title"].partition(",")[0], goal["what"]): goal for row in value["rows"] for goal in row["goals"]}
    assert {what for _, what in goals} >= {"wall", "CPU", "peak memory", "bundle --help", "sealift --help"}
    assert goals["build", "bytes written ÷ bundle"]["value"] >= 1
    assert goals["inspect with signature check", "bytes written"]["met"]
    assert goals["load", "bytes written to disk ÷ content"]["met"]
    text = page.read_text()
    assert text.startswith("# before") and text.endswith("after\n") and "old" not in text
    assert "skopeo copy --all --preserve-digests" in text and value["machine"]["skopeo"] in text
    missed = [goal["what"] for goal in goals.values() if not goal["met"]]
    assert bool(missed) == ("Missed: " in text) == bool(done.returncode)
    ElementTree.fromstring((tmp_path / "performance.svg").read_text())  # noqa: S314 - our own
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("sealift-bench-")] == []
