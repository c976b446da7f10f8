"""Wallboard, a product shaped unlike lan-chat: one service, HTTP only, no store, a stranger's compose file.

Its image is busybox's web server and two files; there are 1.0.0 and 1.1.0.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import docker

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[2]
VERSIONS: Final = ("1.0.0", "1.1.0")
BUSYBOX: Final = Path("/usr/bin/busybox")
COMMAND: Final = ["/bin/busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]


@dataclass(frozen=True)
class Wallboard:
    """The product in a folder of its own, with its images in the engine under ``repository``."""

    root: Path
    repository: str

    def bundle(self, *words: str) -> dict[str, Any]:
        """Run ``bundle --json`` in the product's folder; its failure fails the test."""
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

    def build(self, version: str, *words: str) -> Path:
        """Build a release and return its media folder."""
        key = str(self.root / "keys/release.key")
        return self.root / str(self.bundle("build", f"v{version}", "--key", key, *words)["kit"])


def make_images(engine: docker.DockerClient, repository: str) -> None:
    """Bring both versions into the engine as ``repository:VERSION``."""
    for version in VERSIONS:
        # As process 1 it would ignore SIGTERM, and each stop take the engine ten seconds.
        changes = [f"CMD {json.dumps(COMMAND)}", "EXPOSE 3000", "STOPSIGNAL SIGKILL"]
        engine.api.import_image_from_data(
            _root_filesystem(version), repository=repository, tag=version, changes=changes
        )


def remove_images(engine: docker.DockerClient, repository: str) -> None:
    """Take them out again."""
    for version in VERSIONS:
        engine.images.remove(f"{repository}:{version}", force=True)


def make_product(root: Path, repository: str, *, installer: bool = False) -> Wallboard:
    """What a stranger does: his compose file, ``bundle init``, a second version in the changelog, keys and a root.

    ``installer``: programs are signed by a key of their own.
    """
    product = Wallboard(root, repository)
    compose = (HERE / "docker-compose.yaml").read_text().replace("acme/wallboard", repository)
    (root / "docker-compose.yaml").write_text(compose)
    product.bundle("init", "--from-compose", "docker-compose.yaml", "--product", "wallboard")
    changelog = root / "manifests/wallboard/CHANGELOG.md"
    text = changelog.read_text()
    changelog.write_text(text.replace("## [1.0.0]", "## [1.1.0] - 2026-11-20\n\n- Soup.\n\n## [1.0.0]"))
    for name in ("release", "root", "installer"):
        product.bundle("keygen", "--out", "keys", "--name", name)
    keys: tuple[str, ...] = ("--root-key", "keys/root.key", "--release-key", "keys/release.pub")
    keys += ("--installer-key", "keys/installer.pub") if installer else ()
    product.bundle("trust", "init", *keys, "--product", "wallboard", "--out", "keys/root.json")
    return product


def _root_filesystem(version: str) -> bytes:
    """The same bytes for the same version and busybox."""
    files = {f"www/{path.name}": path.read_text().replace("@VERSION@", version) for path in (HERE / "www").iterdir()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        members = [("bin/busybox", BUSYBOX.read_bytes(), 0o755)]
        members += [(name, text.encode(), 0o644) for name, text in sorted(files.items())]
        for name, data, mode in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
