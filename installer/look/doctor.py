"""What would stop an upgrade of this host, and what will before long. Looks only: changes nothing, holds no lock.

A check is a function from a :class:`Visit` to findings; what it raises is a finding that stops. They stand in the order
in which an upgrade would meet them, so the first that stops is what ``install`` would end with.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.look.findings import Finding, fine, warning
from installer.look.observing import Coming, compose_host
from installer.look.preflight import check_disk
from installer.look.reality import refuse_outdated
from installer.plan.driver import Connect, Driver
from installer.plan.plan import Plan
from installer.registry.images import bytes_needed
from installer.site.secretfiles import check_secrets, site_secrets
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import held_by
from installer.state.releases import load_committed, load_trusted
from installer.state.state import SiteState, copies, has_state, load_state
from installer.talk import Talk
from installer.trust.clock import Clock, clock_of, host_now, root_findings
from installer.trust.entrance import refuse_lost
from installer.trust.lost import lost_state
from installer.trust.sitekey import NAME as SITE_KEY
from installer.trust.store import load_policy
from installer.words import size


@dataclass
class Visit:
    """One look at one host. What several checks need is looked up once; each such property raises what is wrong."""

    state_dir: Path
    site_file: Path
    talk: Talk
    connect: Connect = compose_host
    host_clock: Callable[[], datetime] = host_now
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def policy(self) -> TrustPolicy:
        return load_policy(self.state_dir)

    @cached_property
    def site(self) -> Site:
        return load_site(self.site_file)

    @cached_property
    def state(self) -> SiteState:
        return load_state(self.state_dir)

    @cached_property
    def clock(self) -> Clock:
        return clock_of(self.host_clock(), self.state.floor, self.policy)

    @cached_property
    def driver(self) -> Driver:
        return self.stack.enter_context(self.connect(self.state_dir, self.site, self.talk))


Check = Callable[[Visit], Iterable[Finding]]


def examine(visit: Visit) -> tuple[Finding, ...]:
    """Every check, in order. What stops is named once, however many checks meet it."""
    found: dict[tuple[str, str], Finding] = {}
    with visit.stack:
        for check in CHECKS:
            for finding in _carried_out(check, visit):
                found.setdefault((finding.id, finding.message), finding)
    return tuple(found.values())


def first_stop(found: Iterable[Finding]) -> SealiftError | None:
    """The error that an upgrade would end with."""
    return next((finding.error for finding in found if finding.error is not None), None)


def _carried_out(check: Check, visit: Visit) -> Iterator[Finding]:
    try:
        yield from check(visit)
    except SealiftError as error:
        yield Finding.stop(error)
    except OSError as error:
        why = SealiftError(
            "state-dir-unusable",
            f"{(error.strerror or str(error)).lower()}: {error.filename}",
            hint="are you root, and is the disk whole and writable",
        )
        yield Finding.stop(why)


def check_place(visit: Visit) -> Iterator[Finding]:
    """The state dir is ours, writable, and nobody else's business."""
    place = visit.state_dir
    if not place.exists():
        return
    if not os.access(place, os.W_OK):
        raise SealiftError(
            "state-dir-unusable", f"{place} cannot be written", hint="are you root, and is the disk writable"
        )
    for path in (place, place / SITE_KEY, place / "secrets", place / "trust"):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            mode = "700" if path.is_dir() else "600"
            yield warning("state-dir-open", f"others on this host can look into {path}", f"chmod {mode} {path}")
    yield fine("state-dir", f"{place} is writable")


def check_trust(visit: Visit) -> Iterator[Finding]:
    """Somebody told this host whom to trust, and it still holds."""
    policy = visit.policy
    policy.refuse_expired(visit.clock.now)
    yield from root_findings(policy, visit.clock)
    until = f", expires on {policy.expires:%Y-%m-%d}" if policy.expires else ""
    yield fine("trust", f"root version {policy.root_version} for {policy.product or 'any product'}{until}")


def check_clock(visit: Visit) -> Iterator[Finding]:
    """The host's clock is not behind what is known, nor years ahead of it."""
    found = visit.clock.findings()
    yield from found
    if not found:
        yield fine("clock", f"{visit.clock.host:%Y-%m-%d %H:%M} UTC")


def check_site_file(visit: Visit) -> Iterator[Finding]:
    """The site file is valid."""
    yield fine("site-file", f"{visit.site_file} is valid: {visit.site.site}, channel {visit.site.channel}")


def check_lock(visit: Visit) -> Iterator[Finding]:
    """Nobody is at work here."""
    holder = held_by(visit.state_dir)
    if holder is not None:
        raise SealiftError("locked", holder, hint="wait until it ends, then run this again")
    yield fine("lock", "nobody is at work here")


def check_state(visit: Visit) -> Iterator[Finding]:
    """There is a state where there was one, and both copies of it are whole."""
    refuse_lost(visit.state_dir, None)
    state = visit.state
    if not has_state(visit.state_dir):
        return
    torn = [path for path, whole in copies(visit.state_dir).items() if not whole]
    if torn and state.sequence > 1:
        yield warning(
            "state-copy-damaged",
            f"{', '.join(map(str, torn))} is missing or damaged; the other copy (number {state.sequence}) is whole",
            "look at the disk; the next upgrade writes it anew",
        )
    else:
        yield fine("state", f"whole, number {state.sequence}")


def check_run(visit: Visit) -> Iterator[Finding]:
    """No run was cut off."""
    run = Journal(visit.state_dir).unfinished()
    if run is None:
        return
    headline = Plan.model_validate_json(run.intent).headline
    if run.outcome == "operator-needed":
        raise SealiftError(
            "operator-needed",
            f"a run could not be taken back: {headline}: {run.failed}",
            hint="mend what it names, then run the same command again: it takes back the rest",
        )
    yield warning(
        "run-unfinished", f"a run was cut off: {headline}", "the next one first finishes it, or takes it back"
    )


def check_engine(visit: Visit) -> Iterator[Finding]:
    """The engine answers, and what is on it fits what is written down here."""
    observed = visit.driver.observe()
    if not lost_state(visit.state_dir, None):  # which was told already
        refuse_lost(visit.state_dir, visit.driver.observe)
        run = Journal(visit.state_dir).unfinished()
        plan = Plan.model_validate_json(run.intent) if run is not None else None
        refuse_outdated(visit.state_dir, visit.state, observed, visit.driver.door(), plan)
    yield fine("engine", f"{visit.site.target.engine} answers; {len(observed.replicas)} containers of ours")


def check_products(visit: Visit) -> Iterator[Finding]:
    """What serves is kept whole, and could be installed once more: ports, networks, registry, certificates, disks."""
    for name, product in sorted(visit.state.products.items()):
        if product.current is None:
            continue
        kept = load_committed(visit.state_dir, product.current)
        try:
            load_trusted(visit.state_dir, product.current, visit.policy)
        except SealiftError as error:
            yield warning("kept-release-untrusted", error.message, error.hint)
        if product.previous is not None:
            try:
                load_trusted(visit.state_dir, product.previous, visit.policy)
            except SealiftError as error:
                yield warning("no-way-back", f"no rollback to {product.previous.version}: {error.message}", error.hint)
        for line in check_secrets(visit.site, name, site_secrets(visit.site, name)):
            what, _, hint = line.partition(": ")
            yield warning("secret-open", what, hint)
        coming = Coming(kept.release, kept.ref, product.base_digest)
        scene = visit.driver.look(visit.state, product, coming)
        for line in visit.driver.preflight(scene):
            yield warning("disk-not-seen", line, "look at it where the engine runs")
        everything = bytes_needed(kept.release, {f"sha256:{part}" for part in kept.release.blobs()})
        try:
            check_disk(everything, visit.state_dir, None)
        except SealiftError as error:
            yield warning("disk-low", error.message, error.hint)
        needed = size(everything.registry + everything.state_dir)
        yield fine(name, f"{kept.release.version} is kept whole; all of it anew would need {needed}")


CHECKS: tuple[Check, ...] = (
    check_place,
    check_trust,
    check_clock,
    check_site_file,
    check_lock,
    check_state,
    check_run,
    check_engine,
    check_products,
)
