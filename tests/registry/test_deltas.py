"""A delta comes into a real registry that holds what it builds on; test_delta_faults.py strikes it everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bundler.delta.holdings import Holdings
from bundler.media.encrypt import Cover
from bundler.media.pack import pack
from installer.bundle.age import MediaKey
from installer.bundle.encrypted import Unlock
from installer.bundle.packing import Patch
from installer.deltas import Ground
from installer.errors import SealiftError
from installer.media import Media, open_media
from installer.patching.rebuild import Rebuilder
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink, missing_blobs
from installer.registry.settings import RegistryFolder
from installer.talk import Talk
from tests import editions
from tests.vectors.forge import RELEASE

from .conftest import Distribution

pytestmark = pytest.mark.e2e

SHARED = editions.layer(editions.tree(21, files=8))
BASE = editions.tree(20)
OLD, NEW = editions.zlib_gzip(editions.layer(BASE)), editions.zlib_gzip(editions.layer(editions.upgraded(BASE, 22)))


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
    """A state dir: where old layers that a patch reaches far back into lie unpacked for a while."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def media_of(bundle: Path, unlock: Unlock | None = None) -> Media:
    return open_media(bundle, RELEASE.policy, unlock=unlock)


def bring(bundle: Path, client: RegistryClient, scratch: Path, unlock: Unlock | None = None) -> list[str]:
    """Load as an upgrade does; what was warned of."""
    media, said = media_of(bundle, unlock), list[str]()
    ground = Ground.of(media, client, scratch, RegistryFolder.of(scratch).open_blob)

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


@pytest.fixture
def hosted(registry: Distribution, scratch: Path) -> Path:
    """The file of the old layer in a state dir, whose bundled registry this one seems to be."""
    (scratch / "registry").symlink_to(registry.folder)
    number = editions.sha256(OLD).removeprefix("sha256:")
    return registry.folder / "data/docker/registry/v2/blobs/sha256" / number[:2] / number / "data"


def test_the_bundled_registrys_old_layer_is_read_where_it_lies(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, hosted: Path
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    assert hosted.read_bytes() == OLD
    assert bring(delta, registry.client(), scratch) == []
    assert missing_blobs(registry.client(), media_of(delta).release) == set()
    assert registry.requests("GET", editions.sha256(OLD)) == []


def test_an_old_layer_that_cannot_be_read_where_it_lies_is_asked_of_the_registry(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, hosted: Path
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    elsewhere = hosted.with_name("elsewhere")
    hosted.rename(elsewhere)
    hosted.symlink_to(elsewhere)
    assert bring(delta, registry.client(), scratch) == []
    assert len(registry.requests("GET", editions.sha256(OLD))) == 1


def test_an_old_layer_that_was_damaged_where_it_lies_becomes_no_blob(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, hosted: Path
) -> None:
    old, delta = kits
    bring(old, registry.client(), scratch)
    hosted.write_bytes(OLD[:-1] + bytes([OLD[-1] ^ 1]))
    with pytest.raises(SealiftError) as refused:
        bring(delta, registry.client(), scratch)
    assert refused.value.id in ("digest-mismatch", "patch-malformed")
    assert editions.sha256(NEW) in missing_blobs(registry.client(), media_of(delta).release)
    hosted.write_bytes(OLD)
    assert bring(delta, registry.client(), scratch) == []


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
    assert editions.sha256(OLD) in refused.value.message and "whole release" in refused.value.hint
    assert editions.sha256(NEW) in missing_blobs(registry.client(), media_of(delta).release)


def test_an_encrypted_delta_is_rebuilt_all_the_same(
    kits: tuple[Path, Path], registry: Distribution, scratch: Path, tmp_path: Path
) -> None:
    old, delta = kits
    key = MediaKey.generate()
    whole = delta.parents[2] / "new"
    sealed = pack(whole, tmp_path, 3000, Talk(quiet=True), [Holdings.of_bundle(old)], Cover([key.recipient]))
    assert sealed.delta is not None and sealed.delta.patches and sealed.parts > 1
    bring(old, registry.client(), scratch)
    assert bring(sealed.kit, registry.client(), scratch, lambda: [key]) == []
    assert missing_blobs(registry.client(), media_of(delta).release) == set()
    assert list(scratch.iterdir()) == []
