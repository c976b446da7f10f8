"""Images in registries to take, put there by a real client, and taking them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bundler.collect.image import CollectedImage, Wish, collect_image
from bundler.collect.reference import Reference
from bundler.collect.registry.store import Registries, RemoteStore
from bundler.manifest.recipe import RegistrySettings
from installer.registry.login import Login
from installer.registry.patience import Patience
from installer.talk import Talk
from tests.unit.bundler.layouts import LayoutMaker, tar_layer

from .cargo import MIB, layer

QUICK = Patience(connect=2, answer=10, retries=3, pause=0.01, longest_pause=2)
WISH = Wish("web", "linux/amd64", "fallback/web:1")
LARGE = layer("large", 3 * MIB)


@dataclass
class Pushed:
    """A layout with an index of two platforms, and its digests. The index is pushed by a real client."""

    folder: Path
    digests: dict[str, str]

    @classmethod
    def make(cls, folder: Path, *layers: bytes) -> Pushed:
        maker = LayoutMaker(folder)
        amd64 = maker.image([LARGE, *layers])
        arm64 = maker.image([tar_layer(arm=b"arm")], platform="linux/arm64")
        index = maker.add(maker.indexed(amd64, arm64), ref="1")
        digests = {"amd64": amd64["digest"], "arm64": arm64["digest"], "index": index["digest"]}
        return cls(maker.finish(), digests | {"large": f"sha256:{hashlib.sha256(LARGE).hexdigest()}"})

    def push(self, place: str, login: Login | None = None) -> None:
        """To ``host:port/name:tag``, whatever certificate it has."""
        words = ["--all", "--preserve-digests", "--dest-tls-verify=false"]
        words += ["--dest-creds", f"{login.user}:{login.password}"] if login else []
        done = subprocess.run(
            ["skopeo", "copy", *words, f"oci:{self.folder}:1", f"docker://{place}"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


@dataclass
class Pull:
    """One run of taking images; ``settings`` as in a manifest."""

    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    patience: Patience = QUICK
    heard: io.StringIO = field(default_factory=io.StringIO)

    def store(self, reference: str) -> RemoteStore:
        settings = {
            host: RegistrySettings.model_validate_json(json.dumps(value)) for host, value in self.settings.items()
        }
        registries = Registries(settings, Talk(err=self.heard), self.patience)
        return registries.repository(Reference.parse(reference))

    def take(self, reference: str, **changes: Any) -> CollectedImage:
        """The image; nothing of its layers is read yet."""
        store = self.store(reference)
        return collect_image(store, store.entry(), replace(WISH, **changes))

    def read(self, reference: str, **changes: Any) -> CollectedImage:
        """The image, after all its content came by and was that of its digests."""
        found = self.take(reference, **changes)
        for digest in found.contents:
            assert content(found, digest) == digest
        return found


def content(found: CollectedImage, digest: str) -> str:
    """The digest of what comes when a blob is read."""
    hasher = hashlib.sha256()
    for chunk in found.contents[digest].chunks():
        assert len(chunk) <= MIB
        hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"


def docker_config(folder: Path, host: str, login: Login | None = None, **more: Any) -> dict[str, str]:
    """Write what ``docker login`` leaves; returns the environment that names it."""
    auths = {host: {"auth": base64.b64encode(f"{login.user}:{login.password}".encode()).decode()}} if login else {}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": auths} | more))
    return {"DOCKER_CONFIG": str(folder)}
