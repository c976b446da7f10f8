"""A site on an engine of its own that can be struck by whatever goes wrong on real hosts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker.errors import NotFound

from installer.site.names import other
from installer.state.state import load_state
from installer.targets import labels
from tests import claims
from tests.e2e.site.host import Site
from tests.e2e.site.own_engine import OwnEngine


@dataclass
class House:
    """A site on an engine of its own, its state dir on a disk of its own."""

    engine: OwnEngine
    site: Site
    run: subprocess.Popen[str] | None = None

    @classmethod
    def build(cls, root: Path) -> House:
        engine = OwnEngine(Path(tempfile.mkdtemp(prefix="se-", dir="/var/tmp")), live_restore=False)
        engine.start()
        site = Site.make(engine.client, root / "site", claims.port_block(), claims.subnet())
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=0700", "tmpfs", site.state], check=True)
        site.configure(
            target={"kind": "compose", "engine": engine.endpoint},
            timing={"health": "20s", "settle": "200ms", "bake": "700ms", "drain": "300ms"},
        )
        return cls(engine, site)

    def pull_down(self) -> None:
        """Leave nothing of it."""
        if self.run is not None and self.run.poll() is None:
            self.run.kill()
            self.run.communicate()
        self.engine.end()
        subprocess.run(["umount", "--lazy", self.site.state], check=True)
        shutil.rmtree(self.engine.folder)

    # Troubles. Each returns what mends it, or None where there was nobody to strike.

    def engine_stopped(self) -> Callable[[], None] | None:
        return self._restarted(signal.SIGTERM)

    def engine_killed(self) -> Callable[[], None] | None:
        return self._restarted(signal.SIGKILL)

    def power_cut(self) -> Callable[[], None] | None:
        """The machine goes down, and the run with it; the engine starts with the machine."""
        assert self.run is not None
        self.run.kill()
        self.engine.power_cut()
        self.engine.start()
        return lambda: None

    def registry_gone(self) -> Callable[[], None] | None:
        return self._gone(self.site.names.registry)

    def haproxy_killed(self) -> Callable[[], None] | None:
        return self._struck([item for item in self.site.containers() if self._name(item) == self.site.names.edge])

    def new_out_of_memory(self) -> Callable[[], None] | None:
        active = self._active()
        return self._struck(self._of(other(active))) if active else None

    def old_out_of_memory(self) -> Callable[[], None] | None:
        return self._struck(self._of(self._active()))

    def disk_full(self) -> Callable[[], None] | None:
        filler = self.site.state / "filler"
        disk = os.statvfs(self.site.state)
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            file.write(bytes(disk.f_bavail * disk.f_frsize))
            file.write(bytes(4096))
        return filler.unlink

    def _restarted(self, number: signal.Signals) -> Callable[[], None]:
        self.engine.stop(number)
        self.engine.start()
        return lambda: None

    def _gone(self, name: str) -> Callable[[], None] | None:
        self.engine.client.api.remove_container(name, force=True)
        return lambda: None

    def _struck(self, items: list[Any]) -> Callable[[], None] | None:
        """As the kernel does where memory is short."""
        pids = []
        for one in items:
            with suppress(NotFound):  # just then it is taken down
                pids.append(int(self.engine.client.api.inspect_container(one["Id"])["State"]["Pid"]))
        for pid in filter(None, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return (lambda: None) if any(pids) else None

    def _of(self, part: str | None) -> list[Any]:
        return [item for item in self.site.containers() if item["Labels"].get(labels.PART) == part]

    def _active(self) -> Any:
        return load_state(self.site.state).products["board"].active

    @staticmethod
    def _name(item: Any) -> str:
        return str(item["Names"][0]).removeprefix("/")


TROUBLES: Final[dict[str, Callable[[House], Callable[[], None] | None]]] = {
    "engine stopped": House.engine_stopped,
    "engine killed": House.engine_killed,
    "registry gone": House.registry_gone,
    "HAProxy killed": House.haproxy_killed,
    "new out of memory": House.new_out_of_memory,
    "old out of memory": House.old_out_of_memory,
    "disk full": House.disk_full,
    "power cut": House.power_cut,
}
