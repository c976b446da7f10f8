"""What the planner needs to know of this host, looked up: what runs, what is missing, which files stand where."""

from __future__ import annotations

import time
from dataclasses import dataclass

from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.compose import compose_for
from installer.edge.files import read_pem
from installer.inventory import replica_state
from installer.performers.host import Host, site_edge
from installer.planning import Lacking, Scene
from installer.registry.bundled import BundledService
from installer.releases import load_kept
from installer.site import Site
from installer.state import ProductState, ReleaseRef, SiteState


@dataclass(frozen=True)
class Coming:
    """The release that shall serve, from media or kept: its base's digest, and the secrets that must be copied."""

    release: Release
    ref: ReleaseRef
    base_digest: str | None
    secrets: tuple[str, ...] = ()


def look(host: Host, state: SiteState, product: ProductState, coming: Coming, policy: TrustPolicy) -> Scene:
    """Everything a plan depends on. Raises ``kept-release-damaged`` (4), ``certificate-missing`` (7)."""
    site, state_dir, release = host.site, host.state_dir, coming.release
    bundled = site.registry.bundled
    registry = BundledService.of(state_dir, bundled.listen, site.target.engine) if bundled else None
    return Scene(
        state_dir=state_dir,
        site=site,
        state=state,
        product=product,
        release=release,
        ref=coming.ref,
        old_release=load_kept(state_dir, product.current, policy).release if product.current else None,
        base_digest=coming.base_digest,
        secrets=coming.secrets,
        pems=_pems(release, site),
        compose_argv=compose_for(release, site, state_dir),
        lacking=Lacking(
            registry=registry is not None and not registry.is_running(),
            edge=state.edge is None or not site_edge(state_dir, site).running(),
        ),
    )


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
