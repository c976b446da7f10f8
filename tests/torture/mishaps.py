"""What can go wrong around a run, as each of its steps begins, on files: ``python -m tests.torture.mishaps``.

Engine gone, registry gone, front door gone, containers that fall ill, a full disk; each stays so until the run has
ended. Its exit code must be true of what serves, and the same command again must end as if nothing had happened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from installer.site.names import Colour, other
from installer.state.state import load_state
from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.torture.campaign import PRODUCT, Campaign, campaign
from tests.torture.points import FULL, Points, below
from tests.torture.rest import served

_BEGINS: Final = "journal step-begin "
_SERVES: Final[dict[int, tuple[str, ...]]] = {
    0: ("new",),
    7: ("old",),
    9: ("old",),
    10: ("old",),
    11: ("old", "new"),
}
"""Who may serve, by the exit code."""


@dataclass
class Report:
    """``steps`` of the command, and how each mishap at each of them ended: step, mishap, exit code."""

    steps: list[str] = field(default_factory=list)
    tried: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def engine_gone(state: Path) -> None:
    world_of(state).put("down")


def registry_gone(state: Path) -> None:
    world_of(state).drop("registry/running")


def door_gone(state: Path) -> None:
    world_of(state).drop("edge/live.cfg")


def old_ill(state: Path) -> None:
    world_of(state).make_ill(PRODUCT, _active(state), "unhealthy")


def new_ill(state: Path) -> None:
    world_of(state).make_ill(PRODUCT, other(_active(state)), "unhealthy")


def _active(state: Path) -> Colour:
    """What serves by the record."""
    active = load_state(state).products[PRODUCT].active
    assert active is not None
    return active


MISHAPS: Final[dict[str, Callable[[Path], None]]] = {
    "engine gone": engine_gone,
    "registry gone": registry_gone,
    "front door gone": door_gone,
    "old containers ill": old_ill,
    "new containers ill": new_ill,
}
DISK: Final = "disk full"


def once(one: Campaign, step: str, mishap: str) -> tuple[int, list[str]]:
    """Let it happen as the step begins; the exit code, and what is wrong."""
    one.restore()
    number = one.names.index(f"{_BEGINS}{step}: after")
    code, _ = one.told(one.scenario.command, lambda _: _points(one.state, number, mishap))
    mend(one.state)
    words, seen = one.log.read_text(), served(one.state, PRODUCT)
    fine = [frozenset({{"old": one.scenario.old, "new": one.scenario.new}[who]}) for who in _SERVES.get(code, ())]
    found = [] if seen in fine or (one.scenario.mixed and code == 11) else [f"{code}, and {sorted(seen)} serves"]
    if code in (10, 11) and "serving" not in words:
        found.append("it does not say what serves")
    found += one.converges()
    return code, [f"{one.scenario.name}, {mishap} at {step}: {what}\n{words[-700:]}" for what in found]


def _points(state: Path, number: int, mishap: str) -> Points:
    inside = below(state)

    def strike(_: str, call: str, arguments: tuple[Any, ...]) -> Any:
        if mishap == DISK:
            return FULL(_, call, arguments) if inside(call, arguments) else None
        return MISHAPS[mishap](state)

    at = (lambda n: n > number) if mishap == DISK else (lambda n: n == number)
    return Points(strike, at)


def mend(state: Path) -> None:
    """What the engine does by itself once it is there."""
    world = world_of(state)
    world.drop("down")
    for part in ("blue", "green"):
        world.make_ill(PRODUCT, part, "")
    if not FileDoor(world).running():
        FileDoor(world).restart()
    registry = load_state(state).registry
    if registry is not None:
        world.put("registry/running", registry.digest.encode())


def main(words: Sequence[str]) -> int:
    """``NAME`` of a scenario."""
    report = Report()
    with campaign(words[0]) as one:
        begins = [name for name in one.names if name.startswith(_BEGINS) and name.endswith(": after")]
        report.steps = [name.removeprefix(_BEGINS).removesuffix(": after") for name in begins]
        for step in report.steps:
            for mishap in (*MISHAPS, DISK):
                code, found = once(one, step, mishap)
                report.tried.append((step, mishap, code))
                report.problems += found
    json.dump(asdict(report), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
