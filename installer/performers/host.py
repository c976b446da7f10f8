"""What every performer needs to know of the host it works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from installer.edge.container import edge_runtime
from installer.edge.runtime import EdgeRuntime
from installer.errors import SealiftError
from installer.inventory import Inventory
from installer.media import Media
from installer.names import Names
from installer.rendering import Rendered
from installer.site import Site
from installer.state import load_state, save_state
from installer.talk import Talk

Handlers = dict[type, Callable[[Any], None]]
_LOG_LINES: Final = 15


@dataclass(frozen=True)
class Incoming:
    """What an installation brings along: the media, and what its release was rendered to."""

    media: Media
    rendered: Rendered
    quick: bool = False


@dataclass(frozen=True)
class Host:
    """One state dir, its site file, its engine, and the person who watches."""

    state_dir: Path
    site: Site
    talk: Talk
    inventory: Inventory

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

    def edge(self) -> EdgeRuntime:
        """The running front door."""
        return site_edge(self.state_dir, self.site)

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
