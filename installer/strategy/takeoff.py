"""Taking a product off the host: nobody is let in, what runs goes, then its networks, then the record of it."""

from __future__ import annotations

from dataclasses import dataclass

from installer.plan import frontdoor
from installer.plan.actions import (
    ApplyEdge,
    DropArchives,
    ForgetProduct,
    RemoveEdge,
    RemoveNetwork,
    RemoveRegistry,
    RemoveVolumes,
    RunCommands,
    SetColour,
)
from installer.plan.checks import DoorHas, DoorLeadsTo, NetworksAre, PartIs, Recorded, SiteServicesRun
from installer.plan.plan import Step
from installer.site.names import COLOURS, Names, Part
from installer.site.site import Site
from installer.state.state import ProductState, SiteState
from installer.targets.target import Target

_PARTS: tuple[Part, ...] = ("green", "blue", "base")


@dataclass(frozen=True)
class Leaving:
    """What is known about a product that leaves. ``target`` translates for the release that serves.

    ``silent``: the front door does not answer, and cannot be told that nobody is to be let in.
    """

    site: Site
    names: Names
    state: SiteState
    product: ProductState
    target: Target
    volumes: bool
    silent: bool = False

    @property
    def last(self) -> bool:
        """Whether front door and registry go with it."""
        return len(self.state.products) == 1


def take_off(leaving: Leaving) -> tuple[Step, ...]:
    """Close the door, take down what runs, its networks and, where asked, its data; the last one takes the rest."""
    return (
        *_close_door(leaving),
        _take_down(leaving),
        _leave_networks(leaving),
        *_drop_data(leaving),
        *_close_site(leaving),
        _forget(leaving),
    )


def _close_door(leaving: Leaving) -> list[Step]:
    if leaving.state.edge is None or (leaving.silent and leaving.last):  # then the whole door goes before long
        return []
    product = leaving.product.product
    without = frontdoor.with_product(leaving.state.edge_config, leaving.site, product, (), ())
    return [
        Step(
            name="close",
            intent=f"let nobody in to {product} any more",
            actions=(SetColour(product=product, colour=None), ApplyEdge(config=without)),
            check=(DoorLeadsTo(product=product, colour=None), DoorHas(config=without)),
        )
    ]


def _take_down(leaving: Leaving) -> Step:
    product = leaving.product.product
    return Step(
        name="down",
        intent=f"take down {', '.join(_PARTS)}",
        actions=(RunCommands(commands=tuple(leaving.target.down(part) for part in _PARTS)),),
        check=tuple(PartIs(product=product, part=part, digest=None) for part in _PARTS),
    )


def _leave_networks(leaving: Leaving) -> Step:
    names = {colour: leaving.names.network(leaving.product.product, colour) for colour in COLOURS}
    return Step(
        name="networks",
        intent="take its networks away",
        actions=tuple(
            RemoveNetwork(name=name, remove=leaving.target.remove_network(colour)) for colour, name in names.items()
        ),
        check=(NetworksAre(names=tuple(names.values()), there=False),),
    )


def _drop_data(leaving: Leaving) -> list[Step]:
    if not leaving.volumes:
        return []
    drop = RemoveVolumes(find=leaving.target.find_volumes(), remove=leaving.target.remove_volumes())
    return [Step(name="volumes", intent="remove its data for good", actions=(drop,))]


def _close_site(leaving: Leaving) -> list[Step]:
    if not leaving.last:
        return []
    return [
        Step(
            name="site",
            intent="take front door and registry away: this was the last product",
            actions=(RemoveEdge(), RemoveRegistry(), DropArchives()),
            check=(SiteServicesRun(edge=False),),
        )
    ]


def _forget(leaving: Leaving) -> Step:
    product = leaving.product.product
    return Step(
        name="forget",
        intent=f"write down that {product} is not here any more, and remove its files",
        actions=(ForgetProduct(product=product, last=leaving.last),),
        check=(Recorded(product=product, release=None, colour=None),),
    )
