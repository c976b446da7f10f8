"""The site's registry, whichever it is: its address, a client, and the folder with the engine's credentials for it."""

from __future__ import annotations

from pathlib import Path

from installer.patching.rebuild import BlobFiles, no_files
from installer.registry.address import RegistryAddress
from installer.registry.bundled import BundledService
from installer.registry.client import RegistryClient
from installer.registry.login import read_login, write_docker_config
from installer.registry.settings import RegistryFolder
from installer.site.site import Site


def registry_address(site: Site) -> RegistryAddress:
    """Where the site's registry is. Pure. Raises ``site-file-invalid`` (2)."""
    if site.registry.bundled is not None:
        return RegistryAddress.bundled(site.registry.bundled.listen)
    return RegistryAddress.parse(site.registry.url or "")


def registry_client(site: Site, state_dir: Path) -> RegistryClient:
    """A client that the registry lets in. Raises ``registry-*`` (9), ``secret-missing`` (7)."""
    if site.registry.bundled is not None:
        return BundledService.of(state_dir, site.registry.bundled.listen, site.target.engine).client()
    credentials = site.registry.credentials
    login = read_login(credentials.file) if credentials else None
    return RegistryClient.at(registry_address(site), login, site.registry.ca)


def blob_files(site: Site, state_dir: Path) -> BlobFiles:
    """The bundled registry's files of blobs; of another registry none lie here. Pure."""
    return no_files if site.registry.bundled is None else RegistryFolder.of(state_dir).open_blob


def docker_config_folder(site: Site, state_dir: Path) -> Path | None:
    """The folder that ``DOCKER_CONFIG`` names for pulls, or None where the registry asks for no password. Pure."""
    if site.registry.bundled is not None or site.registry.credentials is not None:
        return RegistryFolder.of(state_dir).docker_config
    return None


def install_credentials(site: Site, state_dir: Path) -> None:
    """Write the engine's credentials for a registry of the site's; the bundled one does that when it starts."""
    if site.registry.credentials is not None:
        folder = RegistryFolder.of(state_dir).docker_config
        write_docker_config(folder, {registry_address(site).host: read_login(site.registry.credentials.file)})
