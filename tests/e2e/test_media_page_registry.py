"""The section of docs/media.md about registries, as it stands, on Distribution 2.8 and 3."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.door import FileDoor
from tests.contract.driver import world_of
from tests.e2e.mediapage import Stage
from tests.registry.conftest import starting
from tests.registry.distribution3 import distribution3

pytestmark = pytest.mark.e2e


def test_release_goes_through_a_registry_and_a_mirror(stage: Stage, tmp_path: Path, wide_cache: Path) -> None:
    with starting(tmp_path) as start:
        places = {"registry.example": start(), "mirror.example": start(program=str(distribution3(wide_cache)))}
        for name, registry in places.items():
            # oras asks `localhost` by plain HTTP, as it would ask a registry of people who have TLS by that.
            stage.words[f"{name}:5000"] = registry.address.host.replace("127.0.0.1", "localhost")
        stage.words["--part-size fat32"] = "--part-size 256KiB"
        pushed, again, pulled, installed, _, refused = stage.section("Through a registry")
    assert "sealift.release.v1+json" not in pushed and "sigstore.bundle.v0.3+json" in pushed
    assert "customer.sigstore.json" in again
    assert "signed by" in pulled and "in 3 parts" in pulled
    assert "installed" in installed and FileDoor(world_of(stage.host / "state")).versions("lan-chat") == {"2.1.0"}
    assert "nothing accepts a connection there" in refused
