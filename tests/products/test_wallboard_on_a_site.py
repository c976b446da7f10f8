"""The second product goes the whole way: installed, upgraded while it is asked, rolled back, taken off again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.products.wallboard.product import REPOSITORY, Wallboard

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Hall:
    """A site with a state dir and ports of its own."""

    folder: Path
    port: int
    registry: str

    def sealift(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run the site side from its sources."""
        done = subprocess.run(
            [sys.executable, "-m", "installer", *words, "--json", "--state-dir", str(self.folder / "state")],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        return done.returncode, json.loads(done.stdout), done.stderr

    def done(self, *words: str) -> dict[str, Any]:
        """The same, where it must go well."""
        code, value, talk = self.sealift(*words)
        assert code == 0, f"sealift {' '.join(words)}: {value} {talk}"
        return value

    def version(self) -> str:
        """What the front door answers now."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
            return str(json.load(answer)["version"])


@pytest.fixture
def hall(
    engine: docker.DockerClient, tmp_path: Path, wallboard: Wallboard, free_port: Callable[[], int]
) -> Iterator[Hall]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    site = Hall(tmp_path, free_port(), f"127.0.0.1:{free_port()}")
    preview = free_port()
    (state / "site.yaml").write_text(
        "site: hall\n"
        f"registry: {{bundled: {{listen: {site.registry}}}}}\n"
        f'entry_points: {{board: {{bind: "127.0.0.1:{site.port}"}}}}\n'
        f"preview: {{bind: 127.0.0.1, ports: {preview}-{preview}}}\n"
        f"network: {{subnet: 10.{random.randint(220, 250)}.{random.randint(0, 255)}.0/24}}\n"
        "timing: {health: 60s, settle: 1s, bake: 1s, drain: 2s}\n"
    )
    yield site
    code, value, talk = site.sealift("remove", "--yes")
    for image in engine.images.list():  # `remove` leaves the engine's copies to a later prune
        for reference in image.attrs["RepoDigests"] or []:
            if reference.startswith(f"{site.registry}/"):
                engine.images.remove(reference)
    assert code == 0, f"{value} {talk}"


def test_goes_the_whole_way_like_the_product_it_was_not_made_with(hall: Hall, wallboard: Wallboard) -> None:
    kits = [wallboard.build(version) for version in ("1.0.0", "1.1.0")]
    code, value, _ = hall.sealift("install", str(kits[0]))
    assert (code, value["error"]["id"]) == (5, "no-trust-provisioned")
    root = wallboard.root / "keys/root.json"
    fingerprint = subprocess.check_output(["sha256sum", root], text=True).split()[0]
    hall.done("trust", "init", str(root), "--fingerprint", f"sha256:{fingerprint}")

    first = hall.done("install", str(kits[0]), "--verify", "--strategy", "blue-green")
    assert (first["result"], first["version"], first["previous"]) == ("installed", "1.0.0", None)
    assert hall.version() == "1.0.0"

    with Visitor(hall) as visitor:
        second = hall.done("install", str(kits[1]), "--verify", "--strategy", "blue-green")
    assert (second["result"], second["version"], second["previous"]) == ("installed", "1.1.0", "1.0.0")
    assert second["active"] != first["active"]
    assert visitor.failures == []
    assert visitor.seen == ["1.0.0", "1.1.0"]

    assert hall.done("install", str(kits[1]))["result"] == "unchanged"
    hall.done("rollback")
    assert hall.version() == "1.0.0"


class Visitor:
    """Asks again and again until the end of its block. ``seen`` are the answers as they changed."""

    def __init__(self, hall: Hall) -> None:
        self.seen: list[str] = []
        self.failures: list[str] = []
        self._hall = hall
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            try:
                version = self._hall.version()
            except (OSError, ValueError, urllib.error.URLError) as error:
                self.failures.append(repr(error))
                continue
            if self.seen[-1:] != [version]:
                self.seen.append(version)
