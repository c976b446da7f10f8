"""The rows of the table: what is run beside what, and what is to be reached."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import place as commands
from tests.bench.measure import MB, Cost, Pairs, cpu, in_turn, median, run, wall
from tests.bench.place import BUNDLE, PASSPHRASE, Input, Place

FULL: Final = 3.5e9


@dataclass(frozen=True)
class Goal:
    """One figure and what it may be at most; ``limit`` None for one that is only told."""

    what: str
    value: float
    limit: float | None
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.limit is None or self.value <= self.limit


@dataclass(frozen=True)
class Row:
    """One row: the commands of both sides, the figures, and the runs behind them."""

    title: str
    ours: str
    beside: str
    goals: tuple[Goal, ...]
    note: str = ""
    runs: dict[str, list[dict[str, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How much is done: ``scale`` times 3.5 GB of images, ``runs`` pairs, and how large the largest bundles are."""

    scale: float
    runs: int
    large: float
    huge: float
    images: int

    @property
    def size(self) -> float:
        return FULL * self.scale

    @property
    def short(self) -> int:
        """Runs of what takes less than a second."""
        return self.runs * 3 - 2


def costs(side: tuple[Cost, ...] | list[Cost]) -> list[dict[str, float]]:
    """Runs as plain figures."""
    return [
        {"wall": round(c.wall, 3), "cpu": round(c.cpu, 3), "written": c.written, "peak_mb": round(c.peak, 1)}
        for c in side
    ]


def both(pairs: Pairs) -> dict[str, list[dict[str, float]]]:
    """The runs of both sides."""
    return {"ours": costs(pairs.ours), "beside": costs(pairs.stock)}


def peak(side: tuple[Cost, ...]) -> Goal:
    """The largest process of a side, as the table's limit has it."""
    return Goal("peak memory", max(cost.peak for cost in side), 120, "MB")


class Rows:
    """Makes the rows, one after the other; each removes what the next does not need."""

    def __init__(self, place: Place, settings: Settings, say: Callable[[str], None]) -> None:
        self._place, self._settings, self._say = place, settings, say

    def all(self) -> Iterator[Row]:
        """The whole table."""
        yield from self._mixed()
        yield from self._sized("large", self._settings.large, everything=True)
        yield from self._sized("huge", self._settings.huge, everything=False)
        yield self._many()
        yield self._start()

    def _mixed(self) -> Iterator[Row]:
        place, runs = self._place, self._settings.runs
        self._say(f"making images of {self._settings.size / MB:.0f} MB")
        product = place.make("mixed", "mixed", self._settings.size, 0)
        bundle = place.bundle(product)
        self._say("building")
        pairs = in_turn(runs, lambda: place.build(product, "1.0.0", clear=True), lambda: place.stock_build(product))
        size = bundle.stat().st_size
        goals = (
            Goal("wall", pairs.ratio(wall), 0.5),
            Goal("CPU", pairs.ratio(cpu), 0.4),
            Goal("bytes written ÷ bundle", max(c.written for c in pairs.ours) / size, 1.05),
            Goal("bytes written by the stock side ÷ bundle", pairs.stock[0].written / size, None),
            peak(pairs.ours),
        )
        title = f"build, {product.size / 1e9:.2g} GB of images, {product.blobs} blobs"
        yield Row(title, commands.BUILD, commands.STOCK_BUILD, goals, runs=both(pairs))
        yield self._again(product)
        yield self._inspect(bundle, f"inspect with signature check, {size / 1e9:.2g} GB")
        yield self._verify(bundle)
        yield from self._load(product, bundle)
        shutil.rmtree(product.folder)

    def _again(self, product: Input) -> Row:
        """The layout of the next release stands in place of the first one's; only one small layer is another."""
        place = self._place
        self._say("building again with one small layer changed")
        changed = place.make("mixed", "changed", self._settings.size, 1)
        shutil.move(product.folder / "dist", changed.folder / "dist")
        pairs = in_turn(
            self._settings.runs,
            lambda: place.build(changed, "1.0.1", clear=False),
            lambda: place.stock_build(changed),
        )
        shutil.rmtree(changed.folder / "dist/bench-v1.0.1")
        shutil.move(changed.folder / "dist", product.folder / "dist")
        shutil.rmtree(changed.folder)
        goals = (Goal("wall", pairs.ratio(wall), 0.3), Goal("CPU", pairs.ratio(cpu), None), peak(pairs.ours))
        command = commands.BUILD.replace("1.0.0", "1.0.1")
        return Row("build again, one small layer changed", command, commands.STOCK_BUILD, goals, runs=both(pairs))

    def _inspect(self, bundle: Path, title: str) -> Row:
        runs = [self._bundle("inspect", bundle) for _ in range(self._settings.short)]
        # What it writes is its report, to standard output.
        written = max(cost.written - len(cost.output.encode()) for cost in runs)
        goals = (
            Goal("wall", median(runs, wall), 0.5, "s"),
            Goal("bytes written", max(0, written), 0, "B"),
            peak(tuple(runs)),
        )
        return Row(title, "bundle inspect FILE --key release.pub", "", goals, runs={"ours": costs(runs)})

    def _verify(self, bundle: Path) -> Row:
        self._say("verifying")
        pairs = in_turn(self._settings.runs, lambda: self._bundle("verify", bundle), lambda: run(["sha256sum", bundle]))
        fast = in_turn(
            self._settings.runs,
            lambda: self._bundle("verify", bundle),
            lambda: run(["openssl", "dgst", "-sha256", bundle]),
        )
        goals = (
            Goal("wall", pairs.ratio(wall), 1.0),
            Goal("CPU", pairs.ratio(cpu), None),
            Goal("wall beside openssl dgst -sha256", fast.ratio(wall), None),
            peak(pairs.ours),
        )
        runs = {**both(pairs), "beside openssl": costs(fast.stock)}
        return Row("full verify", "bundle verify FILE --key release.pub", "sha256sum FILE", goals, runs=runs)

    def _bundle(self, verb: str, bundle: Path) -> Cost:
        return run([BUNDLE, verb, bundle, "--key", self._place.public, "--quiet"], env=PASSPHRASE)

    def _load(self, product: Input, bundle: Path) -> Iterator[Row]:
        place = self._place
        self._say("loading")
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

        pairs = in_turn(self._settings.runs, ours, stock)
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
        yield self._nothing_to_do()

    def _nothing_to_do(self) -> Row:
        place = self._place
        product = place.make("many", "fifty", 5, 8)  # five images of eight layers, a configuration and a manifest
        place.build(product, "1.0.0", clear=True)
        bundle = place.bundle(product)
        with place.registry() as registry:
            place.load(bundle, registry.url)
            seconds = [json.loads(place.load(bundle, registry.url).output) for _ in range(self._settings.short)]
        if any(one["missing"] for one in seconds):
            raise RuntimeError("the second load found something to do")
        shutil.rmtree(product.folder)
        middle = sorted(one["seconds"] for one in seconds)[len(seconds) // 2]
        title = f"load again, nothing to do, {product.blobs} blobs"
        return Row(title, "the same once more, time in the process", "", (Goal("wall", middle, 0.5, "s"),))

    def _sized(self, name: str, size: float, *, everything: bool) -> Iterator[Row]:
        """A bundle with holes: what it costs to inspect, verify and, with ``everything``, build and load it."""
        place = self._place
        told = f"{size / 1e9:.2g} GB"
        self._say(f"making a bundle of {told} with holes")
        bundle = place.make_sparse(name, size)
        if not everything:
            yield self._inspect(bundle, f"inspect with signature check, {told}")
        self._say(f"verifying {told}")
        verified = self._bundle("verify", bundle)
        runs = {"ours": costs([verified])}
        yield Row(f"verify {told}", "bundle verify FILE --key release.pub", "", (peak((verified,)),), runs=runs)
        if everything:
            self._say(f"building and loading {told}")
            product = Input(place.folder / f"{name}-product", ("first",), 0, int(size))
            built = place.build(product, "1.0.0", clear=True)
            yield Row(f"build {told}", commands.BUILD, "", (peak((built,)),), runs={"ours": costs([built])})
            shutil.rmtree(product.folder / "dist")
            with place.registry() as registry:
                loaded = place.load(bundle, registry.url)
            yield Row(f"load {told}", "as above", "", (peak((loaded,)),), runs={"ours": costs([loaded])})
        shutil.rmtree(bundle.parent)
        shutil.rmtree(place.folder / f"{name}-product")

    def _many(self) -> Row:
        most = self._settings.images
        self._say(f"{most} images of ten blobs each")
        found = {images: self._many_of(images) for images in self._counts()}
        large = found[most]

        def growth(verb: str) -> float:
            """What one more image costs from 100 to 1,000 of them, beside what it costs from 10 to 100: 1 is linear."""
            few, some, many = (found[count][verb].cpu for count in self._counts())
            return max(0.0, many - some) / max(some - few, 0.001) / 10

        goals = [Goal(f"{verb}: client CPU a blob", large[verb].cpu * 1000 / (most * 10), 3, "ms") for verb in large]
        goals += [Goal(f"{verb}: growth, 1 is linear", growth(verb), 1.5) for verb in large]
        goals += [Goal("peak memory", max(cost.peak for cost in large.values()), 120, "MB")]
        runs = {f"{verb}, {count} images": costs([cost]) for count, one in found.items() for verb, cost in one.items()}
        title = f"{most:,} images, {most * 10:,} blobs"
        return Row(title, "bundle build, bundle verify, load into an empty registry", "", tuple(goals), runs=runs)

    def _counts(self) -> tuple[int, int, int]:
        most = self._settings.images
        return max(1, most // 100), max(1, most // 10), most

    def _many_of(self, images: int) -> dict[str, Cost]:
        place = self._place
        product = place.make("many", f"many-{images}", images)
        costs = {"build": place.build(product, "1.0.0", clear=True)}
        bundle = place.bundle(product)
        costs["verify"] = self._bundle("verify", bundle)
        with place.registry() as registry:
            costs["load"] = place.load(bundle, registry.url)
        shutil.rmtree(product.folder)
        return costs

    def _start(self) -> Row:
        place, times = self._place, self._settings.short
        self._say("starting")
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
        return Row("start", "bundle --help; on the host, sealift --help", "", goals, runs=runs)
