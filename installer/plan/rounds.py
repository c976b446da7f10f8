"""The rounds of a rolling upgrade. Pure: from what is known to values.

Rules:
- Both releases are in their own colours, on networks of their own. What changes round by round is who stands behind
  the serving colour's backends: old replicas leave them, new ones come in. At the end only new ones are there, and the
  map names their colour.
- Only services that nobody else of the release needs go round by round. All others start whole before the first round
  and end whole after the last, so that a replica always finds the services of its own release.
- Each round's configuration is written and reloaded: what HAProxy is only told does not outlive its next start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from installer.bundle.release import Release
from installer.commands import Command
from installer.edge.config import Backend, EdgeConfig, Server
from installer.errors import SealiftError
from installer.plan import frontdoor
from installer.plan.actions import Action, ApplyEdge, AskSmoke, AwaitHealthy, Drain, RunCommands, Watch
from installer.plan.checks import Check, DoorHas, PartIs
from installer.plan.plan import SHIFT, Step
from installer.plan.steps import Builder, awaiting, services
from installer.site.names import Colour


@dataclass(frozen=True)
class Rounds:
    """``leading`` services go round by round, ``size`` replicas of each at a time; ``old`` is the serving colour."""

    upgrade: Builder
    old_release: Release
    old: Colour
    leading: frozenset[str]
    size: int

    @classmethod
    def of(cls, upgrade: Builder) -> Rounds:
        """Raises ``strategy-unsupported`` (6) where old and new replicas cannot stand behind one health check."""
        assert upgrade.old_target is not None and upgrade.product.active is not None  # noqa: S101 - something serves
        before = upgrade.old_target.release
        _refuse_other_checks(before, upgrade.release)
        leading = _leading(before) & _leading(upgrade.release)
        leading |= {name for name in _leading(before) if name not in upgrade.release.services}
        leading |= {name for name in _leading(upgrade.release) if name not in before.services}
        return cls(upgrade, before, upgrade.product.active, frozenset(leading), upgrade.site.rolling.max_unavailable)

    @property
    def numbers(self) -> range:
        """The rounds, from 1."""
        most = max([*map(len, self._replicas(self.upgrade.release)), *map(len, self._replicas(self.old_release)), 1])
        return range(1, -(-most // self.size) + 1)

    def prepare(self) -> Step:
        """What others need, whole."""
        target, colour = self.upgrade.target, self.upgrade.colour
        inner = [container for name in self._inner for container in target.containers(name)]
        commands = [target.down(colour), target.pull(colour)]
        check: tuple[Check, ...] = (PartIs(product=self.upgrade.ref.product, part=colour, digest=None),)
        if inner:
            commands.append(target.up(colour, *inner, alone=False))
            check = (self._stands, self._healthy(0))
        what = f": {', '.join(self._inner)}" if inner else ""
        return Step(
            name=f"start-{colour}",
            intent=f"start what {self.upgrade.release.version} needs beside its replicas, as {colour}{what}",
            actions=(self._starting(*commands),),
            check=check,
            undo=(RunCommands(commands=(target.down(colour),)),),
        )

    def start(self, number: int) -> Step:
        """The round's new replicas."""
        target, colour = self.upgrade.target, self.upgrade.colour
        mine = self._containers(self.upgrade.release, number)
        commands = (target.up(colour, *mine),) if mine else ()
        undo = (target.remove(colour, *mine),) if mine else ()
        return Step(
            name=f"start-{number}",
            intent=f"start {', '.join(mine) or 'nothing more'} of {self.upgrade.release.version} as {colour}",
            actions=(self._starting(*commands),),
            check=(self._stands,),
            undo=(RunCommands(commands=undo),),
        )

    def health(self, number: int) -> Step:
        """Healthy, and still so a moment later."""
        seconds = self.upgrade.site.timing.health
        return Step(
            name=f"health-{number}",
            intent=f"wait until they are healthy, {seconds:.0f} s at most",
            check=(self._healthy(number),),
        )

    def preview(self, number: int) -> Step:
        """The front door learns the round's replicas, which only the preview reaches."""
        actions: list[Action] = [self.upgrade.certificates] if self.upgrade.certificates else []
        return Step(
            name=f"preview-{number}",
            intent="show them on the preview",
            actions=(*actions, ApplyEdge(config=self._shown(number))),
            check=(DoorHas(config=self._shown(number)),),
            undo=(ApplyEdge(config=self._shifted(number - 1)),),
        )

    def smoke(self, number: int) -> Step:
        """The product's own questions, to the new replicas alone."""
        up = self.upgrade
        return Step(
            name=f"smoke-{number}",
            intent=f"ask them {len(up.questions)} smoke questions through the preview",
            check=(AskSmoke(product=up.ref.product, part=up.colour, questions=up.questions),),
        )

    def shift(self, number: int) -> Step:
        """New replicas come in behind the door, old ones leave it, as one change."""
        come = sorted(set(self._servers(number)) - set(self._servers(number - 1)))
        return Step(
            name=f"{SHIFT}{number}",
            intent=f"let {len(self._containers(self.upgrade.release, number))} new replicas serve "
            f"instead of {len(self._leaving(number))} old ones",
            actions=(ApplyEdge(config=self._shifted(number)),),
            check=(DoorHas(config=self._shifted(number)),),
            undo=(
                ApplyEdge(config=self._shown(number)),
                Drain(backends=tuple(come), seconds=self.upgrade.site.timing.drain),
            ),
        )

    def watch(self, number: int) -> Step:
        """What people get, before more is changed."""
        up = self.upgrade
        seconds = up.site.timing.settle
        watch = Watch(product=up.ref.product, colour=self.old, seconds=seconds, questions=up.door_questions)
        return Step(
            name=f"watch-{number}",
            intent=f"watch the front door for {seconds:.0f} s, then ask through it",
            check=(watch,),
        )

    def drain(self, number: int) -> Step:
        """Sessions on those that left."""
        gone = sorted(set(self._servers(number - 1)) - set(self._servers(number)))
        seconds = self.upgrade.site.timing.drain
        return Step(
            name=f"drain-{number}",
            intent=f"let the sessions on the old ones end, {seconds:.0f} s at most",
            actions=(Drain(backends=tuple(gone), seconds=seconds),),
            check=(DoorHas(config=self._shifted(number)),),
        )

    def leave(self, number: int) -> list[Step]:
        """Old replicas are stopped; they come back, healthy, when the upgrade is taken back."""
        mine, target = self._leaving(number), self.upgrade.old_target
        if not mine or target is None:
            return []
        return [
            Step(
                name=f"stop-{number}",
                intent=f"take {', '.join(mine)} of {self.old_release.version} down",
                actions=(RunCommands(commands=(target.remove(self.old, *mine),)),),
                check=(DoorHas(config=self._shifted(number)),),
                undo=(RunCommands(commands=(target.up(self.old, *mine),)), self._old_healthy(number)),
            )
        ]

    def switch(self) -> Step:
        """Only new replicas serve by now: the map calls them by their own colour."""
        return self.upgrade.switch()

    def retire(self) -> Step:
        """What is left of the old colour: services that others needed."""
        return self.upgrade.retire()[-1]

    # Who stands where after so many rounds

    @property
    def _stands(self) -> PartIs:
        return PartIs(product=self.upgrade.ref.product, part=self.upgrade.colour, digest=self.upgrade.ref.digest)

    @property
    def _inner(self) -> list[str]:
        return [name for name in services(self.upgrade.release, self.upgrade.colour) if name not in self.leading]

    @property
    def _last(self) -> int:
        return self.numbers[-1]

    def _replicas(self, release: Release) -> Iterator[range]:
        """The replicas' numbers of each leading service."""
        for name in services(release, self.old):
            if name in self.leading:
                yield range(1, release.services[name].replicas + 1)

    def _containers(self, release: Release, number: int) -> tuple[str, ...]:
        """The leading replicas of a round."""
        mine = range(self._until(number - 1) + 1, self._until(number) + 1)
        names = [name for name in services(release, self.old) if name in self.leading]
        return tuple(
            f"{name}-{one}" for name in names for one in range(1, release.services[name].replicas + 1) if one in mine
        )

    def _leaving(self, number: int) -> tuple[str, ...]:
        return self._containers(self.old_release, number)

    def _until(self, number: int) -> int:
        return number * self.size

    def _service(self, back: Backend) -> str:
        """The service behind an entry point; the entry may be one release's alone."""
        entry = self.upgrade.release.entry_points.get(back.entry) or self.old_release.entry_points[back.entry]
        return entry.service

    def _new(self, back: Backend, number: int) -> tuple[Server, ...]:
        """New replicas that serve after round ``number``, under names that the old ones don't have."""
        if self._service(back) in self.leading:
            count = min(self._until(number), len(back.servers))
        else:
            count = len(back.servers) if number >= self._last else 0
        return tuple(
            replace(server, name=f"{self.upgrade.colour}-{one}") for one, server in enumerate(back.servers[:count], 1)
        )

    def _left(self, back: Backend, number: int) -> tuple[Server, ...]:
        """Old replicas that still serve after round ``number``."""
        entry = self.old_release.entry_points[back.entry]
        if number >= self._last:
            return ()
        return back.servers[self._until(number) :] if entry.service in self.leading else back.servers

    def _mixed(self, number: int) -> tuple[Backend, ...]:
        """The serving colour's backends after round ``number``."""
        before = {back.entry: back for back in self._before.backends if self._mine(back)}
        coming = {back.entry: back for back in self.upgrade.backs}
        found = []
        for entry in sorted(before | coming):
            base = replace(coming.get(entry) or before[entry], colour=self.old)
            servers = (
                *(self._left(before[entry], number) if entry in before else ()),
                *(self._new(coming[entry], number) if entry in coming else ()),
            )
            if servers:  # a backend without any would never be ready
                found.append(replace(base, servers=servers))
        return tuple(found)

    def _mine(self, back: Backend) -> bool:
        return (back.product, back.colour) == (self.upgrade.ref.product, self.old)

    def _servers(self, number: int) -> list[str]:
        return [f"{back.name}/{server.name}" for back in self._mixed(number) for server in back.servers]

    def _shown(self, number: int) -> EdgeConfig:
        """Round ``number`` on the preview, the round before at the door."""
        first = self._until(number - 1)
        backs = []
        for back in self.upgrade.backs:
            servers = back.servers
            if self._service(back) in self.leading:
                servers = servers[first : self._until(number)] or servers
            backs.append(replace(back, servers=servers))
        return self._config(backs, number - 1)

    def _shifted(self, number: int) -> EdgeConfig:
        if number == 0:
            return self._before
        backs = []
        for back in self.upgrade.backs:
            leads = self._service(back) in self.leading
            backs.append(replace(back, servers=back.servers[: self._until(number)] if leads else back.servers))
        return self._config(backs, number)

    def _config(self, backs: Sequence[Backend], number: int) -> EdgeConfig:
        up = self.upgrade
        fronts = tuple(replace(front, preview_colour=up.colour) for front in up.fronts)
        return frontdoor.union(up.state.edge_config, up.site, up.ref.product, fronts, [*backs, *self._mixed(number)])

    @property
    def _before(self) -> EdgeConfig:
        return frontdoor.without_preview(self.upgrade.state.edge_config or EdgeConfig())

    def _starting(self, *commands: Command) -> RunCommands:
        return RunCommands(commands=commands, product=self.upgrade.ref.product, part=self.upgrade.colour)

    def _healthy(self, number: int) -> AwaitHealthy:
        started = {*self._inner, *(self.leading if number else ())}
        release = self.upgrade.release
        return awaiting(release, self.upgrade.colour, self.upgrade.site, started)

    def _old_healthy(self, number: int) -> AwaitHealthy:
        back = {name.rpartition("-")[0] for name in self._leaving(number)}
        return awaiting(self.old_release, self.old, self.upgrade.site, back)


def _leading(release: Release) -> set[str]:
    """Services behind an entry point that no other service of the release needs."""
    needed = {name for service in release.services.values() for name in service.needs}
    return {entry.service for entry in release.entry_points.values()} - needed


def _refuse_other_checks(old: Release, new: Release) -> None:
    for name in sorted(old.entry_points.keys() & new.entry_points.keys()):
        before, after = old.entry_points[name], new.entry_points[name]
        checks = old.services[before.service].health, new.services[after.service].health
        if before.protocol != after.protocol or checks[0] != checks[1]:
            raise SealiftError(
                "strategy-unsupported",
                f"rolling is not possible from {old.version} to {new.version}: the entry point {name} asks for health "
                "in another way, and replicas of both would stand behind one check",
                hint="use --strategy blue-green for this upgrade, which interrupts nobody either",
            )
