"""A product changes its shape: every upgrade and every way back brings just what the release names."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from installer.targets import labels
from tests.e2e.site.conftest import MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import SERVE, Edition, Vendor

pytestmark = pytest.mark.e2e

ECHO = "(while :; do /bin/busybox nc -l -p 9000 -e /bin/busybox cat; done) & "
WEB = "health: {http: ':3000/status'}"


def compose(*services: str) -> str:
    return "services:\n" + "".join(
        f'  {name}: {{image: "{{{{ images.board }}}}", stop_grace_period: 0s}}\n' for name in services
    )


def edition(version: str, services: str, *names: str, more_doors: str = "") -> Edition:
    return Edition(
        version, edge=True, command=ECHO + SERVE, services=services, compose=compose(*names), more_doors=more_doors
    )


CHAIN = edition(
    "1.0.0",
    f"{{board: {{image: board, needs: [mid], {WEB}}}, mid: {{image: board, needs: [low], {WEB}}}, "
    f"low: {{image: board, {WEB}}}}}",
    *("board", "mid", "low"),
)
THREE = edition(
    "1.1.0",
    f"{{board: {{image: board, replicas: 3, needs: [mid], {WEB}}}, mid: {{image: board, {WEB}}}}}",
    *("board", "mid"),
)
RENAMED = edition(
    "1.2.0",
    f"{{board: {{image: board, replicas: 2, needs: [middle], {WEB}}}, middle: {{image: board, {WEB}}}}}",
    *("board", "middle"),
    more_doors=", relay: {service: board, port: 9000, protocol: tcp}",
)
TCP_ALONE = Edition(
    "1.3.0",
    command=ECHO + SERVE,
    services="{board: {image: board, health: {tcp: ':9000'}}}",
    compose=compose("board"),
    entry_points=(),
    more_doors="relay: {service: board, port: 9000, protocol: tcp}",
    smoke="[]",
)


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site with two doors."""
    site = make_lasting_site()
    site.trust(vendor)
    site.configure(
        entry_points={
            "web": {"bind": f"127.0.0.1:{site.ports[0]}"},
            "relay": {"bind": f"127.0.0.1:{site.ports[23]}"},
        },
        preview={"bind": "127.0.0.1", "ports": f"{site.ports[2]}-{site.ports[22]}"},
    )
    site.installed(vendor.kit(CHAIN))
    return site


def running(site: Site) -> dict[str, int]:
    """How many containers of each service there are, all of one colour."""
    marks = [item["Labels"] for item in site.containers() if labels.SERVICE in item["Labels"]]
    assert len({mark[labels.PART] for mark in marks}) == 1
    return dict(Counter(mark[labels.SERVICE] for mark in marks))


def relays(site: Site) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", site.ports[23]), 3) as one:
            one.sendall(b"here\n")
            return one.recv(5) == b"here\n"
    except OSError:
        return False


def test_a_chain_of_needs_comes_up(house: Site) -> None:
    assert (running(house), house.door()) == ({"board": 1, "mid": 1, "low": 1}, "1.0.0")


@pytest.mark.parametrize("strategy", ["rolling", "blue-green"])
def test_more_replicas_and_a_service_less_and_back(house: Site, vendor: Vendor, strategy: str) -> None:
    with Visitor(house.door) as visitor:
        house.done("install", str(vendor.kit(THREE)), "--strategy", strategy)
        assert running(house) == {"board": 3, "mid": 1}
        assert house.done("rollback")["version"] == "1.0.0"
    assert set(visitor.seen) == {"1.0.0", "1.1.0"}
    assert running(house) == {"board": 1, "mid": 1, "low": 1}


def test_fewer_replicas_a_renamed_service_and_a_new_door_and_back(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(THREE))
    assert not relays(house)
    with Visitor(house.door) as visitor:
        house.done("install", str(vendor.kit(RENAMED)), "--strategy", "rolling")
        assert (running(house), relays(house)) == ({"board": 2, "middle": 1}, True)
        house.done("rollback")
        assert (running(house), relays(house)) == ({"board": 3, "mid": 1}, False)
    assert set(visitor.seen) == {"1.1.0", "1.2.0"}


def test_a_door_goes_and_tcp_alone_stays_without_any_question(house: Site, vendor: Vendor) -> None:
    house.installed(vendor.kit(RENAMED))
    house.installed(vendor.kit(TCP_ALONE))
    assert (running(house), relays(house), house.door()[:1].isdigit()) == ({"board": 1}, True, False)
    assert house.done("rollback")["version"] == "1.2.0"
    assert (house.door(), relays(house)) == ("1.2.0", True)
