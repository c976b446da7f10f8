"""The whole upgrade, in the order of the design: lock, observe, plan, preflight, then the loop that acts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installer import __version__
from installer.addresses import refuse_overlap
from installer.admission import admit
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.compose import compose_for
from installer.durable import tidy
from installer.edge.files import read_pem
from installer.errors import SealiftError
from installer.execute import Executor
from installer.frontdoor import frontends
from installer.inventory import Inventory, replica_state
from installer.journal import Journal
from installer.lock import locked
from installer.media import Media, open_media
from installer.names import Names
from installer.performers import Host, Incoming, Performer
from installer.performers.host import site_edge
from installer.plan import Plan
from installer.planning import Lacking, Scene, choose_product, plan_upgrade, rollback_target
from installer.preflight import check_disk, check_ports
from installer.registry.access import registry_client
from installer.registry.bundled import BundledService
from installer.registry.images import bytes_needed
from installer.registry.load import missing_blobs
from installer.releases import RENDERED, list_kept, load_kept, ref_of
from installer.rendering import BASE_DIGEST_FILE, render_release, wanted_secrets
from installer.report import Outcome
from installer.secretfiles import planned_secrets
from installer.site import Site, load_site
from installer.state import ProductState, ReleaseRef, SiteState, load_state
from installer.talk import Talk
from installer.truststore import load_policy

Approve = Callable[[str], bool]


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    state_dir: Path
    site_file: Path
    media: Path
    strategy: str | None = None
    quick: bool = False
    dry_run: bool = False


def upgrade(request: Request, talk: Talk, approve: Approve) -> Outcome:
    """Bring the release of a bundle into service. Raises every refusal; an upgrade taken back is in the outcome."""
    began = time.monotonic()
    policy = load_policy(request.state_dir)
    media = open_media(request.media, policy)
    release = media.release
    name = f"{release.product} {release.version}"
    talk.say(f"{name}, signed by {', '.join(signer.name for signer in media.verified.signers)}")
    site = load_site(request.site_file)
    with _at_work(request.state_dir, site, talk, f"install {name}", request.dry_run) as (inventory, state):
        product = state.product(release.product, site.channel)
        admit(release, product, site, machine=os.uname().machine, program=__version__)
        incoming = _render(media, site, request, product)
        rendered = incoming.rendered
        ref = ref_of(media.verified, rendered.files)
        if _serves(product, ref, inventory, request.state_dir, site):
            return _outcome("unchanged", product, ref, began)
        scene = _scene(
            request.state_dir, site, state, product, release, ref, rendered.base_digest, rendered.secrets, policy
        )
        plan = plan_upgrade(scene, request.strategy, from_media=True)
        for warning in (*rendered.warnings, *_preflight(scene, inventory)):
            talk.warn(warning)
        if request.dry_run:
            return _outcome("planned", product, ref, began, plan)
        if not approve(f"{plan.headline}: go on?"):
            raise SealiftError("interrupted", "nothing was changed", hint="answer y, or use --yes")
        performer = Performer(Host(request.state_dir, site, talk, inventory), incoming)
        return _execute(plan, product, performer, request.state_dir, talk, began)


def rollback(
    state_dir: Path, site_file: Path, talk: Talk, *, to: str | None, product: str | None, dry_run: bool
) -> Outcome:
    """Back to a release that this host has run and kept. Raises ``nothing-to-roll-back``, ``unknown-release`` (2)."""
    began = time.monotonic()
    policy = load_policy(state_dir)
    site = load_site(site_file)
    with _at_work(state_dir, site, talk, "rollback", dry_run) as (inventory, state):
        current = choose_product(state, product)
        ref = rollback_target(current, list_kept(state_dir, current.product), to)
        kept = load_kept(state_dir, ref, policy)
        note = kept.folder / RENDERED / BASE_DIGEST_FILE
        base_digest = note.read_text() if note.exists() else None
        scene = _scene(state_dir, site, state, current, kept.release, ref, base_digest, (), policy)
        plan = plan_upgrade(scene, None, from_media=False)
        if dry_run:
            return _outcome("planned", current, ref, began, plan)
        performer = Performer(Host(state_dir, site, talk, inventory))
        return _execute(plan, current, performer, state_dir, talk, began)


def recover(state_dir: Path, site: Site, talk: Talk, inventory: Inventory) -> None:
    """Bring a run that was cut off to its end, forwards or backwards, before anything else is done."""
    journal = Journal(state_dir)
    run = journal.unfinished()
    if run is not None:
        Executor(journal, Performer(Host(state_dir, site, talk, inventory)), talk.say).recover(run)


def _refuse_unfinished(state_dir: Path) -> None:
    """A plan needs to know where an unfinished run ends, and showing one changes nothing."""
    run = Journal(state_dir).unfinished()
    if run is not None:
        raise SealiftError(
            "run-unfinished",
            f"a run was cut off: {Plan.model_validate_json(run.intent).headline}",
            hint="the next run without --dry-run first finishes it, or takes it back; sealift status shows where it is",
        )


@contextmanager
def _at_work(
    state_dir: Path, site: Site, talk: Talk, doing: str, dry_run: bool
) -> Iterator[tuple[Inventory, SiteState]]:
    """Hold the lock, reach the engine, and have no unfinished run behind us."""
    with (
        locked(state_dir, doing),
        Inventory(site.target.engine, Names.of(state_dir)) as inventory,
    ):
        inventory.engine()
        if dry_run:
            _refuse_unfinished(state_dir)
        tidy(state_dir, state_dir / "trust", state_dir / "secrets")
        recover(state_dir, site, talk, inventory)
        yield inventory, load_state(state_dir)


def _render(media: Media, site: Site, request: Request, product: ProductState) -> Incoming:
    """Everything the release will need on this site, checked; writes nothing."""
    release = media.release
    names = wanted_secrets(release, site, request.state_dir, media.files)
    secrets = planned_secrets(site, release.product, names, request.state_dir)
    rendered = render_release(release, site, request.state_dir, product.index, media.files, secrets)
    return Incoming(media, rendered, request.quick)


def _scene(
    state_dir: Path,
    site: Site,
    state: SiteState,
    product: ProductState,
    release: Release,
    ref: ReleaseRef,
    base_digest: str | None,
    secrets: tuple[str, ...],
    policy: TrustPolicy,
) -> Scene:
    """What the planner needs to know, looked up."""
    bundled = site.registry.bundled
    registry = BundledService.of(state_dir, bundled.listen, site.target.engine) if bundled else None
    return Scene(
        state_dir=state_dir,
        site=site,
        state=state,
        product=product,
        release=release,
        ref=ref,
        old_release=load_kept(state_dir, product.current, policy).release if product.current else None,
        base_digest=base_digest,
        secrets=secrets,
        pems=_pems(release, site),
        compose_argv=compose_for(release, site, state_dir),
        lacking=Lacking(
            registry=registry is not None and not registry.is_running(),
            edge=state.edge is None or not site_edge(state_dir, site).running(),
        ),
    )


def _pems(release: Release, site: Site) -> dict[str, str]:
    bindings = {name: site.binding(release.product, name) for name in release.entry_points}
    return {
        name: read_pem(release.product, name, binding.tls.certificate, binding.tls.key)[0]
        for name, binding in bindings.items()
        if binding is not None and binding.tls is not None
    }


def _preflight(scene: Scene, inventory: Inventory) -> tuple[str, ...]:
    """Refuse before anything is written what would fail later. Returns what could not be checked."""
    facts = inventory.engine()
    refuse_overlap(scene.site.network.subnet, inventory.foreign_routes())
    bundled = scene.site.registry.bundled
    more = [bundled.listen] if bundled and scene.lacking.registry else []
    fronts = frontends(scene.release, scene.site, scene.product.index, scene.pems)
    check_ports(fronts, None if scene.lacking.edge else scene.state.edge_config, more)
    known = bundled is None or not scene.lacking.registry
    client = registry_client(scene.site, scene.state_dir) if known else None
    missing = missing_blobs(client, scene.release) if client else {f"sha256:{part}" for part in scene.release.blobs()}
    unpacked = [blob.digest for image in scene.old_release.images for blob in image.blobs] if scene.old_release else []
    root = Path(facts.data_root) if facts.free_bytes is not None else None
    return check_disk(bytes_needed(scene.release, missing, unpacked), scene.state_dir, root)


def _serves(product: ProductState, ref: ReleaseRef, inventory: Inventory, state_dir: Path, site: Site) -> bool:
    """Whether just this release serves already, whole and healthy."""
    if product.current != ref or product.active is None:
        return False
    replicas = inventory.observe(product.product).of(product.product, product.active)
    edge = site_edge(state_dir, site)
    if not replicas or not edge.running() or edge.colours().get(product.product) != product.active:
        return False
    return all(replica_state(replica, time.time()) in ("healthy", "completed") for replica in replicas)


def _execute(
    plan: Plan, product: ProductState, performer: Performer, state_dir: Path, talk: Talk, began: float
) -> Outcome:
    talk.say(plan.headline)
    try:
        Executor(Journal(state_dir), performer, talk.say).execute(plan)
    except SealiftError as error:
        if error.id != "upgrade-rolled-back":
            raise
        return _outcome("rolled-back", product, plan.new, began, plan, error)
    result = "installed" if plan.kind == "install" else "rolled-back"
    return _outcome(result, load_state(state_dir).products[plan.product], plan.new, began, plan)


def _outcome(
    result: str,
    product: ProductState,
    ref: ReleaseRef,
    began: float,
    plan: Plan | None = None,
    error: SealiftError | None = None,
) -> Outcome:
    before = product.current if error is not None else product.previous
    return Outcome(
        result=result,
        product=ref.product,
        version=ref.version,
        strategy=plan.strategy if plan else product.strategy,
        active=product.active,
        previous=before.version if before else None,
        steps=len(plan.steps) if plan else 0,
        seconds=time.monotonic() - began,
        plan=plan,
        error=error,
    )
