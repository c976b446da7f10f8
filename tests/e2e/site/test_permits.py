"""One site's story on the real engine: refused downgrades, a permit used once, replays, kills, a state that was lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from installer.state import load_state
from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site
from tests.e2e.site.test_kills import kill_at
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

OLD, NEW = Edition("1.0.0", edge=True), Edition("1.1.0", edge=True)
BROKEN = Edition("0.9.0", ready=False)


@pytest.fixture(scope="module")
def officer(vendor: Vendor) -> str:
    """The root of trust by which an officer, and nobody else, signs permits."""
    vendor.bundle("keygen", "--out", "keys", "--name", "officer")
    roles = ("--root-key", "keys/root.key", "--release-key", "keys/release.pub", "--permit-key", "keys/officer.pub")
    vendor.bundle("trust", "init", *roles, "--product", "board", "--out", "keys/officer.json")
    return "officer"


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor, officer: str) -> Site:
    """A site where 1.1.0 serves and nothing else ever ran; its tests are one story."""
    site = make_lasting_site()
    site.trust(vendor, officer)
    site.installed(vendor.kit(NEW))
    return site


def permit(site: Site, vendor: Vendor, name: str, coming_from: str, to: Edition, key: str = "officer") -> Path:
    """A permit for this site; ``coming_from`` is what serves, or ``lost``."""
    out = vendor.root / f"{name}.permit.json"
    here = site.done("trust", "show")["site"]
    wish = ("--from", coming_from, "--to", str(vendor.kit(to)), "--site", here)
    vendor.bundle("permit", *wish, "--key", f"keys/{key}.key", "--out", str(out))
    return out


def serving(site: Site) -> str:
    """The digest of what serves."""
    (product,) = site.done("status")["products"]
    return str(product["digest"])


def test_doctor_finds_nothing_that_would_stop_an_upgrade(house: Site) -> None:
    with house.nothing_changes():
        found = house.done("doctor")
    assert found["ready"] and {item["level"] for item in found["findings"]} == {"ok"}
    assert {"trust", "clock", "state", "engine", "board"} <= {item["id"] for item in found["findings"]}


def test_refused_downgrade_prints_the_command_that_makes_its_permit(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        said = house.install(vendor.kit(OLD)).refused(6, "downgrade")
    words = re.search(r"bundle permit (--product board --from sha256:\w{64} --to sha256:\w{64}) --site", said)
    assert words and f"--from {serving(house)}" in words[1]


def test_refuses_permits_that_are_not_for_this(house: Site, vendor: Vendor) -> None:
    here = serving(house)
    by_release = permit(house, vendor, "by-release", here, OLD, key="release")
    for_another = permit(house, vendor, "for-another", here, BROKEN)
    from_another = permit(house, vendor, "from-another", "lost", OLD)
    bare = vendor.root / "bare.permit.json"
    shutil.copy(for_another, bare)
    with house.nothing_changes():
        for path, code, error in (
            (by_release, 5, "permit-role"),
            (for_another, 6, "permit-other-to"),
            (from_another, 6, "permit-other-from"),
            (bare, 5, "unsigned"),
            (house.site_file, 5, "unsigned"),
            (vendor.root / "nothing.permit.json", 2, "input-missing"),
        ):
            house.install(vendor.kit(OLD), "--permit", str(path)).refused(code, error)
        house.install(vendor.kit(OLD)).refused(6, "downgrade")
    assert house.door() == "1.1.0"


def test_failed_downgrade_gives_its_permit_back_and_moves_no_mark(house: Site, vendor: Vendor) -> None:
    leave = permit(house, vendor, "broken", serving(house), BROKEN)
    before = load_state(house.state)
    for _ in range(2):
        answer = house.install(vendor.kit(BROKEN), "--permit", str(leave))
        assert (answer.code, answer.value["result"]) == (10, "rolled-back")
    after = load_state(house.state)
    assert (after.permits, after.products) == ({}, before.products)
    assert house.door() == "1.1.0"


def test_permit_lets_the_older_release_in_after_kills_once(house: Site, vendor: Vendor) -> None:
    leave = str(permit(house, vendor, "down", serving(house), OLD))
    kit = str(vendor.kit(OLD))
    with house.nothing_changes():
        shown = house.done("install", kit, "--permit", leave, "--dry-run")
    assert shown["plan"]["steps"][0]["name"] == "permit"
    for step in ("load", "start"):
        kill_at(house, step, "install", kit, "--permit", leave)
    assert house.done("install", kit, "--permit", leave)["result"] == "installed"
    assert house.door() == "1.0.0"
    again = house.done("install", kit, "--permit", leave)
    assert again["result"] == "unchanged" and [item["id"] for item in again["warnings"]] == ["permit-not-needed"]
    used = json.loads(Path(leave).read_bytes())
    assert list(load_state(house.state).permits) == [used["id"]]
    assert house.done("history")["runs"][-1]["permit"] == used


def test_refuses_the_permit_when_it_would_fit_again(house: Site, vendor: Vendor) -> None:
    assert house.installed(vendor.kit(NEW))["result"] == "installed"
    leave = vendor.root / "down.permit.json"
    with house.nothing_changes():
        house.install(vendor.kit(OLD), "--permit", str(leave)).refused(6, "permit-used")
    house.done("rollback")
    assert house.door() == "1.0.0", "back to what is kept needs none"


def test_taking_the_product_off_is_no_way_down(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(NEW))
    house.done("remove", "--yes")
    with house.nothing_changes():
        house.install(vendor.kit(OLD)).refused(6, "downgrade")
    assert house.installed(vendor.kit(NEW))["result"] == "installed"


def test_host_that_lost_its_state_takes_nothing_for_a_first_install(house: Site, vendor: Vendor) -> None:
    kept: dict[Path, bytes] = {path: path.read_bytes() for path in house.state.glob("state.?")}
    for path in kept:
        path.unlink()
    try:
        for words in (("install", str(vendor.kit(OLD))), ("rollback",), ("remove", "--yes"), ("status",), ("doctor",)):
            said = house.sealift(*words).refused(4, "state-lost")
            assert "backup" in said and "permit" in said
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    assert house.door() == "1.1.0" and house.done("doctor")["ready"]


def test_lost_state_is_begun_anew_by_a_permit_once_its_containers_are_gone(house: Site, vendor: Vendor) -> None:
    for path in house.state.glob("state.?"):
        path.unlink()
    leave = str(permit(house, vendor, "lost", "lost", NEW))
    house.install(vendor.kit(NEW), "--permit", leave).refused(7, "port-taken")
    api = house.engine.api
    for item in house.containers():
        api.remove_container(item["Id"], force=True)
    assert house.done("install", str(vendor.kit(NEW)), "--permit", leave)["result"] == "installed"
    assert house.door() == "1.1.0" and house.done("doctor")["ready"]
    house.install(vendor.kit(OLD)).refused(6, "downgrade")
