"""What goes well, goes well: repeated, looked at beforehand, taken back, asked about."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.site.conftest import FIRST, SECOND, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

THIRD = Edition("1.2.0")


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that its tests take from release to release, in order."""
    site = make_lasting_site()
    site.trust(vendor)
    return site


def test_dry_run_shows_the_plan_of_a_first_install_and_does_none_of_it(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        shown = house.done("install", str(vendor.kit(FIRST)), "--dry-run")
        code, out, _ = house.raw("install", str(vendor.kit(FIRST)), "--dry-run")
    names = [step["name"] for step in shown["plan"]["steps"]]
    assert (shown["result"], shown["steps"], shown["previous"]) == ("planned", len(names), None)
    assert names == [
        *("unpack", "registry", "load", "front-door", "networks", "start-blue", "health", "preview", "smoke"),
        *("switch", "bake", "commit"),
    ]
    assert code == 0
    assert re.findall(r"^ *\d+\. (\S+)", out, re.MULTILINE) == names
    assert house.done("history")["runs"] == []


def test_first_install_says_what_it_did(house: Site, vendor: Vendor) -> None:
    said = house.done("install", str(vendor.kit(FIRST)), "--verify", "--strategy", "blue-green", "--yes")
    assert isinstance(said.pop("seconds"), float)
    assert said == {
        "result": "installed",
        "product": "board",
        "version": "1.0.0",
        "strategy": "blue-green",
        "active": "blue",
        "previous": None,
        "steps": 12,
    }


def test_same_release_again_is_unchanged_and_quick(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        answer = house.install(vendor.kit(FIRST))
    assert (answer.code, answer.value["result"], answer.value["steps"]) == (0, "unchanged", 0)
    assert (answer.value["active"], answer.value["version"]) == ("blue", "1.0.0")
    assert len(house.done("history")["runs"]) == 1


def test_dry_run_of_an_upgrade_and_of_a_rollback_change_nothing(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        shown = house.done("install", str(vendor.kit(SECOND)), "--dry-run")
    assert [step["name"] for step in shown["plan"]["steps"]] == [
        *("load", "networks", "start-green", "health", "preview", "smoke", "switch", "bake", "drain", "retire-blue"),
        "commit",
    ]
    house.installed(vendor.kit(SECOND))
    with house.nothing_changes():
        back = house.done("rollback", "--dry-run")
    assert (back["result"], back["version"], back["plan"]["kind"]) == ("planned", "1.0.0", "rollback")


def test_goes_back_and_forth_without_media_and_without_the_engines_copies(house: Site) -> None:
    expected = "1.0.0"
    for prune in (False, False, True, True):
        if prune:
            for reference in _unused(house):
                house.engine.images.remove(reference)
        before = house.door()
        with Visitor(house.door) as visitor:
            said = house.done("rollback")
        assert (said["result"], said["version"], said["previous"]) == ("rolled-back", expected, before)
        assert visitor.seen == [before, expected]
        expected = before


def test_goes_back_to_a_release_by_name(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(THIRD))
    said = house.done("rollback", "--to", "v1.0.0")
    assert (said["version"], house.door()) == ("1.0.0", "1.0.0")
    with house.nothing_changes():
        house.install(vendor.kit(SECOND)).refused(6, "downgrade")
    assert house.installed(vendor.kit(THIRD))["result"] == "installed"


def test_status_has_the_fields_that_scripts_rely_on(house: Site) -> None:
    (product,) = house.done("status")["products"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", product.pop("digest"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", product.pop("since"))
    (service,) = product.pop("services")
    assert (service["name"], service["healthy"]) == ("board", True)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", service["digest"])
    active = product.pop("active")
    assert active in ("blue", "green")
    expected = {"product": "board", "version": "1.2.0", "previous": "1.0.0", "healthy": True, "pending": None}
    assert product == expected
    (container,) = [item for item in house.containers() if item["Names"][0].endswith(f"{active}-board-1-1")]
    house.engine.api.stop(container["Id"], timeout=1)
    assert house.done("status")["products"][0]["healthy"] is False
    house.engine.api.start(container["Id"])


def test_history_tells_every_run_oldest_first(house: Site) -> None:
    runs = house.done("history")["runs"]
    assert [(run["kind"], run["version"], run["outcome"]) for run in runs[:3]] == [
        ("install", "1.0.0", "done"),
        ("install", "1.1.0", "done"),
        ("rollback", "1.0.0", "done"),
    ]
    for run in runs:
        assert run["product"] == "board" and run["failed"] is None and run["steps"][-1] == "commit"
        assert run["began"] < run["ended"]


@pytest.mark.parametrize("verb", ["status", "history"])
def test_understands_its_options_before_and_after_the_verb(house: Site, verb: str) -> None:
    expected = house.done(verb)
    places = ["--state-dir", str(house.state), "--site", str(house.site_file)]
    for words in ([*places, "--json", verb], [verb, *places, "--json"], [*places[:2], verb, "--json", *places[2:]]):
        code, out, _ = house.raw(*words)
        assert (code, json.loads(out)) == (0, expected)
    code, out, err = house.raw("--quiet", verb)
    assert (code, err) == (0, "") and out


def test_quiet_is_silent_but_for_errors(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        code, out, err = house.raw("install", str(vendor.kit(THIRD)), "--quiet")
        assert (code, err) == (0, "") and "unchanged" in out
        code, out, err = house.raw("--quiet", "install", str(vendor.kit(FIRST)))
        assert (code, out) == (6, "")
        assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]


def test_options_win_over_the_environment(house: Site, make_site: MakeSite) -> None:
    elsewhere = make_site()
    code, out, _ = elsewhere.raw("status", "--json", "--state-dir", str(house.state), "--site", str(house.site_file))
    assert (code, json.loads(out)) == (0, house.done("status"))
    assert elsewhere.done("status")["products"] == []


def _unused(site: Site) -> list[str]:
    """What the engine has from this site's registry and no container runs."""
    used = {item["Image"] for item in site.containers()}
    found = [reference for reference in site.image_references() if reference not in used]
    assert found
    return found
