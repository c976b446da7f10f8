"""Every command of docs/media.md about deltas, as it stands."""

from __future__ import annotations

import pytest

from tests.e2e.mediapage import Stage

pytestmark = pytest.mark.e2e


def test_a_delta_is_made_in_one_go_and_checked_with_what_it_builds_on(stage: Stage) -> None:
    built, packed, _ = stage.section("Deltas")
    assert "a delta for sites with" in built and "lan-chat 2.0.0" in built
    assert "verified" in packed
    media = stage.media / "usb"
    assert not (media / "install").exists()
    (delta,) = media.glob("*.delta.bundle.tar.zst")
    (whole,) = (stage.vendor / "product/dist/whole/lan-chat-v2.1.0").glob("*.bundle.tar.zst")
    assert delta.stat().st_size * 10 < whole.stat().st_size
