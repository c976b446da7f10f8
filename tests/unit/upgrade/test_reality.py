"""A state dir that came back from an old backup is noticed by what runs; what is merely missing speaks against none."""

from __future__ import annotations

import pytest

from installer.look.inventory import Observed
from installer.look.reality import contradictions
from installer.plan.plan import Plan
from installer.site.names import Colour
from installer.state.state import ProductState, ReleaseRef, SiteState, Staged
from installer.targets.states import Replica
from installer.trust.marks import Marks

ONE, TWO, THREE = (
    ReleaseRef(product="board", version=f"1.{number}.0", digest=f"sha256:{number}" + "0" * 63) for number in range(3)
)
STATE = SiteState(
    products={
        "board": ProductState(product="board", channel="stable", index=0, active="blue", current=ONE, previous=TWO)
    }
)


def runs(part: str, ref: ReleaseRef | None, product: str = "board") -> Replica:
    return Replica(
        id=f"{part} {ref}",
        product=product,
        part=part,
        service="web",
        number=1,
        container="web-1",
        version=ref.version if ref else "",
        release=ref.digest if ref else "",
        finishes=False,
        config_hash="",
        image="",
        status="running",
        health="healthy",
        health_log="",
        restarts=0,
        started_at=0.0,
        exit_code=None,
        error="",
        addresses={},
    )


def found(state: SiteState, *replicas: Replica, door: dict[str, Colour] | None = None) -> str:
    return "; ".join(contradictions(state, Observed(replicas, ()), {} if door is None else door))


def changed(**more: object) -> SiteState:
    product = STATE.products["board"].model_copy(update=more)
    return STATE.model_copy(update={"products": {"board": product}})


@pytest.mark.parametrize(
    ("replicas", "door"),
    [
        ((runs("blue", ONE), runs("base", None)), {"board": "blue"}),
        ((runs("blue", ONE),), {}),  # the front door does not answer just now
        ((), {}),  # everything is gone: it is started again
        ((runs("blue", ONE), runs("green", THREE)), {"board": "blue"}),  # somebody left something there
    ],
)
def test_what_fits_or_is_missing_is_no_contradiction(replicas: tuple[Replica, ...], door: dict[str, Colour]) -> None:
    assert found(STATE, *replicas, door=door) == ""


def test_a_door_that_leads_elsewhere_is_named() -> None:
    assert "the front door leads to green" in found(STATE, runs("green", TWO), door={"board": "green"})


def test_another_release_in_the_colour_that_should_serve_is_named() -> None:
    assert "1.2.0 runs instead" in found(STATE, runs("blue", THREE), door={"board": "blue"})


def test_another_release_in_the_other_colour_while_its_own_is_empty_is_named() -> None:
    """The front door cannot be asked where its sockets went with the old state dir."""
    assert "1.1.0 runs instead" in found(STATE, runs("green", TWO))


def test_what_waits_in_the_other_colour_is_no_contradiction() -> None:
    staged = Staged(release=THREE, over=ONE, base_digest=None, marks=Marks(), since="", by="")
    assert found(changed(staged=staged), runs("green", THREE)) == ""


def test_a_product_that_the_state_does_not_know_is_named() -> None:
    assert "it does not know lunch" in found(STATE, runs("blue", ONE), runs("blue", TWO, "lunch"))
    assert "it does not know lunch" in found(STATE, door={"lunch": "blue"})


def test_a_run_that_was_cut_off_long_ago_is_not_gone_on_with() -> None:
    plan = Plan(kind="install", product="board", strategy="blue-green", old=ONE, new=TWO, colour="green", steps=())
    for fine in ((runs("blue", ONE), runs("green", TWO)), (runs("green", TWO),), (runs("blue", ONE),), ()):
        assert contradictions(STATE, Observed(fine, ()), {}, plan) == ()
    (said,) = contradictions(STATE, Observed((runs("blue", THREE), runs("green", TWO)), ()), {}, plan)
    assert "a run was cut off" in said and "1.2.0 runs here" in said
