"""The verbs of an upgrade in several sittings: switch what was staged, unstage it, confirm a trial, or let it end."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from installer.errors import SealiftError
from installer.look.observing import Coming, compose_host
from installer.plan.driver import Connect
from installer.plan.planning import Scene, choose_product, plan_upgrade
from installer.plan.sittingplans import plan_confirm, plan_switch, plan_unstage, rewound
from installer.plan.steps import OnTrial
from installer.report import Outcome
from installer.site.rendering import BASE_DIGEST_FILE, render_release, wanted_secrets
from installer.site.secretfiles import planned_secrets
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import user
from installer.state.releases import RENDERED, CommittedRelease, KeptRelease, load_committed, load_trusted, ref_of
from installer.state.state import ProductState, ReleaseRef, Trial, load_state
from installer.talk import Talk
from installer.trial import count, is_due, is_over, load_counted, read_clocks
from installer.trust.admission import Admitted
from installer.trust.clock import raised
from installer.trust.entrance import refuse_lost
from installer.trust.store import load_policy
from installer.upgrade import Work, at_work, carry_out, outcome_of, refuse_on_trial
from installer.watcher import EVERY, INSIDE, Container


def switch(
    state_dir: Path,
    site_file: Path,
    talk: Talk,
    wanted: str | None,
    *,
    within: float | None = None,
    dry_run: bool = False,
    connect: Connect = compose_host,
) -> Outcome:
    """To what was staged. Raises ``nothing-staged`` (2), ``staging-outdated``, ``unconfirmed`` (12)."""
    began = time.monotonic()
    site = load_site(site_file)
    with at_work(state_dir, site, talk, "switch", connect, dry_run=dry_run) as work:
        product = choose_product(work.state, wanted)
        done = work.recovered
        if done is not None and done.done and done.plan.kind == "switch" and done.plan.new is not None:
            return outcome_of("installed", product, done.plan.new, began, done.plan)
        refuse_on_trial(product)
        refuse_lost(state_dir, work.driver.observe)
        staged = product.staged
        if staged is None:
            raise SealiftError("nothing-staged", f"nothing of {product.product} is staged", hint="sealift stage MEDIA")
        kept = load_trusted(state_dir, staged.release, load_policy(state_dir))
        _refuse_outdated(product, kept, site, state_dir)
        scene = _scene(work, product, kept, state_dir)
        trying = OnTrial(within, str(site_file.absolute())) if within else None
        plan = plan_switch(scene, staged, within=trying, by=user())
        if dry_run:
            return outcome_of("planned", product, staged.release, began, plan)
        return carry_out(plan, product, work.driver.performer(), state_dir, talk, began)


def unstage(
    state_dir: Path, site_file: Path, talk: Talk, wanted: str | None, *, connect: Connect = compose_host
) -> Outcome:
    """Take what was staged down again. Raises ``nothing-staged`` (2)."""
    began = time.monotonic()
    with at_work(state_dir, load_site(site_file), talk, "unstage", connect) as work:
        product = choose_product(work.state, wanted)
        done = work.recovered
        if done is not None and done.done and done.plan.kind == "unstage" and done.plan.new is not None:
            return outcome_of("unstaged", product, done.plan.new, began, done.plan)
        staged = product.staged
        if staged is None:
            raise SealiftError("nothing-staged", f"nothing of {product.product} is staged", hint="sealift status")
        kept = load_committed(state_dir, staged.over)
        plan = plan_unstage(_scene(work, product, kept, state_dir), staged, by=user())
        return carry_out(plan, product, work.driver.performer(), state_dir, talk, began)


def confirm(
    state_dir: Path, site_file: Path, talk: Talk, wanted: str | None, *, connect: Connect = compose_host
) -> Outcome:
    """Keep what is on trial. Raises ``nothing-to-confirm`` (2), ``confirm-too-late`` (12)."""
    began = time.monotonic()
    with at_work(state_dir, load_site(site_file), talk, "confirm", connect) as work:
        product = choose_product(work.state, wanted)
        done = work.recovered
        if done is not None and done.done and done.plan.kind == "confirm" and done.plan.new is not None:
            return outcome_of("confirmed", product, done.plan.new, began, done.plan)
        trial = product.trial
        if trial is None or product.current is None:
            raise SealiftError(
                "nothing-to-confirm", f"nothing of {product.product} waits for a word", hint="sealift status"
            )
        if is_over(trial, load_counted(state_dir, product.product, trial), read_clocks()):
            raise SealiftError(
                "confirm-too-late",
                f"the time to confirm {product.current} is over: {product.previous} is coming back",
                hint="install it again where it shall stay after all",
            )
        kept = load_committed(state_dir, product.current)
        plan = plan_confirm(_scene(work, rewound(product), kept, state_dir), product, by=user())
        return carry_out(plan, product, work.driver.performer(), state_dir, talk, began)


def expire(state_dir: Path, site_file: Path, talk: Talk, *, connect: Connect = compose_host) -> list[Outcome]:
    """One look: bring back what nobody confirmed in time, and finish a run that was cut off.

    Raises what keeps it from that; the next look tries again.
    """
    now, ended = read_clocks(), []
    trials = {name: product.trial for name, product in load_state(state_dir).products.items() if product.trial}
    due = [name for name, trial in trials.items() if is_due(trial, count(state_dir, name, trial, now), now)]
    run = Journal(state_dir).unfinished()
    if not due and (run is None or run.outcome):
        return []
    with at_work(state_dir, load_site(site_file), talk, "expire", connect) as work:
        for name in due:
            product = load_state(state_dir).products.get(name)
            if product is not None and product.trial == trials[name]:
                ended.append(_fall_back(state_dir, work, product, trials[name], talk))
    return ended


def await_end(state_dir: Path, site_file: Path, talk: Talk, *, connect: Connect = compose_host) -> None:
    """Look again and again, until nothing is on trial and no run is under way."""
    while is_needed(state_dir):
        with suppress(SealiftError, OSError):
            for outcome in expire(state_dir, site_file, talk, connect=connect):
                talk.say(f"{outcome.result}: {outcome.product} {outcome.version}")
        time.sleep(EVERY)


def is_needed(state_dir: Path) -> bool:
    """Whether anything is, or is about to be, on trial."""
    try:
        run = Journal(state_dir).unfinished()
        return run is not None or any(product.trial for product in load_state(state_dir).products.values())
    except (SealiftError, OSError):  # it cannot be told now
        return True


def leave(state_dir: Path, site_file: Path, talk: Talk) -> None:
    """Nothing is left to look at, such as after a removal: the looking container, or the timer, takes itself away."""
    site = load_site(site_file)
    with suppress(SealiftError), compose_host(state_dir, site, talk) as driver:
        watcher = driver.host.watcher()
        if isinstance(watcher, Container):
            watcher.end()
        else:
            watcher.disarm()


def is_container() -> bool:
    """Whether we are the container that looks."""
    return INSIDE in os.environ


def _fall_back(state_dir: Path, work: Work, product: ProductState, trial: Trial, talk: Talk) -> Outcome:
    began = time.monotonic()
    assert product.previous is not None  # noqa: S101 - without one there is no trial
    try:
        kept = load_trusted(state_dir, product.previous, load_policy(state_dir))
        work = Work(work.driver, load_state(state_dir), None)
        plan = plan_upgrade(_scene(work, product, kept, state_dir), None, from_media=False, by="nobody confirmed it")
        plan = plan.model_copy(update={"kind": "fallback"})
        outcome = carry_out(plan, product, work.driver.performer(), state_dir, talk, began)
        if outcome.error is not None:
            raise outcome.error
    except SealiftError:
        count(state_dir, product.product, trial, read_clocks(), failed=True)
        raise
    return outcome


def _scene(work: Work, product: ProductState, kept: KeptRelease | CommittedRelease, state_dir: Path) -> Scene:
    policy = load_policy(state_dir)
    note = kept.folder / RENDERED / BASE_DIGEST_FILE
    base_digest = note.read_text() if note.exists() else None
    admitted = Admitted(policy.epoch, floor=raised(work.state.floor, kept.release, policy))
    return work.driver.look(work.state, product, Coming(kept.release, kept.ref, base_digest, admitted=admitted))


def _refuse_outdated(product: ProductState, kept: KeptRelease, site: Site, state_dir: Path) -> None:
    """What was staged must be what would be staged now."""
    staged = product.staged
    assert staged is not None  # noqa: S101 - asked before
    if staged.over != product.current:
        raise _outdated(staged.release, f"it was staged over {staged.over.version}, and {product.current} serves now")
    if kept.release.channel != site.channel:
        why = f"it comes from the channel {kept.release.channel}, and this site follows {site.channel} now"
        raise _outdated(staged.release, why)
    place = kept.folder / "files"
    files = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    names = wanted_secrets(kept.release, site, state_dir, files)
    secrets = planned_secrets(site, product.product, names, state_dir)
    rendered = render_release(kept.release, site, state_dir, product.index, files, secrets)
    if ref_of(kept.verified, rendered.files) != staged.release:
        raise _outdated(staged.release, "the site's file or secrets changed since, and with them its configuration")


def _outdated(release: ReleaseRef, why: str) -> SealiftError:
    return SealiftError(
        "staging-outdated",
        f"{release} cannot be switched to as it was staged: {why}",
        hint="stage it again from its media, or take it down: sealift unstage",
    )
