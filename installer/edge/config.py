"""What the front door shall be, as a value.

Rules:
- A configuration names both colours of a product while an upgrade runs; which of them serves is not said here but in
  the colour map, one line per product, so that all entry points of a product flip together.
- A product without a colour is answered by nobody (503, or a closed connection): never by a guessed colour.
- Nothing secret stands in it: a certificate is named by its file inside the edge's folder.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from installer.bundle.release import Name, Port
from installer.errors import SealiftError
from installer.site.names import Colour

Protocol = Literal["http", "tcp"]
HealthPath = Annotated[str, StringConstraints(pattern=r"^/[\x21-\x7e]*$", max_length=200)]
ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
PemName = Annotated[str, StringConstraints(pattern=r"^tls/[a-z0-9.-]+\.pem$", max_length=200)]

_CLOSED: Final = ConfigDict(extra="forbid", strict=True)
_BIND: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+):(\d{1,5})")


def split_bind(bind: str) -> tuple[str, int]:
    """Address and port of ``0.0.0.0:443`` or ``[::]:443``. Raises ``edge-failed`` (9)."""
    match = _BIND.fullmatch(bind)
    try:
        if not match or not 1 <= int(match[2]) <= 65535:
            raise ValueError(bind)
        return str(ipaddress.ip_address(match[1].strip("[]"))), int(match[2])
    except ValueError as error:
        raise _refusal(f"{bind} is not an address with a port, such as 0.0.0.0:443 or [::]:443") from error


@dataclass(frozen=True, config=_CLOSED)
class Server:
    """One replica of a service on its fixed container address."""

    name: ServerName
    address: str
    port: Port

    def __post_init__(self) -> None:
        try:
            ipaddress.ip_address(self.address)
        except ValueError as error:
            raise _refusal(f"server {self.name}: {self.address} is not an IP address") from error


@dataclass(frozen=True, config=_CLOSED)
class Backend:
    """The servers of one entry point in one colour.

    ``health_path`` is asked by HTTP of each server, on ``health_port`` where that differs from the server's own;
    without a path, a server counts as healthy while it accepts connections.
    """

    product: Name
    colour: Colour
    entry: Name
    protocol: Protocol
    servers: tuple[Server, ...]
    health_path: HealthPath | None = None
    health_port: Port | None = None

    @property
    def name(self) -> str:
        """As HAProxy knows it, such as ``lan-chat.web.blue``."""
        return f"{self.product}.{self.entry}.{self.colour}"


@dataclass(frozen=True, config=_CLOSED)
class Frontend:
    """An entry point on its address, and the preview of it: plain, on an address of its own, always ``preview_colour``.

    One that the release to come lacks has no preview. ``tls_pem`` is the name of a file that
    :func:`installer.edge.files.write_pem` wrote.
    """

    product: Name
    entry: Name
    protocol: Protocol
    bind: str
    tls_pem: PemName | None
    preview_bind: str | None
    preview_colour: Colour | None = None

    def __post_init__(self) -> None:
        for bind in self.binds:
            split_bind(bind)

    @property
    def binds(self) -> tuple[str, ...]:
        """Every address it listens on."""
        return (self.bind,) if self.preview_bind is None else (self.bind, self.preview_bind)

    @property
    def name(self) -> str:
        """As HAProxy knows it, such as ``lan-chat.web``."""
        return f"{self.product}.{self.entry}"


@dataclass(frozen=True, config=_CLOSED)
class EdgeConfig:
    """The whole front door.

    ``retries``: how often HAProxy tries again when a connection to a server fails.
    ``drain``: seconds that sessions of a colour may last after it was switched off. Sessions that live in a worker from
    before a reload end when their colour is retired, not by that reload; they last at least this long.
    """

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    drain: Annotated[float, Field(ge=0)] = 30.0

    def __post_init__(self) -> None:
        _refuse_doubles("entry point", [front.name for front in self.frontends])
        _refuse_doubles("backend", [back.name for back in self.backends])
        binds = [split_bind(bind) for front in self.frontends for bind in front.binds]
        _refuse_doubles("address", [f"{address} port {port}" for address, port in binds])
        protocols = {front.name: front.protocol for front in self.frontends}
        for back in self.backends:
            _refuse_doubles(f"server of {back.name}", [server.name for server in back.servers])
            wanted = protocols.get(f"{back.product}.{back.entry}", back.protocol)
            if back.protocol != wanted:
                raise _refusal(f"{back.name} speaks {back.protocol}, its entry point {wanted}")

    def to_json(self) -> str:
        """One spelling for one value; :meth:`from_json` reads it back."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> EdgeConfig:
        """Read what :meth:`to_json` wrote. Raises ``state-damaged`` (4)."""
        try:
            return _ADAPTER.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise SealiftError(
                "state-damaged",
                f"the kept configuration of the front door does not read: {where}: {first['msg']}",
                hint="install the release again: it writes the configuration anew",
            ) from error


_ADAPTER: Final = TypeAdapter(EdgeConfig)


def _refuse_doubles(what: str, names: list[str]) -> None:
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise _refusal(f"{what} {doubles[0]} stands twice")


def _refusal(message: str) -> SealiftError:
    return SealiftError(
        "edge-failed", f"front door: {message}", hint="check entry_points and preview in site.yaml with: site check"
    )
