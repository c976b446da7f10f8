"""Something dies while an upgrade is under way: the exit code says what serves, and the next run gets there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from installer.state.journal import Journal
from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

GREEDY = """\
services:
  board:
    image: "{{ images.board }}"
    stop_grace_period: 0s
    mem_limit: 8m
"""


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site where 1.0.0 serves at first."""
    site = make_lasting_site()
    site.trust(vendor)
    site.configure(timing=site.settings["timing"] | {"health": "6s", "bake": "3s"})
    site.installed(vendor.kit(FIRST))
    return site


def test_a_release_that_eats_its_memory_is_taken_back(house: Site, vendor: Vendor) -> None:
    greedy = Edition("1.1.0", compose=GREEDY, command="exec /bin/busybox tail /dev/zero")
    with Visitor(house.door) as visitor:
        said = house.install(vendor.kit(greedy)).refused(10, "upgrade-rolled-back")
    assert said.startswith("board 1.0.0 is serving; nothing has to be done before morning")
    assert visitor.seen == ["1.0.0"]


@pytest.mark.parametrize(
    ("number", "what", "step"), [(1, "registry", "load"), (2, "edge", "smoke"), (3, "edge", "bake")]
)
def test_own_services_that_are_killed_come_back_and_the_next_run_converges(
    house: Site, vendor: Vendor, number: int, what: str, step: str
) -> None:
    old, new = house.door(), f"2.{number}.0"
    process = house.start("install", str(vendor.kit(Edition(new))), "--json")
    _await_step(house, step)
    name = house.names.registry if what == "registry" else house.names.edge
    os.kill(int(house.engine.api.inspect_container(name)["State"]["Pid"]), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, 9, 10), out + err
    assert _settled(house) == (new if process.returncode == 0 else old)
    assert Journal(house.state).unfinished() is None
    assert house.installed(vendor.kit(Edition(new)))["version"] == new
    assert _settled(house) == new
    assert len(house.parts()) == 1
    assert house.done("status")["products"][0]["healthy"] is True


@pytest.fixture
def small_disk(make_site: MakeSite) -> Iterator[Site]:
    """A site whose state dir has a disk of its own."""
    site = make_site()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=0700", "tmpfs", site.state], check=True)
    yield site
    site.leave()
    subprocess.run(["umount", "--lazy", site.state], check=True)


def test_a_disk_that_is_full_is_named_and_nothing_that_runs_is_touched(small_disk: Site, vendor: Vendor) -> None:
    site = small_disk
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    filler = site.state / "filler"
    disk = os.statvfs(site.state)
    filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 64 * 1024))
    with site.nothing_changes(but=("registry/data/", "releases/board/.")):  # what the next run finds, and tidies up
        site.install(vendor.kit(Edition("1.1.0"))).refused(7, "disk-full")
    filler.unlink()
    site.installed(vendor.kit(Edition("1.1.0")))
    assert site.door() == "1.1.0"
    assert list((site.state / "releases/board").glob(".*")) == []


def _await_step(site: Site, step: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        run = Journal(site.state).unfinished()
        if run is not None and step in run.begun:
            return
        time.sleep(0.005)
    raise AssertionError(f"{step} never began")


def _settled(site: Site) -> str:
    """What the door answers once the engine has started again what was killed."""
    deadline = time.monotonic() + 30
    while not site.door()[:1].isdigit() or site.door() == "503":
        assert time.monotonic() < deadline, "nobody serves"
        time.sleep(0.1)
    return site.door()
