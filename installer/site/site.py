"""``site.yaml``: what this site decides by itself. Read once, validated, never written by an upgrade."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from installer.bundle.release import InputName, Name, first_problem
from installer.errors import SealiftError
from installer.look.foothold import refuse_unsafe

DEFAULT_SITE_FILE: Final = Path("/etc/sealift/site.yaml")
DEFAULT_STATE_DIR: Final = Path("/var/lib/sealift")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BIND: Final = r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}$"


def seconds(text: object) -> float:
    """Seconds of ``90``, ``"90s"``, ``"2m"``. Raises ``ValueError``."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    match = _DURATION.fullmatch(str(text))
    if not match:
        raise ValueError(f"not a duration such as 30s or 2m: {text}")
    return float(match[1]) * _SECONDS[match[2]]


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Bind = Annotated[str, StringConstraints(pattern=_BIND)]
AbsolutePath = Annotated[Path, Field()]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(_Section):
    """Where the product runs. ``engine`` is a Docker endpoint."""

    kind: Literal["compose"] = "compose"
    engine: str = "unix:///var/run/docker.sock"


class BundledRegistry(_Section):
    """The registry that comes with the bundle, run by us on a loopback address."""

    listen: Bind = "127.0.0.1:5000"


class Credentials(_Section):
    """A file that holds ``user:password`` in one line."""

    file: Path


class Registry(_Section):
    """Either the bundled registry or one that the site has already."""

    bundled: BundledRegistry | None = None
    url: Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?(/[a-z0-9._/-]+)?$")] | None = None
    ca: Path | None = None
    credentials: Credentials | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.bundled is None) == (self.url is None):
            raise ValueError("the registry is either bundled or has a url")
        return self


class Tls(_Section):
    certificate: Path
    key: Path


class EntryBinding(_Section):
    bind: Bind
    tls: Tls | None = None


class Preview(_Section):
    """Where the idle colour can be seen before it serves, through the same HAProxy."""

    bind: Annotated[str, StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}$")] = "127.0.0.1"
    ports: Annotated[str, StringConstraints(pattern=r"^\d{1,5}-\d{1,5}$")] = "18000-18099"

    @property
    def range(self) -> range:
        first, last = self.ports.split("-")
        return range(int(first), int(last) + 1)


class Network(_Section):
    """The colours take their addresses from here; it must not overlap what the site can reach."""

    subnet: ipaddress.IPv4Network = ipaddress.IPv4Network("10.213.0.0/16")

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        if self.subnet.prefixlen > 24:
            raise ValueError("the subnet must be a /24 or larger")
        return self


class Secret(_Section):
    file: Path


class Timing(_Section):
    """Seconds: how long health may take, how long the new release is watched, how long old sessions may last."""

    health: Duration = 120.0
    settle: Duration = 3.0
    bake: Duration = 60.0
    drain: Duration = 30.0


class Rolling(_Section):
    """``max_unavailable``: how many replicas of a service change places at a time; the new ones serve before."""

    max_unavailable: Annotated[int, Field(ge=1, le=32)] = 1


class EdgeSettings(_Section):
    """``retries``: how often HAProxy tries another server when a connection fails."""

    retries: Annotated[int, Field(ge=0, le=10)] = 3


class Site(_Section):
    """The whole file. ``entry_points``, ``values`` and ``secrets`` may be qualified as ``product/name``."""

    site: Name
    channel: Name = "stable"
    environment: Name = "prod"
    cluster_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "default"
    peers: tuple[str, ...] = ()
    target: Target = Target()
    registry: Registry = Registry(bundled=BundledRegistry())
    entry_points: dict[str, EntryBinding] = Field(default_factory=dict)
    preview: Preview = Preview()
    network: Network = Network()
    values: dict[InputName, str | int | bool | list[str]] = Field(default_factory=dict)
    secrets: dict[str, Secret] = Field(default_factory=dict)
    strategy: Literal["blue-green", "rolling"] | None = None
    timing: Timing = Timing()
    rolling: Rolling = Rolling()
    edge: EdgeSettings = EdgeSettings()
    keep: Annotated[int, Field(ge=1, le=50)] = 3

    def binding(self, product: str, entry: str) -> EntryBinding | None:
        """The binding of an entry point: the qualified name wins."""
        return self.entry_points.get(f"{product}/{entry}") or self.entry_points.get(entry)

    def secret(self, product: str, name: str) -> Secret | None:
        """The secret called ``name``: the qualified name wins."""
        return self.secrets.get(f"{product}/{name}") or self.secrets.get(name)


def parse_site(text: str, origin: str = "site.yaml") -> Site:
    """Read a site file. Raises ``site-file-invalid`` (2)."""
    try:
        value: Any = yaml.safe_load(text)
        if not isinstance(value, dict):
            raise SealiftError(
                "site-file-invalid", f"{origin} is not a mapping", hint="sealift site init writes an example"
            )
        return Site.model_validate(value)
    except yaml.YAMLError as error:
        raise SealiftError(
            "site-file-invalid", f"{origin} is not YAML: {error}", hint="mind the indentation"
        ) from error
    except ValidationError as error:
        raise SealiftError(
            "site-file-invalid",
            f"{origin}: {first_problem(error)}",
            hint="sealift site init writes a commented example",
        ) from error


def load_site(path: Path) -> Site:
    """Read the site file at ``path``.

    Raises ``site-file-not-found``, ``site-file-invalid`` (2), ``path-unsafe`` (7): it says which files root reads.
    """
    refuse_unsafe(path)
    try:
        return parse_site(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "site-file-not-found",
            f"cannot read the site file {path}: {error}",
            hint="write one with: sealift site init, or name it with --site",
        ) from error
