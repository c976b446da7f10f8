"""Making room never costs the way back; what services wrote, and what was done, can be read."""

from __future__ import annotations

import re

import pytest

from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import SERVE, Edition, Vendor

pytestmark = pytest.mark.e2e

WORDS = "the kitchen is open"


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site where four releases have served; 1.3.0 does."""
    site = make_lasting_site()
    site.trust(vendor)
    site.configure(keep=9, timing=site.settings["timing"] | {"bake": "100ms", "settle": "100ms"})
    for edition in (FIRST, *(Edition(f"1.{number}.0", command=f"echo '{WORDS}'; {SERVE}") for number in (1, 2, 3))):
        site.installed(vendor.kit(edition))
    return site


def test_a_plan_to_make_room_changes_nothing(house: Site) -> None:
    with house.nothing_changes():
        said = house.done("prune", "--keep", "2", "--dry-run")
        house.sealift("prune", "--keep", "0").refused(2, "bad-option")
    assert (said["result"], said["dropped"], said["kept"]) == ("planned", ["1.0.0", "1.1.0"], ["1.2.0", "1.3.0"])
    assert [step["name"] for step in said["plan"]["steps"]] == ["forget", "images", "registry"]


def test_makes_room_and_goes_back_without_the_engines_copies(house: Site) -> None:
    before = _blobs(house)
    with Visitor(house.door) as visitor:
        said = house.done("prune", "--keep", "1")
    assert visitor.seen == ["1.3.0"]
    assert (said["dropped"], said["kept"]) == (["1.0.0", "1.1.0"], ["1.2.0", "1.3.0"]), "the way back stays"
    assert said["freed"] > 0 and len(_blobs(house)) < len(before)
    house.sealift("rollback", "--to", "1.1.0").refused(2, "unknown-release")
    used = {item["Image"] for item in house.containers()}
    for reference in house.image_references():
        if reference not in used:
            house.engine.images.remove(reference)
    with Visitor(house.door) as visitor:
        assert house.done("rollback")["version"] == "1.2.0"
    assert visitor.seen == ["1.3.0", "1.2.0"]


def test_what_was_dropped_comes_in_again_from_its_media(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(Edition("1.4.0")))
    house.done("prune", "--keep", "1")
    assert house.done("prune", "--keep", "1")["dropped"] == []
    house.installed(vendor.kit(Edition("1.5.0")))
    assert house.door() == "1.5.0"


def test_shows_the_last_words_of_every_service(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(Edition("1.6.0", command=f"echo '{WORDS}'; {SERVE}")))
    said = house.done("logs", "board", "--lines", "5")
    assert [(one["version"], one["lines"]) for one in said["containers"]] == [("1.6.0", [WORDS])]
    assert WORDS in house.raw("logs", "board")[1]
    for own in ("front-door", "registry"):
        assert house.done("logs", own)["containers"][0]["name"].startswith("sealift-")
    assert "front-door" in house.sealift("logs", "oven").refused(2, "unknown-service")


def test_history_tells_who_did_what_and_how_long_each_step_took(house: Site, vendor: Vendor) -> None:
    house.install(vendor.kit(Edition("1.7.0", ready=False))).refused(10, "upgrade-rolled-back")
    runs = house.done("history")["runs"]
    failed, done = runs[-1], runs[-2]
    assert done["by"] and done["seconds"] > 0.3
    assert [(one["step"], one["outcome"]) for one in done["timeline"]] == [(name, "done") for name in done["steps"]]
    assert all(one["seconds"] >= 0 for one in done["timeline"])
    outcomes = {one["step"]: one["outcome"] for one in failed["timeline"]}
    assert (outcomes["smoke"], outcomes["preview"], failed["outcome"]) == ("failed", "taken back", "rolled-back")
    _, text, _ = house.raw("history", "--steps")
    assert re.search(r"  smoke +.*failed", text)


def _blobs(site: Site) -> list[str]:
    return [str(path) for path in (site.state / "registry/data").rglob("data")]
