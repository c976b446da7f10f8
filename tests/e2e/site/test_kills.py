"""Killed with -9 at any step, an upgrade is finished by the next run, and people notice nothing."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.state.journal import Journal
from installer.targets import labels
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import ABSENT, Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

STEPS = ("load", "networks", "start", "health", "preview", "smoke", "switch", "bake", "drain", "retire", "commit")
HIT: set[str] = set()
_STEP_BEGINS = re.compile(rb'"event":"step-begin"[^\n]*"step":"([a-z-]+?)(?:-blue|-green)?"')


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Iterator[Site]:
    """A site that goes from release to release, however often it is killed."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    yield site


@pytest.mark.parametrize("step", STEPS)
def test_finishes_an_upgrade_that_was_killed(house: Site, vendor: Vendor, step: str) -> None:
    old = house.door()
    new = f"2.{STEPS.index(step)}.0"
    kit = vendor.kit(Edition(new))
    with Visitor(house.door) as visitor:
        hit = kill_at(house, step, "install", str(kit))
        pending = house.done("status")["products"][0]["pending"]
        assert (pending["version"], pending["kind"]) == (new, "install")
        assert pending["step"].startswith(hit)
        result = house.installed(kit)
    HIT.add(hit)
    assert result["version"] == new and result["result"] in ("installed", "unchanged")
    assert visitor.seen == [old, new]
    assert house.done("status")["products"][0] | {"since": "", "digest": "", "services": []} == {
        "product": "board",
        "version": new,
        "active": result["active"],
        "previous": old,
        "healthy": True,
        "pending": None,
        "since": "",
        "digest": "",
        "services": [],
    }
    _nothing_is_left_over(house, new, result["active"])


def test_was_killed_at_eight_steps_at_least() -> None:
    assert len(HIT) >= 8, sorted(HIT)


def test_finishes_a_first_install_that_was_killed(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    kit = vendor.kit(FIRST)
    for step in ("unpack", "registry", "front-door", "start"):
        kill_at(site, step, "install", str(kit))
    site.installed(kit)
    assert site.door() == "1.0.0"
    _nothing_is_left_over(site, "1.0.0", "blue")


def test_finishes_a_rollback_that_was_killed(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    for edition in (FIRST, Edition("1.1.0")):
        site.installed(vendor.kit(edition))
    kill_at(site, "start", "rollback")
    assert site.door() == "1.1.0"
    assert site.done("status")["products"][0]["pending"]["kind"] == "rollback"
    with Visitor(site.door) as visitor:
        site.done("rollback")
    assert visitor.seen == ["1.1.0", "1.0.0"]
    _nothing_is_left_over(site, "1.0.0", site.done("status")["products"][0]["active"])


def test_shows_no_plan_over_an_unfinished_run_and_changes_nothing(house: Site, vendor: Vendor) -> None:
    serving = house.door()
    kit = vendor.kit(Edition("3.0.0"))
    kill_at(house, "health", "install", str(kit))
    with house.nothing_changes():
        house.install(kit, "--dry-run").refused(12, "run-unfinished")
        house.sealift("rollback", "--dry-run").refused(12, "run-unfinished")
        assert house.done("status")["products"][0]["pending"]["step"] == "health"
    # Another release may come first: what was cut off is taken back before.
    other = house.installed(vendor.kit(Edition("3.0.1")))
    assert (other["version"], other["previous"]) == ("3.0.1", serving)
    _nothing_is_left_over(house, "3.0.1", other["active"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_says_that_it_was_interrupted_and_goes_on_next_time(
    house: Site, vendor: Vendor, number: signal.Signals
) -> None:
    old, new = house.door(), {signal.SIGTERM: "4.0.0", signal.SIGINT: "5.0.0"}[number]
    kit = vendor.kit(Edition(new))
    out, _ = _stop_at(house, "health", number, "install", str(kit))
    assert json.loads(out)["error"]["id"] == "interrupted" and out.count("\n") == 1
    assert house.door() == old
    assert house.done("status")["products"][0]["pending"]["version"] == new
    result = house.installed(kit)
    assert result["previous"] == old
    _nothing_is_left_over(house, new, result["active"])


def test_removes_what_a_killed_first_install_left(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    with site.nothing_changes(but=("images",)):
        kill_at(site, "health", "install", str(vendor.kit(FIRST)))
        assert site.containers()
        site.sealift("remove", "--yes").refused(2, "not-initialised")
    assert site.containers() == []


def test_finishes_a_removal_that_was_killed(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    for pause in (0.6, 1.2):
        site.installed(vendor.kit(FIRST))
        process = site.start("remove", "--yes", "--volumes", "--json")
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        site.sealift("remove", "--yes", "--volumes")
        assert (site.door(), site.containers()) == (ABSENT, [])
        assert site.done("status")["products"] == []


def kill_at(site: Site, step: str, *words: str) -> str:
    """Run ``sealift WORDS`` and kill it as soon as ``step`` begins; returns the step that it died in."""
    return _stop_at(site, step, signal.SIGKILL, *words)[1]


def _stop_at(site: Site, step: str, number: signal.Signals, *words: str) -> tuple[str, str]:
    """The same with any signal; returns what it said to stdout, and the step."""
    journal = Journal(site.state).path
    offset = journal.stat().st_size if journal.exists() else 0
    process = site.start(*words, "--json")
    deadline = time.monotonic() + 60
    while step not in _begun(journal, offset) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate()
    expected = -number if number == signal.SIGKILL else 130
    assert process.returncode == expected, f"it ended before {step}: {process.returncode} {out} {err}"
    return out, _begun(journal, offset)[-1]


def _begun(journal: Path, offset: int) -> list[str]:
    """The steps that began since the journal was ``offset`` bytes long, without their colour."""
    if not journal.exists():
        return []
    with journal.open("rb") as file:
        file.seek(offset)
        return [name.decode() for name in _STEP_BEGINS.findall(file.read())]


def _nothing_is_left_over(site: Site, version: str, active: str) -> None:
    """Just the containers of one colour of this version, one network for each colour, and no draft of a file."""
    assert site.parts() == {active}
    running = {item["Labels"][labels.VERSION] for item in site.containers() if labels.VERSION in item["Labels"]}
    assert running == {version}
    networks = site.engine.api.networks(filters={"label": f"{labels.OWNER}={labels.owner(site.names)}"})
    assert len(networks) == 2
    assert Journal(site.state).unfinished() is None
    drafts = [path for path in site.state.rglob("*") if path.name.endswith((".new", ".draft", ".tmp"))]
    assert drafts == []
