"""Steps of an upgrade in several sittings: staging, taking that back, and looking after a release on trial. Pure."""

from __future__ import annotations

from dataclasses import replace

from installer.edge.config import EdgeConfig
from installer.plan import actions as act
from installer.plan import frontdoor
from installer.plan.checks import DoorHas, PartIs
from installer.plan.plan import Step
from installer.plan.steps import Builder
from installer.site.names import other
from installer.state.state import ProductState, SiteState, Staged

HOLD = "hold"
"""The step after which an interrupted staging goes on instead of back."""


def settled(state: SiteState, product: ProductState, entries: frozenset[str]) -> SiteState:
    """``state`` as it is once nothing of ``product`` is staged; ``entries`` are those of the release that serves."""
    if product.staged is None or product.active is None or state.edge_config is None:
        return state
    config = frontdoor.alone(state.edge_config, product.product, product.active, entries)
    return state.model_copy(update={"edge_config": config})


def unstage(upgrade: Builder) -> list[Step]:
    """What an earlier sitting left in the idle colour goes, unless it is just what comes."""
    product, staged = upgrade.product, upgrade.product.staged
    if staged is None or product.active is None or upgrade.standing:
        return []
    idle = other(product.active)
    config = upgrade.state.edge_config or EdgeConfig()  # settled: without what is staged
    free = staged.release not in (product.current, product.previous, product.base, upgrade.ref)
    return [
        Step(
            name="unstage",
            intent=f"take {staged.release.version} down, which {staged.by} had staged",
            prepares=True,
            actions=(
                act.ApplyEdge(config=config),
                act.RunCommands(commands=(upgrade.target.down(idle),)),
                act.Commit(product=product.model_copy(update={"staged": None}), edge_config=config),
                *((act.ForgetRelease(release=staged.release),) if free else ()),
            ),
            check=(PartIs(product=product.product, part=idle, digest=None), DoorHas(config=config)),
        )
    ]


def hold(upgrade: Builder) -> Step:
    """The new release goes on running beside the old one, on the preview, whatever happens to the machine."""
    product = upgrade.product
    assert product.current is not None  # noqa: S101 - refused before: a first installation is not staged
    staged = Staged(
        release=upgrade.ref,
        over=product.current,
        base_digest=upgrade.base_digest,
        marks=upgrade.admitted.marks(product.marks, upgrade.release.channel, upgrade.ref),
        floor=upgrade.admitted.floor,
        since=upgrade.now,
        by=upgrade.by,
    )
    before = upgrade.state.edge_config or EdgeConfig()
    fronts = tuple(replace(front, preview_colour=upgrade.colour) for front in upgrade.fronts)
    config = frontdoor.union(upgrade.state.edge_config, upgrade.site, product.product, fronts, upgrade.backs)
    return Step(
        name=HOLD,
        intent=f"leave it there until: sealift switch; {product.current.version} goes on serving",
        actions=(act.Commit(product=product.model_copy(update={"staged": staged}), edge_config=config),),
        check=(DoorHas(config=config),),
        undo=(act.Commit(product=product.model_copy(update={"staged": None}), edge_config=before),),
    )


def arm(upgrade: Builder) -> list[Step]:
    """Before anybody is let in: what will bring the old release back by itself."""
    if upgrade.within is None:
        return []
    return [
        Step(
            name="watcher",
            intent=f"have {upgrade.product.current} come back by itself, unless: sealift confirm",
            prepares=True,
            actions=(act.ArmWatcher(site_file=upgrade.within.site_file),),
            undo=(act.DisarmWatcher(),),
        )
    ]
