"""A full disk, a kill, and a registry that fails, at every call of a pull; a push that is killed at anything that it
sends, or whose registry fails at any change.

Whatever happens, what stands under the final name is right or not there, and the same command again ends well.
"""

from __future__ import annotations

import errno
import itertools
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
from tests.unit.bundler.converging import Output
from tests.unit.bundler.faults import chosen, strikes

from .conftest import Distribution
from .doubtful import serving
from .failing import HASTY, FailsAt, links, tags
from .shelf import TAG, Shelf

pytestmark = pytest.mark.e2e
KIT = "board-v2.1.0"
PART = 16 * 1024
SHARE = 16
"""How many points of what asks a registry are struck, unless all of them are wanted (``make strikes``)."""


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
        yield made


@pytest.fixture(scope="module")
def pulled(shelf: Shelf) -> Output:
    """What is pulled from it, again and again."""

    def run() -> None:
        shelf.heard.seek(0)
        shelf.pull(part_size=PART)

    made = Output(shelf.output, KIT, run)
    made.prove()
    return made


@pytest.mark.parametrize("sticky", [False, True], ids=["full-once", "full-from-then-on"])
def test_a_full_disk_at_any_call_of_a_pull_leaves_nothing_wrong(pulled: Output, sticky: bool) -> None:
    made = []
    for call in strikes(pulled.begin, pulled.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        pulled.converges()
    assert {"write", "create", "rename", "fsync", "mkdir"} <= set(made) and made.count("write") > 30


def test_a_kill_at_any_call_of_a_pull_leaves_nothing_wrong(pulled: Output) -> None:
    for _ in strikes(pulled.begin, pulled.run, None):
        pulled.converges()


def test_a_registry_that_fails_at_any_request_of_a_pull_leaves_nothing_wrong(
    shelf: Shelf, pulled: Output, shared_registry: Distribution
) -> None:
    with serving(proxy := FailsAt(shared_registry.address.host, [])):
        proxy.harmless = ()
        asking = Shelf.at(proxy.url.removeprefix("http://"), shelf.kit, shelf.output)
        pulled.begin()
        asking.pull(patience=HASTY, part_size=PART)
        requests = proxy.changes
        assert requests > 10
        for number in chosen(requests, SHARE):
            pulled.begin()
            proxy.strike(number)
            try:
                asking.pull(patience=HASTY, part_size=PART)
            except SealiftError as error:
                assert error.exit_code == 9
            assert proxy.was_hit
            pulled.converges()


@dataclass
class Desk:
    """Pushes one release to a new repository each time."""

    registry: Distribution
    kit: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)
    repository: str = ""
    right: dict[str, bytes] = field(default_factory=dict)

    def begin(self) -> None:
        self.repository = f"desk-{next(self.numbers)}/board"

    def run(self, host: str = "") -> None:
        shelf = Shelf.at(host or self.registry.address.host, self.kit, Path("unused"), self.repository)
        shelf.push(patience=HASTY)

    def is_at_rest(self) -> dict[str, bytes]:
        """Whoever finds the tag finds all of it; what else is named there is right."""
        found = links(self.registry, self.repository)
        if any(f"/tags/{TAG}/" in path for path in found):
            assert found == self.right
        named = {path: data for path, data in tags(found).items() if "/tags/sha256-" not in path}  # a list that grows
        assert named.items() <= self.right.items()
        return found

    def converges(self) -> None:
        self.is_at_rest()
        self.run()
        assert self.is_at_rest() == self.right


@pytest.fixture(scope="module")
def desk(shared_registry: Distribution, kit: Path) -> Desk:
    made = Desk(shared_registry, kit)
    made.begin()
    made.run()
    made.right = links(shared_registry, made.repository)
    assert any(f"/tags/{TAG}/" in path for path in made.right)
    return made


def test_a_push_that_is_killed_at_anything_that_it_sends_is_finished_by_the_next(desk: Desk) -> None:
    made = 0
    for call in strikes(desk.begin, desk.run, None, sends=True, share=SHARE):
        assert call == "send", "a push writes to no disk of its own"
        desk.converges()
        made += 1
    assert made >= SHARE


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
def test_a_push_that_fails_at_any_change_of_the_registry_is_finished_by_the_next(desk: Desk, sticky: bool) -> None:
    with serving(proxy := FailsAt(desk.registry.address.host, [])):
        host = proxy.url.removeprefix("http://")
        desk.begin()
        desk.run(host)
        changes = proxy.changes
        assert changes > 30 and desk.is_at_rest() == desk.right
        for number in chosen(changes, SHARE // 2):
            desk.begin()
            proxy.strike(number, sticky=sticky)
            try:
                desk.run(host)
            except SealiftError as error:
                assert error.exit_code == 9
            else:
                assert not sticky, f"change {number} failed, and nobody noticed"
            assert proxy.was_hit
            desk.converges()
