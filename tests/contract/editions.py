"""Releases of small products, signed, and built in a few hundredths of a second: what a test is about, and no more."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bundler.build import Request, build
from bundler.collect.layout import MANIFEST
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.pathnote import PATH_FILE, PathNote, PathStep
from installer.ownimages import VERSION_LABEL
from installer.talk import Talk
from tests.unit.bundler.layouts import CONFIG, TAR, LayoutMaker, tar_layer
from tests.unit.trust.keys import root
from tests.unit.trust.media import write_key
from tests.unit.trust.roots import root as next_root

_RECIPE: Final = """\
apiVersion: sealift.dev/v1
product: {product}
channel: {channel}
platforms: [linux/amd64]
images:
  web: {{from: "oci:layouts/web"}}
  worker: {{from: "oci:layouts/worker"}}
  store: {{from: "oci:layouts/store"}}
templates: [templates]
edge: {{haproxy: {{from: "oci:layouts/haproxy"}}, registry: {{from: "oci:layouts/registry"}}}}
deploy: {{compose: compose.yaml.j2}}
services:
  web: {{image: web, replicas: 2, needs: [worker]}}
  worker: {{image: worker}}
  store: {{image: store, state: shared}}
entry_points:
  web: {{service: web, port: 8080, protocol: http}}
  admin: {{service: web, port: 8081, protocol: http}}
smoke: [{{entry: web, http: /, expect: 200}}]
"""
_COMPOSE: Final = """\
services:
  web: {{image: "{{{{ images.web }}}}", environment: {{FAULT: "{fault}"}}}}
  worker: {{image: "{{{{ images.worker }}}}"}}
  store: {{image: "{{{{ images.store }}}}", volumes: ["data:/data"]}}
volumes: {{data: {{}}}}
"""


@dataclass(frozen=True)
class Edition:
    """``fault`` is what ails its containers (see :mod:`tests.contract.world`); ``store`` names the stateful image.

    ``signer`` is the name of its key; ``roots`` are the roots of trust that its media carry.
    ``edge`` is the version of front door and registry. ``upgrade_from``, ``needs_sealift``: ranges that it requires;
    ``program``: the version of the sealift that it carries, where it matters.
    """

    version: str
    product: str = "board"
    fault: str = ""
    store: str = "1"
    signer: str = "release"
    roots: tuple[Path, ...] = ()
    channel: str = "stable"
    edge: str = "1"
    upgrade_from: str = ""
    needs_sealift: str = ""
    program: str = ""

    @property
    def requires(self) -> str:
        """What it asks of a site, as a line of the manifest."""
        wanted = {"upgrade_from": self.upgrade_from, "installer": self.needs_sealift}
        return f"requires: {json.dumps({name: text for name, text in wanted.items() if text})}\n"


@dataclass
class Vendor:
    """Builds below ``folder``, each edition once."""

    folder: Path
    _kits: dict[Edition, Path] = field(default_factory=dict)

    def root(self) -> tuple[Path, str]:
        """The root of trust, and its fingerprint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "root.json"
        path.write_bytes(root("release"))
        return path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"

    def second_root(self, signer: str) -> Path:
        """The root that follows, by whose rule another key signs releases."""
        path = self.folder / "2.root.json"
        path.write_bytes(next_root(2, signer, product="*"))
        return path

    def kit(self, version: str, **more: Any) -> Path:
        """The media folder."""
        edition = Edition(version, **more)
        if edition not in self._kits:
            self._kits[edition] = self._build(edition, self.folder / f"edition-{len(self._kits)}")
        return self._kits[edition]

    def journey(self, *versions: str) -> Path:
        """Media that hold several releases, each whole, with the hint to their order."""
        folder = self.folder / f"journey-{'-'.join(versions)}"
        steps = []
        for number, version in enumerate(versions, 1):
            kit = self.kit(version, store=version)
            place = folder / f"{number:02}-{kit.name}"
            if not place.exists():
                shutil.copytree(kit, place)
            with BundleReader(locate_bundle(place)) as reader:
                digest = str(Digest.of(reader.head.release))
            steps.append(PathStep(folder=place.name, version=version, digest=digest))
        note = PathNote(product="board", site="hall", since=None, steps=tuple(steps))
        (folder / PATH_FILE).write_bytes(note.to_bytes())
        return folder

    def _build(self, edition: Edition, folder: Path) -> Path:
        base = write_product(edition, folder, [edition.version])
        keys = (write_key(folder, edition.signer),)
        wish = Request(f"v{edition.version}", folder, keys=keys, installer=base / "install", output=folder / "out")
        wish = replace(wish, roots=edition.roots)
        return build(wish, lambda _: "", Talk(quiet=True)).kit


def write_product(edition: Edition, folder: Path, versions: Iterable[str]) -> Path:
    """The sources of an edition, with a changelog of ``versions``; the folder of its manifest, below ``folder``."""
    base = folder / "manifests" / edition.product
    content = {"web": edition.version, "worker": edition.version, "store": edition.store}
    for name, version in (content | {"haproxy": edition.edge, "registry": edition.edge}).items():
        _write_image(base / "layouts" / name, name, version)
    sections = (f"## [{version}] - 2026-11-20\n\n- News.\n\n" for version in versions)
    texts = {
        "release.yaml": _RECIPE.format(product=edition.product, channel=edition.channel) + edition.requires,
        "CHANGELOG.md": f"# Changelog\n\n{''.join(sections)}".rstrip() + "\n",
        "install": "#!/bin/sh\n" + (f"# sealift {edition.program} for linux/amd64: x\n" if edition.program else ""),
        "templates/compose.yaml.j2": _COMPOSE.format(fault=edition.fault),
    }
    for name, text in texts.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return base


def _write_image(folder: Path, name: str, version: str) -> None:
    """One small layer, and a label with the version."""
    maker = LayoutMaker(folder)
    layer = tar_layer(**{name: f"{name} {version}".encode()})
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {VERSION_LABEL: version}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": maker.document(config, CONFIG),
        "layers": [maker.blob(layer, TAR)],
    }
    found = maker.document(manifest, MANIFEST) | {"platform": {"os": "linux", "architecture": "amd64"}}
    maker.add(found, name=f"docker.io/board/{name}:1")
    maker.finish()
