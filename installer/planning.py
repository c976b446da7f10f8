"""From what is known about a site to a plan. Decides; reads nothing and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from installer import frontdoor
from installer.actions import Certificate, InstallCertificates
from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.names import Colour, Names, other
from installer.plan import Plan, Step, Strategy
from installer.questions import questions
from installer.registry.access import docker_config_folder
from installer.releases import RENDERED, release_folder
from installer.rendering import addresses_of, base_folder, nets_of
from installer.site import Site
from installer.state import ProductState, ReleaseRef, SiteState
from installer.steps import Builder
from installer.strategy.bluegreen import blue_green
from installer.strategy.rolling import rolling
from installer.targets.compose import ComposeTarget

_STRATEGIES: Final[dict[Strategy, Callable[[Builder], tuple[Step, ...]]]] = {
    "blue-green": blue_green,
    "rolling": rolling,
}


@dataclass(frozen=True)
class Lacking:
    """What of the site's own services does not run and must be started."""

    registry: bool
    edge: bool


@dataclass(frozen=True)
class Scene:
    """Everything a plan depends on.

    ``old_release`` is the one that serves; ``pems`` name certificate files by entry point; ``compose_argv`` is how
    Compose is called; ``base_digest`` names the content of the new base, None where nothing is stateful.
    """

    state_dir: Path
    site: Site
    state: SiteState
    product: ProductState
    release: Release
    ref: ReleaseRef
    old_release: Release | None
    base_digest: str | None
    secrets: tuple[str, ...]
    pems: Mapping[str, str]
    compose_argv: tuple[str, ...]
    lacking: Lacking

    @property
    def colour(self) -> Colour:
        """Where the new release goes: beside what serves."""
        return other(self.product.active) if self.product.active else "blue"

    def target(self, release: Release, ref: ReleaseRef, base_digest: str | None) -> ComposeTarget:
        """The translator for a release on this site."""
        folder = release_folder(self.state_dir, ref) / RENDERED
        return ComposeTarget(
            names=Names.of(self.state_dir),
            release=release,
            site=self.site,
            folder=folder,
            base_folder=base_folder(self.state_dir, release.product, base_digest) if base_digest else folder,
            nets=nets_of(self.site, self.product.index),
            compose_argv=self.compose_argv,
            docker_config=docker_config_folder(self.site, self.state_dir),
        )


def plan_upgrade(scene: Scene, strategy: str | None, *, from_media: bool) -> Plan:
    """The plan from what serves to ``scene.release``. Raises ``strategy-unsupported`` (6) and what a site lacks (7)."""
    wanted = _chosen(strategy or scene.site.strategy or scene.release.strategy)
    builder = _builder(scene, wanted, from_media=from_media)
    return Plan(
        kind="install" if from_media else "rollback",
        product=scene.release.product,
        strategy=wanted,
        old=scene.product.current,
        new=scene.ref,
        colour=scene.colour,
        steps=_STRATEGIES[wanted](builder),
    )


def _chosen(wanted: str) -> Strategy:
    for name in _STRATEGIES:
        if name == wanted:
            return name
    raise SealiftError(
        "strategy-unsupported",
        f"there is no strategy {wanted} on a compose host",
        hint=f"use one of: {', '.join(_STRATEGIES)}",
    )


def _builder(scene: Scene, strategy: Strategy, *, from_media: bool) -> Builder:
    release, product, site = scene.release, scene.product, scene.site
    fronts = frontdoor.frontends(release, site, product.index, scene.pems)
    placed: dict[str, list[str]] = {}
    for (service, _), address in sorted(addresses_of(release, site, product.index, scene.colour).items()):
        placed.setdefault(service, []).append(address)
    old_target = None
    if scene.old_release is not None and product.current is not None:
        old_target = scene.target(scene.old_release, product.current, product.base_digest)
    return Builder(
        site=site,
        names=Names.of(scene.state_dir),
        state=scene.state,
        product=product,
        release=release,
        ref=scene.ref,
        colour=scene.colour,
        target=scene.target(release, scene.ref, scene.base_digest),
        old_target=old_target,
        fronts=fronts,
        backs=frontdoor.backends(release, scene.colour, placed),
        certificates=_certificates(release, site),
        questions=questions(release, fronts, preview=True),
        door_questions=questions(release, fronts, preview=False),
        edge=_own_image("haproxy", release.edge.haproxy, lacking=scene.lacking.edge, kept=scene.state.edge is not None),
        registry=_own_image(
            "registry", release.edge.registry, lacking=scene.lacking.registry, kept=scene.state.registry is not None
        ),
        from_media=from_media,
        strategy=strategy,
        base_digest=scene.base_digest,
        secrets=scene.secrets,
        now=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _own_image(what: str, carried: str | None, *, lacking: bool, kept: bool) -> str | None:
    """The image to start a service of the site's from, or None where it runs. Raises ``edge-failed`` (9)."""
    if not lacking:
        return None
    if carried is None and not kept:
        raise SealiftError(
            "edge-failed",
            f"this host has no {what} yet, and the bundle carries none",
            hint="build the bundle with `edge:` in its manifest, or name a registry of the site's in site.yaml",
        )
    return carried or what


def _certificates(release: Release, site: Site) -> InstallCertificates | None:
    found = []
    for entry in sorted(release.entry_points):
        binding = site.binding(release.product, entry)
        if binding is not None and binding.tls is not None:
            tls = binding.tls
            found.append(
                Certificate(product=release.product, entry=entry, certificate=str(tls.certificate), key=str(tls.key))
            )
    return InstallCertificates(certificates=tuple(found)) if found else None


def choose_product(state: SiteState, wanted: str | None) -> ProductState:
    """The product that is meant. Raises ``not-initialised`` or ``bad-option`` (2)."""
    if wanted is None and len(state.products) == 1:
        return next(iter(state.products.values()))
    if wanted is not None and wanted in state.products:
        return state.products[wanted]
    if not state.products:
        raise SealiftError("not-initialised", "nothing is installed here", hint="install a release first")
    raise SealiftError(
        "bad-option",
        f"which product: {', '.join(sorted(state.products))}" if wanted is None else f"{wanted} is not installed here",
        hint="name it with --product",
    )


def rollback_target(product: ProductState, kept: Collection[ReleaseRef], to: str | None) -> ReleaseRef:
    """The kept release to go back to. Raises ``nothing-to-roll-back`` or ``unknown-release`` (2)."""
    if to is None:
        if product.previous is None:
            raise SealiftError(
                "nothing-to-roll-back",
                f"{product.product} has no release to go back to",
                hint="sealift status shows what runs",
            )
        return product.previous
    version = to.removeprefix("v")
    found = [ref for ref in kept if ref.version == version and ref != product.current]
    if len(found) != 1:
        there = ", ".join(sorted(ref.version for ref in kept if ref != product.current)) or "none"
        raise SealiftError(
            "unknown-release",
            f"{product.product} {version} is not kept here, or serves already (kept: {there})",
            hint="install it from its media",
        )
    return found[0]
