"""A state dir from an old backup, a terminal that went away, a site file that changed between two sittings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.site.conftest import FIRST, SECOND
from tests.e2e.site.host import Site, Visitor
from tests.e2e.site.vendor import Edition, Vendor

pytestmark = pytest.mark.e2e


def test_a_state_dir_from_an_old_backup_replaces_nothing_that_serves(
    site: Site, vendor: Vendor, tmp_path: Path
) -> None:
    site.trust(vendor)
    site.installed(vendor.kit(FIRST))
    shutil.copytree(site.state, tmp_path / "backup", symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
    site.installed(vendor.kit(SECOND))
    shutil.rmtree(site.state)
    shutil.copytree(tmp_path / "backup", site.state, symlinks=True)
    site.state.chmod(0o700)
    with Visitor(site.door) as visitor:
        words = site.install(vendor.kit(Edition("1.2.0"))).refused(4, "state-outdated")
        site.sealift("rollback").refused(4, "state-outdated")
        (found,) = json.loads(site.raw("--json", "status")[1])["warnings"]
    assert visitor.seen == ["1.1.0"]
    assert "1.1.0 runs instead" in words and found["id"] == "state-outdated"
    site.done("remove", "--yes")
    site.installed(vendor.kit(Edition("1.2.0", edge=True)))
    assert site.door() == "1.2.0"
