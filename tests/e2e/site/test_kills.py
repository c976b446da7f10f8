"""Killed with -9 at any step, an upgrade is finished by the next run, and people notice nothing."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.journal import Journal
from installer.targets import labels
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
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
        hit = _kill_at(house, step, "install", str(kit))
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
        _kill_at(site, step, "install", str(kit))
    site.installed(kit)
    assert site.door() == "1.0.0"
    _nothing_is_left_over(site, "1.0.0", "blue")


def test_finishes_a_rollback_that_was_killed(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    for edition in (FIRST, Edition("1.1.0")):
        site.installed(vendor.kit(edition))
    _kill_at(site, "start", "rollback")
    assert site.door() == "1.1.0"
    assert site.done("status")["products"][0]["pending"]["kind"] == "rollback"
    with Visitor(site.door) as visitor:
        site.done("rollback")
    assert visitor.seen == ["1.1.0", "1.0.0"]
    _nothing_is_left_over(site, "1.0.0", site.done("status")["products"][0]["active"])


def _kill_at(site: Site, step: str, *words: str) -> str:
    """Run ``sealift WORDS`` and kill it as soon as ``step`` begins; returns the step that it died in."""
    journal = Journal(site.state).path
    offset = journal.stat().st_size if journal.exists() else 0
    process = site.start(*words, "--json")
    deadline = time.monotonic() + 60
    while step not in _begun(journal, offset) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before {step}: {out} {err}"
    return _begun(journal, offset)[-1]


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
