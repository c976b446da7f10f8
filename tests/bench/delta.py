"""A delta of a Debian image with some forty packages upgraded in one layer: its size, and what applying it costs.

The two root filesystems are real: the suite of this machine's own apt sources as it was released last, and with the
security updates since then. They are made by mmdebstrap, once, and kept in the wide cache. Below a tenth of the scale
some drawn files stand for them. Both bundles are loaded with the media in memory and no faster than a stick gives them,
into a registry whose files lie in the state dir, as the bundled one's do; and into one that must be asked for the old
layer, as a site's own. As a child of its own: ``make FOLDER real|drawn`` writes the inputs, ``load BUNDLE PUB URL STATE
RATE`` brings a bundle into a registry as an upgrade does, from media of RATE MB/s (0: as fast as they come).
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from tests.bench.measure import MB, Cost, Pairs, in_turn, run, wall
from tests.bench.place import BUNDLE, PASSPHRASE, PYTHON, REPOSITORY, Input
from tests.bench.row import Bench, Goal, Row, both, costs

PACKAGES: Final = (
    "apache2,bind9-dnsutils,ca-certificates,curl,ghostscript,git,haproxy,imagemagick,jq,libarchive-tools,libnss3,"
    "libssh-4,mariadb-client,memcached,nginx,nodejs,openssl,perl,php8.2-cli,poppler-utils,postgresql-client-15,python3"
)
OLD, NEW = "1.0.0", "1.0.1"
STICK: Final = 40
"""MB/s: the most that USB 2 gives. A DVD gives half of it."""
_RECIPE: Final = """\
apiVersion: sealift.dev/v1
product: bench
platforms: [linux/amd64]
images: {{first: {{from: 'oci:{layout}'}}}}
templates: [templates]
deploy: {{compose: compose.yaml.j2}}
services: {{first: {{image: first}}}}
"""


def delta(bench: Bench) -> Iterator[Row]:
    """One image, one plain layer, in a registry that has the old one."""
    from installer.patching.worker import MEMORY as WORKER

    place = bench.place
    bench.say("making two Debian systems, or taking them from the cache")
    folder = place.folder / "delta"
    kind = "real" if bench.settings.scale >= 0.1 else "drawn"
    made = json.loads(run([PYTHON, "-m", "tests.bench.delta", "make", folder, kind], cwd=REPOSITORY).output)
    for version in (OLD, NEW):
        place.build(Input(folder / version, ("first",), 3, made["size"]), version, clear=True)
    old, new = (folder / version / f"dist/bench-v{version}" for version in (OLD, NEW))
    bench.say("packing the delta")
    packed = run([BUNDLE, "pack", new, "--since", old, "--output", folder / "out", "--json"], env=PASSPHRASE)
    small = Path(json.loads(packed.output[packed.output.index("{") :])["bundle"])
    whole = next(new.glob("*.bundle.tar.zst"))

    def compared(rate: int, state: Path) -> Pairs:
        def load(bundle: Path) -> Cost:
            with place.registry() as registry:
                _load(next(old.glob("*.bundle.tar.zst")), place.public, registry.url, state, 0)
                return _load(bundle, place.public, registry.url, state, rate)

        return in_turn(bench.settings.runs, lambda: load(small), lambda: load(whole))

    bench.say(f"loading it, and the whole: from media of {STICK} MB/s, and out of memory")
    slow, pairs, asked = compared(STICK, place.folder), compared(0, place.folder), compared(0, folder)
    goals = (
        Goal("bytes ÷ the whole bundle's", small.stat().st_size / whole.stat().st_size, 0.15),
        Goal(f"wall of applying, media of {STICK} MB/s", slow.ratio(wall), 1.0),
        Goal("wall of applying, media in memory", pairs.ratio(wall), 1.0),
        Goal("the same with a registry that is asked for the old layer", asked.ratio(wall), None),
        Goal("peak memory", max(_own_peak(cost) for cost in pairs.ours), 120, "MB"),
        Goal("peak memory of the process that patches", max(cost.peak for cost in pairs.ours), WORKER / 1e6, "MB"),
        Goal("size", small.stat().st_size / 1e6, None, "MB"),
    )
    title = f"delta, {made['packages']} packages upgraded in one layer of {made['size'] / 1e6:.0f} MB"
    command = "bundle pack NEW --since OLD; load it as sealift install does, into a registry with OLD"
    runs = both(pairs)
    for name, more in ((f"{STICK} MB/s", slow), ("asked", asked)):
        runs |= {f"ours, {name}": costs(more.ours), f"beside, {name}": costs(more.stock)}
    yield Row(title, command, "load the whole of NEW in the same way", goals, runs=runs, other="the whole")
    shutil.rmtree(folder)


def _own_peak(cost: Cost) -> float:
    """MB of the program itself, as it says at its end: what a cost has is the largest of its processes."""
    return float(cost.output.splitlines()[-1])


def _load(bundle: Path, public: Path, url: str, state: Path, rate: int) -> Cost:
    return run([PYTHON, "-m", "tests.bench.delta", "load", bundle, public, url, state, str(rate)], cwd=REPOSITORY)


def make(folder: Path, kind: str) -> None:
    """Write a product for each version below ``folder``; prints what is in them."""
    from bundler.cache import wide_cache
    from tests.unit.bundler.layouts import LayoutMaker

    names = ("old", "new")
    roots = [_root(wide_cache() / "bench-delta", name) if kind == "real" else _drawn(folder, name) for name in names]
    for version, root in zip((OLD, NEW), roots, strict=True):
        base = folder / version / "manifests/bench"
        (base / "templates").mkdir(parents=True)
        maker = LayoutMaker(base / "layout")
        maker.add(maker.image([root.read_bytes()]), ref="first")
        maker.finish()
        (base / "release.yaml").write_text(_RECIPE.format(layout="layout"))
        (base / "templates/compose.yaml.j2").write_text('services: {first: {image: "{{ images.first }}"}}\n')
        (base / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{version}] - 2026-11-28\n\n- as it is\n")
    before, after = (_versions(root) for root in roots)
    changed = sum(before.get(name) != version for name, version in after.items())
    print(json.dumps({"size": roots[1].stat().st_size, "packages": changed or 40}))


def _root(cache: Path, name: str) -> Path:
    """The root filesystem ``old`` or ``new``, as a tar."""
    path = cache / f"{name}.tar"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        form = [
            "apt-get",
            "indextargets",
            "--format",
            "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Identifier: Packages",
        ]
        lines = set(subprocess.run(form, check=True, capture_output=True, text=True).stdout.split("\n")) - {""}
        suites = ("bookworm main", "bookworm-security main") if name == "new" else ("bookworm main",)
        sources = sorted(line for line in lines if line.endswith(suites))
        draft = cache / f".{name}.tar"
        _said("mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES}", "bookworm", str(draft), *sources)
        draft.rename(path)
    return path


def _drawn(folder: Path, name: str) -> Path:
    """A layer of files of which 40 differ."""
    from tests import editions

    files = editions.tree(1, files=200)
    path = folder / f"{name}.tar"
    folder.mkdir(exist_ok=True)
    path.write_bytes(editions.layer(editions.upgraded(files, 2) if name == "new" else files))
    return path


def _versions(root: Path) -> dict[str, tuple[object, ...]]:
    """The packages of a root filesystem by name: what tells the changelogs of two versions apart."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(root) as archive:
        for member in archive:
            name = re.fullmatch(r"\./usr/share/doc/([^/]+)/changelog\S*\.gz", member.name)
            if name:
                found[name[1]] = (*found.get(name[1], ()), member.size, member.mtime)
    return found


def _said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Slow:
    """A file that gives ``rate`` MB/s at most, as media do that are read ahead all the time."""

    def __init__(self, file: BinaryIO, rate: int) -> None:
        self._file, self._rate, self._began, self._read = file, rate * MB, time.monotonic(), 0

    def read(self, count: int) -> bytes:
        """As soon as the media have given so much."""
        data = self._file.read(count)
        self._read += len(data)
        time.sleep(max(0.0, self._began + self._read / self._rate - time.monotonic()))
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def load(bundle: Path, public: Path, url: str, state: Path, rate: int = 0) -> None:
    """Verify and load, out of the registry's old layers where it is a delta; media of ``rate`` MB/s, 0: as they are."""
    from installer.bundle import archive
    from installer.bundle.parts import open_bundle
    from installer.bundle.trust import TrustPolicy
    from installer.deltas import Ground
    from installer.media import open_media
    from installer.registry.address import RegistryAddress
    from installer.registry.client import RegistryClient
    from installer.registry.fill import fill_registry
    from installer.registry.load import RegistrySink
    from installer.registry.settings import RegistryFolder

    if rate:
        setattr(archive, "open_bundle", lambda path, ask: Slow(open_bundle(path, ask), rate))  # noqa: B010
    client = RegistryClient.at(RegistryAddress.parse(url))
    media = open_media(bundle, TrustPolicy.from_key(public.read_bytes(), "bench"))
    ground = Ground.of(media, client, state, RegistryFolder.of(state).open_blob)

    def read(sink: RegistrySink, again: bool) -> None:
        ground.refuse_lacking(sink.held)
        media.read([sink], progress=lambda _: None, quick=again, rebuild=ground.rebuilder)

    fill_registry(client, media.release, read, print, others=ground.repositories)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, kind]:
            make(Path(folder), kind)
        case ["load", bundle, public, url, state, rate]:
            load(Path(bundle), Path(public), url, Path(state), int(rate))
