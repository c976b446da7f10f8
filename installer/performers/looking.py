"""The checks of steps: each looks whether what the step was for is so. None changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from installer.errors import SealiftError
from installer.performers.host import Handlers, Host
from installer.plan import checks
from installer.state.releases import load_kept
from installer.state.state import load_state
from installer.trust.store import load_policy


class Looking:
    """Raises ``check-failed`` (9) where a step is done and its effect isn't there."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {
            checks.ArchivesHeld: self._archives_held,
            checks.SiteServicesRun: self._site_services_run,
            checks.ReleaseKept: self._release_kept,
            checks.NetworksAre: self._networks_are,
            checks.PartIs: self._part_is,
            checks.DoorLeadsTo: self._door_leads_to,
            checks.DoorHas: self._door_has,
            checks.Recorded: self._recorded,
        }

    def _archives_held(self, check: checks.ArchivesHeld) -> None:
        held = [path.name for path in Path(self._host.state_dir / "archives").glob("*")]
        for image in check.images:
            if not any(name.startswith(f"{image}-") for name in held):
                _missed(f"no archive of {image} was written")

    def _site_services_run(self, check: checks.SiteServicesRun) -> None:
        here = load_state(self._host.state_dir)
        if check.edge is not None and (here.edge is not None and self._host.edge().running()) != check.edge:
            _missed(f"the front door {'does not answer' if check.edge else 'still answers'}")
        if check.registry is not None and self._host.registry_runs() != check.registry:
            _missed(f"the registry {'does not run' if check.registry else 'still runs'}")

    def _release_kept(self, check: checks.ReleaseKept) -> None:
        load_kept(self._host.state_dir, check.release, load_policy(self._host.state_dir))

    def _networks_are(self, check: checks.NetworksAre) -> None:
        for name in check.names:
            if self._host.inventory.network_exists(name) != check.there:
                _missed(f"the network {name} is {'missing' if check.there else 'still there'}")

    def _part_is(self, check: checks.PartIs) -> None:
        seen = {
            replica.release for replica in self._host.inventory.observe(check.product).of(check.product, check.part)
        }
        wanted = {check.digest} if check.digest else set()
        if seen != wanted:
            _missed(f"{check.product} {check.part} runs {', '.join(sorted(map(str, seen))) or 'nothing'}")

    def _door_leads_to(self, check: checks.DoorLeadsTo) -> None:
        edge = self._host.edge()
        for place, colours in (("on disk", edge.colours_on_disk()), ("at the front door", edge.colours())):
            if colours.get(check.product) != check.colour:
                _missed(f"{place} {check.product} leads to {colours.get(check.product) or 'nobody'}")

    def _door_has(self, check: checks.DoorHas) -> None:
        if not self._host.edge().serves(check.config):
            _missed("the front door runs with another configuration")

    def _recorded(self, check: checks.Recorded) -> None:
        found = load_state(self._host.state_dir).products.get(check.product)
        here = (found.current, found.active) if found else (None, None)
        if here != (check.release, check.colour):
            _missed(f"the record says that {here[0] or 'nothing'} serves as {here[1] or 'nobody'}")


def _missed(why: str) -> NoReturn:
    raise SealiftError("check-failed", why, hint="look at the engine's log: something undid it meanwhile")
