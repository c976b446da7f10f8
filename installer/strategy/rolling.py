"""Rolling: replica by replica the new release takes the old one's place behind the same door."""

from __future__ import annotations

from installer.plan.plan import Step
from installer.plan.rounds import Rounds
from installer.plan.sittingsteps import unstage
from installer.plan.steps import Builder
from installer.strategy.bluegreen import blue_green


def rolling(upgrade: Builder) -> tuple[Step, ...]:
    """Bring it in; round by round start replicas, look at them, let them serve, let old ones go; then name the colour.

    Whatever fails takes back every round, the last one first.
    """
    if upgrade.first:
        return blue_green(upgrade)  # nobody is there whose place could be taken
    rounds = Rounds.of(upgrade)
    return (
        *unstage(upgrade),
        *upgrade.open_registry(),
        *upgrade.bring_in(),
        *upgrade.open_front_door(),
        upgrade.join_networks(),
        *upgrade.update_base(),
        rounds.prepare(),
        *(
            step
            for number in rounds.numbers
            for step in (
                rounds.start(number),
                rounds.health(number),
                rounds.preview(number),
                rounds.smoke(number),
                rounds.shift(number),
                rounds.watch(number),
                rounds.drain(number),
                *rounds.leave(number),
            )
        ),
        rounds.switch(),
        upgrade.bake(),
        rounds.retire(),
        upgrade.commit(),
    )
