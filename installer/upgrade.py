"""The whole upgrade, in the order of the design: lock, observe, plan, preflight, then the loop that acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.durable import tidy
from installer.errors import SealiftError
from installer.execute import Executor, Recovered
from installer.look.observing import Coming, compose_host
from installer.look.reality import refuse_outdated
from installer.media import Media
from installer.ownimages import own_images
from installer.performers import Incoming
from installer.plan.driver import Connect, Driver, Performer
from installer.plan.plan import Kind, Plan
from installer.plan.planning import Scene, choose_product, plan_upgrade, rollback_target
from installer.plan.sittingplans import plan_stage
from installer.plan.steps import OnTrial
from installer.program.handover import hand_over
from installer.report import Outcome
from installer.site.rendering import BASE_DIGEST_FILE, render_release, wanted_secrets
from installer.site.secretfiles import planned_secrets
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import locked, user
from installer.state.releases import RENDERED, add_signatures, list_kept, load_trusted, ref_of
from installer.state.state import ProductState, ReleaseRef, SiteState, copies, load_state
from installer.talk import Talk
from installer.trust.admission import Admitted
from installer.trust.clock import raised
from installer.trust.entrance import Entrance, open_here, refuse_lost
from installer.trust.store import load_policy, update

_WRITTEN: Final = ("trust", "trials", "permits", "archives", "secrets", "secrets/*", "releases/*", "base/*", "tools/*")
"""Where below the state dir a run writes files of its own; the front door tidies up after itself."""

Approve = Callable[[str], bool]
_BACK: Final = (("rollback", True), ("fallback", True), ("install", False), ("switch", False))
"""Kinds of plans that have brought a product back once they are finished, or taken back."""
_RESULTS: Final[dict[Kind, str]] = {
    "install": "installed",
    "switch": "installed",
    "stage": "staged",
    "unstage": "unstaged",
    "confirm": "confirmed",
}


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    state_dir: Path
    site_file: Path
    media: Path
    strategy: str | None = None
    quick: bool = False
    dry_run: bool = False
    permit: Path | None = None
    stage: bool = False
    within: float | None = None


@dataclass(frozen=True)
class Work:
    """What a verb works with while it holds the lock. ``recovered`` is what was found unfinished, and is at its end."""

    driver: Driver
    state: SiteState
    recovered: Recovered | None


def upgrade(request: Request, talk: Talk, approve: Approve, connect: Connect = compose_host) -> Outcome:
    """Bring the release of a bundle into service. Raises every refusal; an upgrade taken back is in the outcome."""
    began = time.monotonic()
    state_dir = request.state_dir
    media = open_here(request.media, state_dir, talk.ask_for_disc)
    policy = media.verified.policy  # of the newest root that the media leads to
    for item in media.passed_over:
        (talk.say if item.is_by_a_stranger else talk.warn)(item.line())
    release = media.release
    name = f"{release.product} {release.version}"
    talk.say(f"{name}, signed by {', '.join(signer.name for signer in media.verified.signers)}")
    site = load_site(request.site_file)
    with at_work(request.state_dir, site, talk, f"install {name}", connect, dry_run=request.dry_run) as work:
        driver, state = work.driver, work.state
        product = state.product(release.product, site.channel)
        refuse_on_trial(product)
        if not request.dry_run:
            _take_signatures(media, state_dir, talk)
        entrance = Entrance(request.state_dir, state, policy, release, driver.observe)
        admitted = entrance.admit(product, site, request.permit)
        hand_over(media, policy, request.state_dir, talk, dry_run=request.dry_run)
        findings = entrance.findings(request.permit, admitted)
        for finding in findings:
            talk.warn(f"{finding.message} ({finding.hint})")
        incoming = _render(media, site, request, product)
        rendered = incoming.rendered
        ref = ref_of(media.verified, rendered.files)
        if driver.serves(product, ref):
            if not request.dry_run:
                _adopt_roots(media, state_dir, talk)
            return outcome_of("unchanged", product, ref, began).noting(findings)
        coming = Coming(release, ref, rendered.base_digest, rendered.secrets, admitted, own_images(media))
        scene = driver.look(state, product, coming)
        plan = _planned(scene, request)
        driver.refuse_groundless(media, plan, scene)
        for warning in (*rendered.warnings, *driver.preflight(scene)):
            talk.warn(warning)
        if request.dry_run:
            return outcome_of("planned", product, ref, began, plan).noting(findings)
        if not approve(f"{plan.headline}: go on?"):
            raise SealiftError("interrupted", "nothing was changed", hint="answer y, or use --yes")
        _adopt_roots(media, state_dir, talk)
        done = carry_out(plan, product, driver.performer(incoming), request.state_dir, talk, began)
        return done.noting(findings)


def rollback(
    state_dir: Path,
    site_file: Path,
    talk: Talk,
    *,
    to: str | None,
    product: str | None,
    dry_run: bool,
    connect: Connect = compose_host,
) -> Outcome:
    """Back to a release that this host has run and kept. Raises ``nothing-to-roll-back``, ``unknown-release`` (2).

    A rollback that was cut off is finished, and an upgrade that was cut off is taken back; then nothing more is done.
    """
    began = time.monotonic()
    policy = load_policy(state_dir)
    site = load_site(site_file)
    with at_work(state_dir, site, talk, "rollback", connect, dry_run=dry_run) as work:
        driver, state = work.driver, work.state
        refuse_lost(state_dir, driver.observe)
        current = choose_product(state, product)
        if work.recovered is not None and _went_back(work.recovered, current, to) and current.current is not None:
            return outcome_of("rolled-back", current, current.current, began, work.recovered.plan)
        if to is not None:
            refuse_on_trial(current)
        ref = rollback_target(current, list_kept(state_dir, current.product), to)
        kept = load_trusted(state_dir, ref, policy)
        note = kept.folder / RENDERED / BASE_DIGEST_FILE
        base_digest = note.read_text() if note.exists() else None
        admitted = Admitted(policy.epoch, floor=raised(state.floor, kept.release, policy))
        scene = driver.look(state, current, Coming(kept.release, ref, base_digest, admitted=admitted))
        plan = plan_upgrade(scene, None, from_media=False, by=user())
        if dry_run:
            return outcome_of("planned", current, ref, began, plan)
        return carry_out(plan, current, driver.performer(), state_dir, talk, began)


def _take_signatures(media: Media, state_dir: Path, talk: Talk) -> None:
    """Give the kept copies of this release the signatures that they lack, whatever becomes of the installation.

    So a release that was signed by keys of the past only can be gone back to, once others have signed it too.
    """
    for ref in list_kept(state_dir, media.release.product):
        if ref.digest == str(media.verified.digest) and add_signatures(state_dir, ref, media.verified):
            talk.say(f"the kept {ref} has taken signatures from the media")


def _adopt_roots(media: Media, state_dir: Path, talk: Talk) -> None:
    """Put the newest root of the media in force, now that its release is let in."""
    before = load_policy(state_dir).root_version
    after = update(state_dir, media.roots, f"{media.bundle.name}: ").root_version
    if after != before:
        talk.say(f"the root of trust is version {after} now; it was {before}")


def _went_back(recovered: Recovered, product: ProductState, to: str | None) -> bool:
    """Whether finishing what was cut off has brought the product to where a rollback was to bring it.

    Without this, a rollback that was killed after its switch, and is asked for again, would go forward again.
    """
    plan = recovered.plan
    if plan.product != product.product or product.current is None:
        return False
    asked = to is None or to.removeprefix("v") == product.current.version
    return asked and (plan.kind, recovered.done) in _BACK


def recover(state_dir: Path, driver: Driver, talk: Talk) -> Recovered | None:
    """Bring a run that was cut off to its end, forwards or backwards, before anything else is done."""
    journal = Journal(state_dir)
    run = journal.unfinished()
    return Executor(journal, driver.performer(), talk.say).recover(run) if run is not None else None


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
def at_work(
    state_dir: Path,
    site: Site,
    talk: Talk,
    doing: str,
    connect: Connect,
    *,
    dry_run: bool = False,
    trusting: bool = True,
) -> Iterator[Work]:
    """Hold the lock, reach the target, and have no unfinished run behind us, and a state that what runs bears out.

    Not ``trusting``: the state may be older than what runs, for all of it goes.
    """
    with locked(state_dir, doing), connect(state_dir, site, talk) as driver:
        Journal(state_dir).check()
        for place, whole in copies(state_dir).items():
            if place.exists() and not whole:
                talk.warn(f"{place} is damaged; the other copy is whole and as new as the journal knows")
        if dry_run:
            _refuse_unfinished(state_dir)
        tidy(state_dir, *(place for pattern in _WRITTEN for place in state_dir.glob(pattern)))
        run = Journal(state_dir).unfinished()
        if run is not None and trusting:
            plan = Plan.model_validate_json(run.intent)
            refuse_outdated(state_dir, load_state(state_dir), driver.observe(), {}, plan)
        recovered = recover(state_dir, driver, talk)
        state = load_state(state_dir)
        if trusting:
            refuse_outdated(state_dir, state, driver.observe(), driver.door())
        yield Work(driver, state, recovered)


def _planned(scene: Scene, request: Request) -> Plan:
    if request.stage:
        return plan_stage(scene, request.strategy, by=user())
    within = OnTrial(request.within, str(request.site_file.absolute())) if request.within else None
    return plan_upgrade(scene, request.strategy, from_media=True, within=within, by=user())


def refuse_on_trial(product: ProductState) -> None:
    """Raises ``unconfirmed`` (12): both colours are needed until it is settled which of them stays."""
    if product.trial is not None and product.current is not None and product.previous is not None:
        raise SealiftError(
            "unconfirmed",
            f"{product.current} has not been confirmed yet, and {product.previous.version} waits to come back",
            hint="sealift confirm keeps it, sealift rollback goes back; then run this again",
        )


def _render(media: Media, site: Site, request: Request, product: ProductState) -> Incoming:
    """Everything the release will need on this site, checked; writes nothing."""
    release = media.release
    names = wanted_secrets(release, site, request.state_dir, media.files)
    secrets = planned_secrets(site, release.product, names, request.state_dir)
    rendered = render_release(release, site, request.state_dir, product.index, media.files, secrets)
    return Incoming(media, rendered, request.quick)


def carry_out(
    plan: Plan, product: ProductState, performer: Performer, state_dir: Path, talk: Talk, began: float
) -> Outcome:
    """Walk the plan. What was taken back is in the outcome, every other failure is raised."""
    talk.say(plan.headline)
    try:
        Executor(Journal(state_dir), performer, talk.say).execute(plan)
    except SealiftError as error:
        if error.id != "upgrade-rolled-back":
            raise
        return outcome_of("rolled-back", product, _new(plan), began, plan, error)
    result = _RESULTS.get(plan.kind, "rolled-back")
    return outcome_of(result, load_state(state_dir).products[plan.product], _new(plan), began, plan)


def _new(plan: Plan) -> ReleaseRef:
    assert plan.new is not None  # noqa: S101 - only a removal leads to nothing
    return plan.new


def outcome_of(
    result: str,
    product: ProductState,
    ref: ReleaseRef,
    began: float,
    plan: Plan | None = None,
    error: SealiftError | None = None,
) -> Outcome:
    """How it ended; ``product`` is as it is now."""
    before = product.current if error is not None else product.previous
    return Outcome(
        result=result,
        product=ref.product,
        version=ref.version,
        strategy=plan.strategy if plan and plan.strategy else product.strategy,
        active=product.active,
        previous=before.version if before else None,
        steps=len(plan.steps) if plan else 0,
        seconds=time.monotonic() - began,
        plan=plan,
        error=error,
    )
