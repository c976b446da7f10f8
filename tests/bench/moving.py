"""Rows of one mixed product: build, build again, inspect, verify, load, beside the stock tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench import place as commands
from tests.bench.measure import Cost, cpu, in_turn, median, run, wall
from tests.bench.place import BUNDLE, PASSPHRASE, Place
from tests.bench.row import Bench, Goal, Row, both, costs, peak


def bundle_verb(place: Place, verb: str, bundle: Path) -> Cost:
    """``bundle VERB FILE`` with the key that signed it."""
    return run([BUNDLE, verb, bundle, "--key", place.public, "--quiet"], env=PASSPHRASE)


def build(bench: Bench) -> Iterator[Row]:
    """From an OCI layout to a signed bundle."""
    place, product = bench.place, bench.mixed()
    bench.say("building")
    pairs = in_turn(
        bench.settings.runs,
        lambda: place.build(product, "1.0.0", clear=True),
        lambda: place.stock_build(product),
    )
    size = place.bundle(product).stat().st_size
    goals = (
        Goal("wall", pairs.ratio(wall), 0.5),
        Goal("CPU", pairs.ratio(cpu), 0.4),
        Goal("bytes written ÷ bundle", max(c.written for c in pairs.ours) / size, 1.05),
        Goal("bytes written by the stock side ÷ bundle", pairs.stock[0].written / size, None),
        peak(pairs.ours),
    )
    title = f"build, {product.size / 1e9:.2g} GB of images, {product.blobs} blobs"
    yield Row(title, commands.BUILD, commands.STOCK_BUILD, goals, runs=both(pairs))


def build_again(bench: Bench) -> Iterator[Row]:
    """The layout of the next release stands in place of the first one's; only one small layer is another."""
    place, product = bench.place, bench.built()
    bench.say("building again with one small layer changed")
    changed = place.make("mixed", "changed", bench.settings.size, 1)
    shutil.move(product.folder / "dist", changed.folder / "dist")
    pairs = in_turn(
        bench.settings.runs,
        lambda: place.build(changed, "1.0.1", clear=False),
        lambda: place.stock_build(changed),
    )
    shutil.rmtree(changed.folder / "dist/bench-v1.0.1")
    shutil.move(changed.folder / "dist", product.folder / "dist")
    shutil.rmtree(changed.folder)
    goals = (Goal("wall", pairs.ratio(wall), 0.3), Goal("CPU", pairs.ratio(cpu), None), peak(pairs.ours))
    command = commands.BUILD.replace("1.0.0", "1.0.1")
    yield Row("build again, one small layer changed", command, commands.STOCK_BUILD, goals, runs=both(pairs))


def inspect(bench: Bench) -> Iterator[Row]:
    """What is in the mixed bundle, with a look at who signed it."""
    bundle = bench.place.bundle(bench.built())
    bench.say("inspecting")
    yield inspect_row(bench, bundle, f"inspect with signature check, {bundle.stat().st_size / 1e9:.2g} GB")


def inspect_row(bench: Bench, bundle: Path, title: str) -> Row:
    """The same for any bundle."""
    runs = [bundle_verb(bench.place, "inspect", bundle) for _ in range(bench.settings.short)]
    # What it writes is its report, to standard output.
    written = max(cost.written - len(cost.output.encode()) for cost in runs)
    goals = (
        Goal("wall", median(runs, wall), 0.5, "s"),
        Goal("bytes written", max(0, written), 0, "B"),
        peak(runs),
    )
    return Row(title, "bundle inspect FILE --key release.pub", "", goals, runs={"ours": costs(runs)})


def verify(bench: Bench) -> Iterator[Row]:
    """Every byte and every signature, beside one checksum."""
    place, times = bench.place, bench.settings.runs
    bundle = place.bundle(bench.built())
    bench.say("verifying")
    pairs = in_turn(times, lambda: bundle_verb(place, "verify", bundle), lambda: run(["sha256sum", bundle]))
    fast = in_turn(
        times,
        lambda: bundle_verb(place, "verify", bundle),
        lambda: run(["openssl", "dgst", "-sha256", bundle]),
    )
    goals = (
        Goal("wall", pairs.ratio(wall), 1.0),
        Goal("CPU", pairs.ratio(cpu), None),
        Goal("wall beside openssl dgst -sha256", fast.ratio(wall), None),
        peak(pairs.ours),
    )
    runs = {**both(pairs), "beside openssl": costs(fast.stock)}
    yield Row("full verify", "bundle verify FILE --key release.pub", "sha256sum FILE", goals, runs=runs)


def load(bench: Bench) -> Iterator[Row]:
    """Into an empty registry."""
    place, product = bench.place, bench.built()
    bundle = place.bundle(product)
    bench.say("loading")
    used: dict[str, list[float]] = {"ours": [], "stock": []}

    def ours() -> Cost:
        with place.registry() as registry:
            cost = place.load(bundle, registry.url)
            used["ours"].append(cost.cpu + registry.cpu)
            return cost

    def stock() -> Cost:
        with place.registry() as registry:
            cost = place.stock_load(bundle, product.images, registry.host)
            used["stock"].append(cost.cpu + registry.cpu)
            return cost

    pairs = in_turn(bench.settings.runs, ours, stock)
    whole = sorted(a / b for a, b in zip(used["ours"], used["stock"], strict=True))[len(used["ours"]) // 2]
    goals = (
        Goal("wall", pairs.ratio(wall), 0.45),
        # What goes to a socket does not count as written; a copy on the disk would.
        Goal("bytes written to disk ÷ content", max(c.written for c in pairs.ours) / product.size, 0.01),
        Goal("CPU with the registry's", whole, None),
        peak(pairs.ours),
    )
    command = "verify and load into an empty Distribution registry, as sealift install does"
    yield Row(f"load, {product.size / 1e9:.2g} GB", command, commands.STOCK_LOAD, goals, runs=both(pairs))


def load_again(bench: Bench) -> Iterator[Row]:
    """Into a registry that has all of it: five images of eight layers, a configuration and a manifest."""
    place = bench.place
    bench.say("loading again")
    product = place.make("many", "fifty", 5, 8)
    place.build(product, "1.0.0", clear=True)
    bundle = place.bundle(product)
    with place.registry() as registry:
        place.load(bundle, registry.url)
        seconds = [json.loads(place.load(bundle, registry.url).output) for _ in range(bench.settings.short)]
    if any(one["missing"] for one in seconds):
        raise RuntimeError("the second load found something to do")
    shutil.rmtree(product.folder)
    middle = sorted(one["seconds"] for one in seconds)[len(seconds) // 2]
    title = f"load again, nothing to do, {product.blobs} blobs"
    yield Row(title, "the same once more, time in the process", "", (Goal("wall", middle, 0.5, "s"),))
