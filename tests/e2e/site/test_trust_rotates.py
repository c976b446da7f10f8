"""Roots of trust follow each other while a product serves: nobody notices, and revoked keys count no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.site.conftest import FIRST, MakeSite
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def house(make_lasting_site: MakeSite, vendor: Vendor) -> Site:
    """A site where 1.0.0 serves, signed by the key that is about to be revoked."""
    site = make_lasting_site()
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    return site


@pytest.fixture(scope="module")
def second(vendor: Vendor) -> Path:
    """The root that follows: another key signs releases."""
    path = vendor.root / "keys/2.root.json"
    words = ("--revoke", "release", "--add-release-key", "keys/stranger.pub", "--root-key", "keys/root.key")
    vendor.bundle("trust", "rotate", "keys/ours.json", *words, "--out", str(path))
    return path


def test_media_bring_the_next_root_and_the_upgrade_goes_on_under_the_eyes_of_visitors(
    house: Site, vendor: Vendor, second: Path
) -> None:
    with Visitor(house.door) as visitor:
        house.installed(vendor.kit(Edition("1.1.0", signer="stranger", roots=(second,))))
    assert visitor.seen == ["1.0.0", "1.1.0"]
    assert house.done("trust", "show")["version"] == 2


def test_revoked_key_brings_nothing_in_and_leads_nowhere_back(house: Site, vendor: Vendor) -> None:
    with house.nothing_changes():
        house.install(vendor.kit(Edition("1.2.0"))).refused(5, "key-revoked")
        said = house.sealift("rollback").refused(5, "kept-release-untrusted")
    assert "sign 1.0.0 again" in said


def test_root_that_a_person_brings_is_walked_to_while_the_product_serves(
    house: Site, vendor: Vendor, second: Path
) -> None:
    third = second.with_name("3.root.json")
    vendor.bundle(
        "trust", "rotate", str(second), "--expires-days", "7300", "--root-key", "keys/root.key", "--out", str(third)
    )
    with Visitor(house.door) as visitor, house.nothing_changes(but=("trust/",)):
        said = house.done("trust", "update", str(third))
    assert (said["result"], said["version"], visitor.seen) == ("updated", 3, ["1.1.0"])


def test_release_that_was_signed_again_can_be_gone_back_to(house: Site, vendor: Vendor, tmp_path: Path) -> None:
    again = Path(shutil.copytree(vendor.kit(FIRST), tmp_path / "again"))
    vendor.bundle("sign", str(again), "--key", "keys/stranger.key")
    house.install(again).refused(6, "downgrade")
    with Visitor(house.door) as visitor:
        assert house.done("rollback")["version"] == "1.0.0"
    assert visitor.seen == ["1.1.0", "1.0.0"]
