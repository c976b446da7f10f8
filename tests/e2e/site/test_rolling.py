"""Rolling: replica by replica behind one door, a gate between, and the whole release returns when one of them fails."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from installer.state.journal import Journal
from installer.targets import labels
from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import SERVE, Edition, Vendor

pytestmark = pytest.mark.e2e

SERVICES = (
    "{board: {image: board, replicas: 2, needs: [pantry], health: {http: ':3000/status'}}, pantry: {image: board}}"
)
COMPOSE = """\
services:
  board:
    image: "{{ images.board }}"
    stop_grace_period: 0s
    depends_on: [pantry]
  pantry:
    image: "{{ images.board }}"
    stop_grace_period: 0s
"""
FIRST = Edition("1.0.0", edge=True, services=SERVICES, compose=COMPOSE)
SECOND = Edition("1.1.0", services=SERVICES, compose=COMPOSE)
WORDS = "the second waiter is ill"
# The second replica of a colour has the fourth address of its half of the subnet, after network and gateway.
ILL = f"case $(/bin/busybox hostname -i) in *.3|*.131) echo '{WORDS}'; exit 3;; esac; {SERVE}"
SECOND_ILL = Edition("1.2.0", services=SERVICES, compose=COMPOSE, command=ILL)
OTHER_CHECK = Edition("1.3.0", services=SERVICES.replace("/status", "/ready"), compose=COMPOSE)


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that its tests take from release to release, in order; no retries at its door."""
    site = make_lasting_site()
    site.trust(vendor)
    site.configure(strategy="rolling", edge={"retries": 0})
    site.installed(vendor.kit(FIRST))
    return site


def test_first_install_has_nobody_to_replace_and_starts_whole(house: Site) -> None:
    assert _running(house) == {"blue": ["1.0.0"] * 3}


def test_replaces_replica_by_replica_while_both_releases_serve(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        names = [step["name"] for step in house.done("install", str(vendor.kit(SECOND)), "--dry-run")["plan"]["steps"]]
    rounds = [f"{verb}-{number}" for number in (1, 2) for verb in _ROUND]
    assert names == ["load", "networks", "start-green", *rounds, "switch", "bake", "retire-blue", "commit"]
    with Visitor(house.door) as visitor:
        said = house.installed(vendor.kit(SECOND))
    assert (said["strategy"], said["result"], said["active"]) == ("rolling", "installed", "green")
    assert set(visitor.seen) == {"1.0.0", "1.1.0"} and len(visitor.seen) > 2, "both served side by side"
    assert (visitor.seen[0], visitor.seen[-1]) == ("1.0.0", "1.1.0")
    assert _running(house) == {"green": ["1.1.0"] * 3}
    assert house.done("status")["products"][0]["healthy"] is True


def test_goes_back_in_the_same_way_and_in_larger_steps_where_the_site_says_so(house: Site) -> None:
    with house.configured(rolling={"max_unavailable": 2}):
        shown = [step["name"] for step in house.done("rollback", "--dry-run")["plan"]["steps"]]
        assert [name for name in shown if name.startswith("stop-")] == ["stop-1"]
        with Visitor(house.door) as visitor:
            said = house.done("rollback")
    assert (said["result"], said["version"], said["strategy"]) == ("rolled-back", "1.0.0", "rolling")
    assert set(visitor.seen) == {"1.0.0", "1.1.0"}
    assert _running(house) == {"blue": ["1.0.0"] * 3}


def test_a_replica_that_fails_takes_the_whole_release_back(house: Site, vendor: Vendor) -> None:
    house.configure(timing=house.settings["timing"] | {"health": "6s"})
    with Visitor(house.door) as visitor:
        answer = house.install(vendor.kit(SECOND_ILL))
    said = answer.refused(10, "upgrade-rolled-back")
    assert said.startswith("board 1.0.0 is serving") and "failed at health-2" in said
    assert WORDS in answer.talk
    assert set(visitor.seen) == {"1.0.0", "1.2.0"}, "the first replica served for a while"
    assert _running(house) == {"blue": ["1.0.0"] * 3}
    taken_back = [line for line in answer.talk.splitlines() if line.startswith("taking back: ")]
    assert taken_back.index("taking back: stop-1") < taken_back.index("taking back: shift-1")
    with Visitor(house.door) as visitor:
        time.sleep(1)
    assert visitor.seen == ["1.0.0"]


def test_killed_between_two_rounds_it_goes_back_and_starts_anew(house: Site, vendor: Vendor) -> None:
    process = house.start("install", str(vendor.kit(SECOND)), "--json")
    deadline = time.monotonic() + 60
    while "start-2" not in _begun(house) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert _begun(house)[-1].endswith("-2")
    with Visitor(house.door) as visitor:
        house.installed(vendor.kit(SECOND))
    assert set(visitor.seen) == {"1.0.0", "1.1.0"}
    assert _running(house) == {"green": ["1.1.0"] * 3}


def test_refuses_replicas_that_one_check_cannot_tell(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        said = house.install(vendor.kit(OTHER_CHECK)).refused(6, "strategy-unsupported")
    assert "--strategy blue-green" in said


_ROUND = ("start", "health", "preview", "smoke", "shift", "watch", "drain", "stop")


def _running(site: Site) -> dict[str, list[str]]:
    """The versions of all containers that run, by colour."""
    found: dict[str, list[str]] = {}
    for item in site.containers():
        own: dict[str, Any] = item["Labels"]
        if labels.PART in own:
            assert item["State"] == "running"
            found.setdefault(own[labels.PART], []).append(own[labels.VERSION])
    return found


def _begun(site: Site) -> tuple[str, ...]:
    """Steps of the run that is not finished."""
    run = Journal(site.state).unfinished()
    return run.begun if run else ()
