"""What a step does, as values. Each can be written down, shown, compared, and done again by another process.

Every action is idempotent: after a kill it is simply performed again.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from installer.bundle.release import Closed, Health, Name
from installer.commands import Command
from installer.edge.config import EdgeConfig
from installer.plan.siteactions import (
    CollectRegistry,
    DropArchives,
    RemoveEdge,
    RemoveRegistry,
    RenewEdge,
    RenewRegistry,
    SettleEdge,
    SettleRegistry,
    StartEdge,
    StartRegistry,
    Unpack,
)
from installer.site.names import Colour, Part
from installer.state.state import ProductState, ReleaseRef
from installer.trust.clock import Floor
from installer.trust.marks import Marks
from installer.trust.permit import Permit

__all__ = [
    "CollectRegistry",
    "DropArchives",
    "RemoveEdge",
    "RemoveRegistry",
    "RenewEdge",
    "RenewRegistry",
    "SettleEdge",
    "SettleRegistry",
    "StartEdge",
    "StartRegistry",
    "Unpack",
]
"""Those about front door and registry have a module of their own."""


class RunCommands(Closed):
    """Start these processes, one after the other.

    ``product`` and ``part`` say whose containers they start, so that a failure shows the guilty one's last words.
    """

    kind: Literal["run"] = "run"
    commands: tuple[Command, ...]
    product: Name | None = None
    part: Part | None = None


class EnsureNetwork(Closed):
    """A colour's own bridge network; left as it is where it exists already."""

    kind: Literal["network"] = "network"
    name: str
    create: Command


class RemoveNetwork(Closed):
    """A colour's network is gone."""

    kind: Literal["remove-network"] = "remove-network"
    name: str
    remove: Command


class DropImages(Closed):
    """The engine has given up these references, but for those that some container still uses."""

    kind: Literal["drop-images"] = "drop-images"
    commands: tuple[Command, ...]


class DropUnused(Closed):
    """The engine has given up these references to images, but for those that some container uses."""

    kind: Literal["drop-unused"] = "drop-unused"
    references: tuple[str, ...]


class LoadContent(Closed):
    """One read of the media: verify every byte, fill the registry, keep tools and edge images."""

    kind: Literal["load"] = "load"


class InstallSecrets(Closed):
    """Copy the site's secrets to where only the engine hands them out."""

    kind: Literal["secrets"] = "secrets"
    product: Name
    names: tuple[str, ...]


class KeepRelease(Closed):
    """Write the release's folder: statement, signatures, files, rendered configuration, image map."""

    kind: Literal["keep"] = "keep"
    release: ReleaseRef


class ForgetRelease(Closed):
    """Remove the release's folder."""

    kind: Literal["forget"] = "forget"
    release: ReleaseRef


class ForgetProduct(Closed):
    """Take the product out of the record, and away what only it needs on disk; with the ``last`` one the tools too."""

    kind: Literal["forget-product"] = "forget-product"
    product: Name
    last: bool


class RemoveVolumes(Closed):
    """The product's data is gone for good: ``find`` prints the names of its volumes, ``remove`` takes them."""

    kind: Literal["remove-volumes"] = "remove-volumes"
    find: Command
    remove: Command


class PruneKept(Closed):
    """Forget the oldest kept releases beyond ``keep``; never what serves, nor what a rollback needs."""

    kind: Literal["prune"] = "prune"
    product: Name
    keep: int


class AwaitHealthy(Closed):
    """Every replica of this part is healthy, and still is after ``settle`` seconds."""

    kind: Literal["health"] = "health"
    product: Name
    part: Part
    services: dict[Name, Health | None]
    timeout: float
    settle: float


class Certificate(Closed):
    """Where the site keeps the certificate and key of one entry point."""

    product: Name
    entry: Name
    certificate: str
    key: str


class InstallCertificates(Closed):
    """Copy certificates to where HAProxy, and nobody else, reads them."""

    kind: Literal["certificates"] = "certificates"
    certificates: tuple[Certificate, ...]


class ApplyEdge(Closed):
    """The front door's configuration is this one, checked and reloaded."""

    kind: Literal["edge"] = "edge"
    config: EdgeConfig


class Question(Closed):
    """An HTTP question, the answer that counts, and the service whose logs say more."""

    service: Name
    url: str
    expect: int
    contains: str | None


class AskSmoke(Closed):
    """Ask each question; every answer must be right. ``part`` is whose logs are shown when one is not."""

    kind: Literal["smoke"] = "smoke"
    product: Name
    part: Part
    questions: tuple[Question, ...]


class SetColour(Closed):
    """All entry points of the product lead to ``colour``; to nobody with None."""

    kind: Literal["switch"] = "switch"
    product: Name
    colour: Colour | None


class Watch(Closed):
    """Watch the front door for ``seconds``: errors of its servers, health, and the smoke questions at the end."""

    kind: Literal["bake"] = "bake"
    product: Name
    colour: Colour
    seconds: float
    questions: tuple[Question, ...]


class Drain(Closed):
    """Wait until nobody uses these backends any more, ``seconds`` at most; ``BACKEND/SERVER`` is a single server."""

    kind: Literal["drain"] = "drain"
    backends: tuple[str, ...]
    seconds: float


class UsePermit(Closed):
    """The id of this permit is used up, and it is kept with its ``signatures``, so that anybody can check it later.

    ``signed_by`` are its signers, by ``key`` and ``name``.
    """

    kind: Literal["use-permit"] = "use-permit"
    permit: Permit
    signed_by: tuple[dict[str, str], ...] = ()
    signatures: tuple[str, ...] = ()


class ReturnPermit(Closed):
    """The permit may be used once more: what it was used for did not come about."""

    kind: Literal["return-permit"] = "return-permit"
    permit: Permit


class ArmWatcher(Closed):
    """Something that outlives us and a reboot looks after releases on trial of this site, by its site file."""

    kind: Literal["arm-watcher"] = "arm-watcher"
    site_file: str


class DisarmWatcher(Closed):
    """Nothing looks after them any more, unless another product is on trial."""

    kind: Literal["disarm-watcher"] = "disarm-watcher"


class StartTrial(Closed):
    """From now on the release that serves has ``seconds`` to be confirmed; a trial that runs already goes on."""

    kind: Literal["start-trial"] = "start-trial"
    product: Name
    seconds: float
    marks: Marks


class Commit(Closed):
    """This is what the site runs from now on; ``floor`` is the latest time known to have been."""

    kind: Literal["commit"] = "commit"
    product: ProductState
    edge_config: EdgeConfig
    floor: Floor | None = None


class Uncommit(Closed):
    """The state says of this product what it said before: a failed upgrade raises no mark and no floor.

    ``lost``: it was to be a beginning on a host that lost its state.
    """

    kind: Literal["uncommit"] = "uncommit"
    product: ProductState
    floor: Floor | None = None
    lost: bool = False


Action = Annotated[
    RunCommands
    | EnsureNetwork
    | RemoveNetwork
    | Unpack
    | DropArchives
    | DropImages
    | DropUnused
    | CollectRegistry
    | StartRegistry
    | RenewRegistry
    | SettleRegistry
    | RemoveRegistry
    | LoadContent
    | InstallSecrets
    | KeepRelease
    | ForgetRelease
    | ForgetProduct
    | RemoveVolumes
    | PruneKept
    | StartEdge
    | RenewEdge
    | SettleEdge
    | RemoveEdge
    | AwaitHealthy
    | InstallCertificates
    | ApplyEdge
    | AskSmoke
    | SetColour
    | Watch
    | Drain
    | ArmWatcher
    | DisarmWatcher
    | StartTrial
    | UsePermit
    | ReturnPermit
    | Commit
    | Uncommit,
    Field(discriminator="kind"),
]
