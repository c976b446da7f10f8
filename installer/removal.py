"""Takes a product off the host, its files too; with the last one go front door and registry. Data stay unless named."""

from __future__ import annotations

from pathlib import Path

from installer.execute import Executor
from installer.look.observing import Coming, compose_host
from installer.plan.driver import Connect
from installer.plan.planning import choose_product, plan_removal
from installer.site.site import load_site
from installer.state.journal import Journal
from installer.state.releases import load_committed
from installer.talk import Talk
from installer.trust.entrance import refuse_lost
from installer.upgrade import at_work


def remove(
    state_dir: Path,
    site_file: Path,
    talk: Talk,
    wanted: str | None,
    *,
    volumes: bool,
    connect: Connect = compose_host,
) -> str:
    """Take the product off and return its name. Raises ``not-initialised`` (2) and what the engine refuses (9).

    A removal that was cut off is finished; then nothing more is removed.
    """
    site = load_site(site_file)
    with at_work(state_dir, site, talk, "remove", connect, trusting=False) as work:
        before = work.recovered
        if before is not None and before.plan.kind == "remove" and wanted in (None, before.plan.product):
            return before.plan.product
        refuse_lost(state_dir, work.driver.observe)
        product = choose_product(work.state, wanted)
        assert product.current is not None  # noqa: S101 - only what was committed is in the state
        kept = load_committed(state_dir, product.current)
        coming = Coming(kept.release, kept.ref, product.base_digest)
        scene = work.driver.look(work.state, product, coming)
        plan = plan_removal(scene, volumes=volumes)
        talk.say(plan.headline)
        Executor(Journal(state_dir), work.driver.performer(), talk.say).execute(plan)
    return product.product
