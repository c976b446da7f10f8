"""What must hold on this host before anything is written: ports and room on its disks."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from installer.edge.config import EdgeConfig, Frontend, split_bind
from installer.errors import SealiftError
from installer.look.inventory import Inventory
from installer.plan.addresses import refuse_overlap
from installer.plan.frontdoor import frontends
from installer.plan.planning import Scene
from installer.registry.access import registry_address, registry_client
from installer.registry.enginetrust import certificate_folder, refuse_distrusted
from installer.registry.images import Needs, bytes_needed
from installer.registry.load import missing_blobs
from installer.words import size


def check_host(scene: Scene, inventory: Inventory) -> tuple[str, ...]:
    """Refuse before anything is written what would fail later (7). Returns what could not be checked."""
    facts = inventory.engine()
    site, release = scene.site, scene.release
    refuse_overlap(site.network.subnet, inventory.foreign_routes())
    new_registry = site.registry.bundled if scene.lacking.registry else None
    fronts = frontends(release, site, scene.product.index, scene.pems)
    held = None if scene.lacking.edge else scene.state.edge_config
    check_ports(fronts, held, [new_registry.listen] if new_registry else [])
    if new_registry:
        missing = {f"sha256:{part}" for part in release.blobs()}
    else:
        missing = missing_blobs(registry_client(site, scene.state_dir), release)
        if site.registry.bundled is None and site.target.engine.startswith("unix://"):
            folder = certificate_folder(facts.rootless)
            refuse_distrusted(registry_address(site), folder, facts.unchecked_registries, site.registry.ca)
    unpacked = [blob.digest for image in scene.old_release.images for blob in image.blobs] if scene.old_release else []
    root = Path(facts.data_root) if facts.free_bytes is not None else None
    return check_disk(bytes_needed(release, missing, unpacked), scene.state_dir, root)


def check_ports(fronts: Iterable[Frontend], held: EdgeConfig | None, more: Iterable[str] = ()) -> None:
    """Every address must be free, or held by our own front door. Raises ``port-taken`` (7)."""
    ours = {bind for front in (held.frontends if held else ()) for bind in front.binds}
    wanted = [bind for front in fronts for bind in front.binds]
    for bind in [*(bind for bind in wanted if bind not in ours), *more]:
        address, port = split_bind(bind)
        try:
            _listen(address, port)
        except OSError as error:
            raise SealiftError(
                "port-taken",
                f"{bind} cannot be used: {error.strerror}",
                hint=f"see who has it: ss -ltnp 'sport = :{port}'; free it, or choose another address in site.yaml",
            ) from error


def check_disk(needs: Needs, state_dir: Path, engine_root: Path | None) -> tuple[str, ...]:
    """Room for registry and engine, counted together where they share a disk. Raises ``disk-too-small`` (7).

    Returns what could not be checked.
    """
    wanted: dict[int, tuple[Path, int]] = {}
    places = [(_existing(state_dir), needs.registry + needs.state_dir)]
    if engine_root is not None and engine_root.exists():
        places.append((engine_root, needs.engine))
    for place, amount in places:
        device = place.stat().st_dev
        wanted[device] = (place, wanted.get(device, (place, 0))[1] + amount)
    for place, amount in wanted.values():
        free = shutil.disk_usage(place).free
        if amount > free:
            raise SealiftError(
                "disk-too-small",
                f"the disk of {place} has {size(free)} free, and the release needs {size(amount)} there "
                f"(registry {size(needs.registry + needs.state_dir)}, engine {size(needs.engine)})",
                hint="free some space: docker image prune removes what no container uses",
            )
    return () if len(places) == 2 else ("free space of the engine: its folder cannot be seen from here",)


def _listen(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        probe.listen(1)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
