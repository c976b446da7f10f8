"""Asks a container from outside whether it serves, after making sure that the address is our container's.

A freed address can be taken by somebody else on the same engine; an answer from there must not count as health.
"""

from __future__ import annotations

import http.client
import socket
from typing import Final, Protocol

from installer.bundle.release import Health
from installer.targets.states import Replica, clean

_SECONDS: Final = 3.0
_READ: Final = 4096


class AddressBook(Protocol):
    """Knows who has an address: the engine, seen through the inventory."""

    def owner_of(self, network: str, address: str) -> str | None:
        """The id of the running container with this address on that network, or None."""


class Probe:
    """Called with a replica and the release's ``health``: returns what is wrong, or None."""

    def __init__(self, addresses: AddressBook, seconds: float = _SECONDS) -> None:
        self._addresses, self._seconds = addresses, seconds

    def __call__(self, replica: Replica, health: Health) -> str | None:
        network, address = next(((net, one) for net, one in replica.addresses.items() if one), ("", ""))
        if not address:
            return "it has no address"
        if self._addresses.owner_of(network, address) != replica.id:
            return f"the address {address} belongs to another container"
        try:
            return self._ask(address, health)
        except TimeoutError:
            return f"no answer from {address}{health.http or health.tcp} in {self._seconds:.0f} s"
        except (OSError, http.client.HTTPException) as error:
            return f"no answer from {address}{health.http or health.tcp}: {clean(str(error)) or type(error).__name__}"

    def _ask(self, address: str, health: Health) -> str | None:
        if health.tcp is not None:
            socket.create_connection((address, int(health.tcp[1:])), self._seconds).close()
            return None
        port, slash, path = (health.http or "")[1:].partition("/")
        connection = http.client.HTTPConnection(address, int(port), timeout=self._seconds)
        try:
            connection.request("GET", slash + path, headers={"Connection": "close", "User-Agent": "sealift"})
            answer = connection.getresponse()
            answer.read(_READ)
        finally:
            connection.close()
        return None if 200 <= answer.status < 300 else f"{health.http} answers {answer.status}"
