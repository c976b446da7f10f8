"""The vendor: keys, roots of trust, and releases of a small product that differ in just what a test is about.

The product is a noticeboard: busybox's web server, one stateless service, HTTP only. Its images are OCI layouts
written here, so that nothing has to be in the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from bundler.build import Request, build
from bundler.collect.layout import MANIFEST
from bundler.signing.sign import generate
from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.talk import Talk
from tests.unit.bundler.layouts import CONFIG, TAR, LayoutMaker

REPOSITORY: Final = Path(__file__).resolve().parents[3]
EXPIRES: Final = datetime(2036, 1, 1, tzinfo=UTC)
SERVE: Final = "exec /bin/busybox httpd -f -p 3000 -h /www"
"""What the container runs where a release does not say otherwise."""
EDGE: Final = """\
edge:
  haproxy: {from: 'oci:{{ cache }}/edge/haproxy-layout'}
  registry: {from: 'oci:{{ cache }}/edge/registry-layout'}
"""
_BUSYBOX: Final = Path("/usr/bin/busybox")
_COMPOSE: Final = """\
services:
  board:
    image: "{{ images.board }}"
    stop_grace_period: 0s
"""


@dataclass(frozen=True)
class Edition:
    """What is particular to a release.

    ``edge``: it carries the images of front door and registry; ``edge_layouts`` name others than the usual ones.
    ``ballast``: a file beside busybox, in the layer that is large.
    ``signer`` is the name of its key; ``roots`` are the roots of trust that its media carry.
    """

    version: str
    product: str = "board"
    command: str = SERVE
    edge: bool = False
    channel: str = "stable"
    platform: str = "linux/amd64"
    note: str = "News."
    manifest: str = ""
    compose: str = _COMPOSE
    entry_points: tuple[str, ...] = ("web",)
    more_doors: str = ""
    ready: bool = True
    edge_layouts: tuple[tuple[str, Path], ...] = ()
    ballast: str = ""
    services: str = "{board: {image: board, health: {http: ':3000/status'}}}"
    smoke: str = "[{entry: web, http: /ready, expect: 200, contains: 'yes'}]"
    signer: str = "release"
    roots: tuple[Path, ...] = ()

    @property
    def _edge(self) -> str:
        if self.edge_layouts:
            return "edge:\n" + "".join(f"  {name}: {{from: 'oci:{place}'}}\n" for name, place in self.edge_layouts)
        return EDGE if self.edge else ""

    @property
    def recipe(self) -> str:
        """The release manifest."""
        doors = ", ".join(f"{name}: {{service: board, port: 3000, protocol: http}}" for name in self.entry_points)
        return (
            f"apiVersion: sealift.dev/v1\nproduct: {self.product}\nchannel: {self.channel}\n"
            f"platforms: [{self.platform}]\nimages: {{board: {{from: 'oci:image'}}}}\ntemplates: [templates]\n"
            f"deploy: {{compose: compose.yaml.j2}}\n{self._edge}"
            f"services: {self.services}\nentry_points: {{{doors}{self.more_doors}}}\n"
            f"smoke: {self.smoke}\n" + self.manifest
        )


@dataclass
class Vendor:
    """Keys and roots below ``root``; builds each edition once."""

    root: Path
    _kits: dict[Edition, Path] = field(default_factory=dict)

    @classmethod
    def settle(cls, root: Path) -> Vendor:
        """Make two release keys and three roots: ours, one for another product, one of a stranger."""
        vendor = cls(root)
        (root / "install").write_text("#!/bin/sh\nexit 0\n")
        made = {name: generate(root / "keys", name, "word")[0] for name in ("release", "root", "stranger")}
        for name, key, product in (
            ("ours", "release", "board"),
            ("any", "release", "*"),
            ("other-product", "release", "lunchroom"),
            ("stranger", "stranger", "board"),
        ):
            plan = RootPlan([NamedKey(made[key].spki, key)], product=product)
            (root / f"keys/{name}.json").write_bytes(make_root(plan, [made["root"]], EXPIRES))
        return vendor

    def trust(self, name: str) -> tuple[Path, str]:
        """A root of trust and its fingerprint: ``ours``, ``any``, ``other-product`` or ``stranger``."""
        path = self.root / f"keys/{name}.json"
        return path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    def kit(self, edition: Edition) -> Path:
        """The media folder of an edition. Built in this process: there are many, and each start costs half a second."""
        if edition not in self._kits:
            folder = self.root / f"edition-{len(self._kits)}"
            self._write(edition, folder)
            asked = Request(
                f"v{edition.version}",
                self.root,
                folder / "release.yaml",
                (self.root / f"keys/{edition.signer}.key",),
                installer=self.root / "install",
                output=folder / "out",
                roots=edition.roots,
            )
            self._kits[edition] = build(asked, lambda _: "word", Talk(quiet=True)).kit
        return self._kits[edition]

    def delta(self, edition: Edition, *since: Edition) -> Path:
        """The media folder of an edition for sites that hold those, made without a key."""
        out = self.kit(edition).parent.with_name(f"since-{'-'.join(one.version for one in since)}")
        words = [word for one in since for word in ("--since", str(self.kit(one)))]
        made = self.bundle("pack", str(self.kit(edition)), *words, "--output", str(out))
        return Path(made["kit"])

    def bundle_of(self, edition: Edition) -> Path:
        """The bundle itself."""
        return next(self.kit(edition).glob("*.bundle.tar.zst"))

    def bundle(self, *words: str) -> dict[str, Any]:
        """Run ``bundle --json``; its failure fails the test."""
        done = subprocess.run(
            [sys.executable, "-m", "bundler", *words, "--json"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SEALIFT_PASSPHRASE": "word"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"bundle {' '.join(words)}: {done.stderr}"
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    def _write(self, edition: Edition, folder: Path) -> None:
        (folder / "templates").mkdir(parents=True)
        (folder / "release.yaml").write_text(edition.recipe)
        (folder / "templates/compose.yaml.j2").write_text(edition.compose)
        (folder / "CHANGELOG.md").write_text(
            f"# Changelog\n\n## [{edition.version}] - 2026-11-20\n\n- {edition.note}\n"
        )
        _write_image(folder / "image", edition)


def _write_image(folder: Path, edition: Edition) -> None:
    """Two layers: busybox, which all editions share, and the pages."""
    status = json.dumps({"product": edition.product, "version": edition.version})
    pages = {"www/status": status} | ({"www/ready": "yes"} if edition.ready else {})
    programs = {"bin/busybox": _BUSYBOX.read_bytes()}
    if edition.ballast:
        programs["bin/ballast"] = edition.ballast.encode()
    layers = [_layer(programs, 0o755)]
    layers.append(_layer({name: text.encode() for name, text in pages.items()}, 0o644))
    maker = LayoutMaker(folder)
    system, architecture = edition.platform.split("/")
    config = {
        "os": system,
        "architecture": architecture,
        "config": {"Cmd": ["/bin/busybox", "sh", "-c", edition.command], "ExposedPorts": {"3000/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": maker.document(config, CONFIG),
        "layers": [maker.blob(layer, TAR) for layer in layers],
    }
    maker.add(maker.document(manifest, MANIFEST) | {"platform": {"os": system, "architecture": architecture}})
    maker.finish()


def relabelled(layout: Path, folder: Path, version: str) -> Path:
    """A copy of an edge image's layout whose label says another version: the same program, another image."""

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    manifest = json.loads(blob(entry["digest"]).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    config["config"]["Labels"]["org.opencontainers.image.version"] = version
    maker = LayoutMaker(folder)
    manifest["config"] = maker.document(config, CONFIG)
    for layer in manifest["layers"]:
        maker.blob(blob(layer["digest"]).read_bytes(), layer["mediaType"])
    maker.add(maker.document(manifest, MANIFEST) | {"platform": {"os": "linux", "architecture": "amd64"}})
    maker.finish()
    return folder


def _layer(files: dict[str, bytes], mode: int) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, BytesIO(content))
    return buffer.getvalue()
