"""Somebody's cron runs `docker system prune -af`: what it took comes back, offline, without the media."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from installer.state.state import load_state
from tests import claims
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.own_engine import OwnEngine
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def own_engine(vendor: Vendor) -> Iterator[OwnEngine]:
    """One that a prune may be let loose on. Everything on it is ours."""
    assert vendor.root.exists()
    own = OwnEngine(Path(tempfile.mkdtemp(prefix="se-", dir="/var/tmp")), live_restore=False)
    own.start()
    yield own
    own.end()
    shutil.rmtree(own.folder)


@pytest.fixture(scope="module")
def house(own_engine: OwnEngine, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """1.0.0, 1.1.0 and 1.2.0 have served; the media are gone."""
    site = Site.make(
        own_engine.client, tmp_path_factory.mktemp("pruned") / "site", claims.port_block(), claims.subnet()
    )
    site.configure(target={"kind": "compose", "engine": own_engine.endpoint})
    site.trust(vendor)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        kit = vendor.kit(Edition(version, edge=version == "1.0.0", note="Pruned."))
        stick = shutil.copytree(kit, site.folder / "stick")
        site.installed(stick)
        shutil.rmtree(stick)
    return site


def prune(own_engine: OwnEngine) -> None:
    """What a site's cron does."""
    subprocess.run(["docker", "--host", own_engine.endpoint, "system", "prune", "-af"], check=True, capture_output=True)


def test_goes_back_after_a_prune_that_took_every_image_nobody_used(house: Site, own_engine: OwnEngine) -> None:
    used = {item["ImageID"] for item in house.containers()}
    prune(own_engine)
    assert {image.id for image in own_engine.client.images.list()} == used
    with Visitor(house.door) as visitor:
        said = house.done("rollback")
    assert (said["version"], visitor.seen) == ("1.1.0", ["1.2.0", "1.1.0"])
    assert _asked_through_the_door(house)


def test_goes_back_after_our_prune_and_theirs(house: Site, own_engine: OwnEngine) -> None:
    assert house.done("prune", "--keep", "1")["dropped"] == ["1.0.0"]
    prune(own_engine)
    with Visitor(house.door) as visitor:
        said = house.done("rollback")
    assert (said["version"], visitor.seen) == ("1.2.0", ["1.1.0", "1.2.0"])
    assert _asked_through_the_door(house)


def test_staged_colour_that_was_stopped_comes_back_to_switch(
    house: Site, own_engine: OwnEngine, vendor: Vendor
) -> None:
    house.done("stage", str(vendor.kit(Edition("1.3.0", note="Pruned."))))
    staged = [item for item in house.containers() if item["Labels"].get("dev.sealift.part") == _idle(house)]
    assert staged
    for item in staged:
        own_engine.client.api.stop(item["Id"], timeout=0)
    prune(own_engine)
    assert _idle(house) not in house.parts(), "the stopped colour is gone"
    with Visitor(house.door) as visitor:
        assert house.done("switch")["version"] == "1.3.0"
    assert visitor.seen == ["1.2.0", "1.3.0"]


def test_everything_that_was_stopped_comes_back_from_archives_and_registry(house: Site, own_engine: OwnEngine) -> None:
    _stop_and_prune(own_engine)
    said = house.done("rollback")
    assert said["version"] == "1.2.0"
    _eventually(lambda: house.door() == "1.2.0")
    assert _asked_through_the_door(house)
    (product,) = house.done("status")["products"]
    assert product["healthy"] is True and product["previous"] == "1.3.0"
    assert len(house.parts()) == 1


def test_release_that_carries_no_edge_images_comes_in_all_the_same(
    house: Site, own_engine: OwnEngine, vendor: Vendor
) -> None:
    _stop_and_prune(own_engine)
    house.installed(vendor.kit(Edition("1.4.0", note="Pruned.")))
    _eventually(lambda: house.door() == "1.4.0")


def _stop_and_prune(own_engine: OwnEngine) -> None:
    """Nothing of the site is left on the engine."""
    for item in own_engine.client.containers.list():
        item.stop(timeout=1)
    prune(own_engine)
    assert own_engine.client.containers.list(all=True) == [] and own_engine.client.images.list() == []


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)


def _idle(site: Site) -> str:
    return "green" if load_state(site.state).products["board"].active == "blue" else "blue"


def _asked_through_the_door(site: Site) -> bool:
    """The last run ended with the smoke questions at the front door, by its own record, and well."""
    run = site.done("history")["runs"][-1]
    return run["outcome"] == "done" and "bake" in run["steps"]
