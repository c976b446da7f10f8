"""Makes the golden bundle of this version of sealift: ``python -m tests.golden.make``. Run it once for each release.

Its keys live in the memory of this process alone: nobody can ever make another golden bundle that looks like it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from bundler.build import Request, assembled, draft
from bundler.media.kit import bundle_name
from bundler.signing.sign import KeyFile
from bundler.trust.trust import NamedKey, RootPlan, make_root
from bundler.writing.write import write_bundle
from installer import __version__
from installer.bundle.digest import Digest
from installer.bundle.signature import sigstore_bundle
from installer.talk import Talk
from tests.unit.bundler.layouts import SHARED_LAYER, LayoutMaker, make_product, tar_layer

HERE: Final = Path(__file__).resolve().parent
SIGNERS: Final = ("release", "second")
MOST_BYTES: Final = 200 * 1024
YEARS: Final = 100
LARGE: Final = 9 * 1024 * 1024  # more than one frame, and little once it is compressed
SOURCES: Final = {
    "replicas: 2": "replicas: 3",
    "worker: {image: worker}": "worker: {image: worker, state: shared}",
    "smtp.host: {type: string, since: 2.1.0, description: mail}": (
        "smtp.host: {type: string, since: 2.1.0, description: „Mail“ für alle}, "
        "smtp.port: {type: integer, default: 25}, "
        "debug: {type: boolean, default: false}, "
        "hosts: {type: list}"
    ),
    "entry_points: {web: {service: web, port: 8080, protocol: http}}": (
        "entry_points:\n"
        "  relay: {service: web, port: 9000, protocol: tcp}\n"
        "  web: {service: web, port: 8080, protocol: http}"
    ),
}


def main() -> int:
    """Write the folder of this version; 1 where it stands already, for a golden bundle never changes."""
    folder = HERE / __version__
    if folder.exists():
        print(f"{folder} stands already: a golden bundle never changes", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch) / __version__)
        size = sum(path.stat().st_size for path in made.iterdir())
        if size > MOST_BYTES:
            print(f"{size} bytes are too many to keep for ever", file=sys.stderr)
            return 1
        folder.mkdir()
        for path in sorted(made.iterdir()):
            (folder / path.name).write_bytes(path.read_bytes())
            print(f"{path.stat().st_size:>8} {path.name}")
    return 0


def make(folder: Path) -> Path:
    """A bundle that uses whatever the format has, its root and public keys, and what ``bundle verify`` says of it."""
    folder.mkdir()
    keys = [KeyFile(name, ec.generate_private_key(ec.SECP256R1())) for name in SIGNERS]
    root_key = KeyFile("root", ec.generate_private_key(ec.SECP256R1()))
    for key in keys:
        (folder / f"{key.name}.pub").write_bytes(key.public_pem)
    plan = RootPlan([NamedKey(key.spki, key.name) for key in keys], threshold=len(keys), product="board")
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=365 * YEARS)
    (folder / "root.json").write_bytes(make_root(plan, [root_key], expires))
    bundle = build(folder, keys)
    (folder / "verify.json").write_text(verify(bundle, folder / "root.json"))
    return folder


def build(folder: Path, keys: list[KeyFile]) -> Path:
    """The bundle, in ``folder``."""
    talk = Talk(quiet=True)
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch)
        manifest = product(sources)
        request = Request("v2.1.0", sources, manifest, installer=manifest.parent / "install")
        the_draft = draft(request, {}, ask_git=False)
        with assembled(request, the_draft, sources, talk) as assembly:
            raw = assembly.release.to_bytes()
            signatures = {
                f"signatures/{key.name}.sigstore.json": sigstore_bundle(key.sign(raw), Digest.of(raw), key.spki)
                for key in keys
            }
            bundle = folder / bundle_name(assembly.release)
            write_bundle(bundle, assembly, signatures)
    return bundle


def product(folder: Path) -> Path:
    """The tests' small product, with something of every kind; its manifest."""
    manifest = make_product(folder)
    text = manifest.read_text(encoding="utf-8")
    for old, new in SOURCES.items():
        text = text.replace(old, new)
    manifest.write_text(f'{text}requires: {{upgrade_from: ">=1.0,<3", installer: ">=0.1"}}\nstrategy: rolling\n')
    base = manifest.parent
    (base / "helper").write_bytes(bytes(range(256)) * (LARGE // 256) + b"and a piece that needs padding\n")
    (base / "templates/conf/hook.sh").write_text("#!/bin/sh\n")
    (base / "templates/conf/hook.sh").chmod(0o755)
    (base / "templates/conf/empty").touch()
    indexed(base / "layouts/worker")
    return manifest


def indexed(folder: Path) -> None:
    """An image behind an index of two platforms, one of its layers large before it was packed."""
    maker = LayoutMaker(folder)
    layers = [SHARED_LAYER, tar_layer(data=bytes(LARGE))]
    images = [maker.image(layers, platform=platform, packed=True) for platform in ("linux/amd64", "linux/arm64")]
    maker.add(maker.indexed(*images), name="registry.example:5000/board/worker:1")
    maker.finish()


def verify(bundle: Path, root: Path) -> str:
    """What ``bundle verify --json`` prints."""
    command = [sys.executable, "-m", "bundler", "verify", "--json", bundle.name, "--trust", root.name]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, cwd=bundle.parent, env=environment, capture_output=True, text=True, check=True)
    return json.dumps(json.loads(done.stdout), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
