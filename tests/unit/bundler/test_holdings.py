"""What a site is taken to hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.delta.holdings import Holdings
from installer.bundle.release import Release
from installer.errors import SealiftError
from tests.vectors.forge import Forge


def test_a_site_that_runs_a_release_holds_all_that_it_lists(tmp_path: Path) -> None:
    forge = Forge()
    bundle = forge.write(tmp_path)
    held = Holdings.of_bundle(tmp_path)
    release = Release.parse(forge.statement)
    assert held.label == "p 1.0.0"
    assert held.digests == {member.digest for _, member in release.members()}
    assert held.bundles == (bundle,)


def test_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.bundle.tar.zst").write_bytes(b"no bundle at all")
    with pytest.raises(SealiftError) as refused:
        Holdings.of_bundle(tmp_path)
    assert refused.value.id == "not-a-bundle"
