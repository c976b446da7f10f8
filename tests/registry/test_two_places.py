"""A registry that is slower than the media gets large blobs from two places of the bundle, and lacks nothing."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from installer.bundle import ahead
from installer.bundle.content import Writer
from installer.bundle.release import Descriptor, File
from installer.errors import SealiftError
from installer.media import open_media
from installer.registry import upload
from installer.registry.address import RegistryAddress
from installer.registry.client import RegistryClient
from installer.registry.fill import fill_registry
from installer.registry.load import RegistrySink
from tests import editions
from tests.vectors.forge import RELEASE

from .cargo import MIB
from .conftest import QUICK, Distribution, Start
from .doubtful import Fault, Proxy, serving

pytestmark = pytest.mark.e2e

CONTENT = {
    "web": [random.Random(number).randbytes(4 * MIB) for number in range(4)],
    "api": [random.Random(number).randbytes(3 * MIB) for number in range(3, 7)],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return editions.write(editions.edition("1.0.0", CONTENT), tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def opened_by(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the threads that bring blobs."""
    names, opened = set[str](), RegistrySink.open

    def noted(self: RegistrySink, member: File | Descriptor) -> Writer | None:
        names.add(threading.current_thread().name)
        return opened(self, member)

    monkeypatch.setattr(RegistrySink, "open", noted)
    return names


@pytest.fixture
def threads(opened_by: set[str], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The same, where any blob counts as large, and any wait as long."""
    monkeypatch.setattr(ahead, "LARGE", 0)
    monkeypatch.setattr(upload, "OUTRUN", -1)
    return opened_by


class Sluggish(Proxy):
    """Half a second passes before it takes anything of a blob."""

    def fault(self, method: str, path: str) -> Fault | None:
        if method == "PUT" and "/blobs/uploads/" in path:
            time.sleep(0.5)
        return None


def load(bundle: Path, client: RegistryClient, *, both: bool = True) -> list[str]:
    """Load it; what was warned of."""
    media, said = open_media(bundle, RELEASE.policy), list[str]()

    def read(sink: RegistrySink, again: bool) -> None:
        media.read([sink], progress=lambda _: None, quick=again, outrun=sink.outrun if both else None)

    fill_registry(client, media.release, read, said.append, (0.1, 0.2, 1.0))
    return said


def stored(registry: Distribution) -> list[str]:
    """Every blob, manifest, link and tag, by its place in the storage."""
    storage = registry.folder / "data"
    files = (path for path in storage.rglob("*") if path.is_file() and "_uploads" not in path.parts)
    return sorted(str(path.relative_to(storage)) for path in files)


def test_a_registry_filled_from_two_places_holds_the_same(
    bundle: Path, threads: set[str], start_registry: Start
) -> None:
    one, two = start_registry(), start_registry()
    assert load(bundle, one.client(), both=False) == [] and threads == {"MainThread"}
    assert load(bundle, two.client()) == [] and threads == {"MainThread", "ahead"}
    assert stored(two) == stored(one) != []


def test_a_registry_that_holds_large_blobs_up_gets_them_from_two_places(
    opened_by: set[str], start_registry: Start, tmp_path: Path
) -> None:
    layers = [random.Random(number).randbytes(ahead.LARGE) for number in range(3)]
    bundle = editions.write(editions.edition("1.0.0", {"web": layers}), tmp_path)
    with serving(proxy := Sluggish(start_registry().address.host, [])):
        assert load(bundle, RegistryClient.at(RegistryAddress.parse(proxy.url), patience=QUICK)) == []
    assert opened_by == {"MainThread", "ahead"}


@pytest.mark.parametrize("kind", ["half", "reset", "404", "429", "500", "corrupt", "slow"])
@pytest.mark.parametrize("times", [1, 3])
def test_goes_on_although_the_registry_stumbles(
    kind: str, times: int, bundle: Path, threads: set[str], start_registry: Start
) -> None:
    registry, whole = start_registry(), start_registry()
    fault = Fault("PUT", "/blobs/uploads/", kind, times)
    with serving(proxy := Proxy(registry.address.host, [fault])):
        load(bundle, RegistryClient.at(RegistryAddress.parse(proxy.url), patience=QUICK))
    assert fault.times == 0 and threads == {"MainThread", "ahead"}
    load(bundle, whole.client(), both=False)
    assert stored(registry) == stored(whole)


def test_a_damaged_blob_keeps_every_manifest_out(
    bundle: Path, threads: set[str], start_registry: Start, tmp_path: Path
) -> None:
    whole = bundle.read_bytes()
    place = whole.index(CONTENT["api"][2][:4096])
    damaged = tmp_path / bundle.name
    damaged.write_bytes(whole[:place] + bytes(4096) + whole[place + 4096 :])
    registry = start_registry()
    with pytest.raises(SealiftError) as caught:
        load(damaged, registry.client())
    assert caught.value.id == "digest-mismatch"
    assert not [path for path in stored(registry) if "_manifests" in path]
