"""Parts of three sizes beside the one file: what reading over their seams costs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.measure import Cost, in_turn, run, wall
from tests.bench.moving import bundle_verb
from tests.bench.place import BUNDLE
from tests.bench.row import Bench, Goal, Row, both

COUNTS: Final = (2, 7, 40)
"""About so many parts each; the first alone where the benchmark is small."""


def parts(bench: Bench) -> Iterator[Row]:
    """Verified, looked at and loaded as one file and as parts, in turn."""
    place = bench.place
    whole = place.bundle(bench.built())
    for count in COUNTS if bench.settings.scale >= 0.1 else COUNTS[:1]:
        size = whole.stat().st_size // count + 1
        bench.say(f"reading {count} parts")
        folder = place.folder / "parts"
        run([BUNDLE, "pack", whole, "--part-size", str(size), "--output", folder, "--quiet"])
        (first,) = folder.glob("*/*.001")
        yield _row(bench, whole, first, count, size)
        shutil.rmtree(folder)


def _row(bench: Bench, whole: Path, first: Path, count: int, size: int) -> Row:
    place, times = bench.place, bench.settings.runs

    def load(bundle: Path) -> Cost:
        with place.registry() as registry:
            return place.load(bundle, registry.url)

    verified = in_turn(times, lambda: bundle_verb(place, "verify", first), lambda: bundle_verb(place, "verify", whole))
    seen = in_turn(
        bench.settings.short,
        lambda: bundle_verb(place, "inspect", first),
        lambda: bundle_verb(place, "inspect", whole),
    )
    loaded = in_turn(times, lambda: load(first), lambda: load(whole))
    goals = (
        Goal("wall of verifying", verified.ratio(wall), None),
        Goal("wall of inspecting", seen.ratio(wall), None),
        Goal("wall of loading", loaded.ratio(wall), None),
    )
    title = f"{count} parts of {size / 1e6:,.0f} MB"
    command = "bundle verify, bundle inspect, load: PART.001"
    return Row(title, command, "the same with the one file", goals, runs=both(verified), other="one file")
