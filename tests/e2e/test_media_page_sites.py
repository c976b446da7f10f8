"""The sections of docs/media.md that begin with what a site runs: receipts, hotfix, the whole way."""

from __future__ import annotations

import re

import pytest

from installer.trust.sitekey import site_fingerprint
from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.e2e.mediapage import PRODUCT, Stage

pytestmark = pytest.mark.e2e


@pytest.fixture
def known(stage: Stage) -> Stage:
    """The vendor was told the site's fingerprint."""
    stage.words["sha256:SITE"] = str(site_fingerprint(stage.host / "state"))
    return stage


def door(stage: Stage) -> set[str]:
    return FileDoor(world_of(stage.host / "state")).versions(PRODUCT)


def test_receipt_leads_to_a_delta_that_the_site_takes(known: Stage) -> None:
    _, _, packed, *_ = known.section("Receipts")
    assert packed.count("not checked: who signed") == 1  # verify asks whether all is there, not whose receipt it is
    assert door(known) == {"2.1.0"}


def test_hotfix_is_one_command_on_either_side_and_small(known: Stage) -> None:
    *_, built, _ = known.section("Hotfix")
    (size,) = re.findall(r"^(\d+)\t", built, re.MULTILINE)
    assert int(size) < 300  # kB; the whole one has 600 kB of a binary that does not compress
    assert door(known) == {"2.1.1"}


def test_whole_way_is_gone_step_by_step(known: Stage) -> None:
    *_, refused = known.section("The whole way")
    assert door(known) == {"2.2.0"} and ">=2.1" in refused
