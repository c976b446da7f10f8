"""What this site runs, in two numbered, checksummed copies: a torn one is named and the other one used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, model_validator

from installer.bundle.release import Closed, DigestText, Name, SemVer
from installer.edge.config import EdgeConfig
from installer.errors import SealiftError
from installer.site.names import Colour
from installer.state.journal import Journal
from installer.state.numbered import COPIES, Copy, read_copies, write_copy
from installer.trust.clock import Floor
from installer.trust.marks import Marks


class ReleaseRef(Closed):
    """A release this host has kept, with the configuration it was given: one release may run with several.

    ``config`` are the first hex digits of the digest of all rendered files.
    """

    product: Name
    version: SemVer
    digest: DigestText
    config: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}$")] = "00000000"

    @property
    def folder(self) -> str:
        """Below ``releases/``."""
        return f"{self.product}/{self.version}-{self.digest[7:15]}-{self.config}"

    def __str__(self) -> str:
        return f"{self.product} {self.version}"


class Staged(Closed):
    """A release that is up in the idle colour and waits for its switch. ``over`` is what it was prepared beside.

    ``marks`` and ``floor`` are what its commit will write down; ``by`` is who staged it.
    """

    release: ReleaseRef
    over: ReleaseRef
    base_digest: DigestText | None
    marks: Marks
    floor: Floor | None = None
    since: str
    by: str


class Trial(Closed):
    """The release that serves does so for ``seconds``, unless it is confirmed; then ``previous`` comes back.

    It began in the boot ``boot``, ``uptime`` seconds after that, when the host's clock said ``wall`` (seconds since
    1970). ``marks`` are what a confirmation will write down.
    """

    seconds: float
    boot: str
    uptime: float
    wall: float
    marks: Marks
    watcher: str


class ProductState(Closed):
    """One product: which release serves in which colour, what a rollback returns to, its slice of the network.

    ``marks`` stop old media; what 0.1 wrote, a single ``mark``, is read as one of the channel that was followed.
    """

    product: Name
    channel: Name
    index: int
    active: Colour | None = None
    current: ReleaseRef | None = None
    previous: ReleaseRef | None = None
    base: ReleaseRef | None = None
    base_digest: DigestText | None = None
    strategy: str = "blue-green"
    since: str = ""
    marks: Marks = Marks()
    staged: Staged | None = None
    trial: Trial | None = None

    @property
    def needed(self) -> tuple[ReleaseRef | None, ...]:
        """Kept releases that must stay, whatever else goes."""
        return (self.current, self.previous, self.base, self.staged.release if self.staged else None)

    @model_validator(mode="before")
    @classmethod
    def _read_single_mark(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "mark" not in value:
            return value
        mark = value["mark"]
        marks = {"product": mark, "channels": {value.get("channel"): mark} if mark else {}}
        return {name: item for name, item in value.items() if name != "mark"} | {"marks": marks}


class EdgeImage(Closed):
    """An image of the site's own services: its manifest's digest, our archive of it, and the engine's id for it."""

    name: Name
    digest: DigestText
    archive: str
    image_id: str
    version: str = ""


class SiteState(Closed):
    """Everything. ``sequence`` grows by one with every write.

    ``departed`` are the marks of products that were taken off, ``permits`` the ids of permits that were used and when,
    ``floor`` is the latest time that is known to have been; ``lost`` says that an earlier state was lost and nothing
    was committed since.
    """

    sequence: int = 0
    products: dict[Name, ProductState] = Field(default_factory=dict)
    departed: dict[Name, Marks] = Field(default_factory=dict)
    permits: dict[str, str] = Field(default_factory=dict)
    floor: Floor | None = None
    lost: bool = False
    edge: EdgeImage | None = None
    registry: EdgeImage | None = None
    edge_config: EdgeConfig | None = None

    def product(self, name: str, channel: str) -> ProductState:
        """The state of ``name``; one that has never been here gets the first free slice of the network."""
        if name in self.products:
            return self.products[name]
        taken = {product.index for product in self.products.values()}
        return ProductState(
            product=name,
            channel=channel,
            index=next(number for number in range(len(taken) + 1) if number not in taken),
            marks=self.departed.get(name, Marks()),
        )

    def with_product(self, product: ProductState) -> SiteState:
        return self.model_copy(update={"products": {**self.products, product.product: product}})

    def without_product(self, name: str) -> SiteState:
        """The state once ``name`` was taken off: its marks stay, or taking it off would be a way down."""
        if name not in self.products:
            return self
        left = {key: value for key, value in self.products.items() if key != name}
        return self.model_copy(
            update={"products": left, "departed": {**self.departed, name: self.products[name].marks}}
        )


def load_state(state_dir: Path) -> SiteState:
    """The newest whole copy; an empty state where there is none. Raises ``state-damaged`` (4) if all are damaged."""
    whole = [state for copy in read_copies(state_dir).values() if (state := _parse(copy)) is not None]
    if not whole and has_state(state_dir):
        raise SealiftError(
            "state-damaged",
            f"both copies of the state are damaged: {', '.join(str(state_dir / name) for name in COPIES)}",
            hint="what runs goes on running; restore the state dir from a backup",
        )
    return max(whole, key=lambda state: state.sequence, default=SiteState())


def copies(state_dir: Path) -> dict[Path, bool]:
    """The copies that should be there, and whether each is whole."""
    found = read_copies(state_dir)
    return {(place := state_dir / name): _parse(found.get(place)) is not None for name in COPIES}


def has_state(state_dir: Path) -> bool:
    """Whether anything was ever written down here, whole or not."""
    return any((state_dir / name).exists() for name in COPIES)


def save_state(state_dir: Path, state: SiteState) -> SiteState:
    """Write ``state`` over the older copy, and return it with its new number.

    Where an earlier state was lost, numbers go on from what the journal knows of it.
    """
    last = load_state(state_dir).sequence if has_state(state_dir) else Journal(state_dir).newest_state()
    numbered = state.model_copy(update={"sequence": last + 1})
    body = numbered.model_dump_json().encode() + b"\n"
    write_copy(state_dir, Copy(numbered.sequence, Journal(state_dir).length(), body))
    return numbered


def _parse(copy: Copy | None) -> SiteState | None:
    if copy is None:
        return None
    try:
        state = SiteState.model_validate_json(copy.body)
    except ValidationError:
        return None
    return state if state.sequence == copy.number else None
