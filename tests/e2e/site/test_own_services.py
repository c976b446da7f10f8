"""Front door and registry come with a bundle, belong to the site, and are replaced by newer ones without a break."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer.state.state import load_state
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor, relabelled
from tests.edge.clients import KeptAlive

pytestmark = pytest.mark.e2e

HIGHER, LOWER = "99.1", "1.0"


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that its tests take from release to release, in order."""
    site = make_lasting_site()
    site.trust(vendor, "any")
    site.configure(edge={"retries": 0})
    site.installed(vendor.kit(FIRST))
    return site


@pytest.fixture(scope="module")
def layouts(wide_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[tuple[str, Path], ...]]:
    """Layouts of both images under a higher and under a lower version."""
    folder = tmp_path_factory.mktemp("layouts")
    return {
        version: tuple(
            (name, relabelled(wide_cache / f"edge/{name}-layout", folder / f"{name}-{version}", version))
            for name in ("haproxy", "registry")
        )
        for version in (HIGHER, LOWER)
    }


def test_older_ones_are_left_where_they_are(
    house: Site, vendor: Vendor, layouts: dict[str, tuple[tuple[str, Path], ...]]
) -> None:
    before = _own(house)
    house.installed(vendor.kit(Edition("1.0.1", edge_layouts=layouts[LOWER])))
    assert _own(house) == before
    assert house.door() == "1.0.1"


def test_newer_ones_take_over_and_a_kept_connection_goes_on(
    house: Site, vendor: Vendor, layouts: dict[str, tuple[tuple[str, Path], ...]]
) -> None:
    before = _own(house)
    kit = vendor.kit(Edition("1.1.0", edge_layouts=layouts[HIGHER]))
    plan = house.done("install", str(kit), "--dry-run")["plan"]["steps"]
    intents = {step["name"]: step["intent"] for step in plan}
    assert "99.1 take over" in intents["front-door"] and "by 99.1" in intents["registry"]
    connection = KeptAlive("127.0.0.1", house.ports[0])
    with Visitor(house.door) as visitor:
        assert connection.get("/status")[0].startswith("{")
        house.installed(kit)
        assert json.loads(connection.get("/status")[0])["version"] == "1.1.0"
    assert visitor.seen == ["1.0.1", "1.1.0"]
    after = _own(house)
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())
    state = load_state(house.state)
    assert state.edge and state.registry and (state.edge.version, state.registry.version) == (HIGHER, HIGHER)
    assert len(list((house.state / "archives").glob("*.tar"))) == 2, "archives of the older ones are gone"


def test_going_back_leaves_them_and_works_through_them(house: Site, vendor: Vendor) -> None:
    before = _own(house)
    assert house.done("rollback")["version"] == "1.0.1"
    house.installed(vendor.kit(Edition("1.2.0")))
    assert _own(house) == before
    assert house.door() == "1.2.0"


def test_another_product_may_bring_them_and_the_first_goes_on(
    make_site: MakeSite, vendor: Vendor, layouts: dict[str, tuple[tuple[str, Path], ...]]
) -> None:
    hall = make_site()
    hall.trust(vendor, "any")
    hall.installed(vendor.kit(FIRST))
    hall.configure(
        entry_points={
            "board/web": {"bind": f"127.0.0.1:{hall.ports[0]}"},
            "menu/web": {"bind": f"127.0.0.1:{hall.ports[23]}"},
        },
        preview={"bind": "127.0.0.1", "ports": f"{hall.ports[2]}-{hall.ports[22]}"},
        network={"subnet": hall.settings["network"]["subnet"].replace("/24", "/23")},
    )
    with Visitor(hall.door) as visitor:
        hall.installed(vendor.kit(Edition("1.0.0", product="menu", edge_layouts=layouts[HIGHER])))
    assert visitor.seen == ["1.0.0"]
    assert hall.door(hall.ports[23]) == "1.0.0"


def _own(site: Site) -> dict[str, str]:
    """The site's own containers that are to stay, by name."""
    return {
        item["Names"][0]: item["ImageID"]
        for item in site.containers()
        if item["Names"][0].removeprefix("/") in (site.names.edge, site.names.registry)
    }
