"""Which addresses a product gets out of the site's subnet. Pure.

Every product has a /24 of it, each colour half of that: .1 the bridge, up to .61 fixed addresses of replicas in the
lower quarter, and the upper quarter for what the engine hands out by itself (the stateful services, which nobody
outside asks by address, so that adding a service never moves and never restarts them).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from installer.errors import SealiftError
from installer.site.names import COLOURS, Colour

FIXED: Final = 61


@dataclass(frozen=True)
class ColourNet:
    """A bridge network: ``dynamic`` is the range that the engine may hand out, ``fixed`` are ours, in order."""

    subnet: IPv4Network
    gateway: IPv4Address
    dynamic: IPv4Network

    @property
    def fixed(self) -> tuple[IPv4Address, ...]:
        """Addresses for replicas: after the gateway's, below the dynamic range."""
        return tuple(self.subnet.network_address + offset for offset in range(2, 2 + FIXED))


@dataclass(frozen=True)
class Route:
    """A network that this host reaches already, and through what."""

    network: IPv4Network
    via: str


def product_slice(pool: IPv4Network, index: int) -> IPv4Network:
    """The /24 of the product with this index (0, 1, ...). Raises ``address-pool`` (7)."""
    count = 1 << (24 - pool.prefixlen)
    if not 0 <= index < count:
        raise SealiftError(
            "address-pool",
            f"the subnet {pool} has room for {count} products, and this would be number {index + 1}",
            hint="take off a product that is no longer needed, or give network.subnet in site.yaml more room",
        )
    return IPv4Network((int(pool.network_address) + index * 256, 24))


def colour_net(pool: IPv4Network, index: int, colour: Colour) -> ColourNet:
    """The network of a colour of the product with this index. Raises ``address-pool`` (7)."""
    half = list(product_slice(pool, index).subnets(1))[COLOURS.index(colour)]
    return ColourNet(half, half.network_address + 1, list(half.subnets(1))[1])


def fixed_addresses(net: ColourNet, replicas: Mapping[str, int]) -> dict[tuple[str, int], str]:
    """An address for each (service, replica number from 1) of one colour. Raises ``address-pool`` (7)."""
    wanted = [(name, number) for name, count in sorted(replicas.items()) for number in range(1, count + 1)]
    if len(wanted) > FIXED:
        raise SealiftError(
            "address-pool",
            f"the release wants {len(wanted)} containers in one colour, and a colour has {FIXED} addresses",
            hint="fewer replicas: this is what one host is made for",
        )
    return {key: str(address) for key, address in zip(wanted, net.fixed, strict=False)}


def refuse_overlap(pool: IPv4Network, routes: Iterable[Route]) -> None:
    """Raise ``address-pool`` (7) when this host reaches something else at addresses of ``pool``."""
    for route in routes:
        if route.network.prefixlen and route.network.overlaps(pool):
            raise SealiftError(
                "address-pool",
                f"the subnet {pool} overlaps {route.network}, which this host reaches through {route.via}",
                hint="choose another private range for network.subnet in site.yaml",
            )


def parse_routes(text: str) -> tuple[Route, ...]:
    """The routes in the kernel's ``/proc/net/route``; lines of another shape are left out."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 8:
            try:
                network = IPv4Network((_kernel_order(fields[1]), str(_kernel_order(fields[7]))), strict=False)
            except (ValueError, ipaddress.NetmaskValueError):
                continue
            routes.append(Route(network, fields[0]))
    return tuple(routes)


def _kernel_order(text: str) -> IPv4Address:
    """The kernel prints the word as it lies in memory; every platform of ours is little-endian."""
    return IPv4Address(int.from_bytes(bytes.fromhex(text), "little"))
