"""Actions on the site's own services, front door and registry, as values; see :mod:`installer.plan.actions`."""

from __future__ import annotations

from typing import Literal

from installer.bundle.release import Closed, DigestText, Name
from installer.edge.config import EdgeConfig


class Unpack(Closed):
    """Copy images of the site's own services from the media into the state dir, checked against the signed list."""

    kind: Literal["unpack"] = "unpack"
    images: tuple[Name, ...]


class DropArchives(Closed):
    """Copies of images that none of the site's own services runs are gone."""

    kind: Literal["drop-archives"] = "drop-archives"


class CollectRegistry(Closed):
    """The bundled registry holds nothing but these manifests and what they name."""

    kind: Literal["collect-registry"] = "collect-registry"
    needed: tuple[DigestText, ...]


class StartRegistry(Closed):
    """The bundled registry runs from this image of the bundle, and answers."""

    kind: Literal["start-registry"] = "start-registry"
    image: Name
    version: str = ""


class RenewRegistry(Closed):
    """The bundled registry runs from a newer image, which was unpacked; nobody but installations uses it."""

    kind: Literal["renew-registry"] = "renew-registry"
    image: Name
    digest: DigestText
    version: str


class SettleRegistry(Closed):
    """The bundled registry runs from the image that the record names, whatever was under way."""

    kind: Literal["settle-registry"] = "settle-registry"


class RemoveRegistry(Closed):
    """Take the bundled registry off the host again, with its data."""

    kind: Literal["remove-registry"] = "remove-registry"


class StartEdge(Closed):
    """HAProxy runs from this image of the bundle, with ``config``."""

    kind: Literal["start-edge"] = "start-edge"
    image: Name
    config: EdgeConfig
    version: str = ""


class RenewEdge(Closed):
    """HAProxy runs from a newer image, which was unpacked, and got its sockets from the one before."""

    kind: Literal["renew-edge"] = "renew-edge"
    image: Name
    digest: DigestText
    version: str


class SettleEdge(Closed):
    """One HAProxy serves: a change of it that was cut off is brought to its end, or forgotten."""

    kind: Literal["settle-edge"] = "settle-edge"


class RemoveEdge(Closed):
    """Take HAProxy off the host again."""

    kind: Literal["remove-edge"] = "remove-edge"
