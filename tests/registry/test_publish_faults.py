"""A full disk, a kill, and a registry that fails, at every call of a pull; a push that is killed while it sends.

Whatever happens, what stands under the final name is right or not there, and the same command again ends well.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bundler.collect.registry.client import RepositoryClient
from bundler.collect.registry.store import RemoteStore
from bundler.publish.place import Place
from bundler.writing import press
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.faults import strikes

from .conftest import Distribution
from .doubtful import serving
from .failing import HASTY, FailsAt
from .shelf import TAG, Shelf, files

pytestmark = pytest.mark.e2e
KIT = "board-v2.1.0"
PART = 16 * 1024
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
MOMENTS = 6


@dataclass
class Recorded:
    """What a real registry has answered, for as many pulls as it takes: here the disk is what fails."""

    real: RepositoryClient
    blobs: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.manifest = cache(self.real.manifest)
        self.referrers = cache(self.real.referrers)

    def blob(self, digest: str, size: int, start: int) -> Iterator[bytes]:
        if digest not in self.blobs:
            self.blobs[digest] = b"".join(self.real.blob(digest, size, 0))
        yield self.blobs[digest][start:]


class RecordedStore(RemoteStore):
    """The store of a place that answers from what was recorded."""

    recorded: Recorded

    def clients(self) -> Iterator[Any]:
        yield self.recorded


@pytest.fixture(scope="module")
def shelf(shared_registry: Distribution, kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """A release in a registry, whose answers are recorded."""
    made = Shelf.at(shared_registry.address.host, kit, tmp_path_factory.mktemp("pulled") / "out")
    made.push()
    real = made.place.reader(Talk(quiet=True))
    recorded = Recorded(next(real.clients()))

    ordinary = Place.reader

    def reader(place: Place, talk: Talk, patience: Any = None) -> RemoteStore:
        if place != made.place:
            return ordinary(place, talk, patience)
        store = RecordedStore(place.reference, real.places, real.registries)
        store.recorded = recorded
        return store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "reader", reader)
        patch.setattr(press, "_BATCH", 0)  # every frame is written by itself
        pulling(made)
        yield made


def pulling(shelf: Shelf) -> None:
    shelf.heard.seek(0)
    shelf.pull(part_size=PART)


def gone(shelf: Shelf) -> None:
    shutil.rmtree(shelf.output, ignore_errors=True)


def converges(shelf: Shelf, right: dict[str, bytes]) -> None:
    if not shelf.output.exists() or not any(shelf.output.iterdir()):
        return  # as it was in the beginning, from where it has just been seen to end well
    if (shelf.output / KIT).exists():
        assert files(shelf.output / KIT) == right
    pulling(shelf)
    assert files(shelf.output / KIT) == right
    assert [path.name for path in shelf.output.iterdir()] == [KIT]


@pytest.mark.parametrize("sticky", [False, True], ids=["full-once", "full-from-then-on"])
def test_a_full_disk_at_any_call_of_a_pull_leaves_nothing_wrong(shelf: Shelf, sticky: bool) -> None:
    right = files(shelf.output / KIT)
    made = []
    for call in strikes(lambda: gone(shelf), lambda: pulling(shelf), errno.ENOSPC, sticky=sticky):
        made.append(call)
        converges(shelf, right)
    assert {"write", "create", "rename", "fsync", "mkdir"} <= set(made) and made.count("write") > 30


def test_a_kill_at_any_call_of_a_pull_leaves_nothing_wrong(shelf: Shelf) -> None:
    right = files(shelf.output / KIT)
    for _ in strikes(lambda: gone(shelf), lambda: pulling(shelf), None):
        converges(shelf, right)


def test_a_registry_that_fails_at_any_request_of_a_pull_leaves_nothing_wrong(
    shelf: Shelf, shared_registry: Distribution
) -> None:
    right = files(shelf.output / KIT)
    with serving(proxy := FailsAt(shared_registry.address.host, [])):
        proxy.harmless = ()
        asking = Shelf.at(proxy.url.removeprefix("http://"), shelf.kit, shelf.output)
        gone(shelf)
        asking.pull(patience=HASTY, part_size=PART)
        requests = proxy.changes
        assert requests > 10
        for number in range(1, requests + 1):
            gone(shelf)
            proxy.strike(number)
            try:
                asking.pull(patience=HASTY, part_size=PART)
            except SealiftError as error:
                assert error.exit_code == 9
            assert proxy.was_hit
            converges(shelf, right)


def push(kit: str, host: str, repository: str) -> None:
    """All of it, in a process of its own."""
    Shelf.at(host, Path(kit), Path("unused"), repository).push()


def traced(words: tuple[str, str, str], trace: Path, *options: str) -> int:
    """Push under strace, which writes the sends to ``trace``; how it ended."""
    program = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=sendto", *options]
    program += [sys.executable, "-c", f"from {__name__} import push; push(*{words!r})"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(program, env=environment, check=False, timeout=120).returncode


def test_any_killed_push_is_finished_by_the_next(registry: Distribution, kit: Path, tmp_path: Path) -> None:
    host, trace = registry.address.host, tmp_path / "trace"
    assert traced((str(kit), host, "whole/board"), trace) == 0
    counts = Counter(re.findall(r"^(\d+) +sendto\(", trace.read_text(), re.MULTILINE))
    most = max(counts.values())
    assert most >= MOMENTS, counts
    right = files(kit)
    for number in range(MOMENTS):
        when = 1 + number * (most - 1) // (MOMENTS - 1)
        shelf = Shelf.at(host, kit, tmp_path / f"out-{when}", f"killed-{when}/board")
        words = (str(kit), host, shelf.place.repository)
        assert traced(words, trace, "-e", f"inject=sendto:signal=KILL:when={when}") in (*KILLED, 0), when
        client = registry.client()
        if client.manifest_digest(shelf.place.repository, TAG) is not None:  # what has its tag is whole
            assert files(shelf.pull().built.kit) == right
        shelf.push()
        assert files(shelf.pull().built.kit) == right
