"""Blue-green: the new release starts beside the old one, is looked at, and takes over everything at once."""

from __future__ import annotations

from installer.plan.plan import Step
from installer.plan.sittingsteps import arm, unstage
from installer.plan.steps import Builder


def blue_green(upgrade: Builder) -> tuple[Step, ...]:
    """Bring it in, start it beside the old one, look at it, switch, watch, let the old one go."""
    return (
        *unstage(upgrade),
        *upgrade.open_registry(),
        *upgrade.bring_in(),
        *upgrade.open_front_door(),
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
