"""``python -m tests.bench``: make inputs, run both sides in turn, write the table; 1 where a goal is missed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench import report
from tests.bench.place import BUNDLE, REPOSITORY, Place
from tests.bench.plot import draw
from tests.bench.rows import Row, Rows, Settings


def settings_from(arguments: argparse.Namespace) -> Settings:
    """How much to do: everything shrinks with the scale, but the bundle of 40 GB, which takes 1.3 GB of disk."""
    scale: float = arguments.scale
    return Settings(
        scale=scale,
        runs=arguments.runs,
        large=8e9 * scale,
        huge=arguments.huge * 1e9,
        images=arguments.images,
    )


def say(line: str) -> None:
    """To standard error, at once."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 3.5 GB of images, and 8 GB for the largest build")
    parser.add_argument("--runs", type=int, default=3, help="pairs of which the median counts")
    parser.add_argument("--huge", type=float, default=40.0, help="GB of the largest bundle (a file with holes)")
    parser.add_argument("--images", type=int, default=1000, help="of ten blobs each")
    parser.add_argument("--folder", type=Path, help="where to work; 20 GB free at scale 1")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs", help="a folder with performance.md")
    arguments = parser.parse_args(argv)
    settings = settings_from(arguments)
    base = Path(tempfile.mkdtemp(prefix="sealift-bench-", dir=arguments.folder))
    rows: list[Row] = []
    os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
    try:
        where = report.machine(BUNDLE)
        place = Place(base)
        place.prepare()
        for row in Rows(place, settings, say).all():
            rows.append(row)
            for goal in row.goals:
                limit = "" if goal.limit is None else f" (goal {report.figure(goal.limit, goal.unit)})"
                verdict = "" if goal.met else " MISSED"
                say(f"  {row.title}: {goal.what} {report.figure(goal.value, goal.unit)}{limit}{verdict}")
    finally:
        shutil.rmtree(base, ignore_errors=True)
    report.write(arguments.output, rows, settings, where)
    caption = f"scale {settings.scale:g}, medians of {settings.runs}; {where['processor']}, {where['date']}"
    (arguments.output / "performance.svg").write_text(draw(rows, caption))
    print(report.as_markdown(rows, settings, where))
    return 0 if all(goal.met for row in rows for goal in row.goals) else 1


if __name__ == "__main__":
    sys.exit(main())
