"""What goes well, goes well: repeated, looked at beforehand, taken back, asked about."""

from __future__ import annotations

import pytest

from tests.e2e.site.conftest import FIRST
from tests.e2e.site.host import Site
from tests.e2e.site.vendor import Vendor

pytestmark = pytest.mark.e2e


def test_same_release_again_is_unchanged_and_quick(serving: Site, vendor: Vendor) -> None:
    before = serving.snapshot()
    answer = serving.install(vendor.kit(FIRST))
    assert (answer.code, answer.value["result"], answer.value["steps"]) == (0, "unchanged", 0)
    assert answer.seconds < 5
    assert serving.snapshot() == before
