"""Where a registry is, and how its images are called: values only.

Rules:
- Plain HTTP is for loopback addresses; everything else is asked by TLS.
- A reference always names host and port, so that no engine mistakes the host for a name on a public registry.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from installer.errors import SealiftError

_PREFIX: Final = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, no port) can only be this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class RegistryAddress:
    """``url`` is scheme, host and port; ``host`` is ``host:port`` as references spell it; ``prefix`` may be empty."""

    url: str
    host: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``https://host[:port][/prefix]``. Raises ``site-file-invalid`` (2)."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise _invalid("registry.url is not a URL") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in text:
            raise _invalid("registry.url is not of the form https://host:port/prefix")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise _invalid(f"registry.url asks {parts.hostname} by plain HTTP, which is for loopback addresses only")
        prefix = parts.path.strip("/")
        if prefix and not _PREFIX.fullmatch(prefix):
            raise _invalid(f"registry.url has a path that cannot stand in the name of an image: {prefix}")
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = f"{name}:{port or (443 if parts.scheme == 'https' else 80)}"
        return cls(f"{parts.scheme}://{host}", host, prefix)

    @classmethod
    def bundled(cls, listen: str) -> Self:
        """The address of the site's own registry, from ``host:port``. Raises ``site-file-invalid`` (2)."""
        host = listen.rpartition(":")[0]
        if not is_loopback(host):
            raise _invalid(f"registry.bundled.listen is not a loopback address: {listen}")
        return cls.parse(f"http://{listen}")

    def repository(self, product: str, image: str) -> str:
        """The repository of one image of a product."""
        return "/".join(part for part in (self.prefix, product, image) if part)


def _invalid(message: str) -> SealiftError:
    return SealiftError(
        "site-file-invalid", message, hint="write https://host:port, with registry.ca for a private authority"
    )
