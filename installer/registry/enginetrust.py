"""Will the engine accept the certificate of the site's registry? Asked before anything is written: a pull fails late.

An engine trusts what its host trusts, and for one registry the ``*.crt`` in ``certs.d/<host:port>`` (Docker's
documentation, "Verify repository client with certificates"); a file put there counts at once. It asks networks that it
was told to believe (``insecure-registries``; loopback by itself) without checking.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.wire import system_authorities

CERTS_D: Final = Path("/etc/docker/certs.d")
_PATIENCE: Final = 10.0  # seconds


def certificate_folder(rootless: bool) -> Path:
    """Where the engine looks for authorities of registries."""
    return Path(os.environ.get("HOME", "/root")) / ".config/docker/certs.d" if rootless else CERTS_D


def refuse_distrusted(address: RegistryAddress, folder: Path, unchecked: Iterable[str], ca: Path | None) -> None:
    """Raise ``engine-distrusts-registry`` (7) when an engine with these settings would not pull from ``address``.

    ``folder`` is its ``certs.d``; ``unchecked`` are hosts and networks that it does not check; ``ca`` is the authority
    that the site file names, for the hint. A registry that does not answer at all is somebody else's to report.
    """
    if not address.url.startswith("https:") or _is_unchecked(address, unchecked):
        return
    own = folder / address.host
    context = ssl.create_default_context(cafile=system_authorities())
    try:
        for path in sorted(own.glob("*.crt")):
            context.load_verify_locations(path)
        _greet(address, context)
    except ssl.SSLCertVerificationError as error:
        raise _refusal(address, own, ca, error.verify_message) from None
    except ssl.SSLError as error:
        raise _refusal(address, own, ca, f"{error.reason or 'an authority there is not readable'}") from None
    except OSError:
        return


def _greet(address: RegistryAddress, context: ssl.SSLContext) -> None:
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    with (
        socket.create_connection((host, parts.port or 443), timeout=_PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        pass


def _is_unchecked(address: RegistryAddress, unchecked: Iterable[str]) -> bool:
    listed = set(unchecked)
    if address.host in listed:
        return True
    networks = [ipaddress.ip_network(item, strict=False) for item in listed if "/" in item]
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(urlsplit(address.url).hostname, None)}
    except OSError:
        return False
    return any(ipaddress.ip_address(str(one).partition("%")[0]) in network for one in found for network in networks)


def _refusal(address: RegistryAddress, own: Path, ca: Path | None, why: str) -> SealiftError:
    return SealiftError(
        "engine-distrusts-registry",
        f"the engine would not pull from {address.url}: it does not accept the registry's certificate ({why})",
        hint=f"give it the authority, no restart is needed: mkdir -p {own} && cp {ca or 'ca.pem'} {own}/ca.crt",
    )
