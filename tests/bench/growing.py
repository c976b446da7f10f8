"""Rows of what grows: bundles of 8 and 40 GB, a thousand images, and what it costs to start at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.bench import place as commands
from tests.bench.measure import Cost, median, run, wall
from tests.bench.moving import bundle_verb, inspect_row
from tests.bench.place import BUNDLE, Input
from tests.bench.row import Bench, Goal, Row, costs, peak


def small(bench: Bench) -> Iterator[Row]:
    """Memory for 0.7 GB."""
    yield from _memory(bench, "small", bench.settings.large * 0.7 / 8)


def large(bench: Bench) -> Iterator[Row]:
    """Memory for 8 GB: the same."""
    yield from _memory(bench, "large", bench.settings.large)


def _memory(bench: Bench, name: str, size: float) -> Iterator[Row]:
    """A bundle with holes: what it takes of memory to inspect, verify, build and load it."""
    place = bench.place
    bundle, told = _sparse(bench, name, size)
    yield inspect_row(bench, bundle, f"inspect with signature check, {told}")
    yield _verified(bench, bundle, told)
    bench.say(f"building and loading {told}")
    product = Input(place.folder / f"{name}-product", ("first",), 0, int(size))
    built = place.build(product, "1.0.0", clear=True)
    yield Row(f"build {told}", commands.BUILD, "", (peak([built]),), runs={"ours": costs([built])})
    shutil.rmtree(product.folder / "dist")
    with place.registry() as registry:
        loaded = place.load(bundle, registry.url)
    yield Row(f"load {told}", "as above", "", (peak([loaded]),), runs={"ours": costs([loaded])})
    _remove(bench, name)


def huge(bench: Bench) -> Iterator[Row]:
    """The largest bundle, with holes: what it costs to inspect and to verify it."""
    if not bench.settings.huge:
        bench.say("the bundle of 40 GB is skipped (HUGE=0)")
        return
    bundle, told = _sparse(bench, "huge", bench.settings.huge)
    yield inspect_row(bench, bundle, f"inspect with signature check, {told}")
    yield _verified(bench, bundle, told)
    _remove(bench, "huge")


def _sparse(bench: Bench, name: str, size: float) -> tuple[Path, str]:
    told = f"{size / 1e9:.2g} GB"
    bench.say(f"making a bundle of {told} with holes")
    return bench.place.make_sparse(name, size), told


def _remove(bench: Bench, name: str) -> None:
    for folder in (name, f"{name}-product"):
        shutil.rmtree(bench.place.folder / folder)


def _verified(bench: Bench, bundle: Path, told: str) -> Row:
    bench.say(f"verifying {told}")
    cost = bundle_verb(bench.place, "verify", bundle)
    command = "bundle verify FILE --key release.pub"
    return Row(f"verify {told}", command, "", (peak([cost]),), runs={"ours": costs([cost])})


def many(bench: Bench) -> Iterator[Row]:
    """A hundredth, a half and all of a thousand images of ten blobs each."""
    most = bench.settings.images
    bench.say(f"{most} images of ten blobs each")
    counts = max(1, most // 100), max(1, most // 2), most
    found = {images: _many_of(bench, images) for images in sorted(set(counts))}
    few, half, whole = (found[count] for count in counts)

    def growth(verb: str) -> float:
        """What one more image costs on the way to all of them, beside what it costs on the way to a half."""
        ratio = max(1, counts[2] - counts[0]) / max(1, counts[1] - counts[0])
        return max(0.0, whole[verb].cpu - few[verb].cpu) / max(half[verb].cpu - few[verb].cpu, 0.001) / ratio

    goals = [Goal(f"{verb}: client CPU a blob", cost.cpu * 1000 / (most * 10), 3, "ms") for verb, cost in whole.items()]
    goals += [Goal(f"{verb}: growth, 1 is linear", growth(verb), 1.3) for verb in whole]
    goals += [Goal("peak memory", max(cost.peak for cost in whole.values()), None, "MB")]
    runs = {f"{verb}, {count} images": costs([cost]) for count, one in found.items() for verb, cost in one.items()}
    title = f"{most:,} images, {most * 10:,} blobs"
    yield Row(title, "bundle build, bundle verify, load into an empty registry", "", tuple(goals), runs=runs)


def _many_of(bench: Bench, images: int) -> dict[str, Cost]:
    place = bench.place
    product = place.make("many", f"many-{images}", images)
    found = {"build": place.build(product, "1.0.0", clear=True)}
    bundle = place.bundle(product)
    found["verify"] = bundle_verb(place, "verify", bundle)
    with place.registry() as registry:
        found["load"] = place.load(bundle, registry.url)
    shutil.rmtree(product.folder)
    return found


def start(bench: Bench) -> Iterator[Row]:
    """The help of both programs; that of the site runs from the runtime that it carries."""
    place, times = bench.place, bench.settings.short
    bench.say("starting")
    bundle = [run([BUNDLE, "--help"]) for _ in range(times)]
    program = place.folder / "install"
    run([BUNDLE, "program", "--output", program, "--quiet"])
    settings = {"SEALIFT_UNPACK_ONLY": "1", "SEALIFT_RUNTIME_DIR": str(place.folder / "runtime")}
    runtime = run(["sh", program], env=settings).output.strip().splitlines()[-1]
    sealift = [run(["sh", f"{runtime}/start.sh", "sealift", "--help"]) for _ in range(times)]
    goals = (
        Goal("bundle --help", median(bundle, wall), 0.35, "s"),
        Goal("sealift --help", median(sealift, wall), 0.5, "s"),
    )
    runs = {"bundle --help": costs(bundle), "sealift --help": costs(sealift)}
    yield Row("start", "bundle --help; on the host, sealift --help", "", goals, runs=runs)
