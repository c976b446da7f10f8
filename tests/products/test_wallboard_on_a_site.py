"""The second product goes the whole way: installed, upgraded while it is asked, rolled back, taken off again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.site.conftest import make_site, site  # noqa: F401 - a site like those of the first product's tests
from tests.e2e.site.host import Site, Visitor
from tests.products.wallboard.product import Wallboard

pytestmark = pytest.mark.e2e


def test_goes_the_whole_way_like_the_product_it_was_not_made_with(
    site: Site,  # noqa: F811 - the fixture
    wallboard: Wallboard,
    kits: dict[str, Path],
) -> None:
    site.configure(entry_points={"board": {"bind": f"127.0.0.1:{site.ports[0]}"}})
    site.install(kits["1.0.0"]).refused(5, "no-trust-provisioned")
    root = wallboard.root / "keys/root.json"
    fingerprint = subprocess.check_output(["sha256sum", root], text=True).split()[0]
    site.done("trust", "init", str(root), "--fingerprint", f"sha256:{fingerprint}")

    first = site.done("install", str(kits["1.0.0"]), "--verify", "--strategy", "blue-green")
    assert (first["result"], first["version"], first["previous"]) == ("installed", "1.0.0", None)
    assert site.door() == "1.0.0"

    with Visitor(site.door) as visitor:
        second = site.done("install", str(kits["1.1.0"]), "--verify", "--strategy", "blue-green")
    assert (second["result"], second["version"], second["previous"]) == ("installed", "1.1.0", "1.0.0")
    assert second["active"] != first["active"]
    assert visitor.seen == ["1.0.0", "1.1.0"]  # and no answer between that was none

    assert site.done("install", str(kits["1.1.0"]))["result"] == "unchanged"
    site.done("rollback")
    assert site.door() == "1.0.0"
