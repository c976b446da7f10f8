"""An upgrade in several sittings: staged one day and switched another; kept only when somebody says so."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installer.state.state import load_state
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

LEFT = ("registry/data/", "images", "networks")
"""What came into registry and engine is nothing that runs."""


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that its tests take from release to release, in order."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    return site


def test_stages_beside_what_serves_and_says_so(house: Site, vendor: Vendor, tmp_path: Path) -> None:
    kit = shutil.copytree(vendor.kit(Edition("1.1.0")), tmp_path / "stick")
    with Visitor(house.door) as visitor:
        said = house.done("stage", str(kit))
    assert {name: said[name] for name in ("result", "version", "active", "previous", "strategy")} == {
        "result": "staged",
        "version": "1.1.0",
        "active": "blue",
        "previous": None,
        "strategy": "blue-green",
    }
    assert visitor.seen == ["1.0.0"]
    assert house.door(house.ports[2]) == "1.1.0", "the preview shows it"
    (product,) = house.done("status")["products"]
    pending = product["pending"]
    assert (product["version"], pending["kind"], pending["version"], pending["colour"]) == (
        *("1.0.0", "staged", "1.1.0"),
        "green",
    )
    assert pending["since"] and pending["by"]
    house.sealift("rollback", "--to", "1.1.0").refused(2, "unknown-release")  # it never ran here


def test_refuses_the_switch_once_the_site_is_another(house: Site) -> None:
    moved = {"web": {"bind": f"127.0.0.1:{house.ports[20]}"}}
    with house.nothing_changes():
        with house.configured(entry_points=moved):
            said = house.sealift("switch").refused(12, "staging-outdated")
        assert "unstage" in said
        shown = house.done("switch", "--dry-run")
    assert "load" not in [step["name"] for step in shown["plan"]["steps"]]


def test_another_staging_takes_the_place_of_the_first(house: Site, vendor: Vendor) -> None:
    said = house.done("stage", str(vendor.kit(Edition("1.2.0"))))
    assert said["result"] == "staged"
    assert (house.door(), house.door(house.ports[2])) == ("1.0.0", "1.2.0")
    assert [place.name[:5] for place in sorted((house.state / "releases/board").iterdir())] == ["1.0.0", "1.2.0"]


def test_switches_without_the_media_and_mends_what_was_stopped_meanwhile(house: Site) -> None:
    for item in house.containers():
        if item["Labels"].get("dev.sealift.colour") == "green":
            house.engine.api.remove_container(item["Id"], force=True)
    with Visitor(house.door) as visitor:
        said = house.done("switch")
    assert (said["result"], said["version"], said["active"], said["previous"]) == (
        *("installed", "1.2.0", "green"),
        "1.0.0",
    )
    assert visitor.seen == ["1.0.0", "1.2.0"]
    assert house.parts() == {"green"}
    assert house.done("status")["products"][0]["pending"] is None
    house.sealift("switch").refused(2, "nothing-staged")


def test_unstaging_leaves_everything_as_it_was(house: Site, vendor: Vendor) -> None:
    house.sealift("unstage").refused(2, "nothing-staged")
    with house.nothing_changes(but=LEFT):
        house.done("stage", str(vendor.kit(Edition("1.3.0"))))
        assert house.done("unstage")["result"] == "unstaged"


def test_a_release_that_fails_is_not_staged(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes(but=LEFT):
        said = house.sealift("stage", str(vendor.kit(Edition("1.4.0", ready=False))))
        assert said.refused(10, "upgrade-rolled-back").startswith("board 1.2.0 is serving")


def test_installing_something_else_takes_the_staged_one_down(house: Site, vendor: Vendor) -> None:
    house.done("stage", str(vendor.kit(Edition("1.3.0"))))
    with Visitor(house.door) as visitor:
        assert house.installed(vendor.kit(Edition("1.5.0")))["previous"] == "1.2.0"
    assert visitor.seen == ["1.2.0", "1.5.0"]
    assert house.done("status")["products"][0]["pending"] is None
    assert len(house.parts()) == 1


def test_refuses_to_stage_a_first_installation(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    with site.nothing_changes():
        site.sealift("stage", str(vendor.kit(FIRST))).refused(6, "strategy-unsupported")
        site.install(vendor.kit(FIRST), "--confirm-within", "5m").refused(2, "nothing-to-roll-back")


def test_keeps_what_was_confirmed(house: Site, vendor: Vendor) -> None:
    before = house.door()
    house.sealift("confirm").refused(2, "nothing-to-confirm")
    house.sealift("install", str(vendor.kit(Edition("2.0.0"))), "--confirm-within", "soon").refused(2, "bad-option")
    said = house.done("install", str(vendor.kit(Edition("2.0.0"))), "--confirm-within", "10m")
    assert (said["result"], said["version"], house.door()) == ("installed", "2.0.0", "2.0.0")
    assert len(house.parts()) == 2, "the old one waits"
    pending = house.done("status")["products"][0]["pending"]
    assert (pending["kind"], pending["back_to"], pending["watcher"]) == ("unconfirmed", before, "container")
    assert 500 < pending["seconds_left"] <= 600
    assert [item["State"] for item in _watchers(house)] == ["running"]
    with house.nothing_changes(but=("trials",)):
        for words in (("install", str(vendor.kit(Edition("2.1.0")))), ("rollback", "--to", "1.0.0")):
            house.sealift(*words).refused(12, "unconfirmed")
    with Visitor(house.door) as visitor:
        assert house.done("confirm")["result"] == "confirmed"
    assert visitor.seen == ["2.0.0"]
    assert (len(house.parts()), _watchers(house)) == (1, [])
    assert house.done("status")["products"][0]["pending"] is None
    assert house.install(vendor.kit(Edition("1.9.0"))).refused(6, "downgrade")


def test_comes_back_by_itself_when_nobody_says_a_word(house: Site, vendor: Vendor) -> None:
    with Visitor(house.door) as visitor:
        house.done("install", str(vendor.kit(Edition("2.1.0"))), "--confirm-within", "4s")
        assert house.door() == "2.1.0"
        _eventually(lambda: house.done("status")["products"][0]["pending"] is None)
    assert visitor.seen == ["2.0.0", "2.1.0", "2.0.0"]
    _eventually(lambda: _watchers(house) == [])
    run = house.done("history")["runs"][-1]
    assert (run["kind"], run["version"], run["outcome"]) == ("fallback", "2.0.0", "done")
    assert len(house.parts()) == 1
    # What was never confirmed does not keep a lower one out.
    house.installed(vendor.kit(Edition("2.0.1")))


def test_comes_back_by_hand_before_the_time_is_up(house: Site, vendor: Vendor) -> None:
    house.done("install", str(vendor.kit(Edition("2.2.0"))), "--confirm-within", "10m")
    with Visitor(house.door) as visitor:
        assert house.done("rollback")["version"] == "2.0.1"
    assert visitor.seen == ["2.2.0", "2.0.1"]
    assert (_watchers(house), len(house.parts())) == ([], 1)
    assert load_state(house.state).products["board"].trial is None


def test_a_confirmation_after_the_time_comes_too_late(house: Site, vendor: Vendor) -> None:
    house.done("stage", str(vendor.kit(Edition("2.3.0"))))
    house.done("switch", "--confirm-within", "1s")
    (watcher,) = _watchers(house)
    house.engine.api.remove_container(watcher["Id"], force=True)  # somebody's prune
    if house.door() == "2.3.0":
        time.sleep(1)
        house.sealift("confirm").refused(12, "confirm-too-late")
        assert house.done("expire")["expired"][0]["version"] == "2.0.1"
    assert (house.door(), len(house.parts())) == ("2.0.1", 1)


def _watchers(site: Site) -> list[Any]:
    own = {"label": ["dev.sealift.role=confirm", f"dev.sealift.site={site.names.edge}"]}
    found: list[Any] = site.engine.api.containers(all=True, filters=own)
    return found


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.3)
