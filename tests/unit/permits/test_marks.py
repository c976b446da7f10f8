"""The marks: nothing lower than what was committed comes in from media, by no way round."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.edge.config import EdgeConfig
from installer.plan.actions import Commit
from installer.state.state import ProductState, SiteState
from installer.trust.marks import Mark, Marks
from tests.unit.permits.scenes import PRODUCT, Host, permit, release, used_to

OLD, MIDDLE, NEW = release("1.0.0"), release("1.1.0"), release("1.2.0")


def test_refuses_an_older_release_than_was_committed() -> None:
    host = used_to(NEW)
    assert host.refuses(OLD).id == "downgrade"


def test_refuses_media_of_a_kept_release_and_names_the_way_back_that_needs_none() -> None:
    error = used_to(OLD, NEW).refuses(OLD)
    assert error.id == "downgrade" and "sealift rollback --to 1.0.0" in error.hint and "permit" not in error.hint


def test_refusal_of_a_strange_older_release_prints_what_the_permit_must_name() -> None:
    error = used_to(NEW).refuses(OLD)
    assert f"--product {PRODUCT} --from {NEW.digest} --to {OLD.digest} --site" in error.hint


def test_refuses_the_same_version_with_other_content() -> None:
    assert used_to(OLD).refuses(release("1.0.0", note="other")).id == "same-version-other-digest"


def test_admits_what_serves_even_when_it_is_below_the_mark() -> None:
    host = used_to(OLD, NEW)
    host.roll_back(OLD)
    assert host.admit(OLD) is None


def test_rollback_leaves_the_marks_and_what_lies_between_stays_out() -> None:
    host = used_to(OLD, NEW)
    host.roll_back(OLD)
    assert host.refuses(MIDDLE).id == "downgrade"
    assert host.admit(NEW) is None


def test_release_that_was_not_committed_raises_no_mark() -> None:
    host = used_to(OLD)
    host.admit(NEW)  # and then it failed
    assert host.admit(MIDDLE) is None


def test_taking_the_product_off_is_no_way_down() -> None:
    host = used_to(NEW)
    host.state = host.state.without_product(PRODUCT)
    assert host.state.products == {}
    assert host.refuses(OLD).id == "downgrade"
    assert host.admit(NEW) is None
    assert str(NEW.digest) in host.refuses(OLD).hint, "a permit starts at what was committed last"


def test_marks_of_one_product_do_not_bind_another() -> None:
    host = used_to(NEW)
    assert host.state.product("other", "stable").marks == Marks()


@pytest.mark.parametrize("back", ["stable", "beta"])
def test_changing_the_channel_is_no_way_down(back: str) -> None:
    host = used_to(release("2.0.0"))
    host.channel = "beta"
    assert host.refuses(release("1.9.0", channel="beta")).id == "downgrade"
    host.install(release("2.1.0-rc.1", channel="beta"))
    host.channel = back
    assert host.refuses(release("2.0.5", channel=back)).id == "downgrade"
    assert host.admit(release("2.1.0", channel=back)) is None


def test_same_version_promoted_with_other_content_from_another_channel_needs_a_permit() -> None:
    host = used_to(release("2.0.0", channel="beta"), channel="beta")
    host.channel = "stable"
    assert host.refuses(release("2.0.0")).id == "same-version-other-digest"


def test_going_to_a_lower_channel_by_a_permit_and_back_finds_the_mark_of_the_first_one() -> None:
    main, hotfix = release("2.3.0"), release("2.1.4", channel="hotfix")
    host = used_to(main)
    host.channel = "hotfix"
    host.install(hotfix, permit(main, hotfix))
    host.install(release("2.1.5", channel="hotfix"))  # the line goes on without another permit
    assert host.refuses(release("2.1.3", channel="hotfix")).id == "downgrade"
    host.channel = "stable"
    assert host.refuses(release("2.2.0")).id == "downgrade"
    assert host.admit(main) is None


def test_higher_epoch_undoes_a_fast_forward() -> None:
    host = used_to(OLD, release("999.0.0"))
    assert host.refuses(NEW).id == "downgrade"
    host.epoch = 2
    host.install(NEW)
    assert host.refuses(MIDDLE).id == "downgrade", "from now on the new epoch's mark binds"
    assert host.state.products[PRODUCT].marks.product == Mark(epoch=2, version="1.2.0", digest=str(NEW.digest))


def test_lower_epoch_than_that_of_a_mark_is_refused() -> None:
    host = used_to(OLD, epoch=2)
    host.epoch = 1
    assert host.refuses(NEW).id == "trust-went-back"


def test_reads_the_state_of_earlier_versions_which_knew_one_mark() -> None:
    digest = str(NEW.digest)
    before = {"product": PRODUCT, "channel": "stable", "index": 0, "mark": {"version": "1.2.0", "digest": digest}}
    mark = Mark(epoch=1, version="1.2.0", digest=digest)
    state = SiteState.model_validate({"sequence": 4, "products": {PRODUCT: before}})
    assert state.products[PRODUCT].marks == Marks(product=mark, channels={"stable": mark})
    assert Host(state=state).refuses(OLD).id == "downgrade"
    assert ProductState.model_validate(before | {"mark": None}).marks == Marks()


def test_reads_plans_in_the_journal_of_earlier_versions() -> None:
    product = ProductState(product=PRODUCT, channel="stable", index=0)
    value = json.loads(Commit(product=product, edge_config=EdgeConfig()).model_dump_json())
    del value["product"]["marks"], value["floor"]
    value["product"]["mark"] = {"version": "1.2.0", "digest": str(NEW.digest)}
    read = Commit.model_validate_json(json.dumps(value)).product.marks.product
    assert read == Mark(epoch=1, version="1.2.0", digest=str(NEW.digest))


VERSIONS = st.tuples(*[st.integers(0, 3)] * 3).map(lambda parts: "{}.{}.{}".format(*parts))


@given(st.lists(st.tuples(VERSIONS, st.sampled_from(["stable", "beta"])), max_size=12))
def test_no_order_of_releases_and_channels_ever_lowers_what_is_committed(line: list[tuple[str, str]]) -> None:
    marks, highest = Marks(), None
    for version, channel in line:
        here = Mark(version=version, digest="sha256:" + "0" * 64)
        if any(here.precedence < mark.precedence for mark in marks.binding(channel, 1)):
            continue
        assert highest is None or here.precedence >= highest.precedence
        highest, marks = here, marks.committed(channel, here, permitted=False)
