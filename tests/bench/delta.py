"""A delta of a Debian image with some forty packages upgraded in one layer: its size, and what applying it costs.

The two root filesystems are real: the suite of this machine's own apt sources as it was released last, and with the
security updates since then. They are made by mmdebstrap, once, and kept in the wide cache. Below a tenth of the scale
some drawn files stand for them. As a child of its own:
``make FOLDER real|drawn`` writes the inputs, ``load BUNDLE PUB URL SCRATCH`` brings a bundle into a registry as an
upgrade does.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.measure import MB, Cost, in_turn, run
from tests.bench.place import BUNDLE, PASSPHRASE, PYTHON, REPOSITORY, Input
from tests.bench.row import Bench, Goal, Row, both

PACKAGES: Final = (
    "apache2,bind9-dnsutils,ca-certificates,curl,ghostscript,git,haproxy,imagemagick,jq,libarchive-tools,libnss3,"
    "libssh-4,mariadb-client,memcached,nginx,nodejs,openssl,perl,php8.2-cli,poppler-utils,postgresql-client-15,python3"
)
OLD, NEW = "1.0.0", "1.0.1"
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
    times = {"delta": small, "whole": whole}

    def load(what: str) -> Cost:
        with place.registry() as registry:
            _load(next(old.glob("*.bundle.tar.zst")), place.public, registry.url, folder)
            return _load(times[what], place.public, registry.url, folder)

    pairs = in_turn(bench.settings.runs, lambda: load("delta"), lambda: load("whole"))
    goals = (
        Goal("bytes ÷ the whole bundle's", small.stat().st_size / whole.stat().st_size, 0.15),
        Goal("wall of applying", pairs.ratio(lambda cost: cost.wall), 1.0),
        Goal("peak memory", max(_own_peak(cost) for cost in pairs.ours), 120, "MB"),
        Goal("peak memory of the process that patches", max(cost.peak for cost in pairs.ours), WORKER / 1e6, "MB"),
        Goal("size", small.stat().st_size / 1e6, None, "MB"),
    )
    title = f"delta, {made['packages']} packages upgraded in one layer of {made['size'] / 1e6:.0f} MB"
    command = "bundle pack NEW --since OLD; load it as sealift install does, into a registry with OLD"
    yield Row(title, command, "load the whole of NEW in the same way", goals, runs=both(pairs), other="the whole")
    shutil.rmtree(folder)


def _own_peak(cost: Cost) -> float:
    """MB of the program itself, as it says at its end: what a cost has is the largest of its processes."""
    return float(cost.output.splitlines()[-1])


def _load(bundle: Path, public: Path, url: str, scratch: Path) -> Cost:
    return run([PYTHON, "-m", "tests.bench.delta", "load", bundle, public, url, scratch], cwd=REPOSITORY)


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


def load(bundle: Path, public: Path, url: str, scratch: Path) -> None:
    """Verify and load, out of the registry's old layers where it is a delta."""
    from installer.bundle.trust import TrustPolicy
    from installer.deltas import Ground
    from installer.media import open_media
    from installer.registry.address import RegistryAddress
    from installer.registry.client import RegistryClient
    from installer.registry.fill import fill_registry
    from installer.registry.load import RegistrySink

    client = RegistryClient.at(RegistryAddress.parse(url))
    media = open_media(bundle, TrustPolicy.from_key(public.read_bytes(), "bench"))
    ground = Ground.of(media, client, scratch)

    def read(sink: RegistrySink, again: bool) -> None:
        ground.refuse_lacking(sink.held)
        media.read([sink], progress=lambda _: None, quick=again, rebuild=ground.rebuilder)

    fill_registry(client, media.release, read, print, others=ground.repositories)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, kind]:
            make(Path(folder), kind)
        case ["load", bundle, public, url, scratch]:
            load(Path(bundle), Path(public), url, Path(scratch))
