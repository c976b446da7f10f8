"""Does what runs contradict the state? Then the state dir came back from an old backup, and no plan may rest on it.

What is missing contradicts nothing: it is started again. What runs and serves otherwise than the state says, does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from installer.errors import SealiftError
from installer.look.inventory import Observed
from installer.plan.plan import Plan
from installer.site.names import Colour, other
from installer.state.state import ProductState, SiteState, has_state


def refuse_outdated(
    state_dir: Path, state: SiteState, observed: Observed, door: Mapping[str, Colour], unfinished: Plan | None = None
) -> None:
    """``door``: where the front door leads now. ``unfinished``: what is still to be brought to its end.

    Raises ``state-outdated`` (4).
    """
    found = contradictions(state, observed, door, unfinished) if has_state(state_dir) and not state.lost else ()
    if found:
        raise SealiftError(
            "state-outdated",
            f"{state_dir} is older than what runs, which goes on serving: {'; '.join(found)}",
            hint="restore the newest backup of the state dir; without one: sealift remove (data stay), then install",
        )


def contradictions(
    state: SiteState, observed: Observed, door: Mapping[str, Colour], unfinished: Plan | None = None
) -> tuple[str, ...]:
    """What the state says, and what is so instead. Pure."""
    if unfinished is not None:
        return _strangers(state, observed, unfinished)
    strange = {replica.product for replica in observed.replicas} | set(door)
    unknown = [f"it does not know {name}, which is here" for name in sorted(strange - set(state.products))]
    known = (words for product in state.products.values() for words in _of(product, observed, door))
    return (*unknown, *known)


def _strangers(state: SiteState, observed: Observed, plan: Plan) -> tuple[str, ...]:
    """Colours may hold anything that the plan or the state knows, and nothing else."""
    product = state.products.get(plan.product)
    refs = (plan.old, plan.new, *(product.needed if product else ()))
    known = {ref.digest for ref in refs if ref is not None}
    mine = (one for one in observed.replicas if one.product == plan.product and one.release)
    seen = {one.version for one in mine if one.release not in known}
    return (f"a run was cut off by it ({plan.headline}), and {', '.join(sorted(seen))} runs here",) if seen else ()


def _of(product: ProductState, observed: Observed, door: Mapping[str, Colour]) -> list[str]:
    name, active, current = product.product, product.active, product.current
    if active is None or current is None:
        return []
    if (leads := door.get(name, active)) != active:
        return [f"by it {current} serves as {active}, and the front door leads to {leads}"]
    here = observed.of(name, active)
    others = {one.version for one in here if one.release and one.release != current.digest}
    if not here:  # nothing, or what waits in the other colour, is what may be there instead
        waiting = (product.staged.release if product.staged else None, product.previous if product.trial else None)
        fine = {ref.digest for ref in waiting if ref is not None}
        others = {one.version for one in observed.of(name, other(active)) if one.release and one.release not in fine}
    return [f"by it {current} serves as {active}, and {', '.join(sorted(others))} runs instead"] if others else []
