"""From what is known about a site to a plan. Decides; reads nothing and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.look.questions import questions
from installer.ownimages import OwnImage
from installer.plan import frontdoor
from installer.plan.actions import Certificate, InstallCertificates, ReturnPermit, UsePermit
from installer.plan.plan import Plan, Step, Strategy
from installer.plan.sittingsteps import settled
from installer.plan.steps import Builder, OnTrial
from installer.site.names import Colour, Names, other
from installer.site.rendering import addresses_of
from installer.site.site import Site
from installer.state.state import ProductState, ReleaseRef, SiteState
from installer.strategy.bluegreen import blue_green
from installer.strategy.rolling import rolling
from installer.strategy.takeoff import Leaving, take_off
from installer.targets.target import Target
from installer.trust.admission import UNCONDITIONAL, Admitted
from installer.trust.marks import Marks

_STRATEGIES: Final[dict[Strategy, Callable[[Builder], tuple[Step, ...]]]] = {
    "blue-green": blue_green,
    "rolling": rolling,
}


@dataclass(frozen=True)
class Lacking:
    """What of the site's own services does not run and must be started."""

    registry: bool
    edge: bool


Translate = Callable[[Release, ReleaseRef, str | None], Target]
"""The translator for a release that is kept under a reference, with the digest of its base."""


@dataclass(frozen=True)
class Scene:
    """Everything a plan depends on.

    ``old_release`` is the one that serves; ``pems`` name certificate files by entry point; ``translate`` knows
    the words of the site's target; ``base_digest`` names the content of the new base, None where nothing is stateful;
    ``carried`` are the images of front door and registry on the media.
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
    translate: Translate
    lacking: Lacking
    admitted: Admitted = UNCONDITIONAL
    carried: Mapping[str, OwnImage] = field(default_factory=dict)

    @property
    def colour(self) -> Colour:
        """Where the new release goes: beside what serves."""
        return other(self.product.active) if self.product.active else "blue"


def plan_upgrade(
    scene: Scene, strategy: str | None, *, from_media: bool, within: OnTrial | None = None, by: str = ""
) -> Plan:
    """The plan from what serves to ``scene.release``. Raises ``strategy-unsupported`` (6) and what a site lacks (7).

    ``within``: the old release comes back, unless the new one is confirmed. ``by`` is who asked. A plan
    back from a release on trial finds the old one up.
    """
    standing = scene.product.trial is not None and not from_media
    wanted = "blue-green" if standing else _chosen(strategy or scene.site.strategy or scene.release.strategy)
    if within is not None:
        refuse_trial(scene, wanted)
    builder = builder_of(scene, wanted, from_media=from_media, standing=standing, within=within, by=by)
    return Plan(
        kind="install" if from_media else "rollback",
        product=scene.release.product,
        strategy=wanted,
        old=scene.product.current,
        new=scene.ref,
        colour=scene.colour,
        by=by,
        steps=(*use_permit(scene), *_STRATEGIES[wanted](builder)),
    )


def plan_removal(scene: Scene, *, volumes: bool) -> Plan:
    """The plan from what serves to nothing, of ``scene.product``. It can't be taken back."""
    leaving = Leaving(
        site=scene.site,
        names=Names.of(scene.state_dir),
        state=scene.state,
        product=scene.product,
        target=scene.translate(scene.release, scene.ref, scene.product.base_digest),
        volumes=volumes,
        silent=scene.lacking.edge,
    )
    return Plan(
        kind="remove",
        product=scene.product.product,
        strategy=None,
        old=scene.ref,
        new=None,
        colour=None,
        steps=take_off(leaving),
        one_way=True,
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


def refuse_trial(scene: Scene, strategy: Strategy) -> None:
    """A trial needs an old release that stays up. Raises ``nothing-to-roll-back`` (2), ``strategy-unsupported`` (6)."""
    if scene.product.current is None:
        raise SealiftError(
            "nothing-to-roll-back",
            "a first installation has nothing that could come back without a confirmation",
            hint="install it without --confirm-within",
        )
    if strategy != "blue-green":
        raise SealiftError(
            "strategy-unsupported",
            "--confirm-within needs an old release that stays up, and rolling takes its place",
            hint="use --strategy blue-green",
        )


def use_permit(scene: Scene) -> tuple[Step, ...]:
    """A permit's id is used up before anything is touched, and given back when all is taken back."""
    verified = scene.admitted.permit
    if verified is None:
        return ()
    permit = verified.permit
    signed_by = tuple(signer.as_json() for signer in verified.signers)
    signatures = tuple(one.decode() for one in verified.signatures)
    use = Step(
        name="permit",
        intent=f"use up the permit {permit.id}, which lets {scene.release.version} in",
        prepares=True,
        actions=(UsePermit(permit=permit, signed_by=signed_by, signatures=signatures),),
        undo=(ReturnPermit(permit=permit),),
    )
    return (use,)


def builder_of(
    scene: Scene,
    strategy: Strategy,
    *,
    from_media: bool,
    standing: bool = False,
    within: OnTrial | None = None,
    marks: Marks | None = None,
    by: str = "",
) -> Builder:
    """Everything a strategy builds its steps from. Raises what a site lacks (7)."""
    release, product, site = scene.release, scene.product, scene.site
    entries = frozenset(scene.old_release.entry_points) if scene.old_release else frozenset[str]()
    fronts = frontdoor.frontends(release, site, product.index, scene.pems)
    placed: dict[str, list[str]] = {}
    for (service, _), address in sorted(addresses_of(release, site, product.index, scene.colour).items()):
        placed.setdefault(service, []).append(address)
    old_target = None
    if scene.old_release is not None and product.current is not None:
        old_target = scene.translate(scene.old_release, product.current, product.base_digest)
    return Builder(
        site=site,
        names=Names.of(scene.state_dir),
        state=settled(scene.state, product, entries),
        product=product,
        release=release,
        ref=scene.ref,
        colour=scene.colour,
        target=scene.translate(release, scene.ref, scene.base_digest),
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
        carried=scene.carried,
        from_media=from_media,
        strategy=strategy,
        base_digest=scene.base_digest,
        secrets=scene.secrets,
        now=datetime.now(UTC).isoformat(timespec="seconds"),
        admitted=scene.admitted,
        by=by,
        standing=standing,
        within=within,
        marks=marks,
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
    never_ran = product.staged.release if product.staged else None
    kept = [ref for ref in kept if ref != never_ran]
    found = [ref for ref in kept if ref.version == version and ref != product.current]
    if len(found) != 1:
        there = ", ".join(sorted(ref.version for ref in kept if ref != product.current)) or "none"
        raise SealiftError(
            "unknown-release",
            f"{product.product} {version} is not kept here, or serves already (kept: {there})",
            hint="install it from its media",
        )
    return found[0]
