"""The engine is restarted or the machine loses power: what served serves again, in the journalled colour."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from installer.edge.files import read_colours
from installer.edge.runtime import EdgeRuntime
from installer.state.journal import Journal
from installer.state.state import load_state
from tests import claims
from tests.e2e.site.host import Site
from tests.e2e.site.own_engine import OwnEngine
from tests.e2e.site.vendor import SERVE, Edition, Vendor
from tests.edge.clients import Load, Session

pytestmark = pytest.mark.e2e

ECHO = "(while :; do /bin/busybox nc -l -p 9000 -e /bin/busybox cat; done) & "
CHAT = (
    "(while :; do /bin/busybox nc -l -p 9001 -e /bin/busybox sh -c '"
    "while read -r line && [ ${#line} -gt 1 ]; do :; done; "
    'printf "HTTP/1.1 101 X\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n"; exec /bin/busybox cat\'; done) & '
)
"""Takes an upgrade, as a WebSocket begins, and gives back what it gets."""
DOORS = ", relay: {service: board, port: 9000, protocol: tcp}, chat: {service: board, port: 9001, protocol: http}"
FIRST = Edition("1.0.0", edge=True, command=ECHO + CHAT + SERVE, more_doors=DOORS)
SECOND = Edition("1.1.0", command=ECHO + CHAT + SERVE, more_doors=DOORS)
THIRD = Edition("1.2.0", command=ECHO + CHAT + SERVE, more_doors=DOORS)

Settle = Callable[[bool], tuple[OwnEngine, Site]]


@pytest.fixture
def settle(vendor: Vendor, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Settle]:
    """A site on an engine of its own, where 1.0.0 serves."""
    made: list[tuple[OwnEngine, Site]] = []

    def make(live_restore: bool) -> tuple[OwnEngine, Site]:
        engine = OwnEngine(Path(tempfile.mkdtemp(prefix="se-", dir="/var/tmp")), live_restore)
        engine.start()
        ports = claims.port_block()
        site = Site.make(engine.client, tmp_path / "site", ports, claims.subnet())
        site.configure(
            target={"kind": "compose", "engine": engine.endpoint},
            edge={"retries": 0},
            entry_points={
                "web": {"bind": f"127.0.0.1:{ports[0]}"},
                "relay": {"bind": f"127.0.0.1:{ports[22]}"},
                "chat": {"bind": f"127.0.0.1:{ports[23]}"},
            },
            preview={"bind": "127.0.0.1", "ports": f"{ports[2]}-{ports[21]}"},
        )
        made.append((engine, site))
        site.trust(vendor)
        site.installed(vendor.kit(FIRST))
        return engine, site

    yield make
    for engine, _ in made:
        engine.end()
        shutil.rmtree(engine.folder)


def test_with_live_restore_nobody_notices_an_engine_that_is_stopped_or_killed(settle: Settle, vendor: Vendor) -> None:
    engine, site = settle(True)
    sessions = Session("127.0.0.1", site.ports[22]), Session("127.0.0.1", site.ports[23], upgrade=True)
    loads = [Load("127.0.0.1", site.ports[0], keep_alive=kept, path="/status", connections=8) for kept in (False, True)]
    with loads[0], loads[1]:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for load in loads:
                load.await_sent(300)
            engine.stop(number)
            for load in loads:
                load.await_sent(300)
            engine.start()
            for load in loads:
                load.await_sent(300)
    assert [load.failures for load in loads] == [[], []]
    for session in sessions:
        session.file.write(b"still here\n")
        session.file.flush()
        assert session.file.readline() == b"still here\n"
        session.close()
    site.installed(vendor.kit(SECOND))
    assert site.door() == "1.1.0"
    _agree(site)


def test_without_live_restore_everything_comes_back_by_itself(settle: Settle, vendor: Vendor) -> None:
    engine, site = settle(False)
    for number in (signal.SIGTERM, signal.SIGKILL):
        engine.stop(number)
        engine.start()
        _eventually(lambda: site.door() == "1.0.0")
        _agree(site)
    _cut_power_at("health", engine, site, vendor.kit(SECOND), serves="1.0.0")
    assert site.installed(vendor.kit(SECOND))["version"] == "1.1.0"
    _cut_power_at("bake", engine, site, vendor.kit(THIRD), serves="1.2.0")
    assert site.installed(vendor.kit(THIRD))["version"] == "1.2.0"
    assert site.door() == "1.2.0"
    _agree(site)
    assert len(site.parts()) == 1


def _cut_power_at(step: str, engine: OwnEngine, site: Site, kit: Path, *, serves: str) -> None:
    """In the middle of an upgrade; afterwards the journalled colour serves, before anybody does anything."""
    process = site.start("install", str(kit), "--json")
    _eventually(lambda: _step(site) == step)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    engine.power_cut()
    engine.start()
    _eventually(lambda: site.door() == serves)
    assert site.done("status")["products"][0]["pending"]["step"] == step


def test_what_was_staged_or_on_trial_outlives_a_power_cut(settle: Settle, vendor: Vendor) -> None:
    engine, site = settle(False)
    site.done("stage", str(vendor.kit(SECOND)))
    engine.power_cut()
    engine.start()
    _eventually(lambda: (site.door(), site.door(site.ports[4])) == ("1.0.0", "1.1.0"))
    assert site.done("status")["products"][0]["pending"]["kind"] == "staged"
    site.done("switch", "--confirm-within", "15s")
    assert site.door() == "1.1.0"
    engine.power_cut()
    engine.start()
    _eventually(lambda: site.door() == "1.0.0", 90)
    _eventually(lambda: Journal(site.state).unfinished() is None)
    assert json.loads(site.raw("history", "--json")[1])["runs"][-1]["kind"] == "fallback"


def _step(site: Site) -> str:
    run = Journal(site.state).unfinished()
    return run.begun[-1] if run and run.begun else ""


def _agree(site: Site) -> None:
    """State, map on disk and the worker's map name one colour."""
    active = load_state(site.state).products["board"].active
    assert read_colours(site.state / "edge") == EdgeRuntime(site.state / "edge").colours() == {"board": active}


def _eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)
