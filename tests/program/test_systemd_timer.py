"""On a host with systemd the old release comes back by a timer, over a power cut too, unless somebody confirms."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests import claims
from tests.e2e.site.conftest import FIRST, free_subnet
from tests.e2e.site.vendor import Edition, Vendor
from tests.program.booted import ENGINE, BootedHost, BootedSite, boots

pytestmark = pytest.mark.e2e


@pytest.fixture
def vendor(edge_images: dict[str, str], tmp_path: Path) -> Vendor:
    assert set(edge_images) == {"haproxy", "registry"}
    folder = tmp_path / "vendor"
    folder.mkdir()
    return Vendor.settle(folder)


@pytest.fixture
def site(
    engine: docker.DockerClient,
    wide_cache: Path,
    tmp_path: Path,
    real_program: Path,
    compose_plugin: Path,
    vendor: Vendor,
    unique_name: Callable[[str], str],
) -> Iterator[BootedSite]:
    """A host that has booted, with a client of the engine, and the program on its stick."""
    client = Path(shutil.which("docker") or "docker not found")
    host = BootedHost(engine, unique_name("host"), (tmp_path,))
    programs = {client: "/usr/bin/docker", compose_plugin: "/usr/libexec/docker/cli-plugins/docker-compose"}
    host.install(boots(wide_cache), programs | {real_program: "/media/install"})
    site = BootedSite.make(engine, tmp_path / "site", claims.port_block(), free_subnet(engine))
    site.host, site.program = lambda: host, "sh /media/install"
    site.configure(target={"kind": "compose", "engine": f"unix://{ENGINE}"})
    site.trust(vendor)
    site.program = "sealift"
    yield site
    left = site.leave()
    host.end()
    assert not left, left


def test_a_timer_brings_the_old_release_back_after_a_power_cut_or_leaves_what_was_confirmed(
    site: BootedSite, vendor: Vendor
) -> None:
    host = site.host()
    site.installed(vendor.kit(FIRST))
    site.done("install", str(vendor.kit(Edition("1.1.0"))), "--confirm-within", "25s")
    assert _pending(site)["watcher"] == "systemd timer"
    (unit,) = _units(host)
    host.pull_the_plug()
    assert site.door() == "1.1.0", "its time was not up"
    host.boot()
    assert _units(host) == [unit]
    _eventually(lambda: site.door() == "1.0.0")
    _eventually(lambda: not _units(host))
    run = site.done("history")["runs"][-1]
    assert (run["kind"], run["outcome"], run["by"]) == ("fallback", "done", "nobody confirmed it")

    site.done("install", str(vendor.kit(Edition("1.2.0"))), "--confirm-within", "10m")
    assert _pending(site)["seconds_left"] > 500
    (unit,) = _units(host)
    assert host.run("systemctl", "is-active", unit).stdout == "active\n"
    assert site.done("confirm")["result"] == "confirmed"
    assert (_units(host), site.door(), site.done("status")["products"][0]["pending"]) == ([], "1.2.0", None)
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""


def _pending(site: BootedSite) -> dict[str, Any]:
    pending: dict[str, Any] = site.done("status")["products"][0]["pending"]
    assert pending["kind"] == "unconfirmed"
    return pending


def _units(host: BootedHost) -> list[str]:
    """Timers of ours that are there, waiting."""
    said = host.run("systemctl", "list-units", "--no-legend", "--plain", "sealift-*.timer").stdout
    return [line.split()[0] for line in said.splitlines()]


def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.3)
