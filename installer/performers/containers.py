"""Containers and networks of products: commands of the target, and waiting until they serve."""

from __future__ import annotations

from dataclasses import replace

from installer.commands import Command
from installer.errors import SealiftError
from installer.look.inventory import Replica
from installer.performers.host import Handlers, Host
from installer.plan import actions as act
from installer.targets.health import await_healthy, diagnose

_LOG_LINES = 15


class Containers:
    """Runs what targets translate steps to."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {
            act.RunCommands: self._run_commands,
            act.EnsureNetwork: self._ensure_network,
            act.RemoveNetwork: self._remove_network,
            act.RemoveVolumes: self._remove_volumes,
            act.DropImages: self._drop_images,
            act.DropUnused: self._drop_unused,
            act.AwaitHealthy: self._await_healthy,
        }

    def _run_commands(self, action: act.RunCommands) -> None:
        try:
            for command in action.commands:
                self._host.run(command)
        except SealiftError as error:
            raise self._diagnosed(action, error) from error

    def _diagnosed(self, action: act.RunCommands, error: SealiftError) -> SealiftError:
        """The container whose fault it is, where one of them says so; Compose names only what it waited for."""
        if action.product is None or action.part is None:
            return error
        seen = self._host.inventory.observe(action.product).of(action.product, action.part)
        return diagnose(seen, self._last_words) or error

    def _last_words(self, replica: Replica) -> tuple[str, ...]:
        return self._host.inventory.last_log_lines(replica.id, _LOG_LINES)

    def _ensure_network(self, action: act.EnsureNetwork) -> None:
        if not self._host.inventory.network_exists(action.name):
            self._host.run(action.create)

    def _remove_network(self, action: act.RemoveNetwork) -> None:
        if self._host.inventory.network_exists(action.name):
            self._host.run(action.remove)

    def _remove_volumes(self, action: act.RemoveVolumes) -> None:
        names = tuple(self._host.run(action.find).out.split())
        if names:
            self._host.run(replace(action.remove, argv=(*action.remove.argv, *names)))

    def _drop_images(self, action: act.DropImages) -> None:
        for command in action.commands:
            self._host.run(command, check=False)

    def _drop_unused(self, action: act.DropUnused) -> None:
        for reference in action.references:
            command = Command(("docker", "--host", self._host.engine, "image", "rm", reference), timeout=60.0)
            self._host.run(command, check=False)

    def _await_healthy(self, action: act.AwaitHealthy) -> None:
        inventory = self._host.inventory

        def observe() -> tuple[Replica, ...]:
            return inventory.observe(action.product).of(action.product, action.part)

        await_healthy(
            observe,
            self._host.probe(),
            action.services,
            timeout=action.timeout,
            settle=action.settle,
            logs=self._last_words,
        )
