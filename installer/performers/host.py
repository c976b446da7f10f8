"""What every performer needs to know of the host it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from installer.commands import Command
from installer.edge.answers import Counters
from installer.edge.config import EdgeConfig
from installer.edge.container import edge_runtime
from installer.edge.runtime import EdgeRuntime
from installer.errors import SealiftError
from installer.look.inventory import Observed
from installer.look.probe import Probe
from installer.look.questions import ask
from installer.media import Media
from installer.plan.actions import Question
from installer.registry.bundled import BundledService
from installer.site.names import Colour, Names
from installer.site.rendering import Rendered
from installer.site.site import Site
from installer.state.state import load_state, save_state
from installer.system import Finished, run
from installer.talk import Talk
from installer.targets.health import Ask
from installer.watcher import SYSTEMD, Container, Timer, Watcher

Handlers = dict[type, Callable[[Any], None]]
_LOG_LINES: Final = 15


@dataclass(frozen=True)
class Incoming:
    """What an installation brings along: the media, and what its release was rendered to."""

    media: Media
    rendered: Rendered
    quick: bool = False


class Engine(Protocol):
    """What is looked at: containers and networks. The real one is :class:`installer.look.inventory.Inventory`."""

    def observe(self, product: str | None = None) -> Observed: ...

    def network_exists(self, name: str) -> bool: ...

    def owner_of(self, network: str, address: str) -> str | None: ...

    def last_log_lines(self, container: str, count: int) -> tuple[str, ...]: ...


class Door(Protocol):
    """The front door as it runs. The real one is :class:`installer.edge.runtime.EdgeRuntime`, which says more."""

    def running(self) -> bool: ...

    def serves(self, config: EdgeConfig) -> bool: ...

    def apply(self, config: EdgeConfig) -> None: ...

    def colours(self) -> dict[str, Colour]: ...

    def colours_on_disk(self) -> dict[str, Colour]: ...

    def set_colour(self, product: str, colour: Colour | None) -> None: ...

    def ready(self, product: str, colour: Colour) -> bool: ...

    def sessions(self, backend: str) -> int: ...

    def errors(self, product: str, colour: Colour | None = None) -> Counters: ...


@dataclass(frozen=True)
class Host:
    """One state dir, its site file, its engine, and the person who watches.

    ``run``, ``edge``, ``ask``, ``probe``, ``watcher`` and ``registry_runs`` are all that reaches out of the state dir:
    what stands for another kind of target overrides them.
    """

    state_dir: Path
    site: Site
    talk: Talk
    inventory: Engine

    @property
    def names(self) -> Names:
        return Names.of(self.state_dir)

    @property
    def engine(self) -> str:
        return self.site.target.engine

    @property
    def edge_folder(self) -> Path:
        return self.state_dir / "edge"

    def remember(self, **changes: object) -> None:
        """Write a change of the site's state."""
        save_state(self.state_dir, load_state(self.state_dir).model_copy(update=changes))

    def run(self, command: Command, *, check: bool = True) -> Finished:
        """Start a process of the target's and wait for its end. Raises as :func:`installer.system.run`."""
        return run(command, check=check)

    def edge(self) -> Door:
        """The running front door."""
        return site_edge(self.state_dir, self.site)

    def ask(self, question: Question) -> None:
        """Ask once. Raises ``edge-failed`` (9) when the answer is not the one that counts."""
        ask(question)

    def probe(self) -> Ask:
        """Asks a container from outside whether it serves."""
        return Probe(self.inventory)

    def watcher(self) -> Watcher:
        """What brings an old release back by itself. Raises ``edge-failed`` (9) where there was never a front door."""
        if SYSTEMD.is_dir():
            return Timer(self.names, self.state_dir, self.run)
        edge = load_state(self.state_dir).edge
        if edge is None:
            raise SealiftError("edge-failed", "this host has no front door yet", hint="install a release first")
        return Container(self.names, self.state_dir, self.run, self.engine, edge.image_id)

    def registry_runs(self) -> bool:
        """Whether the site's own registry runs; one that the site names is not ours to judge."""
        bundled = self.site.registry.bundled
        return bundled is None or BundledService.of(self.state_dir, bundled.listen, self.engine).is_running()

    def with_logs(self, error: SealiftError, product: str, part: str, service: str | None = None) -> SealiftError:
        """``error`` with the last words of the containers it is about."""
        lines = [
            f"{replica.container}: {line}"
            for replica in self.inventory.observe(product).of(product, part)
            if service in (None, replica.service)
            for line in self.inventory.last_log_lines(replica.id, _LOG_LINES)
        ]
        return SealiftError(error.id, error.message, hint=error.hint, details=(*error.details, *lines))


def site_edge(state_dir: Path, site: Site) -> EdgeRuntime:
    """The front door of a state dir. Raises ``edge-failed`` (9) where there was never one."""
    edge = load_state(state_dir).edge
    if edge is None:
        raise SealiftError("edge-failed", "this host has no front door yet", hint="install a release first")
    return edge_runtime(Names.of(state_dir), edge.image_id, state_dir / "edge", engine=site.target.engine)


def require(incoming: Incoming | None) -> Incoming:
    """What is brought in. Raises ``bad-option`` (2) where a step needs media that nobody named."""
    if incoming is None:
        raise SealiftError("bad-option", "this step needs the media", hint="run the installation from the media again")
    return incoming
