"""Takes a product off the host, its files too; with the last one go front door and registry. Data stay unless named."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from installer import frontdoor
from installer.actions import ApplyEdge, DropArchives, RemoveEdge, RemoveNetwork, RemoveRegistry, RunCommands, SetColour
from installer.commands import Command
from installer.compose import compose_for
from installer.inventory import Inventory
from installer.lock import locked
from installer.names import COLOURS, Names, Part
from installer.performers import Host, Performer
from installer.planning import Lacking, Scene, choose_product
from installer.releases import load_kept
from installer.site import Site, load_site
from installer.state import load_state
from installer.system import run
from installer.talk import Talk
from installer.targets import labels
from installer.truststore import load_policy
from installer.upgrade import recover

_PARTS: tuple[Part, ...] = ("green", "blue", "base")


def remove(state_dir: Path, site_file: Path, talk: Talk, wanted: str | None, *, volumes: bool) -> str:
    """Take the product off and return its name. Raises ``not-initialised`` (2) and what the engine refuses (9)."""
    site = load_site(site_file)
    names = Names.of(state_dir)
    with locked(state_dir, "remove"), Inventory(site.target.engine, names) as inventory:
        recover(state_dir, site, talk, inventory)
        state = load_state(state_dir)
        product = choose_product(state, wanted)
        perform = Performer(Host(state_dir, site, talk, inventory))
        kept = load_kept(state_dir, product.current, load_policy(state_dir)) if product.current else None
        if kept is not None:
            compose = compose_for(kept.release, site, state_dir)
            scene = Scene(
                state_dir,
                site,
                state,
                product,
                kept.release,
                kept.ref,
                None,
                None,
                (),
                {},
                compose,
                Lacking(False, False),
            )
            target = scene.target(kept.release, kept.ref, product.base_digest)
            if state.edge is not None:
                perform(SetColour(product=product.product, colour=None))
                perform(ApplyEdge(config=frontdoor.with_product(state.edge_config, site, product.product, (), ())))
            perform(RunCommands(commands=tuple(target.down(part) for part in _PARTS)))
            for colour in COLOURS:
                name = names.network(product.product, colour)
                perform(RemoveNetwork(name=name, remove=target.remove_network(colour)))
            if volumes:
                _remove_volumes(site, names, product.product)
        if len(state.products) == 1:
            perform(RemoveEdge())
            perform(RemoveRegistry())
            perform(DropArchives())
        left = load_state(state_dir).without_product(product.product)
        Host(state_dir, site, talk, inventory).remember(products=left.products)
        _forget_files(state_dir, product.product, last=not left.products)
    return product.product


def _forget_files(state_dir: Path, product: str, *, last: bool) -> None:
    """Take away what only a product that is here needs. Trust, journal and site file stay."""
    folders = [state_dir / kind / product for kind in ("releases", "base", "secrets")]
    for folder in (*folders, *([state_dir / "tools"] if last else [])):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty: another product's
            folder.parent.rmdir()


def _remove_volumes(site: Site, names: Names, product: str) -> None:
    docker = ("docker", "--host", site.target.engine, "volume")
    own = (f"label={key}={value}" for key, value in labels.belongings(names, product).items())
    found = run(Command((*docker, "ls", "--quiet", *(word for label in own for word in ("--filter", label)))))
    if found.out.split():
        run(Command((*docker, "rm", *found.out.split())))
