"""An upgrade in several sittings: staged one day, switched another, kept only when somebody says so."""

from __future__ import annotations

from installer.plan.plan import Step
from installer.plan.sittingsteps import arm, hold, unstage
from installer.plan.steps import Builder


def stage(upgrade: Builder) -> tuple[Step, ...]:
    """Bring it in, start it beside the old one, look at it, and leave it there."""
    return (
        *unstage(upgrade),
        *upgrade.open_registry(),
        *upgrade.bring_in(),
        *upgrade.open_front_door(),
        upgrade.join_networks(),
        upgrade.start(),
        upgrade.health(),
        upgrade.preview(),
        upgrade.smoke(),
        hold(upgrade),
    )


def switch_over(upgrade: Builder) -> tuple[Step, ...]:
    """Look once more at what stands beside the one that serves, switch, watch, let the other one go."""
    return (
        upgrade.join_networks(),
        *upgrade.update_base(),
        upgrade.start(),
        upgrade.health(),
        upgrade.preview(),
        upgrade.smoke(),
        *arm(upgrade),
        upgrade.switch(),
        upgrade.bake(),
        *upgrade.retire(),
        upgrade.commit(),
    )


def confirm(upgrade: Builder) -> tuple[Step, ...]:
    """What serves stays: the old one is let go."""
    return (*upgrade.retire(), upgrade.commit())
