"""OCI layouts made by hand, good and bad, and products around them."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from bundler.collect.layout import FULL_NAME, INDEX, MANIFEST, REF_NAME

CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"


def tar_layer(**files: bytes) -> bytes:
    """An uncompressed layer with these files, the same bytes each time."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, BytesIO(content))
    return buffer.getvalue()


@dataclass
class LayoutMaker:
    """Writes an OCI layout. ``index`` holds the descriptors of ``index.json``."""

    folder: Path
    index: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Store a blob and return its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / "blobs/sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(self, value: dict[str, Any], media_type: str) -> dict[str, Any]:
        """Store a JSON document."""
        return self.blob(json.dumps(value).encode(), media_type)

    def image(self, layers: Sequence[bytes], *, platform: str = "linux/amd64", packed: bool = False) -> dict[str, Any]:
        """Store an image; ``packed`` gzips its layers."""
        system, architecture = platform.split("/")
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        config = {"os": system, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        stored = [gzip.compress(layer, mtime=0) for layer in layers] if packed else layers
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(config, CONFIG),
            "layers": [self.blob(layer, TAR + "+gzip" * packed) for layer in stored],
        }
        return self.document(manifest, MANIFEST) | {"platform": {"os": system, "architecture": architecture}}

    def indexed(self, *images: dict[str, Any]) -> dict[str, Any]:
        """Store an index of images."""
        return self.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(images)}, INDEX)

    def add(self, descriptor: dict[str, Any], ref: str = "", name: str = "") -> dict[str, Any]:
        """List a descriptor in ``index.json``."""
        notes = {key: value for key, value in ((REF_NAME, ref), (FULL_NAME, name)) if value}
        self.index.append(descriptor | ({"annotations": notes} if notes else {}))
        return descriptor

    def finish(self) -> Path:
        """Write what makes it a layout."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.index}))
        return self.folder


RECIPE = """\
apiVersion: sealift.dev/v1
product: board
platforms: [linux/amd64]
images:
  web: {from: "oci:layouts/web"}
  worker: {from: "oci:layouts/worker"}
binaries: [{name: ctl, path: "bin/{{ os }}-{{ arch }}/ctl"}]
templates: [templates]
docs: [UPGRADE.md]
tools: [{name: helper, path: helper}]
edge: {haproxy: {from: "oci:layouts/edge"}}
inputs: {smtp.host: {type: string, since: 2.1.0, description: mail}}
deploy: {compose: compose.yaml.j2}
services:
  web: {image: web, replicas: 2, health: {http: ":8080/healthz"}, needs: [worker]}
  worker: {image: worker}
entry_points: {web: {service: web, port: 8080, protocol: http}}
smoke: [{entry: web, http: /}]
"""
CHANGELOG = """\
# Changelog

## [Unreleased]

- to come

## [2.1.0] - 2026-11-03

- Search.

## [2.0.0] - 2026-10-01

- First.
"""
COMPOSE = "services: {web: {image: '{{ images.web }}'}, worker: {image: '{{ images.worker }}'}}\n"
SHARED_LAYER = tar_layer(libc=b"shared " * 4000)


def make_product(root: Path) -> Path:
    """A whole small product below ``root``; returns its manifest."""
    base = root / "manifests/board"
    for name in ("web", "worker", "edge"):
        maker = LayoutMaker(base / "layouts" / name)
        layers = [SHARED_LAYER, tar_layer(**{name: name.encode() * 100})]
        maker.add(maker.image(layers, packed=name == "edge"), name=f"docker.io/board/{name}:1")
        maker.finish()
    files = {
        "release.yaml": RECIPE,
        "CHANGELOG.md": CHANGELOG,
        "UPGRADE.md": "read me\n",
        "bin/linux-amd64/ctl": "#!/bin/sh\n",
        "helper": "#!/bin/sh\n",
        "install": "#!/bin/sh\necho the site program\n",
        "templates/compose.yaml.j2": COMPOSE,
        "templates/conf/app.json": "{}\n",
    }
    for path, text in files.items():
        target = base / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return base / "release.yaml"
