"""Addresses of products and replicas."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.errors import SealiftError
from installer.plan.addresses import (
    FIXED,
    Route,
    colour_net,
    fixed_addresses,
    parse_routes,
    product_slice,
    refuse_overlap,
)

POOL = IPv4Network("10.213.0.0/16")
ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
br-1	0080D50A	00000000	0001	0	0	0	80FFFFFF	0	0	0
broken	zz	00000000	0001	0	0	0	80FFFFFF	0	0	0
short
"""


def test_gives_each_colour_half_of_the_products_slice() -> None:
    blue, green = colour_net(POOL, 3, "blue"), colour_net(POOL, 3, "green")

    assert (str(blue.subnet), str(blue.gateway), str(blue.dynamic)) == ("10.213.3.0/25", "10.213.3.1", "10.213.3.64/26")
    assert (str(green.subnet), str(green.gateway)) == ("10.213.3.128/25", "10.213.3.129")
    assert product_slice(IPv4Network("192.168.7.0/24"), 0) == IPv4Network("192.168.7.0/24")


@pytest.mark.parametrize(("pool", "index"), [("192.168.7.0/24", 1), ("10.0.0.0/22", 4), ("10.0.0.0/22", -1)])
def test_refuses_a_product_that_the_subnet_has_no_room_for(pool: str, index: int) -> None:
    with pytest.raises(SealiftError) as refused:
        product_slice(IPv4Network(pool), index)
    assert refused.value.id == "address-pool"


@given(
    index=st.integers(0, 255),
    replicas=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 9), max_size=6),
)
def test_fixed_addresses_are_distinct_and_away_from_what_the_engine_hands_out(
    index: int, replicas: dict[str, int]
) -> None:
    blue, green = colour_net(POOL, index, "blue"), colour_net(POOL, index, "green")
    given = [IPv4Address(text) for net in (blue, green) for text in fixed_addresses(net, replicas).values()]

    assert len(set(given)) == 2 * sum(replicas.values())
    for net, part in ((blue, given[: len(given) // 2]), (green, given[len(given) // 2 :])):
        for address in part:
            assert address in net.subnet
            assert address not in net.dynamic
            assert address not in (net.gateway, net.subnet.network_address, net.subnet.broadcast_address)


def test_refuses_more_replicas_than_a_colour_has_addresses() -> None:
    net = colour_net(POOL, 0, "blue")
    assert len(fixed_addresses(net, {"a": FIXED})) == FIXED
    with pytest.raises(SealiftError) as refused:
        fixed_addresses(net, {"a": FIXED, "b": 1})
    assert refused.value.id == "address-pool"


def test_reads_the_kernels_routes() -> None:
    assert parse_routes(ROUTES) == (
        Route(IPv4Network("0.0.0.0/0"), "eth0"),
        Route(IPv4Network("172.17.0.0/16"), "docker0"),
        Route(IPv4Network("10.213.128.0/25"), "br-1"),
    )


@given(st.text(max_size=200))
def test_reads_any_text_as_routes_without_a_crash(text: str) -> None:
    parse_routes("header\n" + text)


@pytest.mark.parametrize("network", ["10.213.4.0/24", "10.0.0.0/8", "10.213.0.0/16", "10.213.0.9/32"])
def test_refuses_a_subnet_that_the_host_reaches_elsewhere(network: str) -> None:
    with pytest.raises(SealiftError, match="eth1") as refused:
        refuse_overlap(POOL, [Route(IPv4Network(network), "eth1")])
    assert refused.value.id == "address-pool"


def test_keeps_quiet_about_the_default_route_and_distant_networks() -> None:
    refuse_overlap(POOL, [Route(IPv4Network("0.0.0.0/0"), "eth0"), Route(IPv4Network("10.214.0.0/16"), "eth1")])
