"""Which Compose works for a release: the host's own, else the one that travelled with it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.look.inventory import find_compose
from installer.media import tool_path
from installer.registry.access import docker_config_folder
from installer.site.site import Site
from installer.targets.compose import engine_environment

_TOOL: Final = "docker-compose"


def compose_for(release: Release, site: Site, state_dir: Path) -> tuple[str, ...]:
    """The first words of a Compose command: ``docker compose``, or the absolute path of a carried one.

    A carried one need not be on the disk yet: loading puts it there. Raises ``compose-missing`` (7).
    """
    tools = [file for file in release.files if file.role == "tool" and file.path.endswith(f"/{_TOOL}")]
    carried = [tool_path(state_dir, tool) for tool in tools]
    try:
        return find_compose(carried, engine_environment(site, docker_config_folder(site, state_dir)))
    except SealiftError:
        if not carried:
            raise
        return (str(carried[0]),)
