"""A release on its way into files: configuration for both colours and for the base, as bytes. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.plan.addresses import ColourNet, colour_net, fixed_addresses
from installer.registry.access import registry_address
from installer.registry.images import relocate
from installer.site.names import COLOURS, Colour, Names
from installer.site.render import RESERVED, compose_name, render, template_root
from installer.site.secretfiles import SecretFile, copy_path, site_secrets
from installer.site.site import Site
from installer.targets.compose_file import ComposeParts, Placement, declared_secrets, split

BASE_DIGEST_FILE: Final = f"{RESERVED}base-digest"
ENTRY_POINTS_FILE: Final = f"{RESERVED}entry-points"
IMAGE_MAP_FILE: Final = f"{RESERVED}images"


@dataclass(frozen=True)
class Rendered:
    """``files`` go into the release's folder, ``base_files`` into ``base_folder``, which is named by their content."""

    files: Mapping[str, bytes]
    base_files: Mapping[str, bytes]
    base_folder: Path | None
    base_digest: str | None
    secrets: tuple[str, ...]
    warnings: tuple[str, ...]


def base_folder(state_dir: Path, product: str, digest: str) -> Path:
    """Where the base's files stand: the same content, the same place, so that nothing unchanged restarts."""
    return state_dir / "base" / product / digest[7:23]


def nets_of(site: Site, index: int) -> dict[Colour, ColourNet]:
    """The networks of the product with this index."""
    return {colour: colour_net(site.network.subnet, index, colour) for colour in COLOURS}


def addresses_of(release: Release, site: Site, index: int, colour: Colour) -> dict[tuple[str, int], str]:
    """The fixed address of each replica of a colour. Raises ``address-pool`` (7)."""
    replicas = {name: service.replicas for name, service in release.services.items() if service.state == "none"}
    return fixed_addresses(nets_of(site, index)[colour], replicas)


def wanted_secrets(release: Release, site: Site, state_dir: Path, files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Names of the secrets that the product's compose file asks for."""
    return declared_secrets(_configuration(release, site, state_dir, files)[compose_name(release)])


def render_release(
    release: Release,
    site: Site,
    state_dir: Path,
    index: int,
    files: Mapping[str, bytes],
    secrets: Mapping[str, SecretFile],
) -> Rendered:
    """Render everything. ``files`` are the media's templates by their path in the bundle.

    Raises ``site-value-missing``, ``secret-missing`` (7), ``template-invalid``, ``compose-invalid`` (2).
    """
    configuration = _configuration(release, site, state_dir, files)
    images = relocate(release, registry_address(site))
    parts: dict[Colour, ComposeParts] = {}
    for colour in COLOURS:
        placement = Placement(
            names=Names.of(state_dir),
            colour=colour,
            images=images,
            addresses=addresses_of(release, site, index, colour),
            secrets=secrets,
            files=configuration,
        )
        parts[colour] = split(configuration[compose_name(release)], release, placement)
    blue = parts["blue"]
    rendered = dict(configuration) | {f"{RESERVED}{colour}.yaml": part.write(colour) for colour, part in parts.items()}
    rendered[ENTRY_POINTS_FILE] = _entry_points(release, site)
    rendered[IMAGE_MAP_FILE] = "".join(f"{name} {where}\n" for name, where in sorted(images.items())).encode()
    if blue.base is None:
        return Rendered(rendered, {}, None, None, tuple(sorted(secrets)), blue.warnings)
    base_yaml = blue.write("base")
    digest = str(Digest.of(base_yaml + blue.base_key.encode()))
    rendered[BASE_DIGEST_FILE] = digest.encode()
    base_files = dict(blue.base_files) | {f"{RESERVED}base.yaml": base_yaml}
    place = base_folder(state_dir, release.product, digest)
    return Rendered(rendered, base_files, place, digest, tuple(sorted(secrets)), blue.warnings)


def _entry_points(release: Release, site: Site) -> bytes:
    """Where people reach the release: part of its configuration, though containers never see it."""
    bindings = {name: site.binding(release.product, name) for name in release.entry_points}
    bound = [(name, binding) for name, binding in sorted(bindings.items()) if binding is not None]
    return "".join(f"{name} {binding.bind}{' tls' if binding.tls else ''}\n" for name, binding in bound).encode()


def _configuration(release: Release, site: Site, state_dir: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    root = template_root(release)
    templates = {path.removeprefix(root): data for path, data in files.items() if path.startswith(root)}
    secret_paths = {
        name: str(copy_path(state_dir, release.product, name)) for name in site_secrets(site, release.product)
    }
    return render(release, site, templates, relocate(release, registry_address(site)), secret_paths)
