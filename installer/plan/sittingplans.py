"""Plans of the sittings that an upgrade can be split into. Pure."""

from __future__ import annotations

from dataclasses import replace

from installer.errors import SealiftError
from installer.plan.plan import Kind, Plan, Step
from installer.plan.planning import Scene, builder_of, refuse_trial, use_permit
from installer.plan.sittingsteps import HOLD, unstage
from installer.plan.steps import OnTrial
from installer.site.names import other
from installer.state.state import ProductState, Staged
from installer.strategy.sittings import confirm, stage, switch_over


def plan_stage(scene: Scene, strategy: str | None, *, by: str) -> Plan:
    """Up to the switch, and no further. Raises ``strategy-unsupported`` (6) where that cannot be done ahead."""
    builder = builder_of(scene, "blue-green", from_media=True, by=by)
    if strategy not in (None, "blue-green"):
        raise _cannot("only blue-green has a colour that can wait")
    if builder.first:
        raise _cannot("a first installation has nothing that serves until then")
    if builder.update_base():
        raise _cannot("its stateful services changed, and starting them is downtime")
    steps = (*use_permit(scene), *stage(builder))
    return _plan("stage", scene, steps, by).model_copy(update={"onward_from": HOLD})


def plan_switch(scene: Scene, staged: Staged, *, within: OnTrial | None, by: str) -> Plan:
    """From what serves to what is staged.

    Cut off anywhere, it goes on: what it leads to was looked at before, and nobody has the media at hand any more.
    """
    if within is not None:
        refuse_trial(scene, "blue-green")
    builder = builder_of(scene, "blue-green", from_media=False, standing=True, within=within, marks=staged.marks, by=by)
    plan = _plan("switch", scene, switch_over(builder), by)
    return plan.model_copy(update={"onward_from": plan.steps[0].name})


def plan_unstage(scene: Scene, staged: Staged, *, by: str) -> Plan:
    """What is staged goes. ``scene`` is about that release, and what serves."""
    builder = builder_of(scene, "blue-green", from_media=False, by=by)
    plan = _plan("unstage", scene, tuple(unstage(builder)), by)
    return plan.model_copy(update={"new": staged.release, "onward_from": "unstage"})


def plan_confirm(scene: Scene, product: ProductState, *, by: str) -> Plan:
    """The old release of ``product`` goes for good. ``scene`` is about what serves, its product :func:`rewound`."""
    trial = product.trial
    builder = builder_of(
        scene, "blue-green", from_media=False, standing=True, marks=trial.marks if trial else None, by=by
    )
    plan = _plan("confirm", scene, confirm(replace(builder, now=product.since, recorded=product)), by)
    return plan.model_copy(update={"old": scene.ref, "onward_from": plan.steps[0].name})


def rewound(product: ProductState) -> ProductState:
    """A product on trial as it was before its switch: seen so, what remains to be done is the end of that upgrade."""
    old = other(product.active) if product.active else None
    return product.model_copy(update={"active": old, "current": product.previous, "previous": None})


def _plan(kind: Kind, scene: Scene, steps: tuple[Step, ...], by: str) -> Plan:
    return Plan(
        kind=kind,
        product=scene.release.product,
        strategy="blue-green",
        old=scene.product.current,
        new=scene.ref,
        colour=scene.colour,
        steps=steps,
        by=by,
    )


def _cannot(why: str) -> SealiftError:
    return SealiftError(
        "strategy-unsupported", f"this release cannot be staged: {why}", hint="install it in one sitting"
    )
