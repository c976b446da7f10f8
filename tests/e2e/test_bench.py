"""The benchmark runs from end to end on inputs so small that it takes seconds; no time is judged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench.report import BEGIN, END
from tests.bench.rows import ROWS

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = ("--scale", "0.002", "--runs", "1", "--huge", "0.05", "--images", "1")


def bench(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run it with its page, figures and picture in ``folder``."""
    return subprocess.run(command(folder, *more), cwd=REPOSITORY, capture_output=True, text=True)


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tests.bench", *SMALL, "--folder", str(folder), "--output", str(folder), *more]


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "performance.json").read_text())["rows"]
    return found


def test_bench_writes_its_table_picture_and_figures(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# before\n\n{BEGIN}\nwhat stood here\n{END}\n\nafter\n")
    done = bench(tmp_path)
    # 1: a goal is missed, as small inputs must: starting is all they cost
    assert done.returncode in (0, 1), done.stderr
    goals = {(row["title"].partition(",")[0], goal["what"]): goal for row in rows(tmp_path) for goal in row["goals"]}
    assert {what for _, what in goals} >= {"wall", "CPU", "peak memory", "bundle --help", "sealift --help"}
    assert {row["name"] for row in rows(tmp_path)} == set(ROWS)
    assert goals["build", "bytes written ÷ bundle"]["value"] >= 1
    assert goals["inspect with signature check", "bytes written"]["met"]
    assert goals["load", "bytes written to disk ÷ content"]["met"]
    text = page.read_text()
    assert text.startswith("# before") and text.endswith("after\n") and "what stood here" not in text
    assert "skopeo copy --all --preserve-digests" in text and rows(tmp_path)[0]["machine"]["skopeo"] in text
    missed = [goal["what"] for goal in goals.values() if not goal["met"]]
    assert bool(missed) == ("Missed: " in text) == bool(done.returncode)
    ElementTree.fromstring((tmp_path / "performance.svg").read_text())  # noqa: S314 - our own
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("sealift-bench-")] == []

    before = rows(tmp_path)
    bench(tmp_path, "--rows", "nothing", "--scale", "0.001")
    after = rows(tmp_path)
    assert [row["name"] for row in after] == [row["name"] for row in before]
    anew = {row["name"] for row in after if row["measured"]["scale"] == "0.001"}
    assert anew == {"nothing"}
    assert [row for row in after if row["name"] != "nothing"] == [row for row in before if row["name"] != "nothing"]


def test_a_row_that_there_is_not_is_named(tmp_path: Path) -> None:
    done = bench(tmp_path, "--rows", "start,finish")
    assert done.returncode == 2 and "no row finish" in done.stderr


def test_an_interrupted_run_keeps_the_rows_that_were_complete(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text(f"{BEGIN}{END}")
    running = subprocess.Popen(
        command(tmp_path, "--rows", "nothing,huge"), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "making a bundle" in line:
            running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert [row["name"] for row in rows(tmp_path)] == ["nothing"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
