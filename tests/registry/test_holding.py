"""What a receipt says of a registry, on real ones: only what it still has, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.registry.holding import held
from installer.registry.load import RegistrySink
from tests.registry.cargo import Cargo, Picture, layer
from tests.registry.conftest import Distribution

pytestmark = pytest.mark.e2e

BASE = layer("base", 100_000)


@pytest.fixture
def cargo(registry: Distribution) -> Cargo:
    """Two images that share a layer, one behind an index, and one of the edge, which no registry gets; all loaded."""
    gateway = Picture("gateway", [BASE, layer("gateway")], packed=True, index=True)
    store = Picture("store", [BASE, layer("store")], packed=True)
    made = Cargo([gateway, store, Picture("door", [layer("door")])], edge={"haproxy": "door"})
    sink = RegistrySink(registry.client(), made.release)
    made.stream(sink)
    sink.close()
    sink.finish_manifests()
    return made


def blob(registry: Distribution, digest: str) -> Path:
    """The file with a blob's bytes."""
    name = digest.removeprefix("sha256:")
    return registry.folder / f"data/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"


def test_names_what_was_loaded_and_nothing_of_the_edge(cargo: Cargo, registry: Distribution) -> None:
    assert held(registry.client(), [cargo.release, cargo.release]) == cargo.blobs_of(["gateway", "store"])


def test_leaves_out_every_blob_and_manifest_that_the_registry_lost(cargo: Cargo, registry: Distribution) -> None:
    everything = held(registry.client(), [cargo.release])
    for lost in sorted(everything):
        place = blob(registry, lost)
        content = place.read_bytes()
        place.unlink()
        assert held(registry.client(), [cargo.release]) == everything - {lost}
        place.write_bytes(content)
    assert held(registry.client(), [cargo.release]) == everything


def test_leaves_out_a_blob_that_was_cut_off(cargo: Cargo, registry: Distribution) -> None:
    (name,) = {part.digest for image in cargo.release.images for part in image.blobs if part.size > 90_000}
    place = blob(registry, name)
    place.write_bytes(place.read_bytes()[:-1])
    assert name not in held(registry.client(), [cargo.release])


def test_says_so_where_nobody_answers(cargo: Cargo, registry: Distribution) -> None:
    client = registry.client()
    registry.stop()
    with pytest.raises(SealiftError) as caught:
        held(client, [cargo.release])
    assert caught.value.id == "registry-unreachable"
