"""A delta comes into a real registry that holds what it builds on; cut off anywhere, the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bundler.delta.holdings import Holdings
from bundler.media.pack import pack
from installer.bundle.packing import Patch
from installer.deltas import Ground
from installer.errors import SealiftError
from installer.media import Media, open_media
from installer.patching.rebuild import Rebuilder
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink, missing_blobs
from installer.talk import Talk
from tests import editions
from tests.vectors.forge import RELEASE

from .conftest import Distribution

pytestmark = pytest.mark.e2e

SHARED = editions.layer(editions.tree(21, files=8))
BASE = editions.tree(20)
OLD, NEW = editions.zlib_gzip(editions.layer(BASE)), editions.zlib_gzip(editions.layer(editions.upgraded(BASE, 22)))

LOAD = """\
import sys
from pathlib import Path
from tests.registry.test_deltas import bring
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
bring(Path(sys.argv[1]), RegistryClient.at(RegistryAddress.parse(sys.argv[2])), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The old release, whole, and the new one as a delta."""
    folder = tmp_path_factory.mktemp("kits")
    old = editions.write(editions.edition("1.0.0", {"web": [SHARED, OLD]}), folder / "old")
    new = editions.write(editions.edition("1.1.0", {"web": [SHARED, NEW]}), folder / "new")
    made = pack(new, folder / "out", None, Talk(quiet=True), [Holdings.of_bundle(old)])
    return old, made.first


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where old layers lie unpacked for a while."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def media_of(bundle: Path) -> Media:
    return open_media(bundle, RELEASE.policy)


def bring(bundle: Path, client: RegistryClient, scratch: Path) -> list[str]:
    """Load as an upgrade does; what was warned of."""
    media, said = media_of(bundle), list[str]()
    ground = Ground.of(media, client, scratch)

    def read(sink: RegistrySink, again: bool) -> None:
        ground.refuse_lacking(sink.held)
        media.read([sink], progress=lambda _: None, quick=again, rebuild=ground.rebuilder)

    fill_registry(client, media.release, read, said.append, (0.1,), others=ground.repositories)
    return said


def test_a_delta_completes_the_release_from_what_the_registry_has(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    assert bring(delta, registry.client(), scratch) == []
    assert missing_blobs(registry.client(), media_of(delta).release) == set()
    assert list(scratch.iterdir()) == []


def test_a_registry_without_the_base_is_refused_before_anything_is_sent(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path
) -> None:
    with pytest.raises(SealiftError) as refused:
        bring(kits[1], registry.client(), scratch)
    assert (refused.value.id, refused.value.exit_code) == ("delta-base-missing", 4)
    assert registry.requests("POST") == []


def test_a_rebuild_that_fails_leaves_nothing_and_the_next_run_goes_on(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    real = Rebuilder.rebuild

    def breaks(self: Rebuilder, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        pieces = real(self, patch, data)
        yield next(pieces)
        raise SealiftError("disk-full", "no room", hint="free some")

    with monkeypatch.context() as broken:
        broken.setattr(Rebuilder, "rebuild", breaks)
        with pytest.raises(SealiftError) as refused:
            bring(delta, registry.client(), scratch)
        assert refused.value.id == "disk-full"
    assert editions.sha256(NEW) in missing_blobs(registry.client(), media_of(delta).release)
    bring(delta, registry.client(), scratch)
    assert missing_blobs(registry.client(), media_of(delta).release) == set()


def test_wrong_bytes_out_of_a_patch_never_become_a_blob(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)

    def lies(self: Rebuilder, patch: Patch, data: Iterable[bytes]) -> Iterator[bytes]:
        yield bytes(len(NEW))

    with monkeypatch.context() as broken:
        broken.setattr(Rebuilder, "rebuild", lies)
        with pytest.raises(SealiftError) as refused:
            bring(delta, registry.client(), scratch)
    assert (refused.value.id, refused.value.exit_code) == ("digest-mismatch", 4)
    assert editions.sha256(NEW) in missing_blobs(registry.client(), media_of(delta).release)


@pytest.mark.parametrize("after", [0.7, 1.1])
def test_killed_while_it_applies_the_next_run_converges(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, after: float
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    words = [sys.executable, "-c", LOAD, str(delta), registry.address.url, str(scratch)]
    child = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, stderr=subprocess.DEVNULL)
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert list(scratch.iterdir()) == [], "the unpacked old layer has no name to leave behind"
    bring(delta, registry.client(), scratch)
    assert missing_blobs(registry.client(), media_of(delta).release) == set()
