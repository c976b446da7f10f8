"""What runs here, looked at now. Changes nothing and needs no lock."""

from __future__ import annotations

import time
from pathlib import Path

from installer.errors import SealiftError
from installer.look.findings import Finding
from installer.look.inventory import Inventory, Observed, replica_state
from installer.look.observing import door_of
from installer.look.reality import refuse_outdated
from installer.performers.host import site_edge
from installer.plan.plan import Plan
from installer.report import ProductStatus, ServiceStatus, TrustStatus
from installer.site.names import Names, other
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import held_by
from installer.state.state import ProductState, SiteState, load_state
from installer.trial import load_counted, read_clocks, spent
from installer.trust.clock import root_findings
from installer.trust.entrance import clock_here, refuse_lost
from installer.trust.sitekey import NAME as SITE_KEY
from installer.trust.sitekey import site_fingerprint
from installer.trust.store import has_trust, load_policy


def trust_status(state_dir: Path) -> TrustStatus | None:
    """How long the root of trust lasts; None where nobody was told. Raises ``trust-damaged`` (5)."""
    if not has_trust(state_dir):
        return None
    policy = load_policy(state_dir)
    clock = clock_here(state_dir, policy)
    key = (state_dir / SITE_KEY).exists()
    return TrustStatus(
        version=policy.root_version,
        epoch=policy.epoch,
        expires=policy.expires,
        days_left=(policy.expires - clock.now).days if policy.expires else None,
        site=str(site_fingerprint(state_dir)) if key else None,
        findings=(*clock.findings(), *root_findings(policy, clock)),
    )


def observe_status(state_dir: Path, site_file: Path) -> tuple[tuple[ProductStatus, ...], tuple[Finding, ...]]:
    """The status of every product, and what contradicts the state that it is told from.

    Raises ``engine-missing`` (7), ``state-damaged``, ``state-lost``, ``journal-damaged`` (4).
    """
    refuse_lost(state_dir, None)
    state = load_state(state_dir)
    pending = _pending(state_dir)
    if not state.products and pending is None:
        return (), ()
    site = load_site(site_file)
    with Inventory(site.target.engine, Names.of(state_dir)) as inventory:
        observed = inventory.observe()
    found = _outdated(state_dir, state, observed, site) if pending is None else ()
    names = sorted({*state.products, *([str(pending["product"])] if pending else [])})
    products = tuple(
        _product(
            state_dir,
            state.product(name, site.channel),
            observed,
            pending if pending and pending["product"] == name else None,
        )
        for name in names
    )
    return products, found


def _outdated(state_dir: Path, state: SiteState, observed: Observed, site: Site) -> tuple[Finding, ...]:
    """A state dir that is older than what runs; who is at work meanwhile explains all of it."""
    try:
        refuse_outdated(state_dir, state, observed, door_of(lambda: site_edge(state_dir, site)))
    except SealiftError as error:
        return () if held_by(state_dir) or load_state(state_dir) != state else (Finding.stop(error),)
    return ()


def _product(
    state_dir: Path, product: ProductState, observed: Observed, pending: dict[str, object] | None
) -> ProductStatus:
    parts = ("base", product.active) if product.active else ("base",)
    replicas = [replica for part in parts for replica in observed.of(product.product, part)]
    now = time.time()
    services = []
    for name in sorted({replica.service for replica in replicas}):
        mine = [replica for replica in replicas if replica.service == name]
        states = [replica_state(replica, now) for replica in mine]
        good = sum(state in ("healthy", "completed") for state in states)
        services.append(
            ServiceStatus(name, mine[0].digest, good == len(mine), f"{good} of {len(mine)}: {', '.join(states)}")
        )
    return ProductStatus(
        product=product.product,
        version=product.current.version if product.current else None,
        digest=product.current.digest if product.current else None,
        active=product.active,
        previous=product.previous.version if product.previous else None,
        since=product.since,
        healthy=bool(services) and all(service.healthy for service in services),
        services=tuple(services),
        pending=pending or _waiting(state_dir, product),
    )


def _waiting(state_dir: Path, product: ProductState) -> dict[str, object] | None:
    """What is staged, or on trial, and waits for a word."""
    staged, trial = product.staged, product.trial
    if staged is not None:
        return {
            "product": product.product,
            "version": staged.release.version,
            "kind": "staged",
            "colour": other(product.active) if product.active else None,
            "since": staged.since,
            "by": staged.by,
        }
    if trial is None or product.current is None or product.previous is None:
        return None
    passed = spent(trial, load_counted(state_dir, product.product, trial), read_clocks())
    return {
        "product": product.product,
        "version": product.current.version,
        "kind": "unconfirmed",
        "back_to": product.previous.version,
        "seconds_left": round(max(0.0, trial.seconds - passed), 1),
        "watcher": trial.watcher,
    }


def _pending(state_dir: Path) -> dict[str, object] | None:
    journal = Journal(state_dir)
    journal.check()
    run = journal.unfinished()
    if run is None:
        return None
    plan = Plan.model_validate_json(run.intent)
    step = run.begun[-1] if run.begun else None
    return {"product": plan.product, "version": plan.version, "kind": plan.kind, "step": step, "began": run.began}
