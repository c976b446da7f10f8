"""A load that is killed at a call to the registry, which is all that it changes: what is tagged is whole.

The next run finishes it.

``KILLS`` says how many calls are drawn (``make kills`` draws many), ``SEED`` which.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.images import keep_tag
from installer.registry.load import missing_blobs

from .cargo import MIB, Cargo, Picture, layer
from .conftest import QUICK, Distribution

pytestmark = pytest.mark.e2e

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
KILLS = int(os.environ.get("KILLS", "6"))
SEED = int(os.environ.get("SEED", "6"))


def cargo() -> Cargo:
    """Two images that share a layer, one behind an index."""
    shared = layer("shared", MIB)
    return Cargo([Picture("gateway", [shared, layer("own", MIB)], index=True), Picture("store", [shared])])


def load(url: str) -> None:
    """All of it, through one client."""
    freight = cargo()
    client = RegistryClient.at(RegistryAddress.parse(url), patience=QUICK)
    fill_registry(client, freight.release, lambda sink, again: freight.stream(sink), print, ())


def traced(url: str, trace: Path, *options: str) -> int:
    """Load in a process of its own under strace, which writes its sends to ``trace``; how it ended."""
    program = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=sendto", *options]
    program += [sys.executable, "-c", f"from {__name__} import load; load({url!r})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(program, env=environment, check=False, timeout=120).returncode


def test_any_killed_load_is_finished_by_the_next(registry: Distribution, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    assert traced(f"{registry.address.url}/whole", trace) == 0
    # strace counts the calls of each thread by themselves: the n-th of any thread kills all.
    calls = Counter(re.findall(r"^(\d+) +sendto\(", trace.read_text(), re.MULTILINE))
    most = max(calls.values())
    assert most >= 6, calls
    release = cargo().release
    ends: Counter[int] = Counter()
    for when in sorted(random.Random(SEED).sample(range(1, most + 1), min(KILLS, most))):
        url = f"{registry.address.url}/killed-{when}"
        end = traced(url, trace, "-e", f"inject=sendto:signal=KILL:when={when}")
        ends[end] += 1
        assert end in (0, *KILLED), when  # threads share the work otherwise than before: the last calls may not come
        client = RegistryClient.at(RegistryAddress.parse(url), patience=QUICK)
        for image in release.images:
            repository = client.address.repository(release.product, image.name)
            if client.manifest_digest(repository, keep_tag(release)) is not None:
                assert all(client.has_blob(repository, part.digest, part.size) for part in image.blobs)
        load(url)
        assert missing_blobs(client, release) == set()
    assert sum(ends[end] for end in KILLED) >= 3, ends
