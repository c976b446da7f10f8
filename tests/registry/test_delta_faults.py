"""A delta that is applied, struck at every point: the next run ends as if nothing had been, and nothing wrong is named.

The points: whatever is sent to the registry, whatever is written to the site's disk, and each write of the process
that rebuilds a layer. The strikes: a kill, a disk that is full once or from then on, here or in the registry.
"""

from __future__ import annotations

import errno
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundler.delta.holdings import Holdings
from bundler.media.pack import pack
from installer import system
from installer.deltas import Ground
from installer.errors import SealiftError
from installer.media import ToolSink, holds_file, open_media, tool_path
from installer.patching import rebuild
from installer.patching.rebuild import Rebuilder
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.images import keep_tag
from installer.registry.load import RegistrySink
from installer.talk import Talk
from tests import editions
from tests.unit.bundler.faults import strikes
from tests.unit.bundler.test_delta_faults import recording
from tests.vectors.forge import RELEASE

from .conftest import Distribution
from .doubtful import serving
from .failing import HASTY, FailsAt, links, tags

pytestmark = pytest.mark.e2e

SHARED = editions.layer(editions.tree(91, files=1, size=3000))
BASE = editions.tree(92, files=4)
OLD, NEW = editions.layer(BASE), editions.zlib_gzip(editions.layer(editions.upgraded(BASE, 93)))
REPOSITORIES = "data/docker/registry/v2/repositories"


@dataclass
class Bench:
    """A registry with the old release, and the new one as a delta, which brings one tool."""

    registry: Distribution
    old: Path
    delta: Path
    state: Path
    right: dict[str, bytes] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    prefix: str = ""

    def begin(self) -> None:
        """A registry that holds the old release and nothing else, and a state dir of nothing."""
        self.prefix = f"n-{next(self.numbers)}"
        base = self.registry.folder / REPOSITORIES
        if (base / "base").exists():
            shutil.copytree(base / "base", base / self.prefix)
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir()

    def client(self, url: str = "") -> RegistryClient:
        address = RegistryAddress.parse(f"{url or self.registry.address.url}/{self.prefix}")
        return RegistryClient.at(address, patience=HASTY)

    def run(self, bundle: Path | None = None, url: str = "") -> None:
        """Load as an upgrade does."""
        media, client = open_media(bundle or self.delta, RELEASE.policy), self.client(url)
        ground = Ground.of(media, client, self.state)

        def read(sink: RegistrySink, again: bool) -> None:
            ground.refuse_lacking(sink.held)
            tools = ToolSink(self.state)
            media.read([sink, tools], progress=lambda _: None, quick=again, rebuild=ground.rebuilder)

        fill_registry(client, media.release, read, lambda _: None, (0.01,), others=ground.repositories)

    def links(self) -> dict[str, bytes]:
        return links(self.registry, self.prefix)

    def is_at_rest(self) -> None:
        """What has the new release's tag is whole, and no tool stands half written under its name."""
        release, found = open_media(self.delta, RELEASE.policy).release, self.links()
        if any(f"/tags/{keep_tag(release)}/" in path for path in found):
            assert found.keys() >= {path for path in self.right if "/_layers/" in path}
        for path, data in tags(found).items():
            assert self.right[path] == data
        for file in release.files:
            place = tool_path(self.state, file)
            assert file.role != "tool" or not place.exists() or holds_file(place, file.digest)

    def converges(self) -> None:
        self.is_at_rest()
        self.run()
        assert self.links() == self.right
        names = [path.name for path in self.state.rglob("*") if path.is_file()]
        assert names == ["compose"]
        self.is_at_rest()


@pytest.fixture(scope="module")
def bench(shared_registry: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("kits")
    old = editions.write(editions.edition("1.0.0", {"web": [SHARED, OLD]}), folder / "old")
    tool = {"tools/compose": ("tool", "0755", b"another one" * 900)}
    new = editions.write(editions.edition("1.1.0", {"web": [SHARED, NEW]}, files=tool), folder / "new")
    made = pack(new, folder / "out", None, Talk(quiet=True), [Holdings.of_bundle(old)])
    assert made.delta is not None and len(made.delta.patches) == 1
    bench = Bench(shared_registry, old, made.first, folder / "state")
    bench.begin()
    bench.prefix = "base"
    bench.run(old)
    bench.begin()
    bench.run()
    bench.right = bench.links()
    return bench


@pytest.fixture(autouse=True)
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old layer lies on the disk while it is patched, so that there is more to strike."""
    monkeypatch.setattr(rebuild, "HELD", 0)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """The process that rebuilds has run already, and always gives the same."""
    monkeypatch.setattr(Rebuilder, "rebuild", recording())
    bench.begin()
    bench.run()


def test_a_kill_at_anything_that_is_sent_or_written_is_finished_by_the_next_run(bench: Bench, recorded: None) -> None:
    made = []
    for call in strikes(bench.begin, bench.run, None, sends=True):
        made.append(call)
        bench.converges()
    assert {"send", "create", "write", "fsync", "rename"} <= set(made) and made.count("send") >= 15


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
def test_a_registry_that_fails_at_any_change_is_filled_by_the_next_run(
    bench: Bench, recorded: None, sticky: bool
) -> None:
    with serving(proxy := FailsAt(bench.registry.address.host, [])):
        bench.begin()
        bench.run(url=proxy.url)
        changes = proxy.changes
        assert changes >= 6 and bench.links() == bench.right
        for number in range(1, changes + 1):
            bench.begin()
            proxy.strike(number, sticky=sticky)
            try:
                bench.run(url=proxy.url)
            except SealiftError as error:
                assert error.exit_code == 9
            else:
                assert not sticky, f"change {number} failed, and nobody noticed"
            assert proxy.was_hit
            bench.converges()


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
def test_a_disk_that_is_full_at_any_write_here_leaves_nothing_wrong(bench: Bench, sticky: bool) -> None:
    """The pipes to the process that rebuilds count as well: what goes wrong with them ends in the same way."""
    made = []
    for call in strikes(bench.begin, bench.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        bench.converges()
    assert {"nameless", "create", "write", "fsync", "rename"} <= set(made)


STRUCK = """\
import os
write, left = os.write, [{at}]
def struck(descriptor, data):
    if descriptor == 2:
        return write(descriptor, data)
    left[0] -= 1
    if left[0] == 0 or ({sticky} and left[0] < 0):
        if {kills}:
            os.kill(os.getpid(), 9)
        raise OSError({code}, "struck")
    return write(descriptor, data)
os.write = struck
__path__.append({real!r})
"""
"""What the process that rebuilds imports first in place of our package, of which the rest is the real one."""


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("kills", [True, False], ids=["killed", "full"])
def test_the_process_that_rebuilds_is_struck_at_any_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kills: bool, sticky: bool
) -> None:
    struck, real = 0, str(Path(system.__file__).parent)
    (tmp_path / "installer").mkdir()
    for number in range(1, 100):
        bench.begin()
        with monkeypatch.context() as patch:
            code = STRUCK.format(at=number, kills=kills, sticky=sticky, code=errno.ENOSPC, real=real)
            (tmp_path / "installer/__init__.py").write_text(code)
            patch.setattr(system, "_PACKAGES", tmp_path)
            try:
                bench.run()
            except SealiftError as error:
                assert error.id == ("patch-malformed" if kills else "disk-full")
            else:
                break
        struck += 1
        assert editions.sha256(NEW)[7:] not in str(bench.links()), "a blob out of a patch that failed"
        bench.converges()
    assert struck >= 3, "the old layer, what is packed, the end of it"
