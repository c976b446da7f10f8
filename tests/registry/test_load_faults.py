"""A load that fails at its n-th change of the registry, or whose media is pulled at its n-th piece, for every n.

Nothing is tagged before all of it is there, and the next run finishes what this one began.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.bundle.content import Sink
from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.images import keep_tag
from installer.registry.load import missing_blobs

from .cargo import MIB, Cargo, Picture, layer
from .conftest import QUICK, Distribution, Start
from .doubtful import serving
from .failing import HASTY, FailsAt

pytestmark = pytest.mark.e2e


def cargo() -> Cargo:
    """Two images, one behind an index, that share a layer."""
    shared = layer("shared", 20_000)
    return Cargo([Picture("gateway", [shared, layer("own", 20_000)], index=True), Picture("store", [shared])])


def fill(freight: Cargo, client: RegistryClient, pauses: tuple[float, ...] = (0.01,)) -> None:
    fill_registry(client, freight.release, lambda sink, _: freight.stream(sink), lambda _: None, pauses)


def what_is_tagged_is_whole(freight: Cargo, client: RegistryClient) -> None:
    tag = keep_tag(freight.release)
    for image in freight.release.images:
        repository = client.address.repository(freight.release.product, image.name)
        if client.manifest_digest(repository, tag) is not None:
            assert all(client.has_blob(repository, part.digest, part.size) for part in image.blobs)


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "from-then-on"])
def test_load_that_fails_at_any_change_of_the_registry_is_finished_by_the_next(
    sticky: bool, registry: Distribution
) -> None:
    freight = cargo()
    with serving(proxy := FailsAt(registry.address.host, [])):
        fill(freight, proxy.client("right"))
        changes = proxy.changes
        assert changes >= 9
        for number in range(1, changes + 1):
            client = proxy.client(f"n-{number}")
            proxy.strike(number, sticky=sticky)
            try:
                fill(freight, client)
            except SealiftError as error:
                assert error.exit_code == 9
                what_is_tagged_is_whole(freight, client)
            else:
                assert not sticky, f"change {number} failed, and nobody noticed"
            assert proxy.was_hit
            proxy.strike(0)
            fill(freight, client)
            assert missing_blobs(client, freight.release) == set(), number


@pytest.mark.parametrize("size", ["100k", "700k", "1300k", "2000k"])
def test_load_into_a_disk_that_is_full_at_some_write_is_finished_when_there_is_room(
    size: str, start_registry: Start, tmp_path: Path
) -> None:
    freight = Cargo([Picture("gateway", [layer(str(number), MIB // 2) for number in range(4)])])
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=True)
    try:
        registry = start_registry({"storage": {"filesystem": {"rootdirectory": str(disk / "data")}}})
        client = RegistryClient.at(registry.address, patience=HASTY)
        with pytest.raises(SealiftError) as refusal:
            fill(freight, client)
        assert refusal.value.exit_code == 9
        what_is_tagged_is_whole(freight, client)
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        fill(freight, client)
        assert missing_blobs(client, freight.release) == set()
    finally:
        registry.stop()
        subprocess.run(["umount", disk], check=True)


def test_media_that_is_pulled_at_any_piece_ends_the_load_and_the_next_run_finishes(registry: Distribution) -> None:
    freight = Cargo([Picture("gateway", [layer(str(number), 3 * MIB // 2) for number in range(2)])])
    whole, gone = freight.chunks, [0]

    class Pulled:
        """Gives so many pieces, and then says what the reader of a bundle says."""

        def __init__(self, pieces: int) -> None:
            self.left = pieces

        def __call__(self, sink: Sink, again: bool) -> None:
            assert not again, "media that is gone is not read again"
            freight.chunks = self.chunks  # type: ignore[method-assign]
            try:
                freight.stream(sink)
            finally:
                freight.chunks = whole  # type: ignore[method-assign]

        def chunks(self, name: str) -> Iterator[bytes]:
            for chunk in whole(name):
                if not self.left:
                    gone[0] += 1
                    raise SealiftError("media-unreadable", "cannot read /media/usb: input/output error", hint="look")
                self.left -= 1
                yield chunk

    for pieces in range(200):
        client = RegistryClient.at(RegistryAddress.parse(f"{registry.address.url}/after-{pieces}"), patience=QUICK)
        try:
            fill_registry(client, freight.release, Pulled(pieces), print, (0.01,))
        except SealiftError as error:
            assert error.id == "media-unreadable"
        else:
            break
        repository = client.address.repository(freight.release.product, "gateway")
        assert client.manifest_digest(repository, keep_tag(freight.release)) is None
        fill(freight, client)
        assert missing_blobs(client, freight.release) == set()
    assert gone[0] == pieces >= 5
