"""A load ends well although the registry stumbles: it is asked again, and nothing is tagged that is not whole."""

from __future__ import annotations

import subprocess
import threading
import time
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
from .conftest import PROGRAM, QUICK, Distribution, Start, stored
from .doubtful import Fault, Proxy, serving

pytestmark = pytest.mark.e2e

PAUSES = (0.1, 0.2, 1.0)
LARGE = 4 * MIB
"""More than an upload can send again by itself."""


@pytest.fixture
def cargo() -> Cargo:
    return Cargo([Picture("gateway", [layer(str(number), LARGE) for number in range(4)], index=True)])


class Reading:
    """Reads a cargo as often as it is asked to, and remembers how. ``at`` calls something before a blob goes by."""

    def __init__(self, cargo: Cargo) -> None:
        self.cargo = cargo
        self.passes: list[bool] = []

    def __call__(self, sink: Sink, again: bool) -> None:
        self.passes.append(again)
        self.cargo.stream(sink)


def fill(cargo: Cargo, client: RegistryClient, reading: Reading | None = None) -> list[str]:
    """What was warned of."""
    said: list[str] = []
    fill_registry(client, cargo.release, reading or Reading(cargo), said.append, PAUSES)
    return said


def through(proxy: Proxy) -> RegistryClient:
    return RegistryClient.at(RegistryAddress.parse(proxy.url), patience=QUICK)


def is_whole(cargo: Cargo, registry: Distribution) -> bool:
    """Whether another client finds the release by its tag, and every blob of it by its digest."""
    client = registry.client()
    found = stored(registry, "lan-chat/gateway", keep_tag(cargo.release))
    children = {item["digest"] for item in found["manifests"]}
    return missing_blobs(client, cargo.release) == set() and children == {cargo.pictures[0].manifest}


@pytest.mark.parametrize(
    ("fault", "passes"),
    [
        (Fault("PUT", "/blobs/uploads/", "half"), 2),
        (Fault("PUT", "/blobs/uploads/", "reset"), 2),
        (Fault("PUT", "/blobs/uploads/", "404"), 2),
        (Fault("PUT", "/blobs/uploads/", "429"), 2),
        (Fault("PUT", "/blobs/uploads/", "500"), 2),
        (Fault("PUT", "/blobs/uploads/", "503", 2), 2),
        (Fault("PUT", "/blobs/uploads/", "corrupt"), 2),
        (Fault("PUT", "/blobs/uploads/", "slow"), 1),
        (Fault("POST", "/blobs/uploads/", "500"), 2),
        (Fault("PUT", "/manifests/", "500"), 2),
        (Fault("HEAD", "/blobs/", "429", 9), 1),
        (Fault("HEAD", "/manifests/", "reset", 2), 1),
    ],
    ids=lambda value: f"{value.method}-{value.kind}" if isinstance(value, Fault) else None,
)
def test_load_goes_on_by_itself_after(fault: Fault, passes: int, cargo: Cargo, registry: Distribution) -> None:
    reading = Reading(cargo)
    with serving(proxy := Proxy(registry.address.host, [fault])):
        said = fill(cargo, through(proxy), reading)
    assert fault.times < 9, "the fault never happened"
    assert is_whole(cargo, registry)
    assert len(reading.passes) <= passes
    assert reading.passes == [False, True, True][: len(reading.passes)]
    assert len(said) == len(reading.passes) - 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("PUT", "/blobs/uploads/", "half", 99), "registry-unreachable"),
        (Fault("PUT", "/blobs/uploads/", "500", 99), "registry-refused"),
        (Fault("PUT", "/blobs/uploads/", "corrupt", 99), "registry-refused"),
        (Fault("PUT", "/blobs/uploads/", "401", 99), "registry-login"),
        (Fault("PUT", "/blobs/uploads/", "403", 99), "registry-login"),
        (Fault("HEAD", "/blobs/", "503", 999), "registry-unreachable"),
        (Fault("PUT", "/manifests/", "400", 99), "registry-refused"),
    ],
    ids=lambda value: f"{value.method}-{value.kind}" if isinstance(value, Fault) else None,
)
def test_load_gives_up_with_the_reason_and_the_next_run_goes_on(
    fault: Fault, error: str, cargo: Cargo, registry: Distribution
) -> None:
    with serving(proxy := Proxy(registry.address.host, [fault])):
        with pytest.raises(SealiftError) as refusal:
            fill(cargo, through(proxy))
        assert (refusal.value.id, refusal.value.exit_code) == (error, 9)
        tags = registry.folder.glob("data/docker/registry/v2/repositories/*/*/_manifests/tags/*")
        assert list(tags) == [], "nothing is called a release before all of it is there"
        proxy.faults.clear()
        fill(cargo, through(proxy))
    assert is_whole(cargo, registry)


@pytest.mark.parametrize("sig", ["terminate", "kill"])
def test_load_survives_a_registry_that_restarts_in_the_middle(sig: str, cargo: Cargo, registry: Distribution) -> None:
    class Restarting(Reading):
        def __call__(self, sink: Sink, again: bool) -> None:
            if not again:
                threading.Thread(target=restart, daemon=True).start()
            chunks, self.cargo.chunks = self.cargo.chunks, slow  # type: ignore[method-assign]
            super().__call__(sink, again)
            self.cargo.chunks = chunks  # type: ignore[method-assign]

    original = cargo.chunks

    def slow(name: str) -> Iterator[bytes]:
        for chunk in original(name):
            time.sleep(0.03)
            yield chunk

    def restart() -> None:
        time.sleep(0.2)
        getattr(registry.process, sig)()
        registry.process.wait(20)
        registry.start_again()

    fill(cargo, registry.client(), Restarting(cargo))
    assert is_whole(cargo, registry)


def test_reads_everything_although_the_registry_fails_so_that_all_of_the_bundle_is_verified(
    cargo: Cargo, registry: Distribution
) -> None:
    class Counting(Reading):
        finished = 0

        def __call__(self, sink: Sink, again: bool) -> None:
            super().__call__(sink, again)
            self.finished += 1

    reading = Counting(cargo)
    with (
        serving(proxy := Proxy(registry.address.host, [Fault("PUT", "/blobs/uploads/", "500", 99)])),
        pytest.raises(SealiftError),
    ):
        fill(cargo, through(proxy), reading)
    assert reading.finished == len(PAUSES) + 1


def test_full_disk_of_the_registry_ends_the_load_and_room_lets_the_next_run_finish(
    cargo: Cargo, start_registry: Start, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "none", disk], check=True)
    try:
        registry = start_registry({"storage": {"filesystem": {"rootdirectory": str(disk / "data")}}})
        with pytest.raises(SealiftError) as refusal:
            fill(cargo, registry.client())
        assert refusal.value.exit_code == 9
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        fill(cargo, registry.client())
        assert is_whole(cargo, registry)
    finally:
        registry.stop()
        subprocess.run(["umount", disk], check=True)


def test_garbage_collector_takes_nothing_of_a_kept_release(cargo: Cargo, registry: Distribution) -> None:
    fill(cargo, registry.client())
    registry.stop()
    command = [PROGRAM, "garbage-collect", "--delete-untagged", str(registry.folder / "config.yml")]
    subprocess.run(command, check=True, capture_output=True)
    registry.start_again()
    assert is_whole(cargo, registry)
