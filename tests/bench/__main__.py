"""``python -m tests.bench``: make inputs, run both sides in turn, write the table.

Ends with 1 where a goal is missed, 2 where a row failed, 130 when interrupted.
What a row has found is written before the next one begins: a run that is interrupted keeps what it has, and rows that
are not run keep what they found earlier, each with its own date.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import report
from tests.bench.place import BUNDLE, REPOSITORY, Place
from tests.bench.plot import draw
from tests.bench.row import Bench, Row, Settings
from tests.bench.rows import ROWS


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


def show(row: Row) -> None:
    """What a row has found."""
    for goal in row.goals:
        limit = "" if goal.limit is None else f" (goal {report.figure(goal.limit, goal.unit)})"
        verdict = "" if goal.met else " MISSED"
        say(f"  {row.title}: {goal.what} {report.figure(goal.value, goal.unit)}{limit}{verdict}")


def measure(bench: Bench, names: Sequence[str], output: Path) -> list[str]:
    """Run the rows of these names and write what each has found; the names of those that failed."""
    machine = report.machine(BUNDLE)
    failed = []
    for name in names:
        moment, found = report.moment(bench.settings), []
        try:
            for row in ROWS[name](bench):
                show(row)
                found.append(report.Measured(name, row, moment, machine))
        except (OSError, RuntimeError) as error:
            say(f"{name} FAILED, and stays as it was measured earlier: {error}")
            failed.append(name)
            continue
        table = report.merged(report.read(output), found, list(ROWS))
        report.write(output, table, list(ROWS))
        (output / "performance.svg").write_text(draw(table))
    return failed


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; 2 for a row that there is not."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--scale", type=float, default=1.0, help="1: 3.5 GB of images, and 8 GB for the largest build")
    parser.add_argument("--runs", type=int, default=3, help="pairs of which the median counts")
    parser.add_argument(
        "--huge", type=float, default=40.0, help="GB of the largest bundle (a file with holes); 0: none"
    )
    parser.add_argument("--images", type=int, default=1000, help="of ten blobs each")
    parser.add_argument("--rows", default="", help=f"some of {','.join(ROWS)}")
    parser.add_argument("--folder", type=Path, help="where to work; 20 GB free at scale 1")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs", help="a folder with performance.md")
    arguments = parser.parse_args(argv)
    arguments.rows = arguments.rows.split(",") if arguments.rows else list(ROWS)
    unknown = [name for name in arguments.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    arguments = parsed(argv)
    base = Path(tempfile.mkdtemp(prefix="sealift-bench-", dir=arguments.folder))
    os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
    for number in (signal.SIGINT, signal.SIGTERM):  # the folder goes in both cases, and in the background too
        signal.signal(number, signal.default_int_handler)
    try:
        place = Place(base)
        place.prepare()
        names = [name for name in ROWS if name in arguments.rows]
        failed = measure(Bench(place, settings_from(arguments), say), names, arguments.output)
    except KeyboardInterrupt:
        say("interrupted; the rows that were complete are written")
        return 130
    finally:
        shutil.rmtree(base, ignore_errors=True)
    table = report.read(arguments.output)
    print(report.as_markdown(table, list(ROWS)))
    if failed:
        return 2
    return 1 if report.missed([one for one in table if one.name in arguments.rows]) else 0


if __name__ == "__main__":
    sys.exit(main())
