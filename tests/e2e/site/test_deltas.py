"""A site takes a delta where it holds what that builds on, and says at once where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e

HOTFIX = Edition("1.0.1", edge=True, ballast="one line")
LATER = Edition("1.2.0", edge=True, ballast="another line")
NEVER_SEEN = Edition("1.1.9", edge=True, ballast="nobody here has this\n" * 3000)


@pytest.fixture(scope="module")
def hall(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site that runs the first release; its tests follow each other."""
    site = make_lasting_site()
    site.trust(vendor, "any")
    site.installed(vendor.kit(FIRST))
    return site


def size_of(kit: Path) -> int:
    return sum(path.stat().st_size for path in kit.rglob("*") if path.is_file())


def test_a_first_installation_from_a_delta_is_refused_before_anything_is_written(
    make_site: MakeSite, vendor: Vendor
) -> None:
    site = make_site()
    site.trust(vendor, "any")
    before = site.snapshot()
    said = site.sealift("install", str(vendor.delta(HOTFIX, FIRST))).refused(4, "delta-base-missing")
    assert "board 1.0.0" in said
    assert site.snapshot().changes(before) == []


def test_a_site_that_lacks_what_a_delta_builds_on_says_so_and_changes_nothing(hall: Site, vendor: Vendor) -> None:
    kit = vendor.delta(LATER, NEVER_SEEN)
    before = hall.snapshot()
    said = hall.sealift("install", str(kit)).refused(4, "delta-base-missing")
    assert "board 1.1.9" in said
    assert hall.snapshot().changes(before) == []


def test_a_delta_brings_the_same_release_into_service(hall: Site, vendor: Vendor) -> None:
    kit = vendor.delta(HOTFIX, FIRST)
    assert size_of(kit) < 60_000 < size_of(vendor.kit(HOTFIX)) / 10
    hall.sealift("verify", str(kit)).refused(4, "incomplete")
    hall.installed(kit)
    assert hall.door() == "1.0.1"
    again = hall.done("install", str(vendor.kit(HOTFIX)))
    assert again["result"] == "unchanged", "the whole bundle is another release than its delta"


def test_one_delta_serves_sites_of_two_releases(hall: Site, vendor: Vendor) -> None:
    hall.done("install", str(vendor.delta(LATER, FIRST, HOTFIX)), "--quick")
    assert hall.door() == "1.2.0"
