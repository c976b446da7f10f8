"""How a step proves that it did what it was for, as values. Each looks, and changes nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from installer.bundle.release import Closed, DigestText, Name
from installer.edge.config import EdgeConfig
from installer.plan.actions import AskSmoke, AwaitHealthy, Watch
from installer.site.names import Colour, Part
from installer.state.state import ReleaseRef


class ArchivesHeld(Closed):
    """These images of the site's own services are in the state dir."""

    kind: Literal["archives-held"] = "archives-held"
    images: tuple[Name, ...]


class SiteServicesRun(Closed):
    """Front door and registry, those of them that are named, are as they should be."""

    kind: Literal["site-services"] = "site-services"
    edge: bool | None = None
    registry: bool | None = None


class ReleaseKept(Closed):
    """The release's folder is whole, and its signatures hold."""

    kind: Literal["release-kept"] = "release-kept"
    release: ReleaseRef


class NetworksAre(Closed):
    """Networks of these names are there, or gone."""

    kind: Literal["networks-are"] = "networks-are"
    names: tuple[str, ...]
    there: bool


class PartIs(Closed):
    """This part of the product has containers of just this release; none at all with None."""

    kind: Literal["part-is"] = "part-is"
    product: Name
    part: Part
    digest: DigestText | None


class DoorLeadsTo(Closed):
    """Disk and front door agree that the product's entry points lead to ``colour``."""

    kind: Literal["door-leads-to"] = "door-leads-to"
    product: Name
    colour: Colour | None


class DoorHas(Closed):
    """The front door runs with just this configuration."""

    kind: Literal["door-has"] = "door-has"
    config: EdgeConfig


class Recorded(Closed):
    """The state says that this release serves in this colour; that the product is not here with None."""

    kind: Literal["recorded"] = "recorded"
    product: Name
    release: ReleaseRef | None
    colour: Colour | None


Check = Annotated[
    AwaitHealthy
    | AskSmoke
    | Watch
    | ArchivesHeld
    | SiteServicesRun
    | ReleaseKept
    | NetworksAre
    | PartIs
    | DoorLeadsTo
    | DoorHas
    | Recorded,
    Field(discriminator="kind"),
]
