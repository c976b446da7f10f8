"""The images of a release come into a real registry once, whole, and in an order that survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.registry.images import keep_tag, placed, relocate
from installer.registry.load import RegistrySink, missing_blobs, survey

from .cargo import MIB, Cargo, Picture, digest, layer
from .conftest import Distribution, Start, stored

pytestmark = pytest.mark.e2e

BASE = layer("base", 3 * MIB)


@pytest.fixture
def cargo() -> Cargo:
    """Two product images that share a layer, one of them behind an index, and an edge image."""
    gateway = Picture("gateway", [BASE, layer("gateway", 2 * MIB + 17)], packed=True, index=True)
    store = Picture("store", [BASE, layer("store")], packed=True)
    return Cargo([gateway, store, Picture("door", [layer("door")])], edge={"haproxy": "door"})


def load(cargo: Cargo, registry: Distribution) -> RegistrySink:
    sink = RegistrySink(registry.client(), cargo.release)
    cargo.stream(sink)
    sink.close()
    sink.finish_manifests()
    return sink


def test_loads_everything_but_edge_images_and_tags_it(cargo: Cargo, registry: Distribution) -> None:
    assert missing_blobs(registry.client(), cargo.release) == cargo.blobs_of(["gateway", "store"])
    load(cargo, registry)

    assert missing_blobs(registry.client(), cargo.release) == set()
    tag = keep_tag(cargo.release)
    assert tag == f"sealift-lan-chat-2.1.0-{cargo.release.digest.short}"
    index = stored(registry, "lan-chat/gateway", tag)
    assert index["manifests"][0]["digest"] == cargo.pictures[0].manifest
    assert stored(registry, "lan-chat/store", cargo.release.image("store").digest) == stored(
        registry, "lan-chat/store", tag
    )
    assert not (registry.folder / "data/docker/registry/v2/repositories/lan-chat/door").exists()


def test_sends_nothing_the_second_time(cargo: Cargo, registry: Distribution) -> None:
    assert load(cargo, registry).sent > 5 * MIB
    writes = registry.requests("POST") + registry.requests("PUT")

    assert load(cargo, registry).sent == 0
    assert registry.requests("POST") + registry.requests("PUT") == writes


def test_shares_a_layer_between_repositories_instead_of_sending_it_twice(cargo: Cargo, registry: Distribution) -> None:
    load(cargo, registry)

    mounts = registry.requests("POST", "mount=")
    assert len(mounts) == 1
    assert " 201 " in mounts[0]
    assert "from=lan-chat%2Fgateway" in mounts[0]


def test_sends_only_what_a_newer_release_adds(cargo: Cargo, registry: Distribution) -> None:
    load(cargo, registry)
    newer = Cargo([Picture("gateway", [BASE, layer("newer", MIB)], packed=True)], version="2.2.0")

    sent = load(newer, registry).sent
    assert sent < 1.1 * MIB
    assert missing_blobs(registry.client(), cargo.release) == set(), "the older release is no longer whole"


@pytest.mark.parametrize("place", ["_layers", "_manifests/revisions", "_manifests/tags"])
def test_mends_links_that_a_power_cut_left_empty(cargo: Cargo, registry: Distribution, place: str) -> None:
    load(cargo, registry)
    links = list(registry.folder.glob(f"data/docker/registry/v2/repositories/lan-chat/*/{place}/**/link"))
    assert links
    for link in links:
        link.write_bytes(b"")
    assert missing_blobs(registry.client(), cargo.release)

    load(cargo, registry)
    assert missing_blobs(registry.client(), cargo.release) == set()
    assert all(link.read_bytes() for link in links)
    assert stored(registry, "lan-chat/store", keep_tag(cargo.release))


def test_pushes_no_manifest_before_the_bundle_is_verified(cargo: Cargo, registry: Distribution) -> None:
    sink = RegistrySink(registry.client(), cargo.release)
    cargo.stream(sink)
    sink.close()

    assert registry.requests("PUT", "/manifests/") == []
    manifests = {part.digest for name in ("gateway", "store") for part in cargo.release.image(name).manifests}
    client = registry.client()
    assert survey(client, placed(cargo.release, client.address)).missing == manifests


def test_stores_nothing_under_the_digest_of_an_altered_blob(cargo: Cargo, registry: Distribution) -> None:
    altered = digest(cargo.pictures[0].blobs[2][0])
    sink = RegistrySink(registry.client(), cargo.release)
    with pytest.raises(ValueError, match="altered"):
        cargo.stream(sink, altered=altered)
    sink.close()

    assert altered in missing_blobs(registry.client(), cargo.release)
    load(cargo, registry)
    assert missing_blobs(registry.client(), cargo.release) == set()


def test_refuses_bytes_of_another_digest(cargo: Cargo, registry: Distribution) -> None:
    name = digest(cargo.pictures[0].blobs[1][0])
    content = bytearray(cargo.contents[name])
    content[len(content) // 2] ^= 1
    cargo.contents[name] = bytes(content)

    with pytest.raises(SealiftError) as refusal:
        load(cargo, registry)
    assert refusal.value.id == "registry-refused"
    assert "DIGEST_INVALID" in refusal.value.message
    assert registry.requests("PUT", "/manifests/") == []


def test_refuses_a_bundle_that_lacks_a_manifest(cargo: Cargo, registry: Distribution) -> None:
    sink = RegistrySink(registry.client(), cargo.release)
    sink.close()
    with pytest.raises(SealiftError) as refusal:
        sink.finish_manifests()
    assert refusal.value.id == "truncated"


def test_goes_on_after_a_kill_without_sending_again_what_arrived(start_registry: Start, tmp_path: Path) -> None:
    registry = start_registry()
    script = tmp_path / "load.py"
    script.write_text(KILLED.format(port=registry.address.host.split(":")[1]))
    process = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    pictures = registry.folder / "data/docker/registry/v2/blobs/sha256"
    for _ in range(600):
        if len(list(pictures.glob("*/*/data"))) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL

    cargo = many()
    before = missing_blobs(registry.client(), cargo.release)
    everything = cargo.blobs_of(["gateway"])
    assert 1 <= len(before) < len(everything) - 1, "the kill came too early or too late to show anything"
    load(cargo, registry)
    uploads = len(registry.requests("PUT", "/blobs/uploads/"))
    assert missing_blobs(registry.client(), cargo.release) == set()
    assert uploads <= len(everything) + 2


def many() -> Cargo:
    """A release of many layers."""
    return Cargo([Picture("gateway", [layer(f"part {number}", 2 * MIB) for number in range(12)])])


KILLED = """
import time
from tests.registry.conftest import QUICK
from tests.registry.test_load import many, RegistrySink
from installer.registry.client import RegistryClient
from installer.registry.address import RegistryAddress

cargo = many()
chunks = cargo.chunks
def slow(name):
    for chunk in chunks(name):
        time.sleep(0.05)
        yield chunk
cargo.chunks = slow
client = RegistryClient.at(RegistryAddress.parse("http://127.0.0.1:{port}"), patience=QUICK)
cargo.stream(RegistrySink(client, cargo.release))
"""


def test_keeps_memory_small_however_large_a_blob_is(registry: Distribution, tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    script.write_text(LARGE.format(port=registry.address.host.split(":")[1]))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    grown = int(done.stdout)
    assert grown < 24 * 1024, f"memory grew by {grown} KiB for a blob of 300 MiB"


LARGE = """
import hashlib, json, resource
from tests.registry.conftest import QUICK
from installer.bundle.release import Descriptor
from installer.registry.client import RegistryClient
from installer.registry.address import RegistryAddress
from installer.registry.upload import Uploads

MIB = 1024 * 1024
client = RegistryClient.at(RegistryAddress.parse("http://127.0.0.1:{port}"), patience=QUICK)
uploads = Uploads(client)
client.ping()
def blob(number):
    total = hashlib.sha256()
    for index in range(150):
        total.update(bytes([number, index]) * (MIB // 2))
    name = "sha256:" + total.hexdigest()
    return Descriptor(media_type="application/octet-stream", digest=name, size=150 * MIB)
blobs = [blob(0), blob(1)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number, part in enumerate(blobs):
    upload = uploads.begin("some/image", part)
    for index in range(150):
        upload.write(bytes([number, index]) * (MIB // 2))
    upload.finish()
uploads.wait()
assert all(client.has_blob("some/image", part.digest, part.size) for part in blobs)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_relocates_every_product_image_by_digest(cargo: Cargo, start_registry: Start) -> None:
    registry = start_registry(prefix="ward/seven")
    load(cargo, registry)

    assert relocate(cargo.release, registry.address) == {
        name: f"{registry.address.host}/ward/seven/lan-chat/{name}@{cargo.release.image(name).digest}"
        for name in ("gateway", "store")
    }
    assert stored(registry, "ward/seven/lan-chat/gateway", cargo.release.image("gateway").digest)


def test_says_that_the_next_run_goes_on_when_the_registry_dies(cargo: Cargo, registry: Distribution) -> None:
    sink = RegistrySink(registry.client(), cargo.release)
    registry.stop()
    with pytest.raises(SealiftError) as refusal:
        cargo.stream(sink)
        sink.close()
    assert refusal.value.id == "registry-unreachable"
    assert registry.address.url in refusal.value.hint
    assert "goes on where this one stopped" in refusal.value.hint
