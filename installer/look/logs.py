"""The last words of a service, by the containers' labels: after a kill their names can be odd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.errors import SealiftError
from installer.look.inventory import Inventory
from installer.plan.planning import choose_product
from installer.site.names import Names
from installer.site.site import load_site
from installer.state.state import load_state

OWN: Final = ("front-door", "registry")
"""The site's own services."""


@dataclass(frozen=True)
class Words:
    """What one container wrote last; ``part`` is its colour, the base, or empty for the site's own."""

    container: str
    part: str
    version: str
    lines: tuple[str, ...]


def last_words(state_dir: Path, site_file: Path, service: str, product: str | None, count: int) -> tuple[Words, ...]:
    """The last ``count`` lines of each container of a service. Raises ``unknown-service``, ``not-initialised`` (2)."""
    state = load_state(state_dir)
    names = Names.of(state_dir)
    site = load_site(site_file)
    with Inventory(site.target.engine, names) as inventory:
        if service in OWN:
            name = names.edge if service == "front-door" else names.registry
            return (Words(name, "", "", inventory.last_log_lines(name, count)),)
        chosen = choose_product(state, product)
        replicas = inventory.observe(chosen.product).replicas
        found = [replica for replica in replicas if service in (replica.service, replica.container)]
        if not found:
            there = sorted({replica.service for replica in replicas} | set(OWN))
            raise SealiftError(
                "unknown-service",
                f"{chosen.product} has no containers of a service {service}",
                hint=f"one of: {', '.join(there)}",
            )
        return tuple(
            Words(one.container, one.part, one.version, inventory.last_log_lines(one.id, count)) for one in found
        )
