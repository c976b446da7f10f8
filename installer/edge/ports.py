"""Is an address free? HAProxy pauses what serves while it tries to bind a taken one: so this is asked before."""

from __future__ import annotations

import errno
import socket

from installer.errors import SealiftError


def refuse_taken(addresses: frozenset[tuple[str, int]], own_ports: frozenset[int] | None) -> None:
    """Try each address, but for the ports we hold ourselves; ``None`` means that these are not known: nothing is tried.

    Raises ``port-taken`` (7) or, where the address is not of this host, ``edge-failed`` (9).
    """
    if own_ports is None:
        return
    for address, port in sorted(addresses):
        if port not in own_ports:
            _refuse(address, port)


def _refuse(address: str, port: int) -> None:
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SealiftError(
                    "port-taken",
                    f"port {port} of {address} is taken by another program",
                    hint=f"see who holds it with: ss -ltnp 'sport = :{port}', or choose another in site.yaml",
                ) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise SealiftError(
                    "edge-failed",
                    f"{address} is not an address of this host",
                    hint="see its addresses with: ip -br address, and correct entry_points in site.yaml",
                ) from error
