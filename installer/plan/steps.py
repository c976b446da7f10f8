"""The steps strategies are made of. Pure: from what is known to values; nothing here acts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from installer.bundle.release import Release
from installer.commands import Command
from installer.edge.config import Backend, EdgeConfig, Frontend
from installer.plan import actions as act
from installer.plan import frontdoor
from installer.plan.addresses import product_slice
from installer.plan.checks import (
    DoorHas,
    DoorLeadsTo,
    NetworksAre,
    PartIs,
    Recorded,
    ReleaseKept,
)
from installer.plan.plan import SWITCH, Step, Strategy
from installer.plan.sitesteps import SiteSteps
from installer.registry.access import registry_address
from installer.registry.images import relocate
from installer.site.names import Colour, Names, Part, other
from installer.site.site import Site
from installer.state.state import ProductState
from installer.targets.target import Target
from installer.trust.admission import Admitted
from installer.trust.marks import Marks


@dataclass(frozen=True)
class OnTrial:
    """A release that must be confirmed within ``seconds``; ``site_file`` is what brings the old one back goes by."""

    seconds: float
    site_file: str


@dataclass(frozen=True)
class Builder(SiteSteps):
    """What is known about one upgrade, and the steps it can be made of.

    ``target`` translates for the new release, ``old_target`` for the one that serves (None on a first install).
    ``questions`` are asked of the preview, ``door_questions`` of the front door. ``standing``: the colour is up from an
    earlier sitting. ``within``: the old release comes back, unless this one is confirmed. ``marks`` were settled in an
    earlier sitting. ``recorded`` is what the record says, where ``product`` is an earlier view of it.
    """

    names: Names
    product: ProductState
    colour: Colour
    target: Target
    old_target: Target | None
    fronts: tuple[Frontend, ...]
    backs: tuple[Backend, ...]
    certificates: act.InstallCertificates | None
    questions: tuple[act.Question, ...]
    door_questions: tuple[act.Question, ...]
    strategy: Strategy
    secrets: tuple[str, ...]
    base_digest: str | None
    now: str
    admitted: Admitted
    by: str = ""
    standing: bool = False
    within: OnTrial | None = None
    marks: Marks | None = None
    recorded: ProductState | None = None

    @property
    def first(self) -> bool:
        """Whether nothing of this product serves yet."""
        return self.product.current is None

    def bring_in(self) -> list[Step]:
        """Media to registry and release folder. Touches nothing that runs."""
        if not self.from_media:
            return []
        keep, forget = act.KeepRelease(release=self.ref), act.ForgetRelease(release=self.ref)
        return [
            Step(
                name="load",
                intent="verify every byte and load the images into the registry, in one read",
                prepares=True,
                actions=(act.LoadContent(), act.InstallSecrets(product=self.ref.product, names=self.secrets), keep),
                check=(ReleaseKept(release=self.ref),),
                undo=() if self._held else (forget,),
            )
        ]

    def join_networks(self) -> Step:
        """A network of its own for each colour."""
        product = self.ref.product
        networks = tuple(
            act.EnsureNetwork(name=self.names.network(product, colour), create=self.target.create_network(colour))
            for colour in (self.colour, other(self.colour))
        )
        undo = tuple(
            act.RemoveNetwork(name=self.names.network(product, colour), remove=self.target.remove_network(colour))
            for colour in (self.colour, other(self.colour))
        )
        subnet = product_slice(self.site.network.subnet, self.product.index)
        return Step(
            name="networks",
            intent=f"a network of its own for each colour, in {subnet}",
            actions=networks,
            check=(NetworksAre(names=tuple(network.name for network in networks), there=True),),
            undo=(*undo, *self._drop_images()) if self.first else (),
        )

    def update_base(self) -> list[Step]:
        """Stateful services: only when changed, stop first, so it is downtime."""
        if self.base_digest is None or self.base_digest == self.product.base_digest:
            return []
        downtime = "" if self.first else " (downtime: they stop before they start)"
        undo = self.target.down("base") if self.first else self._old.up("base")
        return [
            Step(
                name="base",
                intent=f"bring the stateful services up to date{downtime}: {', '.join(services(self.release, 'base'))}",
                actions=(self._starting("base", self.target.pull("base"), self.target.up("base")),),
                check=(self._healthy("base"),),
                undo=(act.RunCommands(commands=(undo,)),),
            )
        ]

    def start(self) -> Step:
        """The new release beside the old one; one that stands already is left as it is, or made whole."""
        fresh = () if self.standing else (self.target.down(self.colour),)
        return Step(
            name=f"start-{self.colour}",
            intent=f"start {self.release.version} as {self.colour}: {', '.join(services(self.release, self.colour))}",
            actions=(
                self._starting(
                    self.colour,
                    *fresh,
                    self.target.pull(self.colour),
                    self.target.up(self.colour),
                ),
            ),
            check=(PartIs(product=self.ref.product, part=self.colour, digest=self.ref.digest),),
            undo=self._leave_start(),
        )

    def health(self) -> Step:
        """Healthy, and still so a moment later."""
        return Step(
            name="health",
            intent=f"wait until every replica is healthy, {self.site.timing.health:.0f} s at most",
            check=(self._healthy(self.colour),),
        )

    def preview(self) -> Step:
        """The front door learns the new colour, which only the preview reaches."""
        fronts = tuple(replace(front, preview_colour=self.colour) for front in self.fronts)
        actions: list[act.Action] = [self.certificates] if self.certificates else []
        actions.append(act.ApplyEdge(config=self._union(fronts)))
        where = ", ".join(f"{front.entry} at {front.preview_bind}" for front in self.fronts)
        return Step(
            name="preview",
            intent=f"show {self.colour} on the preview: {where}",
            actions=tuple(actions),
            check=(DoorHas(config=self._union(fronts)),),
            undo=(act.ApplyEdge(config=self._before),),
        )

    def smoke(self) -> Step:
        """The product's own questions, through the preview."""
        return Step(
            name="smoke",
            intent=f"ask {len(self.questions)} smoke questions through the preview",
            check=(act.AskSmoke(product=self.ref.product, part=self.colour, questions=self.questions),),
        )

    def switch(self) -> Step:
        """All entry points together."""
        return Step(
            name=SWITCH,
            intent=f"switch all entry points to {self.colour}: {', '.join(sorted(self.release.entry_points))}",
            actions=(act.SetColour(product=self.ref.product, colour=self.colour),),
            check=(self._leads_here,),
            undo=(
                act.SetColour(product=self.ref.product, colour=self.product.active),
                # What was accepted is answered before the new release is taken down.
                act.Drain(backends=tuple(back.name for back in self.backs), seconds=self.site.timing.drain),
            ),
        )

    def bake(self) -> Step:
        """Watch what people get."""
        return Step(
            name="bake",
            intent=f"watch the front door for {self.site.timing.bake:.0f} s, then ask through it",
            check=(
                act.Watch(
                    product=self.ref.product,
                    colour=self.colour,
                    seconds=self.site.timing.bake,
                    questions=self.door_questions,
                ),
            ),
        )

    def retire(self) -> list[Step]:
        """Let the old colour's sessions end, then take it down."""
        if self.first or self.product.active is None or self.within is not None:
            return []  # on trial, the old one waits for the confirmation
        old = self.product.active
        names = tuple(
            back.name for back in self._before.backends if back.product == self.ref.product and back.colour == old
        )
        return [
            Step(
                name="drain",
                intent=f"let the sessions on {old} end, {self.site.timing.drain:.0f} s at most",
                actions=(act.Drain(backends=names, seconds=self.site.timing.drain),),
                check=(self._leads_here,),
            ),
            Step(
                name=f"retire-{old}",
                intent=f"take {old} down",
                actions=(act.RunCommands(commands=(self._old.down(old),)),),
                check=(PartIs(product=self.ref.product, part=old, digest=None),),
                undo=(act.RunCommands(commands=(self._old.up(old),)), self._old_healthy(old)),
            ),
        ]

    def commit(self) -> Step:
        """Write down what serves; raise the marks."""
        product, on_trial = self.ref.product, self.within is not None
        final = frontdoor.with_product(self.state.edge_config, self.site, product, self.fronts, self.backs)
        if on_trial:
            final = self._union(self.fronts)
        marks = self.marks or self.admitted.marks(self.product.marks, self.release.channel, self.ref)
        committed = self.product.model_copy(
            update={
                "channel": self.release.channel,
                "strategy": self.strategy,
                "active": self.colour,
                "current": self.ref,
                "previous": self.product.current,
                "base": self.ref if self.base_digest != self.product.base_digest else self.product.base,
                "base_digest": self.base_digest,
                "since": self.now,
                "marks": self.product.marks if on_trial else marks,
                "staged": None,
                "trial": None,
            }
        )
        return Step(
            name="commit",
            intent=f"write down that {self.release.version} serves as {self.colour}",
            actions=(
                act.ApplyEdge(config=final),
                act.Commit(product=committed, edge_config=final, floor=self.admitted.floor),
                act.PruneKept(product=self.ref.product, keep=self.site.keep),
                *((act.DropArchives(),) if self.renews else ()),
                *((act.StartTrial(product=product, seconds=self.within.seconds, marks=marks),) if self.within else ()),
                *((act.DisarmWatcher(),) if self.product.trial else ()),
            ),
            check=(Recorded(product=self.ref.product, release=self.ref, colour=self.colour), DoorHas(config=final)),
            undo=(
                act.Uncommit(product=self._unstaged, floor=self.state.floor, lost=self.admitted.begins_anew),
                act.ApplyEdge(config=self._union(self.fronts)),
            ),
        )

    def _leave_start(self) -> tuple[act.Action, ...]:
        """What was up before, to come back to, stays up; what was staged goes, and is staged no more."""
        if self.standing and self.product.trial is not None:
            return ()
        down = act.RunCommands(commands=(self.target.down(self.colour),))
        if not self.standing:
            return (down,)
        return (down, act.Commit(product=self._unstaged, edge_config=self._before))

    @property
    def _unstaged(self) -> ProductState:
        """The record as it was, but for what was staged: that is gone by then."""
        return (self.recorded or self.product).model_copy(update={"staged": None})

    @property
    def _held(self) -> bool:
        return self.ref in (self.product.current, self.product.previous, self.product.base)

    @property
    def _leads_here(self) -> DoorLeadsTo:
        return DoorLeadsTo(product=self.ref.product, colour=self.colour)

    @property
    def _old(self) -> Target:
        assert self.old_target is not None  # noqa: S101 - only asked when something serves
        return self.old_target

    @property
    def _before(self) -> EdgeConfig:
        return frontdoor.without_preview(self.state.edge_config or EdgeConfig())

    def _drop_images(self) -> tuple[act.DropImages, ...]:
        """A first install that fails leaves nothing; an upgrade shares images with the old release."""
        references = relocate(self.release, registry_address(self.site)).values()
        return (act.DropImages(commands=tuple(map(self.target.remove_image, references))),)

    def _union(self, fronts: tuple[Frontend, ...]) -> EdgeConfig:
        return frontdoor.union(self.state.edge_config, self.site, self.ref.product, fronts, self.backs)

    def _starting(self, part: Part, *commands: Command) -> act.RunCommands:
        return act.RunCommands(commands=commands, product=self.ref.product, part=part)

    def _healthy(self, part: Part) -> act.AwaitHealthy:
        return awaiting(self.release, part, self.site)

    def _old_healthy(self, part: Part) -> act.AwaitHealthy:
        return awaiting(self._old.release, part, self.site)


def services(release: Release, part: Part) -> tuple[str, ...]:
    """Names of the release's services in a part: stateful ones are the base, the others live in a colour."""
    wanted = "shared" if part == "base" else "none"
    return tuple(sorted(name for name, service in release.services.items() if service.state == wanted))


def awaiting(release: Release, part: Part, site: Site, only: Collection[str] | None = None) -> act.AwaitHealthy:
    """Wait for the services of a part, or for ``only`` some of them, as patiently as the site is."""
    names = [name for name in services(release, part) if only is None or name in only]
    health = {name: release.services[name].health for name in names}
    timing = site.timing
    return act.AwaitHealthy(
        product=release.product, part=part, services=health, timeout=timing.health, settle=timing.settle
    )
