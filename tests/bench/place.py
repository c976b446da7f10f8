"""Where a benchmark runs: its folder, its keys and inputs, the commands of both sides, real registries."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.measure import Cost, run

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PYTHON: Final = sys.executable
BUNDLE: Final = str(Path(PYTHON).with_name("bundle"))
PASSPHRASE: Final = {"SEALIFT_PASSPHRASE": "word"}

BUILD: Final = "bundle build v1.0.0 --key release.key --installer FILE --output dist"
STOCK_BUILD: Final = (
    "for each image: skopeo copy --all --preserve-digests oci:layout:NAME oci:copy:NAME; "
    "tar -C copy -cf - . | zstd -T0 -o bundle.tar.zst; sha256sum bundle.tar.zst > SHA256SUMS"
)
STOCK_LOAD: Final = (
    "tar -xf bundle.tar.zst --zstd -C copy; for each image: skopeo copy --all oci:copy:NAME docker://127.0.0.1:PORT/…"
)


@dataclass(frozen=True)
class Input:
    """A product below ``folder``."""

    folder: Path
    images: tuple[str, ...]
    blobs: int
    size: int

    @property
    def layout(self) -> Path:
        return self.folder / "manifests/bench/layout"


@dataclass(frozen=True)
class Place:
    """The folder that everything happens in."""

    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "release.key"

    @property
    def public(self) -> Path:
        return self.folder / "release.pub"

    @property
    def program(self) -> Path:
        """Stands for the site program in bundles, so that building that is not measured with the rest."""
        return self.folder / "program"

    def prepare(self) -> None:
        """Keys, and what stands for the program."""
        self.folder.mkdir(parents=True, exist_ok=True)
        run([PYTHON, "-m", "compileall", "-q", "bundler", "installer", "tests/bench"], cwd=REPOSITORY)  # as pip does
        run([BUNDLE, "keygen", "--out", self.folder, "--quiet"], env=PASSPHRASE)
        self.program.write_text("#!/bin/sh\n")

    def make(self, kind: str, name: str, amount: float, *more: object) -> Input:
        """Make inputs in a process of its own (see :mod:`tests.bench.inputs`)."""
        folder = self.folder / name
        command: list[str | Path] = [PYTHON, "-m", "tests.bench.inputs", kind, folder, str(int(amount))]
        value = json.loads(run([*command, *map(str, more)], cwd=REPOSITORY).output)
        return Input(folder, tuple(value["images"]), value["blobs"], value["size"])

    def make_sparse(self, name: str, size: float) -> Path:
        """A bundle of this size with holes; its product lies in the folder ``NAME-product``."""
        target = self.folder / name / "sparse.bundle.tar.zst"
        target.parent.mkdir()
        command: list[str | Path] = [
            PYTHON,
            "-m",
            "tests.bench.sparse",
            self.folder / f"{name}-product",
            str(int(size)),
        ]
        run([*command, self.key, self.program, target], cwd=REPOSITORY)
        return target

    def build(self, product: Input, version: str, *, clear: bool) -> Cost:
        """``bundle build`` of this version; with ``clear``, nothing was built before."""
        dist = product.folder / "dist"
        if clear:
            shutil.rmtree(dist, ignore_errors=True)
        shutil.rmtree(dist / f"bench-v{version}", ignore_errors=True)
        command: list[str | Path] = [
            BUNDLE,
            "build",
            f"v{version}",
            "--key",
            self.key,
            "--installer",
            self.program,
            "--output",
            dist,
        ]
        return run([*command, "--quiet"], cwd=product.folder, env=PASSPHRASE)

    def bundle(self, product: Input, version: str = "1.0.0") -> Path:
        return product.folder / f"dist/bench-v{version}/bench-{version}-linux-amd64.bundle.tar.zst"

    def stock_build(self, product: Input) -> Cost:
        """The same with stock tools. What it writes is removed afterwards."""
        work = self.folder / "stock"
        work.mkdir()
        copies = [
            f"skopeo copy -q --all --preserve-digests oci:{product.layout}:{name} oci:copy:{name}"
            for name in product.images
        ]
        pack = ["tar -C copy -cf - . | zstd -q -T0 -o bundle.tar.zst", "sha256sum bundle.tar.zst > SHA256SUMS"]
        try:
            return run(["bash", "-ec", "\n".join(["set -o pipefail", *copies, *pack])], cwd=work)
        finally:
            shutil.rmtree(work)

    def load(self, bundle: Path, url: str) -> Cost:
        """Verify and load a bundle as the installer does."""
        return run([PYTHON, "-m", "tests.bench.loading", bundle, self.public, url], cwd=REPOSITORY)

    def stock_load(self, bundle: Path, images: tuple[str, ...], host: str) -> Cost:
        """The same with stock tools."""
        work = self.folder / "stock"
        (work / "copy").mkdir(parents=True)
        pushes = [
            f"skopeo copy -q --all --dest-tls-verify=false oci:copy:{name} docker://{host}/bench/{name}:1.0.0"
            for name in images
        ]
        try:
            return run(["bash", "-ec", "\n".join([f"tar -xf {bundle} --zstd -C copy", *pushes])], cwd=work)
        finally:
            shutil.rmtree(work)

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """An empty Distribution registry on a loopback port, whose files lie as if this folder were a state dir."""
        folder = self.folder / "registry"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder.mkdir()
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "of this run"},
        }
        (folder / "config.yml").write_text(json.dumps(settings))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
        try:
            found = Registry(f"127.0.0.1:{port}", process.pid)
            found.wait()
            yield found
        finally:
            process.terminate()
            process.wait(30)
            shutil.rmtree(folder)


@dataclass(frozen=True)
class Registry:
    """One that runs."""

    host: str
    pid: int

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def cpu(self) -> float:
        """Seconds of processor so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"{self.url}/v2/", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"no registry at {self.url}")
