"""The most memory that each command which carries media takes, with one layer of hundreds of megabytes.

``python -m tests.torture.peaks [MEGABYTES] [FOLDER]`` prints ``VmHWM`` of the command's own process (proc(5)), in MB of
10⁶ bytes. What applies a patch is a process of its own with a bound of its own (``installer.patching.worker``).
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

OLD, NEW = "1.0.0", "1.1.0"
GOAL: Final = 120
_FILE: Final = 64 * 1024
_PLACE: Final = "releases/peaks:v1"
_RECIPE: Final = """\
apiVersion: sealift.dev/v1
product: peaks
platforms: [linux/amd64]
images: {first: {from: 'oci:layout'}}
templates: [templates]
deploy: {compose: compose.yaml.j2}
services: {first: {image: first}}
"""


def main(megabytes: int, folder: Path) -> None:
    """Make what is carried, carry it, and print what that took."""
    from tests.registry.conftest import starting

    child("make", folder, megabytes)
    old, new = (folder / version / f"out/peaks-v{version}" for version in (OLD, NEW))
    bundle = next(new.glob("*.bundle.tar.zst"))
    for name, share in (("one", 0.3), ("two", 0.6)):
        shutil.copytree(new, folder / name)
        with next((folder / name).glob("*.bundle.tar.zst")).open("r+b") as file:
            file.seek(int(bundle.stat().st_size * share))
            file.write(bytes(200_000))
    store = folder / "store"
    for kit in (old, new):
        shutil.copytree(kit, store / kit.name)
    child("receipt", folder, store)
    receipt, root = folder / "hall.receipt", ("--key", folder / "release.pub")
    with starting(folder) as start:
        registry = start().address
        place = f"oci://{registry.host}/{_PLACE}"
        delta = folder / "deltas/peaks-v1.1.0"
        show("pack --since", "pack", new, "--since", old, "--output", folder / "deltas")
        show("verify --have", "verify", delta, *root, "--have", old)
        show("kit", "kit", NEW, "--from", receipt, "--store", store, "--output", folder / "kits")
        kit = next((folder / "kits").iterdir())
        show("verify of a kit", "verify", kit, *root, "--have", receipt, "--store", store)
        show("pack --part-size", "pack", new, "--part-size", "100MB", "--output", folder / "parts")
        show("repair", "repair", folder / "one", "--from", folder / "two")
        show("push", "push", new, place)
        show("pull", "pull", place, "--output", folder / "pulled")
        key = folder / "release.pub"
        for what, media in (("load, the old one whole", old), ("load, the delta", delta)):
            show(what, "load", next(media.glob("*.bundle.tar.zst")), key, f"{registry.url}/site", folder)


def show(title: str, *words: str | Path) -> None:
    """Run one of them and print its line. Raises ``SystemExit`` where it fails."""
    said = child("run", *words)
    peak = int(said.rpartition("VmHWM ")[2]) * 1024 / 1e6
    print(f"{title:26}{peak:5.0f} MB{'' if peak <= GOAL else f', more than {GOAL}'}", flush=True)


def child(*words: str | Path | int) -> str:
    """This program in a process of its own: what another one weighs is not in it. What it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.peaks", *map(str, words)],
        env=os.environ | {"SEALIFT_PASSPHRASE": "word"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def run(words: list[str]) -> None:
    """One verb of ``bundle``, or ``load``: what an upgrade does with a bundle and a registry."""
    if words[0] == "load":
        import installer.cli  # noqa: F401 - what a real run weighs
        from tests.bench.delta import load

        bundle, key, url, scratch = words[1:]
        load(Path(bundle), Path(key), url, Path(scratch))
    else:
        from bundler import cli

        code = cli.main(["--quiet", *words])
        if code:
            raise SystemExit(code)
    status = Path("/proc/self/status").read_text()
    print("VmHWM", re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def make(folder: Path, megabytes: int) -> None:
    """Two signed releases, whose one layer differs in a tenth of its files."""
    from bundler import cli
    from tests.unit.bundler.layouts import LayoutMaker

    assert cli.main(["--quiet", "keygen", "--out", str(folder)]) == 0
    for version in (OLD, NEW):
        base = folder / version / "manifests/peaks"
        (base / "templates").mkdir(parents=True)
        maker = LayoutMaker(base / "layout")
        maker.add(maker.image([layer(megabytes, version)]), ref="first")
        maker.finish()
        (base / "release.yaml").write_text(_RECIPE)
        (base / "templates/compose.yaml.j2").write_text('services: {first: {image: "{{ images.first }}"}}\n')
        (base / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{version}] - 2026-11-28\n\n- as it is\n")
        (base / "install").write_text("#!/bin/sh\n")
        words = [
            "--manifest",
            base / "release.yaml",
            "--installer",
            base / "install",
            "--output",
            base.parents[1] / "out",
        ]
        words += ["--key", folder / "release.key"]
        assert cli.main(["--quiet", "build", f"v{version}", *map(str, words)]) == 0


def layer(megabytes: int, version: str) -> bytes:
    """A plain tar of files that are half text and half noise."""
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number, data in enumerate(_files(megabytes * 1_000_000 // _FILE, version)):
            info = tarfile.TarInfo(f"usr/lib/file-{number:05}")
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return out.getvalue()


def _files(count: int, version: str) -> Iterator[bytes]:
    for number in range(count):
        source = random.Random(number)
        data = source.randbytes(_FILE // 4).hex().encode() + source.randbytes(_FILE // 2)
        if version == NEW and number % 10 == 0:
            data = data[:1000] + random.Random(-1 - number).randbytes(300) + data[1200:]
        yield data


def receipt(folder: Path, store: Path) -> None:
    """What a site tells that runs the old release."""
    from bundler.media.stock import Stock
    from tests.unit.receipts.forge import sealed

    old = next(one for one in Stock.read(store, print).releases if one.release.version == OLD)
    name = {"version": OLD, "digest": str(old.digest)}
    product = {"product": "peaks", "current": name, "previous": None, "kept": [name], "mark": name | {"epoch": 1}}
    held = tuple({member.digest for _, member in old.release.members()})
    (folder / "hall.receipt").write_bytes(sealed(products=[product], held=held))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", *words]:
            run(words)
        case ["make", folder, megabytes]:
            make(Path(folder), int(megabytes))
        case ["receipt", folder, store]:
            receipt(Path(folder), Path(store))
        case [*words]:
            with tempfile.TemporaryDirectory(dir=words[1] if words[1:] else None) as name:
                main(int(words[0]) if words else 400, Path(name))
