"""What the planner needs to know of this host, looked up: what runs, what is missing, which files stand where."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from installer.bundle.release import Release
from installer.compose import compose_for
from installer.deltas import refuse_groundless
from installer.edge.files import read_pem
from installer.errors import SealiftError
from installer.look.inventory import Inventory, Observed, replica_state
from installer.look.preflight import check_host
from installer.media import Media
from installer.ownimages import OwnImage
from installer.performers import Host, Incoming, Performer
from installer.performers.host import Door
from installer.plan.plan import Plan
from installer.plan.planning import Lacking, Scene, Translate
from installer.registry.access import docker_config_folder, registry_client
from installer.registry.holding import held
from installer.site.names import Colour, Names
from installer.site.rendering import base_folder, nets_of
from installer.site.site import Site
from installer.state.releases import RENDERED, load_committed, release_folder
from installer.state.state import ProductState, ReleaseRef, SiteState
from installer.talk import Talk
from installer.targets.compose import ComposeTarget
from installer.trust.admission import UNCONDITIONAL, Admitted


@dataclass(frozen=True)
class Coming:
    """The release that shall serve, from media or kept: its base's digest, the secrets that must be copied, how it
    came in."""

    release: Release
    ref: ReleaseRef
    base_digest: str | None
    secrets: tuple[str, ...] = ()
    admitted: Admitted = UNCONDITIONAL
    carried: Mapping[str, OwnImage] = field(default_factory=dict)


@dataclass(frozen=True)
class ComposeDriver:
    """One Docker host, reached."""

    host: Host
    inventory: Inventory

    def observe(self, product: str | None = None) -> Observed:
        """Containers and networks of this state dir."""
        return self.host.inventory.observe(product)

    def door(self) -> Mapping[str, Colour]:
        """Where the front door leads now."""
        return door_of(self.host.edge)

    def performer(self, incoming: Incoming | None = None) -> Performer:
        """Does actions on this host."""
        return Performer(self.host, incoming)

    def preflight(self, scene: Scene) -> tuple[str, ...]:
        """Ports and room on the disks."""
        return check_host(scene, self.inventory)

    def holds(self, releases: Iterable[Release]) -> frozenset[str]:
        """What the site's registry has of ``releases``. Raises ``registry-*`` (9), ``secret-missing`` (7)."""
        return held(registry_client(self.host.site, self.host.state_dir), releases)

    def refuse_groundless(self, media: Media, plan: Plan, scene: Scene) -> None:
        """Refuse a delta that this site cannot complete. Raises as :func:`installer.deltas.refuse_groundless` does."""
        refuse_groundless(media, plan, scene, lambda: registry_client(scene.site, scene.state_dir))

    def look(self, state: SiteState, product: ProductState, coming: Coming) -> Scene:
        """Everything a plan depends on. Raises ``kept-release-damaged`` (4), ``certificate-missing`` (7)."""
        site, state_dir = self.host.site, self.host.state_dir
        compose = compose_for(coming.release, site, state_dir)
        return scene_of(self.host, state, product, coming, translator(self.host, product, compose))

    def serves(self, product: ProductState, ref: ReleaseRef) -> bool:
        """Whether just this release serves already, whole and healthy."""
        return serves(self.host, product, ref)


@contextmanager
def compose_host(state_dir: Path, site: Site, talk: Talk) -> Iterator[ComposeDriver]:
    """Reach the Docker engine of a site. Raises ``engine-missing`` (7)."""
    with Inventory(site.target.engine, Names.of(state_dir)) as inventory:
        inventory.engine()
        yield ComposeDriver(Host(state_dir, site, talk, inventory), inventory)


def translator(host: Host, product: ProductState, compose: tuple[str, ...]) -> Translate:
    """Says for each release of the product what Compose is to do; ``compose`` is how it is called."""

    def translate(release: Release, ref: ReleaseRef, base_digest: str | None) -> ComposeTarget:
        folder = release_folder(host.state_dir, ref) / RENDERED
        return ComposeTarget(
            names=host.names,
            release=release,
            site=host.site,
            folder=folder,
            base_folder=base_folder(host.state_dir, release.product, base_digest) if base_digest else folder,
            nets=nets_of(host.site, product.index),
            compose_argv=compose,
            docker_config=docker_config_folder(host.site, host.state_dir),
        )

    return translate


def scene_of(host: Host, state: SiteState, product: ProductState, coming: Coming, translate: Translate) -> Scene:
    """The scene, whatever the kind of target. Raises ``kept-release-damaged`` (4), ``certificate-missing`` (7)."""
    return Scene(
        state_dir=host.state_dir,
        site=host.site,
        state=state,
        product=product,
        release=coming.release,
        ref=coming.ref,
        old_release=load_committed(host.state_dir, product.current).release if product.current else None,
        base_digest=coming.base_digest,
        secrets=coming.secrets,
        pems=_pems(coming.release, host.site),
        translate=translate,
        carried=coming.carried,
        lacking=Lacking(
            registry=not host.registry_runs(),
            edge=state.edge is None or not host.edge().running(),
        ),
        admitted=coming.admitted,
    )


def door_of(reach: Callable[[], Door]) -> Mapping[str, Colour]:
    """Where the front door leads now, by product; empty where it does not answer."""
    try:
        edge = reach()
        return edge.colours() if edge.running() else {}
    except SealiftError:  # there is none yet, or it starts just now
        return {}


def serves(host: Host, product: ProductState, ref: ReleaseRef) -> bool:
    """Whether just this release serves already, whole and healthy."""
    if product.current != ref or product.active is None:
        return False
    replicas = host.inventory.observe(product.product).of(product.product, product.active)
    edge = host.edge()
    if not replicas or not edge.running() or edge.colours().get(product.product) != product.active:
        return False
    return all(replica_state(replica, time.time()) in ("healthy", "completed") for replica in replicas)


def _pems(release: Release, site: Site) -> dict[str, str]:
    bindings = {name: site.binding(release.product, name) for name in release.entry_points}
    return {
        name: read_pem(release.product, name, binding.tls.certificate, binding.tls.key)[0]
        for name, binding in bindings.items()
        if binding is not None and binding.tls is not None
    }
