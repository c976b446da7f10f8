"""``sealift prune``: space, never at the cost of what serves, of what a rollback returns to, or of what is staged."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from installer.errors import SealiftError
from installer.execute import Executor
from installer.look.observing import compose_host
from installer.plan import actions as act
from installer.plan.checks import SiteServicesRun
from installer.plan.driver import Connect
from installer.plan.plan import Plan, Step
from installer.plan.planning import choose_product
from installer.registry.access import registry_address
from installer.registry.images import relocate
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import user
from installer.state.releases import CommittedRelease, list_kept, load_committed, release_folder, surplus
from installer.state.state import ProductState, ReleaseRef, SiteState
from installer.talk import Talk
from installer.trust.entrance import refuse_lost
from installer.upgrade import at_work


@dataclass(frozen=True)
class Pruned:
    """``dropped`` are versions that cannot be gone back to any more; ``freed`` is in bytes, 0 for a plan."""

    product: str
    dropped: tuple[str, ...]
    kept: tuple[str, ...]
    freed: int
    plan: Plan
    planned: bool


def prune(
    state_dir: Path,
    site_file: Path,
    talk: Talk,
    wanted: str | None,
    *,
    keep: int | None,
    dry_run: bool,
    connect: Connect = compose_host,
) -> Pruned:
    """Forget all but ``keep`` releases of a product, and free what none of the kept ones needs.

    Raises ``not-initialised``, ``bad-option`` (2), ``kept-release-damaged`` (4): what cannot be read frees nothing.
    """
    began = time.monotonic()
    site = load_site(site_file)
    with at_work(state_dir, site, talk, "prune", connect, dry_run=dry_run) as work:
        refuse_lost(state_dir, work.driver.observe)
        product = choose_product(work.state, wanted)
        count = site.keep if keep is None else keep
        if count < 1:
            raise SealiftError("bad-option", "nothing would be left to go back to", hint="--keep 1 or more")
        dropped = _surplus(state_dir, product, count)
        kept = [
            load_committed(state_dir, ref)
            for one in work.state.products.values()
            for ref in list_kept(state_dir, one.product)
            if ref not in dropped
        ]
        leaving = [load_committed(state_dir, ref) for ref in dropped]
        plan = _plan(product, site, work.state, count, kept, leaving)
        before = _size(state_dir)
        if not dry_run:
            talk.say(plan.headline)
            Executor(Journal(state_dir), work.driver.performer(), talk.say).execute(plan)
        mine = [one.ref.version for one in kept if one.ref.product == product.product]
        freed = 0 if dry_run else max(0, before - _size(state_dir))
        talk.say(f"{time.monotonic() - began:.1f} s")
    return Pruned(
        product.product, tuple(ref.version for ref in dropped), tuple(sorted(mine)), freed, plan, planned=dry_run
    )


def _surplus(state_dir: Path, product: ProductState, keep: int) -> tuple[ReleaseRef, ...]:
    kept = list_kept(state_dir, product.product)
    oldest_first = sorted(kept, key=lambda ref: release_folder(state_dir, ref).stat().st_mtime)
    return surplus(oldest_first, product.needed, keep)


def _plan(
    product: ProductState,
    site: Site,
    state: SiteState,
    keep: int,
    kept: list[CommittedRelease],
    leaving: list[CommittedRelease],
) -> Plan:
    """What goes, as steps. None can be taken back, each can be done again."""
    steps = [
        Step(
            name="forget",
            intent=f"forget {', '.join(one.ref.version for one in leaving) or 'nothing'}, keep {keep} to go back to",
            actions=(act.PruneKept(product=product.product, keep=keep),),
        )
    ]
    here = {reference for one in kept for reference in relocate(one.release, registry_address(site)).values()}
    gone = {reference for one in leaving for reference in relocate(one.release, registry_address(site)).values()}
    if gone - here:
        steps.append(
            Step(
                name="images",
                intent=f"let the engine give up {len(gone - here)} images that only those needed",
                actions=(act.DropUnused(references=tuple(sorted(gone - here))),),
            )
        )
    if site.registry.bundled is not None and state.registry is not None:
        needed = {part.digest for one in kept for image in one.release.images for part in image.manifests}
        steps.append(
            Step(
                name="registry",
                intent="free what no kept release needs in the site's registry, which is stopped meanwhile",
                actions=(act.CollectRegistry(needed=tuple(sorted(needed))),),
                check=(SiteServicesRun(registry=True),),
            )
        )
    return Plan(
        kind="prune",
        product=product.product,
        strategy=None,
        old=product.current,
        new=product.current,
        colour=product.active,
        steps=tuple(steps),
        by=user(),
        one_way=True,
    )


def _size(folder: Path) -> int:
    """Bytes on disk."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found += (Path(place) / name).lstat().st_blocks * 512
            except OSError:  # a draft that went meanwhile
                continue
    return found
