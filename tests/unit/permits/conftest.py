"""A site on files, for the tests that need the whole program."""

from __future__ import annotations

import shutil

import pytest

from installer.trust.store import provision
from tests.contract.editions import Vendor
from tests.contract.program import settle
from tests.unit.permits.places import Place


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A site on files where 1.1.0 serves, and 1.0.5 before it."""
    folder = tmp_path_factory.mktemp("flow")
    vendor = Vendor(folder / "vendor")
    place = Place(settle(folder / "site"), vendor)
    provision(place.state, *vendor.root())
    place.install("1.0.5")
    place.install("1.1.0")
    shutil.copytree(folder / "site", folder / "backup", symlinks=True)
    return place


@pytest.fixture
def base(lasting: Place) -> Place:
    """The same, as it was at first."""
    return lasting.restored()
